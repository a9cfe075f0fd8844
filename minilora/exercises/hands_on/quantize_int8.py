"""Exercise: absmax quantization to 8 bits."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Codes, Floats, Parts
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def quantize_int8(x):
    """Quantizes numbers to 8 bits with one step size.

    Args:
        x: float32, any shape.

    Returns:
        The integers, int8 in the shape of x, and the step between two of them.

    >>> q, step = quantize_int8(np.array([0.1, -0.5, 1.27], np.float32))
    >>> q, round(float(step), 6)
    (array([ 10, -50, 127], dtype=int8), 0.01)
    """
    ### BEGIN SOLUTION
    step = np.abs(x).max() / 127
    if step == 0:
        return np.zeros(x.shape, np.int8), 1.0  # any step would do
    return np.round(x / step).astype(np.int8), step
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    def off_grid(*shape, sign=0):
        """Multiples of a step, up to 0.4 of it off: nothing near the middle between two."""
        whole = rng.integers(-126, 127, shape)
        whole = whole if sign == 0 else sign * np.abs(whole)
        x = whole + rng.uniform(0.05, 0.4, shape) * rng.choice([-1, 1], shape)
        x.flat[rng.integers(x.size)] = 127 * (sign or rng.choice([-1, 1]))
        return (x * rng.uniform(0.002, 0.05)).astype(np.float32)

    zeros = "Only a tensor of zeros goes wrong: its step would be 0. Return zeros and any finite step."
    negative = "Only negative numbers go wrong: one of them may have the largest magnitude. Use np.abs."
    small = off_grid(8) / np.float32(40)  # beside an outlier these fall on -3 … 3
    with_outlier = np.append(small, np.abs(small).max() * np.float32(31.7))
    return [
        Case("a matrix", {"x": off_grid(3, 5)}),
        Case("three dimensions", {"x": off_grid(2, 3, 2)}),
        Case("only negative numbers", {"x": off_grid(7, sign=-1)}, negative),
        Case("one outlier", {"x": _away_from_ties(with_outlier)}),
        Case("all zeros", {"x": np.zeros((2, 3), np.float32)}, zeros),
    ]


def _away_from_ties(x: np.ndarray) -> np.ndarray:
    """Moves what lies within 0.05 of the middle between two steps to the nearer whole step."""
    step = np.float32(np.abs(x).max() / 127)
    shares = x / step
    near = np.abs(np.abs(shares - np.round(shares)) - 0.5) < 0.05
    return np.where(near, np.round(shares) * step, x).astype(np.float32)


def tolerance(x):
    """Two roundings to float32; for zeros any finite step is right."""
    top = float(np.abs(x).max())
    return 2 * 2.0**-24 * top / 127 if top else np.finfo(np.float64).max


def by_loops(x):
    top = max(abs(float(v)) for v in x.flat)
    q = np.zeros(x.shape, np.int8)
    for place in np.ndindex(*x.shape):
        q[place] = round(float(x[place]) * 127 / top) if top else 0
    return q, top / 127


def half_up(x):
    step = max(np.abs(x).max(), np.float32(1e-30)) / 127
    return np.floor(x / step + 0.5).clip(-127, 127).astype("int8"), step


def dividing_first(x):
    step = np.abs(x).max() / 127
    return np.where(step == 0, 0, np.round(x / step)).astype(
        np.int8
    ), step  # for zeros: right, and NumPy warns


def by_torch(x):
    import torch

    x = torch.from_numpy(x)
    step = x.abs().max().clamp_min(1e-12) / 127
    return (x / step).round().to(torch.int8), step


def flawed(
    step=lambda x: np.abs(x).max() / 127,
    number=np.round,
    kind=lambda q: q.astype(np.int8),
    back=lambda step: step,
):
    def quantize(x):
        s = step(x)
        s = np.where(s == 0, 1, s)
        return kind(number(x / s)), back(s)

    return quantize


def with_zero_point(x):
    low, high = x.min(), x.max()
    step = (high - low) / 255 or 1.0
    return (np.round((x - low) / step) - 128).astype(np.int8), step


def nan_for_zeros(x):
    step = np.abs(x).max() / 127
    return np.nan_to_num(np.round(x / step)).astype(np.int8), step if step else np.nan


def fits_its_own_step(arguments, value):
    """q is x / step, rounded to the nearest whole number and cut off or wrapped where it does not fit in int8."""
    q, step = value
    if not arguments["x"].any():
        return True
    whole = np.round(arguments["x"].astype(np.float64) / step)
    fits = (q == whole) | (np.abs(whole) > 126)
    return q.dtype == np.int8 and np.shape(step) == () and fits.mean() > 0.9


def is_nan_step(arguments, value):
    return bool(np.isnan(value[1])) == (not arguments["x"].any())


EXERCISE = Exercise(
    name="quantize-int8",
    title="Absmax quantization to 8 bits",
    minutes=20,
    points=2,
    statement="""
