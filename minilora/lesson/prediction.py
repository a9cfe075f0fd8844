"""What can be predicted on a page: one of some options, or a number.

Not here: the predictions of the pages (predictions/), and asking for a guess (guessing.py).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of a few options, shown as buttons.

    Args:
        question: What is asked, as one sentence.
        options: The words on the buttons. A dict also gives the number that each stands for; then `reveal` takes a
            number, and the nearest option is the right one.
        unit: Written after the measured number.

    >>> Choice("Which wins?", ["LoRA", "full"]).right("full")
    'full'
    >>> Choice("How many?", {"half": 50, "one in ten": 10, "one in fifty": 2}, "%").right(1.8)
    'one in fifty'
    """

    question: str
    options: Sequence[str] | Mapping[str, float]
    unit: str = ""

    def right(self, measured: str | float) -> str:
        """The option that a measurement picks."""
        if not isinstance(self.options, Mapping):
            if measured not in self.options:
                raise ValueError(f"{measured!r} is none of the options {', '.join(self.options)}")
            return str(measured)
        numbers, found = dict(self.options), float(measured)
        if found > 0 and min(numbers.values()) > 0:  # as far from twice as from half
            return min(numbers, key=lambda option: abs(math.log(numbers[option] / found)))
        return min(numbers, key=lambda option: abs(numbers[option] - found))

    def fits(self, guess: object) -> bool:
        """Whether a guess is one of the options."""
        return guess in list(self.options)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number, chosen with a slider.

    Args:
        question: What is asked, as one sentence.
        values: The values of the slider, in order.
        unit: Written after each number.
        log: Whether closeness is a matter of factors (1 against 10) rather than of differences.
    """

    question: str
    values: Sequence[float]
    unit: str = ""
    log: bool = False

    def fits(self, guess: object) -> bool:
        """Whether a guess is a number within the slider's range."""
        return isinstance(guess, int | float) and min(self.values) <= guess <= max(self.values)


Prediction = Choice | Estimate
