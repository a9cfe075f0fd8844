"""The rules of a course and the marks that follow: plain data, which the other parts of the grader share.

Not here: how a mark is found (grade.py).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from minilora import __version__
from minilora.exercises import registry
from minilora.exercises.exercise import Exercise
from minilora.exercises.question import Question
from minilora.grading.plain_text import one_line, visible
from minilora.grading.session import Deadlines
from minilora.grading.submission import Submission

GRADED, UNREADABLE, FAILED, UNDECIDED = "graded", "unreadable", "failed", "needs a decision"


@dataclasses.dataclass
class QuestionGrade:
    """What one exercise earned.

    earned is None, and never 0, where the grader failed (outcome "failed") and where a person must decide (outcome
    "needs a decision").
    """

    name: str
    title: str
    points: int
    earned: int | None
    outcome: str
    mistakes: list[str] = dataclasses.field(default_factory=list)  # keys of known wrong answers
    sentence: str = ""
    feedback: str = ""
    written: list[dict[str, Any]] = dataclasses.field(default_factory=list)  # texts, for a person to mark
    passed: int = 0  # of `cases` calls, where it is a function
    cases: int = 0
    answer: str = ""  # the function without its comments
    chosen: dict[str, str] = dataclasses.field(default_factory=dict)  # mistake -> what was answered


@dataclasses.dataclass
class Grade:
    """What one submission earned. score is None where anything failed, or waits for a person's decision."""

    student: str
    status: str
    score: int | None
    max_score: int
    questions: list[QuestionGrade]
    remarks: list[str]
    digest: str
    key: str
    sandbox: str
    sandbox_note: str
    content: str = ""  # a digest of its cells; the same where two are copies of each other
    version: str = __version__

    def as_dict(self) -> dict[str, Any]:
        """Plain data. Texts of the learner's lose what a terminal would obey; what a person reads keeps its lines."""
        return {"schema": "minilora-grade/1"} | {
            key: value if key in ("student", "key") else _harmless(value, key)
            for key, value in dataclasses.asdict(self).items()
        }


def _harmless(value: Any, key: str = "") -> Any:
    if isinstance(value, str):
        return visible(value) if key in ("feedback", "text", "answer") else one_line(value)
    if isinstance(value, list):
        return [_harmless(item, key) for item in value]
    if isinstance(value, dict):
        return {name: _harmless(item, name) for name, item in value.items()}
    return value


@dataclasses.dataclass(frozen=True)
class Course:
    """What is the same for all submissions.

    notebooks: file names of the pages that were handed out, if known. own: files of the instructor's own exercises,
    with their text.
    """

    secret: bytes
    names: tuple[str, ...] = tuple(registry.BY_NAME)  # of the exercises that count
    deadlines: Deadlines = dataclasses.field(default_factory=Deadlines)
    notebooks: tuple[str, ...] = ()
    own: tuple[tuple[str, str], ...] = ()

    @property
    def exercises(self) -> tuple[Question | Exercise, ...]:
        return tuple(registry.get(name) for name in self.names)

    @property
    def max_score(self) -> int:
        return sum(exercise.points for exercise in self.exercises)

    def seed(self, *parts: str) -> int:
        """A number that only who knows the secret can tell."""
        return int.from_bytes(hmac.digest(self.secret, json.dumps(parts).encode(), "sha256")[:8], "big")

    def key(self, submission: Submission) -> str:
        """The same for the same work under the same rules, so that no work is done twice."""
        rules = [__version__, program_digest(), self.names, self.notebooks, self.own]
        told = json.dumps([*rules, submission.student, submission.digest])
        return hmac.new(self.secret, told.encode(), "sha256").hexdigest()[:32]


@functools.lru_cache(maxsize=1)
def program_digest() -> str:
    """Digest of the files that decide: exercises and grader."""
    root = Path(__file__).parent.parent
    files = sorted(p for folder in ("exercises", "grading") for p in (root / folder).rglob("*.py"))
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()
