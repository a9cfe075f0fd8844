"""Exercise: how A and B start."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats, Parts, Problem, Property
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def init_adapter(in_features, out_features, r, rng):
    """Makes a fresh adapter, whose product B @ A is zero.

    Args:
        in_features: Inputs of the layer.
        out_features: Outputs of the layer.
        r: The rank.
        rng: A NumPy random generator.

    Returns:
        A (r, in), uniform between ±1/√in, and B (out, r).

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
    def case(label: str, in_features: int, out_features: int, r: int, seed: int) -> Case:
        sizes = {"in_features": in_features, "out_features": out_features, "r": r}
        return Case(label, {**sizes, "rng": seed})

    first, second = (int(seed) for seed in rng.integers(1, 2**32, 2))
    return [
        case("more inputs than outputs", 512, 48, 24, first),
        case("the same again, and the same seed", 512, 48, 24, first),
        case("the same again, but another seed", 512, 48, 24, second),
        case("more outputs than inputs", 96, 200, 12, second),
    ]


def judge_start(value, arguments):
    """What is wrong with A and B, or None.

    The spread of n uniform numbers lies within six of its own standard deviations, σ·√(0.8/n)/2, of σ = bound/√3, and
    their mean within six times σ/√n of zero. Their distribution is Kolmogorov's: √n times the largest distance to the
    uniform one is above 3.3, or below 0.22, once in a billion. So a right answer fails once in some 200 million.
    """
    A, B = (np.asarray(m, float) for m in value)
    bound = 1 / np.sqrt(arguments["in_features"])
    sigma = bound / np.sqrt(3)
    if np.any(B != 0):
        return Problem("B is not zero, so a fresh adapter changes what the model says")
    if not np.isfinite(A).all() or np.abs(A).max() > bound * (1 + 1e-6):
        return Problem(f"A reaches {np.abs(A).max():.3g}; the bound is 1/√in = {bound:.3g}", "out of bounds")
    if abs(A.std() / sigma - 1) > 6 * np.sqrt(0.8 / A.size) / 2:
        return Problem(
            f"the spread of A is {A.std():.3g}; numbers uniform between ±1/√in have {sigma:.3g}", "spread"
        )
    if abs(A.mean()) > 6 * sigma / np.sqrt(A.size):
        return Problem(f"the mean of A is {A.mean():.3g}; it should be close to zero", "mean")
    if np.linalg.matrix_rank(A) < len(A):
        return Problem(
            f"A has rank {np.linalg.matrix_rank(A)} instead of {len(A)}: rows repeat each other", "rank"
        )
    distance = np.sqrt(A.size) * distance_to_uniform(A.ravel() / bound)
    if distance > 3.3:
        return Problem(
            "the numbers of A are not uniform: some ranges between ±1/√in contain too many of them",
            "not uniform",
        )
    if distance < 0.22:
        return Problem("the numbers of A are too even to be random: draw them with rng.uniform", "not random")
    return None


def distance_to_uniform(x):
    """Kolmogorov and Smirnov's: the largest distance between the distribution of x and the uniform one on -1 … 1."""
    share = (np.sort(x) + 1) / 2
    steps = np.arange(len(x) + 1) / len(x)
    return max(np.max(steps[1:] - share), np.max(share - steps[:-1]))


def judge_seeds(cases, values):
    """The same seed gives the same A, another seed another one: then it is the generator passed in that draws."""
    starts = {
        place: (case.arguments, np.asarray(value[0], float))
        for place, (case, value) in enumerate(zip(cases, values, strict=True))
    }
    for place, (arguments, A) in starts.items():
        for before in range(place):
            earlier, other = starts[before]
            if other.shape == A.shape and np.array_equal(A, other) != (arguments["rng"] == earlier["rng"]):
                if arguments["rng"] == earlier["rng"]:
                    return place, SAME_SEED, "np.random"
                return place, OTHER_SEED, "own-generator"
    return None


SAME_SEED = (
    "The same seed gives a different A each time, so rng is not used. Draw with rng.uniform, not with "
    "np.random."
)
OTHER_SEED = (
    "A different seed gives the same A, so the numbers come from a generator of your own. Draw with "
    "rng.uniform, using the rng that is passed in."
)


