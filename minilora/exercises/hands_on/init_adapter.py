"""Exercise: how A and B start."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats, Parts, Property
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def init_adapter(in_features, out_features, r, rng):
    """rng: a NumPy random generator -> A (r, in) uniform between ±1/√in, and B (out, r) such that B @ A is zero.

    >>> A, B = init_adapter(in_features=16, out_features=3, r=2, rng=np.random.default_rng(0))
    >>> A.shape, B.shape, bool(0.2 < np.abs(A).max() <= 0.25), float(np.abs(B @ A).max())
    ((2, 16), (3, 2), True, 0.0)
    """
    ### BEGIN SOLUTION
    bound = 1 / np.sqrt(in_features)
    A = rng.uniform(-bound, bound, (r, in_features))
    return A, np.zeros((out_features, r))
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    shapes = (("more inputs than outputs", 128, 48, 8), ("more outputs than inputs", 96, 200, 12))
    return [
        Case(label, {"in_features": i, "out_features": o, "r": r, "rng": int(rng.integers(2**32))})
        for label, i, o, r in shapes
    ]


def judge_start(value, arguments):
    """What is wrong with A and B, or None.

    The spread of n uniform numbers lies within six of its own standard deviations, σ·√(0.8/n)/2, of σ = bound/√3, and
    their mean within six times σ/√n of zero: a right answer fails once in some 500 million.
    """
    A, B = (np.asarray(m, float) for m in value)
    bound = 1 / np.sqrt(arguments["in_features"])
    sigma = bound / np.sqrt(3)
    if np.any(B != 0):
        return "B is not zero, so a fresh adapter changes what the model says"
    if not np.isfinite(A).all() or np.abs(A).max() > bound * (1 + 1e-6):
        return f"A reaches {np.abs(A).max():.3g}; the bound is 1/√in = {bound:.3g}"
    if abs(A.std() / sigma - 1) > 6 * np.sqrt(0.8 / A.size) / 2:
        return f"the spread of A is {A.std():.3g}; numbers uniform between ±1/√in have {sigma:.3g}"
    if abs(A.mean()) > 6 * sigma / np.sqrt(A.size):
        return f"the mean of A is {A.mean():.3g}; it should lie around zero"
    if np.linalg.matrix_rank(A) < len(A):
        return f"A has rank {np.linalg.matrix_rank(A)} instead of {len(A)}: rows repeat each other"
    return None


def from_random(in_features, out_features, r, rng):
    A = (2 * rng.random((r, in_features)) - 1) * in_features**-0.5
    return A.astype(np.float32), np.zeros((out_features, r), np.float32)


def drawn_transposed(in_features, out_features, r, rng):
    return rng.uniform(-1, 1, (in_features, r)).T / np.sqrt(in_features), np.zeros((r, out_features)).T


def by_torch(in_features, out_features, r, rng):
    import torch

    torch.manual_seed(int(rng.integers(2**31)))
    A = torch.nn.Parameter(torch.empty(r, in_features))
    torch.nn.init.kaiming_uniform_(A, a=5**0.5)
    return A, torch.nn.Parameter(torch.zeros(out_features, r))


# What each mistake looks like; the first that fits is named.


def spread(A, arguments):
    return A.std() * np.sqrt(3 * arguments["in_features"])  # 1 where it should be


def is_turned(arguments, value):
    A, B = value
    return A.shape == (arguments["in_features"], arguments["r"]) and B.shape == (
        arguments["r"],
        arguments["out_features"],
    )


def flawed(a=None, b=None):
    def init(in_features, out_features, r, rng):
        A, B = init_adapter(in_features, out_features, r, rng)
        return (A if a is None else a(in_features, out_features, r, rng)), (
            B if b is None else b(in_features, out_features, r, rng)
        )

    return init


def swapped(in_features, out_features, r, rng):
    return np.zeros((r, in_features)), rng.uniform(-1, 1, (out_features, r)) / np.sqrt(in_features)


EXERCISE = Exercise(
    name="init-adapter",
    title="Start an adapter",
    minutes=10,
    points=2,
    statement="""
Before the first step of training an adapted model should say exactly what the base says. So the product `B
@ A` has to start at zero; and yet training must be able to leave that point.

