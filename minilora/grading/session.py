"""A notebook's worker, seen from outside: sends cells and calls, waits no longer than the deadline, starts it again.

A call that takes too long or ends the process costs that call. The next one gets a fresh worker, in which the cells
have run again, without those that did not survive. GraderFailure is ours, not the learner's: no mark follows from it.

Not here: what a reply means (grade.py), and the walls (sandbox.py).
"""

from __future__ import annotations

import dataclasses
import queue
import secrets
import threading
import time
from typing import Any

from minilora.exercises import learner_side
from minilora.exercises.learner_side import RETURNED, STOPPED, Reply
from minilora.grading import protocol
from minilora.grading.sandbox import Sandbox

STATUSES = {
    RETURNED,
    learner_side.RAISED,
    learner_side.UNTOUCHED,
    learner_side.SIGNATURE,
    learner_side.NOT_PLAIN,
}
KEPT_OUTPUT = 2000  # bytes of what was printed last


class GraderFailure(RuntimeError):
    """Something of the grader's own did not work; it says nothing about the submission."""


class _Ended(Exception):
    """The worker is no more, or broke the rules; why, in words."""


@dataclasses.dataclass(frozen=True)
class Deadlines:
    """Seconds of waiting. all: for one notebook; what comes later is not run."""

    start: float = 120.0
    cell: float = 20.0
    call: float = 10.0
    all: float = 300.0


@dataclasses.dataclass
class Cell:
    """One cell to run. functions: names defined in it -> names under which they are called."""

    source: str
    name: str
    functions: dict[str, str] = dataclasses.field(default_factory=dict)
    problem: str = ""  # why it stopped, once it ran
    fatal: bool = False  # it did not survive, and is not run again


class Session:
    """A worker that has run the cells of a notebook; used in a `with` block."""

    def __init__(
        self, sandbox: Sandbox, cells: list[Cell], torch: bool = False, deadlines: Deadlines | None = None
    ):
        self.sandbox, self.cells, self.torch = sandbox, cells, torch
        self.deadlines = deadlines or Deadlines()
        self.end = time.monotonic() + self.deadlines.all
        self.line: _Line | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def open(self) -> None:
        """Starts the worker and runs the cells, anew after each one that did not survive."""
        while self.line is None:
            self._start()
            for cell in self.cells:
                if cell.fatal or (cell.problem and not cell.functions):
                    continue
                if not self._run(cell):
                    self._close()
                    break

    def call(self, function: str, arguments: dict[str, Any], takes: dict[str, str], gives: str) -> Reply:
        """One call of the learner's function on plain data."""
        if time.monotonic() > self.end:
            return Reply(STOPPED, message="the time for the whole notebook was used up before")
        self.open()
        try:
            answer = self._ask(
                self.deadlines.call,
                do="call",
                function=function,
                arguments=arguments,
                takes=takes,
                gives=gives,
            )
            return to_reply(answer, arguments)
        except _Ended as reason:
            self._close()
            return Reply(STOPPED, message=str(reason))

    def _start(self) -> None:
        try:
            self.line = _Line(self.sandbox)
            answer = self._ask(
                self.deadlines.start, do="setup", limits=self.sandbox.limits(), torch=self.torch
            )
        except (_Ended, OSError) as error:
            said = self.line.output() if self.line else ""
            self._close()
            raise GraderFailure(
                f"no worker starts in the sandbox {self.sandbox.name}: {error} {said}".strip()
            ) from error
        if answer.get("status") != "ok":
            self._close()
            raise GraderFailure(f"the worker could not be set up: {answer.get('message')}")

    def _run(self, cell: Cell) -> bool:
        if time.monotonic() > self.end:
            cell.problem, cell.fatal = "not run: the time for the whole notebook was used up", True
            return True
        try:
            answer = self._ask(
                self.deadlines.cell, do="cell", source=cell.source, name=cell.name, functions=cell.functions
            )
        except _Ended as reason:
            cell.problem, cell.fatal = str(reason), True
            return False
        cell.problem = str(answer.get("message", ""))[:500]
        return True

    def _ask(self, seconds: float, **request: Any) -> dict[str, Any]:
        assert self.line is not None
        return self.line.ask(request, seconds)

    def _close(self) -> None:
        if self.line:
            self.line.close()
        self.line = None


class _Line:
    """The two pipes of one worker. Threads read them, so that waiting can end on every system."""

    def __init__(self, sandbox: Sandbox):
        self.worker = sandbox.start()
        self.answers: queue.Queue[dict[str, Any] | str] = queue.Queue()
        self.tail = b""
        for target in (self._read_answers, self._drain):
            threading.Thread(target=target, daemon=True).start()

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        nonce = secrets.token_hex(8)
        while not self.answers.empty():  # what was not asked for
            self.answers.get()
        # subtle: a worker that does not read would block the writing, so a thread does that too
        threading.Thread(target=self._write, args=({"nonce": nonce} | request,), daemon=True).start()
        try:
            answer = self.answers.get(timeout=seconds)
        except queue.Empty:
            raise _Ended(f"it took more than {seconds:g} seconds") from None
        if isinstance(answer, str):
            raise _Ended(answer)
        if answer.get("nonce") != nonce:
            raise _Ended("its process sent what was not asked for")
        return answer

    def _write(self, request: dict[str, Any]) -> None:
        try:
            assert self.worker.process.stdin is not None
            protocol.write_message(self.worker.process.stdin, request)
        except (OSError, ValueError):
            pass  # it has ended; reading says so

    def _read_answers(self) -> None:
        pipe = self.worker.process.stdout
        assert pipe is not None
        try:
            while (answer := protocol.read_message(pipe)) is not None:
                self.answers.put(answer)
            self.answers.put("its process ended")
        except (protocol.ProtocolError, OSError, ValueError, MemoryError) as error:
            self.answers.put(f"its process sent {error}")

    def _drain(self) -> None:
        """Reads all that is printed, so that printing never blocks, and keeps the end."""
        pipe = self.worker.process.stderr
        assert pipe is not None
        try:
            while data := pipe.read(65536):
                self.tail = (self.tail + data)[-KEPT_OUTPUT:]
        except (OSError, ValueError):
            pass

    def output(self) -> str:
        """The end of what was printed."""
        time.sleep(0.05)  # what is on its way
        return self.tail.decode("utf-8", errors="replace").strip()

    def close(self) -> None:
        self.worker.kill()


def to_reply(answer: dict[str, Any], arguments: dict[str, Any]) -> Reply:
    """What the worker says, checked field by field."""
    status = answer.get("status")
    if status not in STATUSES:
        raise _Ended("its process sent an answer that makes no sense")
    changed = answer.get("changed")
    lines = answer.get("lines")
    return Reply(
        str(status),
        answer.get("value"),
        {name: value for name, value in changed.items() if name in arguments}
        if isinstance(changed, dict)
        else {},
        str(answer.get("message", ""))[:2000],
        str(answer.get("error_type", ""))[:100],
        [(line[0], line[1][:200]) for line in lines[:5] if _is_line(line)] if isinstance(lines, list) else [],
    )


def _is_line(line: Any) -> bool:
    return isinstance(line, list) and len(line) == 2 and type(line[0]) is int and isinstance(line[1], str)
