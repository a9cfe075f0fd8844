"""What a right answer looks like, and what is wrong with another: plain data against plain data.

A spec (`Whole`, `Floats`, `Codes` …) names one value, says its kind, and finds the first difference from what was
expected, as a sentence, or None. Kinds and shapes must agree exactly, nothing is broadcast. Floating-point results may
differ by a tolerance that each exercise derives from the rounding of its own sums.

Not here: what is expected (the exercise's reference says it), and guesses at why an answer is wrong (judging.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

HALF_ULP = 2.0**-24  # largest relative error of one rounding to float32
TYPE, KEYS = "wrong type", "wrong names"  # keys of problems


class Problem(str):
    """What is wrong, in words.

    Attributes:
        key: Short name of the mistake where its kind is certain, else empty.
    """

    key: str

    def __new__(cls, sentence: str, key: str = "") -> Problem:
        made = super().__new__(cls, sentence)
        made.key = key
        return made


@dataclasses.dataclass(frozen=True)
class Whole:
    """An integer; 12.0 counts as 12."""

    name: str = "the result"

    def problem(self, got: Any, expected: Any, arguments: dict[str, Any]) -> Problem | None:
        if isinstance(got, bool) or not isinstance(got, int | float):
            return Problem(f"{self.name} is {kind(got)}; expected an integer", TYPE)
        return None if got == expected else Problem(f"{self.name} is {got:,}; expected {expected:,}")


@dataclasses.dataclass(frozen=True)
class Floats:
    """A number, or an array of them, of any float type.

    Args:
        name: What the value is called in a sentence.
        tolerance: From the arguments to the largest error that rounding can explain, a number or one for each value.

    >>> Floats("y").problem(np.array([1.0, 2.5]), np.array([1.0, 2.0]), {})
    'y at [1] is 2.5; expected 2'
    """

    name: str = "the result"
    tolerance: Callable[..., Any] = lambda *arguments: 0.0

    def problem(self, got: Any, expected: Any, arguments: dict[str, Any]) -> Problem | None:
        numbers = _as_floats(got)
        if numbers is None:
            return Problem(f"{self.name} is {kind(got)}; expected {kind(expected)}", TYPE)
        wanted = np.asarray(expected, np.float64)
        if numbers.shape != wanted.shape:
            return _shape_problem(self.name, numbers, wanted)
        if isinstance(got, np.ndarray) and got.dtype == np.float16:
            return Problem(f"{self.name} has the type float16, which keeps only three digits", "float16")
        wrong = ~(np.abs(numbers - wanted) <= self.tolerance(*arguments.values()))  # NaN is never close
        wrong &= ~(np.isnan(numbers) & np.isnan(wanted))
        if not wrong.any():
            return None
        return Problem(_first_difference(self.name, numbers, wanted, wrong) + _pattern(numbers, wanted))


@dataclasses.dataclass(frozen=True)
class Codes:
    """An array of integers of exactly this type, equal in every entry."""

    name: str
    dtype: type[np.integer]

    def problem(self, got: Any, expected: Any, arguments: dict[str, Any]) -> Problem | None:
        if not isinstance(got, np.ndarray):
            return Problem(f"{self.name} is {kind(got)}; expected {kind(expected)}", TYPE)
        if got.dtype != self.dtype:
            return Problem(f"{self.name} has the type {got.dtype}; expected {np.dtype(self.dtype)}", TYPE)
        if got.shape != expected.shape:
            return _shape_problem(self.name, got, expected)
        wrong = got != expected
        return Problem(_first_difference(self.name, got, expected, wrong)) if wrong.any() else None


@dataclasses.dataclass(frozen=True)
class Names:
    """A list of strings, in the expected order."""

    name: str

    def problem(self, got: Any, expected: Any, arguments: dict[str, Any]) -> Problem | None:
        if not isinstance(got, list) or not all(isinstance(item, str) for item in got):
            return Problem(f"{self.name} is {kind(got)}; expected a list of names", TYPE)
        if got == expected:
            return None
        missing = [item for item in expected if item not in got]
        extra = [item for item in got if item not in expected]
        notes = [
            f"{word} {', '.join(items[:4])}" for word, items in (("lacks", missing), ("has", extra)) if items
        ]
        return Problem(f"{self.name}: {'; it '.join(notes) or 'the right names in the wrong order'}", KEYS)


@dataclasses.dataclass(frozen=True)
class Parts:
    """Several results, returned together as a tuple, a list, or an array with one entry for each."""

    parts: tuple[Any, ...]

    def problem(self, got: Any, expected: Any, arguments: dict[str, Any]) -> Problem | None:
        names = ", ".join(part.name for part in self.parts)
        got = _as_list(got, len(self.parts))
        if not isinstance(got, list) or len(got) != len(self.parts):
            return Problem(f"the result is {kind(got)}; expected {len(self.parts)} values: {names}", TYPE)
        return _first(
            part.problem(g, e, arguments) for part, g, e in zip(self.parts, got, expected, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class Table:
    """A dict with exactly the expected keys, in any order.

    Args:
        name: What the dict is called in a sentence.
        each: The spec of all values, or a dict key -> spec.
    """

    name: str
    each: Any

    def problem(self, got: Any, expected: Any, arguments: dict[str, Any]) -> Problem | None:
        if not isinstance(got, dict):
            return Problem(f"{self.name} is {kind(got)}; expected a dict", TYPE)
        if set(got) != set(expected):
            missing = [key for key in expected if key not in got]
            extra = [key for key in got if key not in expected]
            notes = [
                f"{word} {', '.join(keys[:4])}" for word, keys in (("lacks", missing), ("has", extra)) if keys
            ]
            return Problem(f"{self.name}: {'; it '.join(notes)}", KEYS)
        return _first(
            dataclasses.replace(self._spec(key), name=f"{self.name}[{key!r}]").problem(
                got[key], expected[key], arguments
            )
            for key in expected
        )

    def _spec(self, key: str) -> Any:
        return self.each[key] if isinstance(self.each, dict) else self.each


@dataclasses.dataclass(frozen=True)
class Rows:
    """A list of values of one kind, or one array of them, as many as expected."""

    name: str
    each: Any

    def problem(self, got: Any, expected: Any, arguments: dict[str, Any]) -> Problem | None:
        got = _as_list(got, len(expected))
        if not isinstance(got, list) or len(got) != len(expected):
            return Problem(f"{self.name} is {kind(got)}; expected a list of {len(expected)}", TYPE)
        return _first(
            dataclasses.replace(self.each, name=f"{self.name}[{i}]").problem(g, e, arguments)
            for i, (g, e) in enumerate(zip(got, expected, strict=True))
        )


@dataclasses.dataclass(frozen=True)
class Property:
    """A value for which many answers are right.

    Args:
        shape: Spec of its kind and shape, which are compared first, with all values set to zero.
        test: Gets the value and the arguments, and returns what is wrong, or None.
    """

    shape: Any
    test: Callable[[Any, dict[str, Any]], Problem | None]
    many_answers = True  # showing one of them as the expected one would mislead

    def problem(self, got: Any, expected: Any, arguments: dict[str, Any]) -> Problem | None:
        return self.shape.problem(_zeros(got), _zeros(expected), arguments) or self.test(got, arguments)


# -- words -------------------------------------------------------------------------------------------------------------


def kind(value: Any) -> str:
    """What a plain value is, in words.

    >>> kind(np.zeros((2, 3), np.float32)), kind([1, 2])
    ('an array of shape (2, 3)', 'a list of 2')
    """
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return f"the number {value:g}"
    if isinstance(value, str):
        return "text"
    return f"a list of {len(value)}" if isinstance(value, list) else f"a dict of {len(value)}"


def _first(problems: Any) -> Problem | None:
    return next((problem for problem in problems if problem), None)


def _as_floats(value: Any) -> np.ndarray | None:
    """A number, an array, or nested lists of numbers as float64; None for anything else."""
    if isinstance(value, np.ndarray):
        return None if value.dtype.kind == "b" else value.astype(np.float64)
    if not _only_numbers(value):
        return None
    try:
        return np.array(value, np.float64)
    except (ValueError, OverflowError):  # ragged, or too large
        return None


def _only_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return all(_only_numbers(item) for item in value)
    if isinstance(value, np.ndarray):
        return value.dtype.kind != "b"
    return isinstance(value, int | float) and not isinstance(value, bool)


def _zeros(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return np.zeros_like(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0
    return [_zeros(item) for item in value] if isinstance(value, list) else value


def _as_list(value: Any, count: int) -> Any:
    """An array of `count` entries as a list of them; anything else as it is."""
    if isinstance(value, np.ndarray) and len(value) == count:
        return [item.item() if item.ndim == 0 else item for item in map(np.asarray, value)]
    return value


def _shape_problem(name: str, got: np.ndarray, expected: np.ndarray) -> Problem:
    turned = (
        " (transposed: is there one transpose too many, or one too few?)"
        if got.shape[::-1] == expected.shape
        else ""
    )
    return Problem(f"{name} has the shape {got.shape}; expected {expected.shape}{turned}", "wrong shape")


def _first_difference(name: str, got: np.ndarray, expected: np.ndarray, wrong: np.ndarray) -> str:
    if wrong.ndim == 0:
        return f"{name} is {_number(got)}; expected {_number(expected)}"
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    others = f", and {int(wrong.sum()) - 1} more differ" if wrong.sum() > 1 else ""
    return f"{name} at {list(place)} is {_number(got[place])}; expected {_number(expected[place])}{others}"


def _number(value: Any) -> str:
    """Seven digits: enough to see a difference in float32."""
    return f"{float(value):.7g}"


def _pattern(got: np.ndarray, expected: np.ndarray) -> str:
    """A remark if all values are wrong in the same way."""
    nonzero = expected != 0
    if nonzero.sum() < 2 or not np.isfinite(got).all() or not (got[~nonzero] == 0).all():
        return ""
    ratios = got[nonzero] / expected[nonzero]
    factor = float(np.median(ratios))
    if factor == 0 or np.abs(ratios - factor).max() > 1e-5 * abs(factor):
        return ""
    return (
        ". Every sign is wrong"
        if abs(factor + 1) < 1e-5
        else f". Every value is {factor:.4g} times the expected one"
    )
