"""Many submissions: in processes with deadlines, with a progress bar, and from where the last run stopped.

What failed for a reason of the machine's, such as want of memory, is tried again alone. Then it is failed, and no zero.

Not here: one submission (grade.py) and the processes (pool.py). Past one machine, run the command once for each
submission: it does the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from minilora.exercises import own
from minilora.grading import cgroup, results
from minilora.grading.grade import grade
from minilora.grading.marks import FAILED, Course, Grade
from minilora.grading.pool import Died, Pool, Task
from minilora.grading.sandbox import Sandbox
from minilora.grading.session import Deadlines
from minilora.grading.submission import Entry, Submission, load

Result = dict[str, Any]
SPARE = 60.0  # seconds beyond the deadline of a submission, for what is the grader's own
LEAST_MEMORY = 768 * 2**20  # bytes for a worker; torch alone takes some 300 MB


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
    workers = max(1, min(workers or os.cpu_count() or 1, len(found)))
    cgroup.remove_old()
    done: dict[Entry, Result] = {}
    again: list[Entry] = []
    with _ended_by_signals(), progress(None, len(found)) as bar:
        for entry, result, may_work in _pass(found, course, sandbox, folder, workers):
            done[entry] = result
            again += [entry] if may_work else []
            bar.update()
        if again:  # alone, so that nothing else takes the machine's memory
            for entry, result, _ in _pass(again, course, sandbox, folder, 1):
                done[entry] = result
    return [done[entry] for entry in found]


def _pass(
    entries: list[Entry], course: Course, sandbox: Sandbox, folder: Path | None, workers: int
) -> Iterator[tuple[Entry, Result, bool]]:
    """Each entry with its result, and whether another try may work."""
    sandbox = dataclasses.replace(sandbox, memory=share_of_memory(workers))
    setting = as_setting(course, sandbox, folder)
    with Pool(workers, setting, course.deadlines.submission + SPARE) as pool:
        for entry, answer in pool.grade(entries):
            if isinstance(answer, Died):
                result = failed(entry, course, sandbox.name, f"grading did not work: {answer}")
                yield entry, keep(folder, course, result), not answer.late
            else:
                yield entry, answer, answer["status"] == FAILED


def share_of_memory(workers: int) -> int:
    """Bytes that a worker may take, so that all of them leave a fifth of the machine's memory to others."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 2**33
    return max(LEAST_MEMORY, min(Sandbox.memory, int(0.8 * min(pages, cgroup.own_limit())) // workers))


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does: with all processes that it has started."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# -- one submission ------------------------------------------------------------------------------------------------


def grade_one(entry: Entry, course: Course, sandbox: Sandbox, folder: Path | None = None) -> Result:
    """One submission: the kept result, or a new one."""
    try:
        submission = load(entry)
        if folder and not entry.again:
            kept = results.read(folder, entry.student, course.key(submission), course.secret, sandbox.name)
            if kept:
                return kept
        result = grade(submission, course, sandbox).as_dict()
    except (Exception, MemoryError) as error:  # ours: it must not stop the others, and is no zero
        result = failed(entry, course, sandbox.name, f"grading did not work: {type(error).__name__}: {error}")
    return keep(folder, course, result)


def keep(folder: Path | None, course: Course, result: Result) -> Result:
    """The result, once it is on disk; a failure where the disk does not take it."""
    try:
        if folder:
            results.write(folder, result, course.secret)
        return result
    except OSError as error:
        why = f"the result could not be kept: {error}"
        return result | {"status": FAILED, "score": None, "questions": [], "remarks": [why]}


def failed(entry: Entry, course: Course, sandbox: str, why: str) -> Result:
    """A result that says that there is none."""
    empty = course.key(Submission(entry.student))
    return Grade(entry.student, FAILED, None, course.max_score, [], [why], "", empty, sandbox, "").as_dict()


# -- for the processes of the pool ---------------------------------------------------------------------------------


def as_setting(course: Course, sandbox: Sandbox, folder: Path | None) -> Task:
    """What a process must know, as JSON carries it. It goes through a pipe, since the secret is in it."""
    told = dataclasses.asdict(course) | {"secret": course.secret.hex()}
    place = str(folder.resolve()) if folder else None
    return {"course": told, "sandbox": dataclasses.asdict(sandbox), "folder": place}


def from_setting(setting: Task) -> Callable[[Task], Result]:
    """The function that grades a task under this setting."""
    told, box = setting["course"], setting["sandbox"]
    deadlines = Deadlines(**told["deadlines"])
    files = tuple((name, text) for name, text in told["own"])
    own.register(dict(files))
    course = Course(
        bytes.fromhex(told["secret"]), tuple(told["names"]), deadlines, tuple(told["notebooks"]), files
    )
    sandbox = Sandbox(**box | {key: tuple(box[key]) for key in ("packages", "hidden")})
    folder = Path(setting["folder"]) if setting["folder"] else None

    def grade_task(task: Task) -> Result:
        more = tuple(map(Path, task["more"]))
        entry = Entry(task["student"], Path(task["path"]), task["inside"], more, again=task["again"])
        return grade_one(entry, course, sandbox, folder)

    return grade_task


def progress(steps: Iterable[Any] | None, total: int) -> Any:
    return tqdm(steps, total=total, desc="graded", unit="submission", disable=total < 2)
