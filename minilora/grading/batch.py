"""Many submissions: in parallel processes, with a progress bar, and from where the last run stopped.

Not here: one submission (grade.py). Past one machine, run the command once for each submission: it does the same.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from minilora.grading import results
from minilora.grading.grade import FAILED, Course, Grade, grade
from minilora.grading.sandbox import Sandbox
from minilora.grading.submission import Entry, Submission, load

Result = dict[str, Any]


def grade_all(
    found: list[Entry],
    course: Course,
    sandbox: Sandbox,
    folder: Path | None = None,
    workers: int | None = None,
) -> list[Result]:
    """Grades all submissions, in the order of `found`; none can stop the others.

    folder: where results are kept. What is there already, for the same work under the same rules, is not done again.
    """
    workers = min(workers or os.cpu_count() or 1, len(found))
    if workers <= 1:
        return [grade_one(entry, course, sandbox, folder) for entry in progress(found, len(found))]
    done: dict[Entry, Result] = {}
    for _ in range(3):  # a process of ours that dies, for want of memory say, takes its pool along
        waiting = [entry for entry in found if entry not in done]
        if waiting:
            done |= _in_parallel(waiting, course, sandbox, folder, workers)
    lost = "grading did not work: its process died three times"
    return [done.get(entry) or failed(entry, course, sandbox.name, lost) for entry in found]


def grade_one(entry: Entry, course: Course, sandbox: Sandbox, folder: Path | None = None) -> Result:
    """One submission: the kept result, or a new one."""
    try:
        submission = load(entry)
        kept = results.read(folder, entry.student, course.key(submission)) if folder else None
        if kept:
            return kept
        result = grade(submission, course, sandbox).as_dict()
    except Exception as error:  # ours: it must not stop the others, and is no zero
        result = failed(entry, course, sandbox.name, f"grading did not work: {type(error).__name__}: {error}")
    if folder:
        results.write(folder, result)
    return result


_AT_WORK = threading.Lock()  # in a process of the pool


def _grade_in_pool(*arguments: Any) -> Result:
    with _AT_WORK:
        return grade_one(*arguments)


def _end_with_the_first_process() -> None:
    """Runs at the start of each process of the pool. Otherwise, were the first one killed, it would wait for ever.

    What is at work is finished before, so that its worker in the sandbox is ended as always.
    """
    first = multiprocessing.parent_process()
    assert first is not None

    def wait() -> None:
        first.join()
        with _AT_WORK:
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _in_parallel(
    waiting: list[Entry], course: Course, sandbox: Sandbox, folder: Path | None, workers: int
) -> dict[Entry, Result]:
    done: dict[Entry, Result] = {}
    spawn = multiprocessing.get_context("spawn")  # the same on every system
    with ProcessPoolExecutor(workers, spawn, _end_with_the_first_process) as pool:
        names: dict[Future[Result], Entry] = {
            pool.submit(_grade_in_pool, entry, course, sandbox, folder): entry for entry in waiting
        }
        try:
            for future in progress(as_completed(names), len(waiting)):
                done[names[future]] = future.result()
        except BrokenProcessPool:
            pass
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return done


def failed(entry: Entry, course: Course, sandbox: str, why: str) -> Result:
    """A result that says that there is none."""
    empty = course.key(Submission(entry.student))
    return Grade(entry.student, FAILED, None, course.max_score, [], [why], "", empty, sandbox, "").as_dict()


def progress(steps: Iterable[Any], total: int) -> Iterable[Any]:
    return tqdm(steps, total=total, desc="graded", unit="submission", disable=total < 2)
