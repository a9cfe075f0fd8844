"""A notebook's worker, seen from outside: sends cells and calls, waits no longer than the deadline, starts it again.

A call that takes too long or ends the process costs that call. The next one gets a fresh worker, in which the cells
have run again, without the statements that did not survive. GraderFailure is ours, not the learner's: no mark follows
from it.

Not here: the pipes (line.py), what a reply means (grade.py), and the walls (sandbox.py).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from minilora.exercises import learner_side
from minilora.exercises.learner_side import RETURNED, STOPPED, Reply
from minilora.grading.line import Ended, Line
from minilora.grading.sandbox import Sandbox
from minilora.grading.submission import NotebookCell

STATUSES = {
    RETURNED,
    learner_side.RAISED,
    learner_side.UNTOUCHED,
    learner_side.SIGNATURE,
    learner_side.NOT_PLAIN,
}
MAX_CELL = 500_000  # characters; a syntax tree takes some hundred times as much memory
MAX_FATAL = 4  # statements of one cell that may end the process; after that only its definitions run


class GraderFailure(RuntimeError):
    """Something of the grader's own did not work; it says nothing about the submission."""


@dataclasses.dataclass(frozen=True)
class Deadlines:
    """Seconds of waiting. cell: for one statement of a cell. all: for one notebook. submission: for all that a student
    handed in; after that its process is ended, wherever it is."""

    start: float = 120.0
    cell: float = 20.0
    call: float = 10.0
    all: float = 300.0
    submission: float = 900.0


@dataclasses.dataclass(frozen=True)
class Problem:
    """What went wrong in a cell. line: 0 where it is not known."""

    line: int
    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" + (f" (line {self.line})" if self.line else "")


