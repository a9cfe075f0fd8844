"""Mistakes that can occur in any exercise, each recognized by the repair that makes the result right.

Results in another order, transposed, with the wrong sign, off by a factor, rounded: a learner who reads "every value is
twice the expected one" knows where to look. A repair is tried on all results that are wrong, and must mend every one.

Not here: the mistakes of one exercise (its own file), and which explanation comes first (naming.py).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

FLOAT16 = 2.0**-8  # of the largest value: a few roundings to float16, 2^-11 each


@dataclasses.dataclass(frozen=True)
class Repair:
    """One general mistake and its repair.

    Attributes:
        key: Short name of the mistake.
        sentence: The feedback.
        apply: From a wrong value and the expected one to the repaired value, which is right if this is the mistake.
    """

    key: str
    sentence: str
    apply: Callable[[Any, Any], Any]


def possible(value: Any, expected: Any, parts: list[str]) -> Iterator[Repair]:
    """Yields the repairs worth trying.

    Args:
        value: The first wrong value.
        expected: What it should be.
        parts: Names of the results, if several are returned.
    """
    yield from _orders(value, parts)
    yield from _of_the_whole(value, expected)
    if isinstance(expected, dict) and isinstance(value, dict):
        for name in expected.keys() & value.keys():
            yield from _of_one_part(name, name, value, expected)
    elif len(parts) > 1 and isinstance(value, list) and len(value) == len(parts):
        for place, name in enumerate(parts):
            yield from _of_one_part(place, name, value, expected)


def _of_one_part(place: Any, name: str, value: Any, expected: Any) -> Iterator[Repair]:
    """The repairs of one of several results, where the others are right."""

    def only(change: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def apply(value: Any, right: Any) -> Any:
            repaired = value.copy()
            repaired[place] = change(value[place], right[place])
            return repaired

        return apply

    for repair in _of_the_whole(value[place], expected[place]):
        sentence = f"{name}: {repair.sentence[0].lower()}{repair.sentence[1:]} The rest is right."
        yield Repair(f"{name}, {repair.key}", sentence, only(repair.apply))
    yield Repair(
        f"{name} alone", f"Only {name} is wrong; the rest is right.", only(lambda value, right: right)
    )


def _of_the_whole(value: Any, expected: Any) -> Iterator[Repair]:
    yield Repair(
        "wrong type", "The values are right, but their type is wrong: compare the types below.", _retyped
    )
    yield Repair(
        "wrong shape", "The numbers are right and in the right order, but the shape is wrong.", _reshaped
    )
    yield Repair("turned over", "The result is transposed: add a transpose, or leave one out.", _turned)
    yield Repair("wrong sign", "Every sign is wrong; apart from that, the numbers are right.", _negated)
    yield from _off_by_one(value, expected)
    yield Repair(
        "float16",
        "The result is right to only three digits, as if it had been converted to float16. Keep the "
        "precision of the inputs.",
        lambda value, right: _snapped(value, right, FLOAT16),
    )
    factor = _factor(value, expected)
    if factor is not None:
        yield Repair(
            "constant factor",
            f"Every value is {factor:.4g} times what it should be, in every case: look for a constant "
            f"factor.",
            lambda value, right: _each(value, lambda x: x / factor),
        )
    yield Repair(
        "factor",
        "In each case all values are off by one common factor: a scale is computed wrongly.",
        _rescaled,
    )
    yield Repair(
        "neighbors",
        "Some numbers are one too large or one too small. Check the rounding, and whether you count from 0 "
        "or from 1.",
        _one_step,
    )
    yield Repair("rounded", "The result is rounded to integers; keep the decimals.", _unrounded)


def numbers(value: Any) -> np.ndarray | None:
    """A number, an array or (nested) lists of numbers as an array; None for anything else.

    >>> numbers([1, 2]), numbers("a") is None
    (array([1, 2]), True)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | list | np.ndarray):
        return None
    if isinstance(value, list) and not all(numbers(item) is not None for item in value):
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # lists of unequal length, or too large a number
        return None
    return array if array.dtype.kind in "iuf" else None


def _orders(value: Any, parts: list[str]) -> Iterator[Repair]:
    if len(parts) < 2 or not isinstance(value, list) or len(value) != len(parts):
        return
    for order in itertools.permutations(range(len(parts))):
        if list(order) != sorted(order):
            yield Repair(
                "wrong order",
                f"The results are right, but in the wrong order: return {', '.join(parts)}.",
                functools.partial(_in_order, order),
            )


