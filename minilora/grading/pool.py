"""Processes of our own that each grade one submission at a time, with a deadline and a cap on their memory.

Reading a notebook and judging what comes back happens in there, so whatever a file does to it, the first process goes
on: it ends one that is late or has died, calls that submission failed, and starts another. When the first process ends,
however it is ended, so do the others.

Not here: one submission (batch.grade_one), and which submissions (batch.grade_all).
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

from minilora.grading import process
from minilora.grading.submission import Entry

Task = dict[str, Any]
Result = dict[str, Any]
GRACE = 5.0  # seconds in which a process that is to end can end its worker
MEMORY = 4 * 2**30  # bytes that one may take; the model that adapters are tried on needs 1 GB
NAMED_AFTER = 30.0  # seconds; then the submission is named
START = "import sys; sys.path[:] = sys.argv[1:]; from minilora.grading.pool import serve; serve()"


class Died(RuntimeError):
    """A process ended without a result. late: because it was ended at its deadline."""

    def __init__(self, why: str, late: bool):
        super().__init__(why)
        self.late = late


class Pool:
    """So many processes; used in a `with` block. setting: what each is told once. deadline: seconds a submission."""

    def __init__(self, count: int, setting: Task, deadline: float):
        self.setting, self.deadline = setting, deadline
        self.todo: queue.Queue[Entry] = queue.Queue()
        self.done: queue.Queue[tuple[Entry, Result | Died]] = queue.Queue()
        self.at_work: dict[int, tuple[Entry, float, _Process]] = {}  # by thread
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._serve, args=(n,), daemon=True) for n in range(count)]

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        for _, _, one in list(self.at_work.values()):
            one.end()
        for thread in self.threads:
            if thread.ident is not None:
                thread.join(GRACE + 5)

    def grade(self, entries: list[Entry]) -> Iterator[tuple[Entry, Result | Died]]:
        """Each with its result, in the order in which they come; says which one takes long."""
        for entry in entries:
            self.todo.put(entry)
        for thread in self.threads:
            thread.start()
        named: set[Entry] = set()
        left = len(entries)
        while left:
            try:
                yield self.done.get(timeout=0.2)
                left -= 1
            except queue.Empty:
                self._look_after(named)

    def _look_after(self, named: set[Entry]) -> None:
        for entry, start, one in list(self.at_work.values()):
            taken = time.monotonic() - start
            if taken > NAMED_AFTER and entry not in named:
                named.add(entry)
                print(f"minilora: still at {str(entry.path)!r} after {taken:.0f} seconds", file=sys.stderr)
            if taken > self.deadline:
                one.late = True
                one.end()

    def _serve(self, number: int) -> None:
        """One thread: a process for as long as it lives, one submission after the other."""
        one: _Process | None = None
        while not self.over.is_set():
            try:
                entry = self.todo.get(timeout=0.2)
            except queue.Empty:
                continue
            try:
                one = one or _Process(self.setting)
                self.at_work[number] = (entry, time.monotonic(), one)
                answer: Result | Died = one.ask(as_task(entry))
            except (OSError, ValueError) as error:
                why = (
                    f"its process ended: {error}"
                    if one and not one.late
                    else f"it took more than {self.deadline:g} seconds"
                )
                answer = Died(why, late=bool(one and one.late))
                if one:
                    one.end()
                one = None
            finally:
                self.at_work.pop(number, None)
            self.done.put((entry, answer))
        if one:
            one.end()


class _Process:
    """One process of ours, seen from the first one."""

    def __init__(self, setting: Task):
        self.late = False
        self.popen = subprocess.Popen(
            [sys.executable, "-c", START, *sys.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._write(setting)

    def ask(self, task: Task) -> Result:
        self._write(task)
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line.endswith(b"\n"):
            raise OSError(f"exit status {self.popen.wait()}")
        return json.loads(line)

    def _write(self, task: Task) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(task).encode("ascii") + b"\n")
        self.popen.stdin.flush()

    def end(self) -> None:
        """Asks it to end, so that it can end its worker; then makes it."""
        self.popen.terminate()
        try:
            self.popen.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


def as_task(entry: Entry) -> Task:
    return {
        "student": entry.student,
        "path": str(entry.path),
        "inside": entry.inside,
        "more": list(map(str, entry.more)),
        "again": entry.again,
    }


# -- inside of such a process --------------------------------------------------------------------------------------


def serve() -> None:
    """Reads the setting, then one task a line, and answers each with one line, until the input ends."""
    from minilora.grading import batch

    tasks, answers = _take_pipes()
    _end_with_the_first_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides about it
    signal.signal(signal.SIGTERM, _end)
    grade = batch.from_setting(json.loads(tasks.readline()))
    _limit_memory()
    while line := tasks.readline():
        answers.write(json.dumps(grade(json.loads(line))).encode("ascii") + b"\n")
        answers.flush()


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """What a library prints must not come between the answers."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return sys.stdin.buffer, answers


def _end(*_: object) -> None:
    for worker in list(process.ALIVE):
        with contextlib.suppress(Exception):
            worker.kill()
    os._exit(1)


def _end_with_the_first_process() -> None:
    """Linux ends this one when the first one is gone, also where that was killed; elsewhere its input ends."""
    with contextlib.suppress(OSError, AttributeError, ImportError):
        import ctypes

        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # 1: PR_SET_PDEATHSIG


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
        resource.setrlimit(kind, (MEMORY, resource.getrlimit(kind)[1]))