@dataclasses.dataclass
class Cell:
    """One cell, and what became of it."""

    source: str
    name: str
    ids: tuple[str, ...] = ()
    kind: str = "code"
    problems: list[Problem] = dataclasses.field(default_factory=list)
    defined: set[str] = dataclasses.field(default_factory=set)  # names that were looked for
    skip: dict[int, str] = dataclasses.field(default_factory=dict)  # statements that did not survive, and why
    too_late: bool = False  # there was time for its definitions alone


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is looked for in a notebook; see learner.py."""

    functions: dict[str, int] = dataclasses.field(default_factory=dict)
    ids: dict[str, str] = dataclasses.field(default_factory=dict)
    questions: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    student: str = ""
    numbers: Callable[[str, str], Any] = lambda name, student: {}


def as_cells(notebook: list[NotebookCell]) -> list[Cell]:
    """Code cells in their order, then text cells that may be code which lost its kind."""
    cells = [
        Cell(cell.source, f"cell {number}", cell.ids, cell.kind) for number, cell in enumerate(notebook, 1)
    ]
    for cell in cells:
        if len(cell.source) > MAX_CELL:
            why = f"the cell has {len(cell.source):,} characters; at most {MAX_CELL:,} are read"
            cell.source, cell.problems = "", [Problem(0, "ValueError", why)]
    return sorted(cells, key=lambda cell: cell.kind != "code")


class Session:
    """A worker that has run the cells of a notebook; used in a `with` block. end: when all must be over."""

    def __init__(
        self,
        sandbox: Sandbox,
        cells: list[Cell],
        wanted: Wanted | None = None,
        deadlines: Deadlines | None = None,
        end: float | None = None,
    ):
        self.sandbox, self.cells, self.wanted = sandbox, cells, wanted or Wanted()
        self.deadlines = deadlines or Deadlines()
        self.torch = any("torch" in cell.source for cell in cells)
        self.last_moment = end if end is not None else time.monotonic() + self.deadlines.submission
        self.end: float | None = None  # the notebook's time begins with its first worker
        self.line: Line | None = None
        self.missing: set[str] = set()  # packages that it wanted and that are not here
        self.killed = False  # a request was tried again after its process was ended from outside

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def open(self) -> None:
        """Starts the worker and runs the cells, anew after each statement that did not survive."""
        if self.end is None:
            self.end = min(time.monotonic() + self.deadlines.all, self.last_moment)
        while self.line is None:
            self._start()
            half = time.monotonic() + (self.end - time.monotonic()) / 2  # the other half is for calls
            for cell in self.cells:
                if not self._run(cell, half):
                    self._close()
                    break

    def answers(self) -> dict[str, Any]:
        """The answers to questions: {"answers": ..., "unreadable": ...}, see answers.py. Empty if they are lost."""
        self.open()
        try:
            return self._ask(self.deadlines.call, do="answers")
        except Ended:
            self._close()
            return {}

    def call(self, function: str, arguments: dict[str, Any], takes: dict[str, str], gives: str) -> Reply:
        """One call of the learner's function on plain data."""
        if self._is_over():
            return Reply(STOPPED, message="the time for the whole notebook was used up before")
        self.open()
        if self._is_over():
            return Reply(STOPPED, message="the time for the whole notebook was used up by its cells")
        try:
            answer = self._ask(
                self.deadlines.call,
                do="call",
                function=function,
                arguments=arguments,
                takes=takes,
                gives=gives,
            )
            return to_reply(answer, arguments, takes)
        except Ended as reason:
            self._close()
            if reason.killed and not self.killed:
                self.killed = True  # perhaps by another program; it is its own doing if it happens again
                return self.call(function, arguments, takes, gives)
            return Reply(STOPPED, message=str(reason))

    def _is_over(self) -> bool:
        return time.monotonic() > (self.last_moment if self.end is None else self.end)

    def _start(self) -> None:
        notebook = {key: getattr(self.wanted, key) for key in ("functions", "ids", "questions", "student")}
        try:
            self.line = Line(self.sandbox, self.wanted.numbers)
            limits = self.line.worker.limits()
            answer = self._ask(self.deadlines.start, do="setup", limits=limits, torch=self.torch, **notebook)
        except (Ended, OSError) as error:
            said = self.line.output() if self.line else ""
            self._close()
            raise GraderFailure(
                f"no worker starts in the sandbox {self.sandbox.name}: {error} {said}".strip()
            ) from error
        if answer.get("status") != "ok":
            self._close()
            raise GraderFailure(f"the worker could not be set up: {answer.get('message')}")

    def _run(self, cell: Cell, half: float) -> bool:
        """False where the process did not survive it."""
        cell.too_late = time.monotonic() > half
        if self._is_over() or not cell.source.strip():
            return True
        request: dict[str, Any] = {"source": cell.source, "name": cell.name, "ids": list(cell.ids)}
        if cell.kind == "code":
            late = cell.too_late or len(cell.skip) >= MAX_FATAL
            request |= {"do": "cell", "skip": sorted(cell.skip), "definitions": late}
        else:
            request |= {"do": "text"}
        try:
            answer = self._ask(self.deadlines.cell, self.end, **request)
        except Ended as reason:
            if reason.killed and not self.killed:
                self.killed = True
                return False
            if cell.kind != "code" or len(cell.skip) > MAX_FATAL or reason.at is None:
                cell.source = ""  # not even its definitions survive
            cell.skip[-1 if reason.at is None else reason.at] = str(reason)
            return False
        self._note(cell, answer)
        return True

    def _note(self, cell: Cell, answer: dict[str, Any]) -> None:
        """What the worker says of a cell, checked field by field."""
        problems = answer.get("problems")
        cell.problems = [
            Problem(problem[0], str(problem[1])[:100], str(problem[2])[:500])
            for problem in (problems[:5] if isinstance(problems, list) else [])
            if isinstance(problem, list) and len(problem) == 3 and type(problem[0]) is int
        ]
        defined, missing = answer.get("defined"), answer.get("missing")
        cell.defined = set(map(str, defined)) if isinstance(defined, list) else set()
        self.missing |= set(map(str, missing)) if isinstance(missing, list) else set()

    def _ask(self, seconds: float, until: float | None = None, **request: Any) -> dict[str, Any]:
        assert self.line is not None
        try:
            return self.line.ask(request, seconds, until)
        except Ended as reason:
            if reason.machine:
                self._close()
                raise GraderFailure(
                    "the machine had no memory left, and its system ended the worker"
                ) from reason
            raise

    def _close(self) -> None:
        if self.line:
            self.line.close()
        self.line = None


def to_reply(answer: dict[str, Any], arguments: dict[str, Any], takes: dict[str, str]) -> Reply:
    """What the worker says, checked field by field. What changed among the arguments is found out here."""
    status = answer.get("status")
    after = answer.get("after")
    kept = set(arguments) - set(takes)
    if status not in STATUSES or (
        status == RETURNED and not (isinstance(after, dict) and set(after) == kept)
    ):
        raise Ended("its process sent an answer that makes no sense")
    lines = answer.get("lines")
    reply = Reply(
        str(status),
        answer.get("value"),
        message=str(answer.get("message", ""))[:2000],
        error_type=str(answer.get("error_type", ""))[:100],
        lines=[(line[0], line[1][:200]) for line in lines[:5] if _is_line(line)]
        if isinstance(lines, list)
        else [],
    )
    if status == RETURNED and isinstance(after, dict):
        reply.changed = learner_side.changes(after, arguments)
    return reply


def _is_line(line: Any) -> bool:
    return isinstance(line, list) and len(line) == 2 and type(line[0]) is int and isinstance(line[1], str)
