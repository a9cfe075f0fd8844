"""What a question of the chapter is: claims to choose from, numbers to work out, an experiment to predict, a text.

Each is one file in questions/, and nothing of it is written anywhere else. The answers are one dict of plain data, so a
grader reads them without running anything of the learner's. The numbers belong to the student: they follow from the
name that stands in the answers. Text is kept and shown beside a model answer; no program judges it.

Not here: functions to write (exercise.py), and what becomes of a verdict (notebook.py).
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import random
import string
import textwrap
from collections.abc import Callable
from typing import Any

from minilora.exercises.answer_cell import pair
from minilora.exercises.exercise import BEGIN, END, STUB, replace_solution
from minilora.exercises.judging import (
    CORRECT,
    INCORRECT,
    KEPT,
    NOT_ATTEMPTED,
    UNCHECKABLE,
    UNFINISHED,
    Item,
    Result,
)
from minilora.exercises.learner_side import NotPlain, to_plain

Numbers = dict[str, Any]  # what is drawn for a student, by name
WORDS = 12  # fewer are no explanation
EXAMPLE_STUDENT = "example"


@dataclasses.dataclass(frozen=True)
class Option:
    """One answer to choose. A wrong one names its mistake, and has the sentence that answers it."""

    text: str
    mistake: str = ""
    sentence: str = ""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A claim to complete: exactly one option is right. The answer is its letter."""

    key: str
    prompt: str
    options: tuple[Option, ...]
    points: int = 1

    @property
    def letter(self) -> str:
        """The letter of the right option."""
        return next(letter for letter, option in self.lettered() if not option.mistake)

    def lettered(self) -> list[tuple[str, Option]]:
        return list(zip(string.ascii_lowercase, self.options, strict=False))

    def solution(self, numbers: Numbers) -> str:
        return self.letter

    def wrong(self, numbers: Numbers) -> list[tuple[str, Any, str]]:
        """(mistake, answer, sentence) of each known wrong answer."""
        return [(o.mistake, letter, o.sentence) for letter, o in self.lettered() if o.mistake]

    def judge(self, answer: Any, numbers: Numbers) -> Item:
        letter = answer.strip().strip("().").lower() if isinstance(answer, str) else None
        options = dict(self.lettered())
        if letter not in options:
            letters = ", ".join(options)
            return self._item(
                INCORRECT, f"{answer!r} is not one of the letters {letters}; write one, in quotes"
            )
        if letter == self.letter:
            return self._item(CORRECT, "right")
        return self._item(INCORRECT, options[letter].sentence, options[letter].mistake)

    def _item(self, outcome: str, sentence: str, mistake: str | None = None) -> Item:
        return Item(self.key, outcome, sentence, self.points, mistake)


@dataclasses.dataclass(frozen=True)
class Slip:
    """A known wrong number.

    Attributes:
        mistake: Short name of the mistake.
        value: How the wrong number arises from the student's numbers.
        sentence: The feedback for it.
    """

    mistake: str
    value: Callable[[Numbers], float]
    sentence: str


@dataclasses.dataclass(frozen=True)
class Number:
    """A number to work out.

    Five digits tell the parts of every sum apart: leaving out the smallest part changes the number, for any student, by
    more than twice half a unit of the fifth digit (1e-4 of the number), so that no rounding makes the two the same.

    Attributes:
        key: Name of the answer.
        prompt: What is asked.
        right: From the student's numbers to the right one.
        slips: Known wrong numbers.
        digits: Significant digits that must be right; None for a number that is counted exactly.
        points: What it earns.
    """

    key: str
    prompt: str
    right: Callable[[Numbers], float]
    slips: tuple[Slip, ...]
    digits: int | None = 5
    points: int = 1

    def solution(self, numbers: Numbers) -> float:
        value = self.right(numbers)
        return value if self.digits is None else float(f"{value:.{self.digits}g}")

    def wrong(self, numbers: Numbers) -> list[tuple[str, Any, str]]:
        return [(slip.mistake, slip.value(numbers), slip.sentence) for slip in self.slips]

    def judge(self, answer: Any, numbers: Numbers) -> Item:
        if not _is_number(answer):
            return self._item(
                INCORRECT, f"{answer!r} is not a number; write it without unit, commas or quotes"
            )
        right = self.right(numbers)
        if self.agrees(answer, right):
            return self._item(CORRECT, "right")
        for slip in self.slips:
            if self.agrees(answer, slip.value(numbers)):
                return self._item(INCORRECT, slip.sentence, slip.mistake)
        if self.digits is not None and agree(answer, right, COARSE):
            return self._item(INCORRECT, TOO_FEW_DIGITS, "too-few-digits")
        for slip in self.slips:
            if self.digits is not None and agree(answer, slip.value(numbers), COARSE):
                return self._item(INCORRECT, slip.sentence, slip.mistake)
        return self._item(INCORRECT, *self._general(answer, right))

    def agrees(self, a: float, b: float) -> bool:
        """Whether two numbers differ by at most half a unit of the last required digit (for 1.0000, half of 0.0001)."""
        return agree(a, b, self.digits)

    def _general(self, answer: float, right: float) -> tuple[str, str | None]:
        for factor, sentence, mistake in FACTORS:
            if self.agrees(answer, right * factor) or self.agrees(answer, right / factor):
                return sentence, mistake
        side = "too large" if answer > right else "too small"
        return f"{answer:,g} is {side}. Go through the steps again, or ask for a hint.", None

    def _item(self, outcome: str, sentence: str, mistake: str | None = None) -> Item:
        return Item(self.key, outcome, sentence, self.points, mistake)


