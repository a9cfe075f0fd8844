"""The mark of one submission: runs it in a sandbox, and decides outside.

Inputs are drawn from a seed that follows from the course's secret, the student and the exercise, and in a second draw
from what was handed in as well: no file holds them, no one sees them before, and grading the same submission again
gives the same result. Handing in again does not draw the first inputs anew, so nobody can wait for easy ones; and what
the feedback showed of them does not help with the second.

Not here: many submissions (batch.py), and files for other systems (formats.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import hmac
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from minilora import __version__
from minilora.exercises import feedback, judging, registry
from minilora.exercises.exercise import Exercise
from minilora.exercises.judging import CORRECT, CRASHED, INCORRECT, KEPT, NOT_ATTEMPTED, Result
from minilora.exercises.question import Numbers, Prose, Question, judge_answers, whose_answers
from minilora.grading import answers as locate
from minilora.grading.sandbox import Sandbox
from minilora.grading.session import Deadlines, GraderFailure, Session
from minilora.grading.submission import ADAPTER_FILES, Submission

GRADED, UNREADABLE, FAILED = "graded", "unreadable", "failed"
BASES = ("tiny-gpt", "smollm2-135m-instruct")  # that an adapter may be for
ROUNDS = 2  # draws of inputs for each exercise


@dataclasses.dataclass
class QuestionGrade:
    """What one exercise earned. outcome "failed" means that the grader could not decide: earned is None, never 0."""

    name: str
    title: str
    points: int
    earned: int | None
    outcome: str
    mistakes: list[str] = dataclasses.field(default_factory=list)  # keys of known wrong answers
    sentence: str = ""
    feedback: str = ""
    written: list[dict[str, Any]] = dataclasses.field(default_factory=list)  # texts, for a person to mark


@dataclasses.dataclass
class Grade:
    """What one submission earned. score is None where anything failed that is not the student's doing."""

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
    version: str = __version__

    def as_dict(self) -> dict[str, Any]:
        return {"schema": "minilora-grade/1"} | dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Course:
    """What is the same for all submissions."""

    secret: bytes
    names: tuple[str, ...] = tuple(registry.BY_NAME)  # of the exercises that count
    deadlines: Deadlines = dataclasses.field(default_factory=Deadlines)

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
        told = json.dumps([__version__, program_digest(), self.names, submission.student, submission.digest])
        return hmac.new(self.secret, told.encode(), "sha256").hexdigest()[:32]


@functools.lru_cache(maxsize=1)
def program_digest() -> str:
    """Of the files that decide: exercises and grader."""
    root = Path(__file__).parent.parent
    files = sorted(p for folder in ("exercises", "grading") for p in (root / folder).rglob("*.py"))
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()


def grade(submission: Submission, course: Course, sandbox: Sandbox) -> Grade:
    """Grades one submission; whatever it does, it gets a result."""
    result = Grade(
        submission.student,
        GRADED,
        0,
        course.max_score,
        [],
        list(submission.problems),
        submission.digest,
        course.key(submission),
        sandbox.name,
        sandbox.note,
    )
    if not submission.notebooks:
        result.status = UNREADABLE
        return result
    try:
        with contextlib.ExitStack() as stack, warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            run = _Run(submission, course, sandbox, stack)
            result.questions = [run.question(exercise) for exercise in course.exercises]
            result.remarks += run.remarks()
    except (GraderFailure, OSError) as error:
        result.status, result.score, result.questions = FAILED, None, []
        result.remarks.append(f"grading did not work: {error}")
        return result
    earned = [question.earned for question in result.questions]
    if None in earned:
        result.status, result.score = FAILED, None
    else:
        result.score = sum(points for points in earned if points is not None)
    return result