def _in_order(order: tuple[int, ...], value: Any, right: Any) -> Any:
    return [value[place] for place in order]


def _plus(by: int, value: Any, right: Any) -> Any:
    return value + by


def _as_expected(value: Any, right: Any) -> Any:
    return right


def _each(value: Any, change: Callable[[np.ndarray], Any]) -> Any:
    """The same change to every array of numbers, wherever it stands."""
    found = numbers(value)
    if found is not None:
        return change(found)
    if isinstance(value, dict):
        return {key: _each(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_each(item, change) for item in value]
    raise TypeError("nothing to change")


def _with(value: Any, right: Any, change: Callable[[np.ndarray, Any], Any]) -> Any:
    """As _each, with the expected value beside each array."""
    if isinstance(right, np.ndarray | int | float):
        found = numbers(value)
        if found is None:
            raise TypeError("no numbers")
        return change(found, right)
    if isinstance(right, dict):
        return {key: _with(value[key], right[key], change) for key in right}
    if isinstance(right, str):
        return value
    return [_with(v, r, change) for v, r in zip(value, right, strict=True)]


def _retyped(value: Any, right: Any) -> Any:
    def change(x: np.ndarray, wanted: Any) -> Any:
        return wanted if x.shape == np.shape(wanted) and np.array_equal(x, wanted) else x

    return _with(value, right, change)


def _reshaped(value: Any, right: Any) -> Any:
    return _with(value, right, lambda x, wanted: x.reshape(np.shape(wanted)))


def _turned(value: Any, right: Any) -> Any:
    return _each(value, lambda x: x.T)


def _negated(value: Any, right: Any) -> Any:
    return _each(value, lambda x: -x if x.dtype.kind != "u" else x)


def _off_by_one(value: Any, expected: Any) -> Iterator[Repair]:
    if isinstance(expected, int) and isinstance(value, int | float):
        for by, word in ((1, "small"), (-1, "large")):
            yield Repair(
                f"one too {word}",
                f"One too {word}, in every case that is wrong: check where your loop or range starts and ends.",
                functools.partial(_plus, by),
            )


def _snapped(value: Any, right: Any, relative: float) -> Any:
    def change(x: np.ndarray, wanted: Any) -> Any:
        if np.asarray(wanted).dtype.kind != "f":
            return x
        near = np.abs(x - wanted) <= relative * np.abs(wanted).max()
        return np.where(near, wanted, x)

    return _with(value, right, change)


def _factor(value: Any, expected: Any) -> float | None:
    try:
        ratios: list[float] = []
        _with(value, expected, lambda x, wanted: ratios.extend(_ratios(x, wanted)))
    except (TypeError, ValueError, KeyError, IndexError):
        return None
    if not ratios or not np.isfinite(ratios).all():
        return None
    factor = float(np.median(ratios))
    return factor if factor not in (0.0, 1.0) and np.ptp(ratios) <= 1e-5 * abs(factor) else None


def _ratios(x: np.ndarray, wanted: Any) -> np.ndarray:
    wanted = np.asarray(wanted, np.float64)
    if x.shape != wanted.shape or (x[wanted == 0] != 0).any():
        raise ValueError("not a multiple")
    return (x[wanted != 0] / wanted[wanted != 0]).ravel()


def _rescaled(value: Any, right: Any) -> Any:
    factor = _factor(value, right)
    if factor is None:
        raise ValueError("not a multiple")
    return _each(value, lambda x: x / factor)


def _one_step(value: Any, right: Any) -> Any:
    def change(x: np.ndarray, wanted: Any) -> Any:
        whole = x.dtype.kind in "iu" and np.asarray(wanted).dtype.kind in "iu"
        near = np.abs(x.astype(np.int64) - np.asarray(wanted, np.int64)) <= 1 if whole else False
        return wanted if np.all(near) and x.dtype == np.asarray(wanted).dtype else x

    return _with(value, right, change)


def _unrounded(value: Any, right: Any) -> Any:
    def change(x: np.ndarray, wanted: Any) -> Any:
        whole = np.abs(x - np.asarray(wanted)) < 1
        return np.where(whole & (x == np.round(x)), wanted, x)

    return _with(value, right, change)