COARSE = 3  # digits, for looking at what a wrong number may mean
TOO_FEW_DIGITS = (
    "The first digits are right. Give five, to show that every part of the sum is counted with the right "
    "units."
)
# Wrong by a factor that says why, or by one divided by it.
FACTORS: tuple[tuple[float, str, str], ...] = (
    *((10.0**power, "The digits are right, but the unit is wrong; read again which one is asked for.", "unit")
      for power in (3, 6, 9)),
    *((1.024**power, "You use powers of 1024. Here kilo, mega and giga mean 1000, 10^6 and 10^9.", "binary")
      for power in (1, 2, 3)),
    (8.0, "You are off by a factor of 8: eight bits are one byte.", "bits"),
    (2.0, "You are off by a factor of 2: something is counted twice, or half of it is missing.", "factor-2"),
    (4.0, "You are off by a factor of 4: a float32 takes 4 bytes.", "factor-4"),
    (-1.0, "The sign is wrong.", "sign"),
)  # fmt: skip


def agree(a: float, b: float, digits: int | None) -> bool:
    """Whether two numbers are equal to `digits` significant digits, or exactly for None.

    >>> agree(16.1, 16.06, 3), agree(16.1, 16.06, 5)
    (True, False)
    """
    relative = 0.0 if digits is None else 0.5 * 10.0 ** (1 - digits)
    return abs(a - b) <= relative * abs(b) * (1 + 1e-9)


@dataclasses.dataclass(frozen=True)
class Prose:
    """Something to explain. The text is stored as it is, and shown beside a model answer and what to look for in it."""

    key: str
    prompt: str
    model_answer: str
    rubric: tuple[str, ...]
    points: int = 2  # for a person to give

    def solution(self, numbers: Numbers) -> str:
        return self.model_answer

    def wrong(self, numbers: Numbers) -> list[tuple[str, Any, str]]:
        return []

    def judge(self, answer: Any, numbers: Numbers) -> Item:
        if not isinstance(answer, str):
            return Item(self.key, INCORRECT, "write a text, in quotes", 0)
        if len(answer.split()) < WORDS:
            sentence = f"write at least {WORDS} words; the model answer appears beside what you wrote"
            return Item(self.key, NOT_ATTEMPTED, sentence, 0)
        return Item(self.key, KEPT, "kept; compare it with the model answer below", 0)


@dataclasses.dataclass(frozen=True)
class Artifact:
    """Something made and saved.

    Attributes:
        key: Name of the answer.
        prompt: What to make.
        example: An answer as the learner might give it.
        problem: From the numbers, with what was observed, to (mistake, sentence), or None if nothing is wrong.
        points: What it earns.
    """

    key: str
    prompt: str
    example: str
    problem: Callable[[Numbers], tuple[str, str] | None]
    points: int = 2

    def solution(self, numbers: Numbers) -> str:
        return self.example

    def wrong(self, numbers: Numbers) -> list[tuple[str, Any, str]]:
        return []  # these are things on disk; the tests make them

    def judge(self, answer: Any, numbers: Numbers) -> Item:
        found = self.problem(numbers)
        if found is None:
            return Item(self.key, CORRECT, numbers["report"], self.points)
        return Item(self.key, INCORRECT, found[1], self.points, found[0])