Write `init_adapter`. One of the two matrices is zero and the other random: `A` is drawn uniformly between
-1/√in and 1/√in, with the generator that you are given, so that the same seed gives the same start.
""",
    solution=init_adapter,
    draw=draw,
    takes={"rng": "generator"},
    result=Property(Parts((Floats("A"), Floats("B"))), judge_start),
    hints=(
        "The gradient of B contains A, and the gradient of A contains B. What happens if both are zero?",
        "rng.uniform(low, high, size) draws what you need; the size is a tuple such as (3, 5).",
        "A is rng.uniform(-bound, bound, (r, in_features)) with bound = 1/√in; B is np.zeros((out_features, r)).",
    ),
    pitfalls=(
        "`'int' object has no attribute 'uniform'`: you replaced rng; use the one that is passed in.",
        "Shapes: A is (r, in), wide; B is (out, r), tall.",
    ),
    explanation="With B at zero the first step moves B alone, for the gradient of A contains B. From the "
    "second step on both learn. "
    "Were both zero, neither would ever move.",
    wrong=(
        Wrong(
            "turned",
            lambda i, o, r, rng: (rng.uniform(-1, 1, (i, r)) / np.sqrt(i), np.zeros((r, o))),
            "Both shapes are turned over: A is (r, in) and B is (out, r).",
            recognize=is_turned,
        ),
        Wrong(
            "both-zero",
            flawed(a=lambda i, o, r, rng: np.zeros((r, i))),
            "Both are zero, so both gradients are zero too, for ever: each contains the other matrix. Draw "
            "A at random.",
            recognize=lambda arguments, value: not value[0].any() and not value[1].any(),
        ),
        Wrong(
            "swapped",
            swapped,
            "A is zero and B is random. That also starts at zero, but the convention, which files and "
            "tools rely on, is B zero.",
            recognize=lambda arguments, value: not value[0].any() and value[1].any(),
        ),
        Wrong(
            "both-random",
            flawed(b=lambda i, o, r, rng: rng.uniform(-1, 1, (o, r)) / np.sqrt(r)),
            "Both are random, so B @ A is not zero and the model is changed before it has learned "
            "anything. Set B to zero.",
            recognize=lambda arguments, value: np.ptp(value[0]) > 0 and np.ptp(value[1]) > 0,
        ),
        Wrong(
            "b-ones",
            flawed(b=lambda i, o, r, rng: np.ones((o, r))),
            "B is constant, but not zero, so the adapter speaks before it has learned anything.",
            recognize=lambda arguments, value: value[1].any() and np.ptp(value[1]) == 0,
        ),
        Wrong(
            "constant",
            flawed(a=lambda i, o, r, rng: np.full((r, i), 1 / np.sqrt(i))),
            "All of A is one number. Its rows then get equal gradients and stay equal: the adapter would "
            "have rank 1. Draw at random.",
            recognize=lambda arguments, value: np.ptp(value[0]) == 0,
        ),
        Wrong(
            "one-row",
            flawed(a=lambda i, o, r, rng: np.tile(rng.uniform(-1, 1, i) / np.sqrt(i), (r, 1))),
            "All rows of A are the same, so the adapter has rank 1 whatever r is. Draw r rows.",
            recognize=lambda arguments, value: np.linalg.matrix_rank(value[0]) == 1,
        ),
        Wrong(
            "positive",
            flawed(a=lambda i, o, r, rng: rng.random((r, i)) / np.sqrt(i)),
            "A has no negative numbers. It is drawn from both sides of zero, -1/√in to 1/√in.",
            recognize=lambda arguments, value: value[0].min() >= 0,
        ),
        Wrong(
            "normal",
            flawed(a=lambda i, o, r, rng: rng.normal(0, 1 / np.sqrt(3 * i), (r, i))),
            "A is drawn from the bell curve, which now and then goes beyond 1/√in. Use rng.uniform.",
            recognize=lambda arguments, value: (
                abs(spread(value[0], arguments) - 1) < 0.2
                and np.abs(value[0]).max() > 1.01 / np.sqrt(arguments["in_features"])
            ),
        ),
        Wrong(
            "bound-one",
            flawed(a=lambda i, o, r, rng: rng.uniform(-1, 1, (r, i))),
            "A lies between -1 and 1, whatever the layer's size. The bound is 1/√in: else wide layers get "
            "huge sums.",
            recognize=lambda arguments, value: abs(value[0].std() * np.sqrt(3) - 1) < 0.2,
        ),
        Wrong(
            "bound-one-over-in",
            flawed(a=lambda i, o, r, rng: rng.uniform(-1, 1, (r, i)) / i),
            "The bound is 1/in in your answer; take the square root, 1/√in.",
            recognize=lambda arguments, value: (
                abs(value[0].std() * np.sqrt(3) * arguments["in_features"] - 1) < 0.2
            ),
        ),
        Wrong(
            "bound-by-rank",
            flawed(a=lambda i, o, r, rng: rng.uniform(-1, 1, (r, i)) / np.sqrt(r)),
            "The bound comes from r in your answer. A sums over the inputs, so it comes from their number: "
            "1/√in.",
            recognize=lambda arguments, value: abs(value[0].std() * np.sqrt(3 * arguments["r"]) - 1) < 0.2,
        ),
        Wrong(
            "bound-by-out",
            flawed(a=lambda i, o, r, rng: rng.uniform(-1, 1, (r, i)) / np.sqrt(o)),
            "The bound comes from the number of outputs in your answer. A sums over the inputs: 1/√in.",
            recognize=lambda arguments, value: (
                abs(value[0].std() * np.sqrt(3 * arguments["out_features"]) - 1) < 0.1
            ),
        ),
    ),
    variants=(
        Variant("from random numbers in 0 … 1, float32", from_random),
        Variant("drawn transposed", drawn_transposed),
        Variant("torch's own", by_torch),
    ),
)