def from_random(in_features, out_features, r, rng):
    A = (2 * rng.random((r, in_features)) - 1) * in_features**-0.5
    return A.astype(np.float32), np.zeros((out_features, r), np.float32)


def in_lists(in_features, out_features, r, rng):
    bound = in_features**-0.5
    A = [[float(rng.uniform(-bound, bound)) for _ in range(in_features)] for _ in range(r)]
    return A, [[0] * r for _ in range(out_features)]


def drawn_transposed(in_features, out_features, r, rng):
    return rng.uniform(-1, 1, (in_features, r)).T / np.sqrt(in_features), np.zeros((r, out_features)).T


def by_torch(in_features, out_features, r, rng):
    import torch

    torch.manual_seed(int(rng.integers(2**31)))
    A = torch.nn.Parameter(torch.empty(r, in_features))
    torch.nn.init.kaiming_uniform_(A, a=5**0.5)
    return A, torch.nn.Parameter(torch.zeros(out_features, r))


# What each mistake looks like; the first that fits is named. Small matrices say little, so they are not asked.


def looks(test):
    """test(A, B, arguments) on arrays, as a predicate on (arguments, value)."""

    def recognize(arguments, value):
        A, B = (np.asarray(matrix, float) for matrix in value)
        return bool(test(A, B, arguments)) or (
            arguments["in_features"] < 50 and A.shape == right_shape(arguments)
        )

    return recognize


def right_shape(arguments):
    return arguments["r"], arguments["in_features"]


def spread_is(expected, room=0.2):
    """expected: the arguments -> the bound that A seems to have been drawn with, and B is zero."""
    return looks(
        lambda A, B, arguments: not B.any() and abs(A.std() * np.sqrt(3) / expected(arguments) - 1) < room
    )


def beyond(A, arguments):
    return np.abs(A).max() * np.sqrt(arguments["in_features"])  # at most 1 where it should be


def spread(A, arguments):
    return A.std() * np.sqrt(3 * arguments["in_features"])  # 1 where it should be