@dataclasses.dataclass(frozen=True)
class Observed:
    """What an experiment showed on this machine: the option that came true, and the figures."""

    letter: str
    sentence: str


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Choose before you run: what will the experiment show? It earns no points, so an honest guess costs nothing."""

    prompt: str
    options: tuple[str, ...]
    comes_true: str  # the letter that the experiment gives on every machine; it may still surprise
    experiment: Callable[[Numbers], Observed]
    duration: str = "a few seconds"

    def lettered(self) -> list[tuple[str, str]]:
        return list(zip(string.ascii_lowercase, self.options, strict=False))


@dataclasses.dataclass(frozen=True)
class Question:
    """A question of the chapter, in parts.

    Attributes:
        name: Short name, as in `check(name, answers)`.
        title: Heading of its part of the notebook.
        minutes: Honest time to answer it.
        statement: The question, in Markdown.
        draw: From a random generator to the student's numbers.
        given: What each of these numbers is, in words.
        parts: What to answer: Choice, Number, Prose and Artifact.
        prediction: What to predict before the experiment.
        hints: Three; the first is never the answer.
        pitfalls: Errors that one is likely to meet, and what they mean.
        explanation: Shown once all parts are right.
        program: A function that the learner completes and runs before answering, or None.
        settings: Answers that are filled in already.
        observe: From the answers and the numbers to more numbers, read from what the learner made; or None.
    """

    name: str
    title: str
    minutes: int
    statement: str
    draw: Callable[[random.Random], Numbers]
    given: dict[str, str]
    parts: tuple[Any, ...]
    prediction: Prediction
    hints: tuple[str, str, str]
    pitfalls: tuple[str, ...]
    explanation: str
    program: Callable[[], None] | None = None
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    observe: Callable[[dict[str, Any], Numbers], Numbers] | None = None

    @property
    def points(self) -> int:
        """Points that the check gives."""
        return sum(part.points for part in self.parts if not isinstance(part, Prose))

    @property
    def prose_points(self) -> int:
        """Points that a person gives."""
        return sum(part.points for part in self.prose)

    @property
    def prose(self) -> tuple[Prose, ...]:
        return tuple(part for part in self.parts if isinstance(part, Prose))

    def numbers(self, student: str) -> Numbers:
        """A student's numbers: the same on every machine; case and outer spaces of the name do not count."""
        return self.draw(random.Random(f"{self.name}/{student.strip().lower()}"))

    # -- text for the notebooks ------------------------------------------------------------------------------

    def skeleton(self) -> str:
        """The answers to fill in."""
        lines = ["answers = {", '    "student": "",  # your name or number, as your course knows you']
        lines += [f'    "{key}": "{value}",' for key, value in self.settings.items()]
        for part in self.parts:
            empty = '""' if isinstance(part, Prose | Artifact) else "None"
            remark = ""
            if isinstance(part, Choice):
                remark = "  # " + ", ".join(f'"{letter}"' for letter, _ in part.lettered())
            lines.append(f'    "{part.key}": {empty},{remark}')
        return "\n".join([*lines, "}"])

    def stub_source(self) -> str:
        return self.skeleton()

    def marked_source(self) -> str:
        """The skeleton, and below it, between nbgrader's marks, the right answers."""
        return "\n".join([self.skeleton(), BEGIN, self.solution_source(), END])

    def solution_source(self, student: str = EXAMPLE_STUDENT) -> str:
        """Right answers as the cell would hold them."""
        return "\n".join(
            ["answers = {", *(pair(key, value) for key, value in self.solved(student).items()), "}"]
        )

    def solved(self, student: str = EXAMPLE_STUDENT) -> dict[str, Any]:
        """The right answers for a student."""
        numbers = self.numbers(student)
        return (
            {"student": student} | self.settings | {part.key: part.solution(numbers) for part in self.parts}
        )

    def program_source(self, solved: bool) -> str:
        """The function to complete: as handed out, or with its solution and nbgrader's marks."""
        assert self.program is not None
        source = textwrap.dedent(inspect.getsource(self.program)).strip()
        return source if solved else replace_solution(source, STUB)