class _Run:
    """One submission while it is graded: a session for each notebook, begun when it is needed."""

    def __init__(self, submission: Submission, course: Course, sandbox: Sandbox, stack: contextlib.ExitStack):
        self.submission, self.course = submission, course
        functions = [exercise for exercise in course.exercises if isinstance(exercise, Exercise)]
        self.sessions = []
        for cells in submission.notebooks.values():
            uses_torch = any("torch" in cell.source for cell in cells if cell.kind == "code")
            planned = locate.cells_to_run(cells, functions)
            self.sessions.append(stack.enter_context(Session(sandbox, planned, uses_torch, course.deadlines)))
        self.flags: list[str] = []

    def question(self, exercise: Question | Exercise) -> QuestionGrade:
        try:
            if isinstance(exercise, Question):
                return self._answers(exercise)
            return self._function(exercise)
        except (GraderFailure, OSError):
            raise
        except Exception as error:  # ours, whatever it is: it must not become a zero
            self.flags.append(
                f"{exercise.name}: the grader could not decide ({type(error).__name__}: {error})"[:500]
            )
            return QuestionGrade(exercise.name, exercise.title, exercise.points, None, FAILED)

    def _function(self, exercise: Exercise) -> QuestionGrade:
        """The last notebook in which something is written counts."""
        result = None
        for session in reversed(self.sessions):
            if any(exercise.function_name in cell.functions.values() for cell in session.cells):
                result = self._judge(exercise, session)
                if result.outcome != NOT_ATTEMPTED:
                    break
        return _question_grade(exercise, result or _not_attempted(exercise))

    def _judge(self, exercise: Exercise, session: Session) -> Result:
        run = functools.partial(
            session.call, exercise.function_name, takes=exercise.takes, gives=exercise.gives
        )
        for number in range(ROUNDS):
            work = (
                self.submission.digest if number else ""
            )  # the first draw stays, however often one hands in
            seed = self.course.seed(self.submission.student, exercise.name, work, str(number))
            result = judging.judge(exercise, run, seed)
            if result.outcome != CORRECT:
                break
        return result

    def _answers(self, question: Question) -> QuestionGrade:
        cells = [cell for notebook in self.submission.notebooks.values() for cell in notebook]
        answers = locate.read_answers(cells, question)
        if answers is None:
            return _question_grade(question, _not_attempted(question))
        counts, remark = whose_answers(answers.get("student"), self.submission.student)
        if remark:
            self.flags.append(f"{question.name}: {remark}")
        if not counts:
            return _question_grade(question, _not_their_own(question))
        if question.observe:
            question = dataclasses.replace(question, observe=functools.partial(self._observe, question))
        found = _question_grade(question, judge_answers(question, answers))
        found.written = [
            _written(part, answers[part.key]) for part in question.prose if _is_text(answers, part)
        ]
        return found

    def _observe(self, question: Question, answers: dict[str, Any], numbers: Numbers) -> Numbers:
        """Looks at an adapter that came with the notebook; never at a path that the answers name."""
        assert question.observe is not None
        wanted = str(answers.get("folder", "")).replace("\\", "/").rstrip("/").rpartition("/")[2]
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work) / "adapter"
            for name, data in self.submission.files.items():
                parent, _, last = f"/{name}".rpartition("/")
                if last in ADAPTER_FILES and parent.rpartition("/")[2] == wanted:
                    folder.mkdir(exist_ok=True)
                    (folder / last).write_bytes(data)
            if not folder.exists():
                return {
                    "problem": (
                        "not-handed-in",
                        f"The folder {wanted[:80]} with the adapter was not handed in.",
                    )
                }
            base = answers.get("base") if answers.get("base") in BASES else BASES[0]
            if answers.get("base") != BASES[0]:
                self.flags.append(
                    f"{question.name}: says that its base is {str(answers.get('base'))[:80]!r}; look at it"
                )
            return question.observe({"folder": str(folder), "base": base}, numbers)

    def remarks(self) -> list[str]:
        """What a person should know: cells that did not survive, answers under another name."""
        fatal = [f"{c.name}: {c.problem}" for session in self.sessions for c in session.cells if c.fatal]
        return [*fatal[:20], *self.flags]


def _not_their_own(question: Question) -> Result:
    sentence = (
        "These are the published answers. Write your own name under student: your numbers follow from it."
    )
    return Result(question.name, question.title, INCORRECT, sentence, points=question.points)


def _not_attempted(exercise: Question | Exercise) -> Result:
    sentence = "Nothing is handed in for this."
    return Result(exercise.name, exercise.title, NOT_ATTEMPTED, sentence, points=exercise.points)


def _question_grade(exercise: Question | Exercise, result: Result) -> QuestionGrade:
    mistakes = [result.mistake, *(item.mistake for item in result.items)]
    return QuestionGrade(
        exercise.name,
        exercise.title,
        exercise.points,
        result.earned,
        result.outcome,
        [mistake for mistake in mistakes if mistake],
        result.sentence or "; ".join(i.sentence for i in result.items if i.outcome in (INCORRECT, CRASHED)),
        "" if result.outcome == NOT_ATTEMPTED else feedback.as_text(result),
    )


def _is_text(answers: dict[str, Any], part: Prose) -> bool:
    text = answers.get(part.key)
    return isinstance(text, str) and part.judge(text, {}).outcome == KEPT


def _written(part: Prose, text: str) -> dict[str, Any]:
    return {"key": part.key, "text": text[:20_000], "points": part.points, "rubric": list(part.rubric)}