The simplest way to store numbers in fewer bits: choose one step size, `step`, and store each number as a
multiple of it, rounded to the nearest integer. An `int8` reaches from -128 to 127. To keep both sides
equal, only -127 … 127 are used, and the number with the largest magnitude becomes 127 or -127.

Write `quantize_int8`. Return the integers, as `int8` and in the shape of `x`, and the step. Zeros must
become zeros, even if `x` holds nothing else; in that case any finite step will do.
""",
    solution=quantize_int8,
    example={"x": np.array([0.1, -0.5, 1.27], np.float32)},
    draw=draw,
    result=Parts((Codes("q", np.int8), Floats("step", tolerance))),
    hints=(
        "Which step turns the number with the largest magnitude into 127 or -127?",
        "Divide x by that step, round to integers, then convert. What if the step is 0?",
        "step = np.abs(x).max() / 127; q = np.round(x / step).astype(np.int8); for a step of 0 return "
        "zeros and 1.0.",
    ),
    pitfalls=(
        "`invalid value encountered in divide`: all of x is 0, and so is the step.",
        "`astype(np.int8)` drops the decimals; it does not round.",
    ),
    explanation="Each number is now at most half a step off, and takes 8 bits instead of 32. But a single "
    "outlier makes the step large for all others, so most of the 255 integers are never used. "
    "Blocks help, as the next exercise shows.",
    wrong=(
        Wrong(
            "truncates",
            flawed(number=np.trunc),
            "The decimals are cut off, as astype does. Round to the nearest integer first.",
        ),
        Wrong("floor", flawed(number=np.floor), "You round down; round to the nearest integer."),
        Wrong("ceil", flawed(number=np.ceil), "You round up; round to the nearest integer."),
        Wrong(
            "wraps",
            flawed(lambda x: np.abs(x).max() / 128, kind=lambda q: q.astype(np.int16).astype(np.int8)),
            "With a step of absmax / 128 the largest number becomes 128, which does not fit in int8 and "
            "turns into -128. Use 127.",
        ),
        Wrong(
            "128",
            flawed(lambda x: np.abs(x).max() / 128, kind=lambda q: q.clip(-128, 127).astype(np.int8)),
            "Your step is absmax / 128. The largest integer used on both sides is 127.",
        ),
        Wrong(
            "255",
            flawed(lambda x: np.abs(x).max() / 255, kind=lambda q: q.clip(-127, 127).astype(np.int8)),
            "Your step is absmax / 255, but only 127 steps fit on each side of zero: larger numbers are "
            "cut off.",
        ),
        Wrong(
            "four-bits",
            flawed(lambda x: np.abs(x).max() / 7),
            "Only -7 … 7 are used; that is 4 bits. With 8 the last number is 127.",
        ),
        Wrong(
            "max-without-abs",
            flawed(lambda x: np.abs(x.max()) / 127, kind=lambda q: q.clip(-127, 127).astype(np.int8)),
            "You take the largest value instead of the largest magnitude: negative numbers count as well. "
            "Use np.abs first.",
        ),
        Wrong(
            "zero-point",
            with_zero_point,
            "You map the smallest number to -128 and the largest to 127, which needs a zero point. Here 0 "
            "stays 0.",
        ),
        Wrong(
            "nan",
            nan_for_zeros,
            "For a tensor of zeros the step is 0, and dividing by it gives NaN. Treat that case first.",
            recognize=is_nan_step,
        ),
        Wrong(
            "not-integers",
            flawed(kind=lambda q: q.astype(np.float32)),
            "The numbers are right but still float32, four bytes each: nothing is saved. Convert them to "
            "int8.",
        ),
        Wrong(
            "unsigned",
            flawed(kind=lambda q: (q + 127).astype(np.uint8)),
            "Your numbers run from 0 to 254, unsigned. Store them with their sign, as int8.",
        ),
        Wrong(
            "inverse-step",
            flawed(back=lambda step: 1 / step),
            "You return 1 / step. Return the step itself, so that q times step is about x.",
        ),
        Wrong(
            "absmax-returned",
            flawed(back=lambda step: 127 * step),
            "You return absmax. The step is absmax / 127, so that q times step is about x.",
        ),
        Wrong(
            "other-order",
            lambda x: quantize_int8(x)[::-1],
            "You return the step first; the numbers come first, then the step.",
        ),
        Wrong(
            "flattened",
            lambda x: (quantize_int8(x)[0].reshape(-1), quantize_int8(x)[1]),
            "The integers are flattened; keep the shape of x.",
        ),
        Wrong(
            "step-per-column",
            lambda x: flawed(lambda x: np.abs(x).max(axis=0, keepdims=True) / 127)(x),
            "Each column has its own step. That is a good idea, but here the whole tensor shares one step.",
        ),
        Wrong(
            "signs-lost",
            flawed(number=lambda shares: np.abs(np.round(shares))),
            "The signs are lost. np.abs is for the step only.",
        ),
        Wrong(
            "range-for-step",
            flawed(lambda x: (x.max() - x.min()) / 254),
            "Your step comes from the range, largest minus smallest. It is absmax / 127.",
        ),
        Wrong(
            "126",
            flawed(lambda x: np.abs(x).max() / 126, kind=lambda q: q.clip(-127, 127).astype(np.int8)),
            "Your step is absmax / 126. Divide by 127, so that the largest magnitude becomes 127.",
        ),
        Wrong(
            "mean-magnitude",
            flawed(lambda x: np.abs(x).mean() / 127, kind=lambda q: q.clip(-127, 127).astype(np.int8)),
            "Your step comes from the mean magnitude, so larger numbers are cut off. Take the largest "
            "magnitude.",
        ),
        Wrong(
            "deviation",
            flawed(lambda x: x.std() / 127, kind=lambda q: q.clip(-127, 127).astype(np.int8)),
            "Your step comes from the standard deviation, so larger numbers are cut off. Take the "
            "largest magnitude.",
        ),
        Wrong(
            "step-one",
            flawed(lambda x: np.ones(()), kind=lambda q: q.clip(-127, 127).astype(np.int8)),
            "The numbers are rounded without dividing by the step first.",
        ),
        Wrong(
            "multiplied",
            lambda x: (
                np.clip(np.round(x * (np.abs(x).max() / 127)), -127, 127).astype(np.int8),
                np.abs(x).max() / 127,
            ),
            "You multiply by the step; divide by it.",
        ),
        Wrong(
            "wide",
            flawed(kind=lambda q: q.astype(np.int32)),
            "The numbers are right, but stored in a wider type than int8, so less is saved. Convert them "
            "to int8.",
        ),
        Wrong(
            "dequantized",
            lambda x: (lambda q, step: ((q * step).astype(np.float32), step))(*quantize_int8(x)),
            "You multiply by the step again. Return the integers.",
        ),
        Wrong(
            "step-per-row",
            lambda x: flawed(lambda x: np.abs(x).max(axis=-1, keepdims=True) / 127)(x),
            "Each row has its own step. That is a good idea, but here the whole tensor shares one step.",
        ),
        Wrong(
            "wrong-step",
            flawed(lambda x: np.abs(x).max() / 100, kind=lambda q: q.clip(-127, 127).astype(np.int8)),
            "Your numbers fit your step, but the step is wrong: it is the largest magnitude in the whole "
            "of x, divided by 127.",
            recognize=fits_its_own_step,
        ),
    ),
    variants=(
        Variant("loops", by_loops),
        Variant("halves up", half_up),
        Variant("with a warning", dividing_first),
        Variant("torch", by_torch),
    ),
)