def judge_answers(question: Question, answers: Any, student: str | None = None) -> Result:
    """Judges a dict of answers, part by part.

    Args:
        question: The question.
        answers: What the learner wrote, as plain data.
        student: Whose numbers apply, if the caller knows better than the answers (a grader does).
    """
    result = Result(question.name, question.title, UNCHECKABLE, points=question.points)
    try:
        answers = to_plain(answers)
    except NotPlain as error:
        result.sentence = f"the answers hold {error}; write letters, numbers and text only"
        return result
    if not isinstance(answers, dict):
        result.sentence = f'Hand in the dict of your answers: check("{question.name}", answers)'
        return result
    if not any(_is_given(answers.get(part.key)) for part in question.parts):
        result.outcome, result.sentence = NOT_ATTEMPTED, "Nothing is answered yet."
        return result
    problem = _student_problem(answers.get("student"), student)
    if problem:
        result.sentence = problem
        return result
    numbers = question.numbers(student or answers["student"])
    if question.observe:
        numbers = numbers | question.observe(answers, numbers)
    result.items = [_judge_part(part, answers.get(part.key), numbers) for part in question.parts]
    result.total = len(result.items)
    result.passed = sum(item.outcome in (CORRECT, KEPT) for item in result.items)
    result.earned = sum(item.points for item in result.items if item.outcome == CORRECT)
    result.outcome = _overall([item.outcome for item in result.items])
    known = {"student", *question.settings, *(part.key for part in question.parts)}
    unknown = [key for key in answers if key not in known]
    if unknown:
        result.note = f"No part is called {', '.join(unknown[:4])}; do not change the names."
    result.after = _what_to_read(question, result, answers)
    return result


def _is_number(answer: Any) -> bool:
    """Whole or not, and of a size that a float can hold."""
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        return False
    try:
        return math.isfinite(answer)
    except OverflowError:
        return False


def _is_given(answer: Any) -> bool:
    return answer is not None and not (isinstance(answer, str) and not answer.strip())


def whose_answers(written: Any, student: str) -> tuple[bool, str]:
    """Whether answers that name `written` count for `student` who handed them in, and what a person should know.

    >>> whose_answers("Ada ", "ada"), whose_answers("ada lovelace", "a1b2")[0], whose_answers("example", "ada")[0]
    ((True, ''), True, False)
    """
    name = written.strip() if isinstance(written, str) else ""
    if not name or name.lower() == student.strip().lower():
        return True, ""
    if name.lower() == EXAMPLE_STUDENT:
        return False, f"the answers are the published ones, for the numbers of {name!r}: they earn nothing"
    return True, f"the answers are for the numbers of {name[:80]!r}"


def _student_problem(written: Any, known: str | None) -> str | None:
    if not isinstance(written, str) or not written.strip():
        return 'Fill in "student" first: your numbers depend on it.'
    if known is not None and written.strip().lower() != known.strip().lower():
        return f"These are answers for the numbers of {written!r}, and not of {known!r}."
    return None


def _judge_part(part: Any, answer: Any, numbers: Numbers) -> Item:
    if not _is_given(answer):
        return Item(part.key, NOT_ATTEMPTED, "no answer yet", 0 if isinstance(part, Prose) else part.points)
    return part.judge(answer, numbers)


def _overall(outcomes: list[str]) -> str:
    if INCORRECT in outcomes:
        return INCORRECT
    return UNFINISHED if NOT_ATTEMPTED in outcomes else CORRECT


def _what_to_read(question: Question, result: Result, answers: dict[str, Any]) -> str:
    """Each text beside its model answer; the explanation once all is right."""
    kept = {item.key for item in result.items if item.outcome == KEPT}
    texts = [question.explanation] if result.outcome == CORRECT else []
    for part in question.prose:
        if part.key in kept:
            lines = [
                f"{part.key}, in your words: {' '.join(answers[part.key].split())}",
                f"\nA model answer: {part.model_answer}",
                "\nCheck in your own text:",
            ]
            lines += [f"  {number}. {criterion}" for number, criterion in enumerate(part.rubric, 1)]
            ticks = ", ".join(["True"] * (len(part.rubric) - 1) + ["False"])
            lines.append(f'Rate yourself, for example: rate("{question.name}", "{part.key}", [{ticks}])')
            texts.append("\n".join(lines))
    return "\n\n".join(texts)
