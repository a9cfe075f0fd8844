"""The parts of a question: a claim to choose, a number to work out, a text, something made; and what to predict.

Each part knows its right answer (`solution`), its known wrong ones (`wrong`), and judges an answer (`judge`).

Not here: the question that holds them (question.py).
"""

from __future__ import annotations

import dataclasses
import math
import string
from collections.abc import Callable
from typing import Any

from minilora.exercises.judging import CORRECT, INCORRECT, KEPT, NOT_ATTEMPTED, Item

Numbers = dict[str, Any]  # what is drawn for a student, by name
WORDS = 12  # fewer are no explanation


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
    """Something to explain: the text is stored, and shown beside a model answer and a list of what to look for."""

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


def _is_number(answer: Any) -> bool:
    """Whole or not, and of a size that a float can hold."""
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        return False
    try:
        return math.isfinite(answer)
    except OverflowError:
        return False
