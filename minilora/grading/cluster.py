"""Many submissions on the machines of a Dask cluster. Needs the extra `dask`: pip install "minilora[dask]".

Notebooks go out and results come back through Dask, so the machines need no common disk; each needs this version of
minilora, and a sandbox of its own. What a lost machine had goes to another one. The course's secret travels along.

Not here: one machine (batch.py), and starting a cluster.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minilora.exercises import own
from minilora.grading import batch, results, sandbox
from minilora.grading.grade import grade
from minilora.grading.marks import Course, program_digest
from minilora.grading.submission import Entry, Submission, load

Result = dict[str, Any]


def grade_all(
    found: list[Entry], course: Course, box: str, folder: Path | None, address: str
) -> list[Result]:
    """Like batch.grade_all, on the cluster whose scheduler has this address; box: a sandbox's name, or auto."""
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ImportError('--dask needs a package more: pip install "minilora[dask]"') from error
    done: dict[Entry, Result] = {}
    with Client(address) as client:
        waiting = {}
        for entry in found:
            submission = load(entry)
            kept = None
            if folder and not entry.again:
                kept = results.read(folder, entry.student, course.key(submission), course.secret, box)
            if kept:
                done[entry] = kept
            else:
                future = client.submit(grade_there, submission, course, box, program_digest(), pure=False)
                waiting[future] = entry
        for future in batch.progress(as_completed(list(waiting)), len(waiting)):
            entry = waiting[future]
            try:
                done[entry] = future.result()
            except Exception as error:  # machines lost again and again, or no sandbox there: no zero
                why = f"grading did not work: {type(error).__name__}: {error}"
                done[entry] = batch.failed(entry, course, box, why)
            done[entry] = batch.keep(folder, course, done[entry])
    return [done[entry] for entry in found]


def grade_there(submission: Submission, course: Course, box: str, digest: str) -> Result:
    """What a machine of the cluster does."""
    if digest != program_digest():
        raise RuntimeError("this machine of the cluster has another version of minilora")
    own.register(dict(course.own))
    return grade(submission, course, sandbox.choose(box)).as_dict()