def is_turned(arguments, value):
    A, B = (np.shape(matrix) for matrix in value)
    return right_shape(arguments)[::-1] == A and (arguments["r"], arguments["out_features"]) == B


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
    minutes=15,
    points=2,
    statement="""
Before the first training step, an adapted model should give exactly the same output as the base. So the
product `B @ A` must start at zero, but in a way that lets training move away from zero.

Write `init_adapter`. `B` is zero. `A` is random: draw it uniformly between -1/√in and 1/√in, with the
generator `rng` that is passed in, so that the same seed always gives the same matrices.
""",
    solution=init_adapter,
    example={"in_features": 16, "out_features": 3, "r": 2, "rng": 0},
    draw=draw,
    takes={"rng": "generator"},
    across=judge_seeds,
    result=Property(Parts((Floats("A"), Floats("B"))), judge_start),
    hints=(
        "The gradient of B contains A, and the gradient of A contains B. What happens if both are zero?",
        "rng.uniform(low, high, size) draws what you need; the size is a tuple such as (3, 5).",
        "A is rng.uniform(-bound, bound, (r, in_features)) with bound = 1/√in; B is "
        "np.zeros((out_features, r)).",
    ),
    pitfalls=(
        "`'int' object has no attribute 'uniform'`: you have overwritten rng. Use the one that is passed in.",
        "Shapes: A is (r, in), wide; B is (out, r), tall.",
    ),
    explanation="While B is zero, the first step changes only B, because the gradient of A contains B. "
    "From the second step on, both learn. If both were zero, neither would ever change.",
    wrong=(
        Wrong(
            "turned",
            lambda i, o, r, rng: (rng.uniform(-1, 1, (i, r)) / np.sqrt(i), np.zeros((r, o))),
            "Both shapes are transposed: A is (r, in) and B is (out, r).",
            recognize=is_turned,
        ),
        Wrong(
            "exchanged",
            lambda i, o, r, rng: init_adapter(i, o, r, rng)[::-1],
            "A and B are returned in the wrong order: return A first.",
            recognize=lambda arguments, value: (
                np.shape(value[1]) == right_shape(arguments)
                and np.shape(value[0]) == (arguments["out_features"], arguments["r"])
            ),
        ),
        Wrong(
            "both-zero",
            flawed(a=lambda i, o, r, rng: np.zeros((r, i))),
            "Both are zero, so both gradients stay zero: each contains the other matrix. Draw A at random.",
            recognize=looks(lambda A, B, arguments: not A.any() and not B.any()),
        ),
        Wrong(
            "swapped",
            swapped,
            "A is zero and B is random. That also starts at zero, but by convention B is the one that is "
            "zero, and other tools rely on it.",
            recognize=looks(lambda A, B, arguments: not A.any() and B.any()),
        ),
        Wrong(
            "b-ones",
            flawed(b=lambda i, o, r, rng: np.ones((o, r))),
            "B is constant, but not zero, so the adapter changes the output before it has learned anything.",
            recognize=looks(lambda A, B, arguments: B.any() and np.ptp(B) == 0),
        ),
        Wrong(
            "both-random",
            flawed(b=lambda i, o, r, rng: rng.uniform(-1, 1, (o, r)) / np.sqrt(r)),
            "Both are random, so B @ A is not zero and the model is changed before it has learned "
            "anything. Set B to zero.",
            recognize=looks(lambda A, B, arguments: np.ptp(A) > 0 and np.ptp(B) > 0),
        ),
        Wrong(
            "constant",
            flawed(a=lambda i, o, r, rng: np.full((r, i), 1 / np.sqrt(i))),
            "All entries of A are the same number. Its rows then get equal gradients and stay equal, so "
            "the adapter has rank 1. Draw them at random.",
            recognize=looks(lambda A, B, arguments: np.ptp(A) == 0),
        ),
        Wrong(
            "one-row",
            flawed(a=lambda i, o, r, rng: np.tile(rng.uniform(-1, 1, i) / np.sqrt(i), (r, 1))),
            "All rows of A are the same, so the adapter has rank 1 whatever r is. Draw r rows.",
            recognize=looks(lambda A, B, arguments: np.linalg.matrix_rank(A) == 1),
        ),
        Wrong(
            "positive",
            flawed(a=lambda i, o, r, rng: rng.random((r, i)) / np.sqrt(i)),
            "A has no negative numbers. Draw it between -1/√in and 1/√in.",
            recognize=looks(lambda A, B, arguments: A.min() >= 0),
        ),
        Wrong(
            "two-values",
            flawed(a=lambda i, o, r, rng: rng.choice([-1, 1], (r, i)) / np.sqrt(3 * i)),
            "A holds two values only, plus and minus the same number. Draw any number between -1/√in and "
            "1/√in.",
            recognize=looks(lambda A, B, arguments: len(np.unique(np.abs(A))) == 1),
        ),
        Wrong(
            "normal",
            flawed(a=lambda i, o, r, rng: rng.normal(0, 1 / np.sqrt(3 * i), (r, i))),
            "A is drawn from a normal distribution, which sometimes goes beyond 1/√in. Use rng.uniform.",
            recognize=looks(
                lambda A, B, arguments: abs(spread(A, arguments) - 1) < 0.2 and beyond(A, arguments) > 1.01
            ),
        ),
        Wrong(
            "normal-bound",
            flawed(a=lambda i, o, r, rng: rng.normal(0, 1 / np.sqrt(i), (r, i))),
            "A is drawn from a normal distribution with 1/√in as its standard deviation. 1/√in is the "
            "bound of a uniform one.",
            recognize=looks(
                lambda A, B, arguments: (
                    abs(spread(A, arguments) / np.sqrt(3) - 1) < 0.1 and beyond(A, arguments) > 2.5
                )
            ),
        ),
        Wrong(
            "standard-normal",
            flawed(a=lambda i, o, r, rng: rng.standard_normal((r, i))),
            "A is drawn from the standard normal distribution, whatever the layer's size. Use "
            "rng.uniform with the bound 1/√in.",
            recognize=looks(lambda A, B, arguments: abs(A.std() - 1) < 0.1),
        ),
        Wrong(
            "normal-small",
            flawed(a=lambda i, o, r, rng: rng.normal(0, 0.02, (r, i))),
            "A has the same spread of 0.02 in every layer. Its bound depends on the number of inputs: 1/√in.",
            recognize=looks(lambda A, B, arguments: abs(A.std() / 0.02 - 1) < 0.1),
        ),
        Wrong(
            "bound-one",
            flawed(a=lambda i, o, r, rng: rng.uniform(-1, 1, (r, i))),
            "A lies between -1 and 1, whatever the layer's size. The bound is 1/√in; otherwise wide "
            "layers get huge sums.",
            recognize=spread_is(lambda n: 1),
        ),
        Wrong(
            "bound-one-over-in",
            flawed(a=lambda i, o, r, rng: rng.uniform(-1, 1, (r, i)) / i),
            "The bound is 1/in in your answer; take the square root, 1/√in.",
            recognize=spread_is(lambda n: 1 / n["in_features"]),
        ),
        Wrong(
            "bound-root-in",
            flawed(a=lambda i, o, r, rng: rng.uniform(-1, 1, (r, i)) * np.sqrt(i)),
            "The bound is √in in your answer; divide by the root, 1/√in.",
            recognize=spread_is(lambda n: np.sqrt(n["in_features"])),
        ),
        Wrong(
            "bound-by-rank",
            flawed(a=lambda i, o, r, rng: rng.uniform(-1, 1, (r, i)) / np.sqrt(r)),
            "Your bound depends on r. A sums over the inputs, so the bound depends on their number: 1/√in.",
            recognize=spread_is(lambda n: 1 / np.sqrt(n["r"])),
        ),
        Wrong(
            "bound-by-out",
            flawed(a=lambda i, o, r, rng: rng.uniform(-1, 1, (r, i)) / np.sqrt(o)),
            "Your bound depends on the number of outputs. A sums over the inputs: 1/√in.",
            recognize=spread_is(lambda n: 1 / np.sqrt(n["out_features"]), 0.1),
        ),
        Wrong(
            "half",
            flawed(a=lambda i, o, r, rng: rng.uniform(-0.5, 0.5, (r, i)) / np.sqrt(i)),
            "A reaches only half of the bound: its numbers lie between -0.5/√in and 0.5/√in.",
            recognize=spread_is(lambda n: 0.5 / np.sqrt(n["in_features"]), 0.1),
        ),
        Wrong(
            "he",
            flawed(a=lambda i, o, r, rng: rng.uniform(-1, 1, (r, i)) * np.sqrt(6 / i)),
            "Your bound is about √(6/in), as in He or Xavier initialization. The bound for LoRA's A is "
            "1/√in.",
            recognize=spread_is(lambda n: np.sqrt(6 / n["in_features"]), 0.1),
        ),
        Wrong(
            "root-three",
            flawed(a=lambda i, o, r, rng: rng.uniform(-1, 1, (r, i)) * np.sqrt(3 / i)),
            "Your bound is √(3/in), so that the standard deviation is 1/√in. Here 1/√in is the bound itself.",
            recognize=spread_is(lambda n: np.sqrt(3 / n["in_features"]), 0.05),
        ),
        Wrong(
            "both-sizes",
            flawed(a=lambda i, o, r, rng: rng.uniform(-1, 1, (r, i)) / np.sqrt(i + o)),
            "Your bound depends on in + out. A sums over the inputs only: 1/√in.",
            recognize=spread_is(lambda n: 1 / np.sqrt(n["in_features"] + n["out_features"]), 0.06),
        ),
        Wrong(
            "own-generator",
            lambda i, o, r, rng: init_adapter(i, o, r, np.random.default_rng(0)),
            OTHER_SEED,
            recognize=lambda arguments, value: False,  # no single call shows it: judge_seeds does
        ),
        Wrong(
            "np.random",
            lambda i, o, r, rng: init_adapter(i, o, r, np.random),
            SAME_SEED,
            recognize=lambda arguments, value: False,
        ),
    ),
    variants=(
        Variant("from random numbers in 0 … 1, float32", from_random),
        Variant("drawn transposed", drawn_transposed),
        Variant("nested lists", in_lists),
        Variant("torch's own", by_torch),
    ),
)
