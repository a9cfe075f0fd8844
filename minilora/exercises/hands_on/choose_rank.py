"""Exercise: choose the rank from a spectrum."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Whole
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def choose_rank(singular_values, share):
    """Finds the smallest rank that keeps a given share of the energy.

    Args:
        singular_values: (n,), largest first.
        share: 0 … 1.

    Returns:
        The rank, from 1 to n.

    >>> choose_rank(np.array([3.0, 2.0, 1.0, 1.0]), share=0.8)  # 9/15 = 0.6, 13/15 = 0.87
    2
    """
    ### BEGIN SOLUTION
    energy = np.cumsum(singular_values**2)  # of the first, the first two ...
    return int(np.argmax(energy >= share * energy[-1])) + 1
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    """In every case any of ten or more ranks is about equally likely, so that no list of ranks passes."""
    return [
        _decaying(rng),
        _flat(rng),
        _exactly_reached(rng),
        _just_missed(rng),
        _everything_beside_zeros(rng),
    ]


def _decaying(rng: np.random.Generator) -> Case:
    n = int(rng.integers(14, 22))
    values = np.sort(rng.uniform(1, 1.3, n) * rng.uniform(0.8, 0.92) ** np.arange(n))[::-1].copy() * 8
    return Case("a few directions dominate", _between(rng, values, 0.5)[0])


def _flat(rng: np.random.Generator) -> Case:
    """Such that mistakes differ: the nearest rank is one too few, and rounding to two digits changes nothing."""
    values = np.sort(rng.integers(40, 80, int(rng.integers(16, 24))) / 16)[::-1].copy()
    while True:
        arguments, less = _between(rng, values, 0.4)
        of_all = round(arguments["share"] * len(values))  # a share of their number, however it is rounded
        if (
            np.round(less, 2) < np.round(arguments["share"], 2)
            and abs(smallest_first(**arguments) - of_all) > 1
        ):
            return Case("a nearly flat spectrum", arguments)


def _between(rng: np.random.Generator, values: np.ndarray, part: float) -> tuple[dict, float]:
    """Any rank, with a share that is `part` of the way from what one direction less keeps to what this one does.

    Returns the arguments, and what one direction less keeps.
    """
    kept = np.cumsum(values**2) / np.sum(values**2)
    place = int(rng.integers(2, len(values) - 1))
    share = kept[place - 1] + part * (kept[place] - kept[place - 1])
    return {"singular_values": values, "share": float(share)}, float(kept[place - 1])


def _exactly_reached(rng: np.random.Generator) -> Case:
    """Energies are powers of 4 that add up to 64, so every share that is kept is an exact binary fraction."""
    energies = [16.0] * 4
    while len(energies) < 16:
        large = [place for place, energy in enumerate(energies) if energy > 1]
        energies += [energies.pop(int(rng.choice(large))) / 4] * 4
    values = np.sqrt(np.sort(energies)[::-1])
    place = int(rng.integers(1, len(values) - 1))
    arguments = {"singular_values": values, "share": float(np.sum(values[: place + 1] ** 2) / 64)}
    return Case(
        "exactly reached",
        arguments,
        "Only a share that is reached exactly goes wrong: use >=, not >.",
    )


def _just_missed(rng: np.random.Generator) -> Case:
    """One direction less keeps the share if both are rounded to two digits, and not otherwise."""
    while True:
        values = np.sort(rng.integers(40, 90, 18) / 16)[::-1].copy()
        kept = np.cumsum(values**2) / np.sum(values**2)
        near = np.flatnonzero(np.round(kept, 2) - kept > 0.002)
        near = near[near < len(values) - 1]
        if len(near) > 1:
            share = float(kept[rng.choice(near)]) + 0.0015
            return Case(
                "just missed",
                {"singular_values": values, "share": share},
                "Only a share that is just missed goes wrong: do not round, and take no rank that keeps "
                "less.",
            )


def _everything_beside_zeros(rng: np.random.Generator) -> Case:
    count, zeros = int(rng.integers(2, 14)), int(rng.integers(1, 6))
    values = np.append(np.sort(rng.integers(1, 17, count) / 4)[::-1], np.zeros(zeros))
    return Case(
        "everything, beside zeros",
        {"singular_values": values, "share": 1.0},
        "Only a share of 1 goes wrong: directions with a singular value of zero add nothing, so they are "
        "not needed.",
    )


def by_loop(singular_values, share):
    total = sum(float(s) ** 2 for s in singular_values)
    kept, r = 0.0, 0
    for s in singular_values:
        kept += float(s) ** 2
        r += 1
        if kept >= share * total:
            break
    return r


def by_what_is_lost(singular_values, share):
    tails = np.cumsum(singular_values[::-1] ** 2)[::-1]  # what is lost from each place on
    lost = np.append(tails, 0.0)[1:]
    return np.flatnonzero(lost <= (1 - share) * tails[0] * (1 + 1e-12))[0] + 1


def by_search(singular_values, share):
    energy = np.cumsum(singular_values * singular_values)
    return np.searchsorted(energy / energy[-1], share) + 1


def flawed(power=2, reached=lambda kept, share: kept >= share, plus=1):
    def choose(singular_values, share):
        energy = np.cumsum(singular_values**power)
        return int(np.argmax(reached(energy / energy[-1], share))) + plus

    return choose


def share_of_norm(singular_values, share):
    kept = np.sqrt(np.cumsum(singular_values**2) / np.sum(singular_values**2))
    return int(np.argmax(kept >= share)) + 1


def smallest_first(singular_values, share):
    return flawed()(singular_values[::-1], share)


def above_a_threshold(singular_values, share):
    return int((singular_values >= (1 - share) * singular_values[0]).sum())


def is_more_than(arguments, value):
    """What > in the place of >= gives; where all is to be kept, that finds nothing, and anything may come back."""
    s, share = arguments["singular_values"], arguments["share"]
    return share == 1 or value == int(np.sum(np.cumsum(s**2) <= share * np.sum(s**2))) + 1


def rounded(digits):
    return flawed(reached=lambda kept, share: np.round(kept, digits) >= np.round(share, digits))


def share_of_the_sum_of_values(singular_values, share):
    """Squares on one side, plain values on the other."""
    kept = np.cumsum(singular_values**2)
    return int(np.argmax(kept >= share * singular_values.sum())) + 1


def share_of_the_largest(singular_values, share):
    energy = singular_values**2
    return int((energy >= (1 - share) * energy[0]).sum())


def each_alone(singular_values, share):
    """Directions whose own energy is large enough."""
    energy = singular_values**2 / np.sum(singular_values**2)
    return int((energy >= share / len(energy)).sum())


def nearest(singular_values, share):
    energy = np.cumsum(singular_values**2)
    return int(np.abs(energy / energy[-1] - share).argmin()) + 1


EXERCISE = Exercise(
    name="choose-rank",
    title="Choose the rank from a spectrum",
    minutes=20,
    points=2,
    statement="""
How large must the rank be to represent a given change of weights? The singular values of the change tell
us. The square of each is the *energy* of one direction. The first r directions together are the best
approximation by any matrix of rank r.

Write `choose_rank`: return the smallest r whose first r directions keep at least the given share of the
total energy. Reaching the share exactly is enough.
""",
    solution=choose_rank,
    example={"singular_values": np.array([3.0, 2.0, 1.0, 1.0]), "share": 0.8},
    draw=draw,
    result=Whole("the rank"),
    hints=(
        "np.cumsum gives the sum of the first, of the first two, of the first three, and so on. What "
        "should you sum?",
        "Compare the cumulative sums of squares with share times the total. Find the first one that is at "
        "least as large.",
        "energy = np.cumsum(singular_values ** 2); np.argmax(energy >= share * energy[-1]) is the first "
        "such index, counted from 0: add 1.",
    ),
    pitfalls=(
        "One too small: argmax counts from 0, ranks from 1.",
        "One too large where the share is reached exactly: use >= instead of >.",
    ),
    explanation="For the change that fine-tuning makes, a small r keeps most of the energy. For a random "
    "matrix of the same shape it does not. This difference is why LoRA works.",
    wrong=(
        Wrong(
            "not-squared",
            flawed(power=1),
            "You add up the singular values themselves; the energy of a direction is the square.",
        ),
        Wrong("from-zero", flawed(plus=0), "One too small: index 0 means rank 1."),
        Wrong("one-more", flawed(plus=2), "One too large: the rank is the index, counted from 0, plus 1."),
        Wrong(
            "more-than",
            flawed(reached=lambda kept, share: kept > share),
            "Where the share is reached exactly, you take one direction too many: use >=, not >.",
            recognize=is_more_than,
        ),
        Wrong(
            "lost-for-kept",
            flawed(reached=lambda kept, share: kept >= 1 - share),
            "You stop when 1 - share is kept; keep share itself.",
        ),
        Wrong(
            "share-of-norm",
            share_of_norm,
            "You compare the norm, the root of the energy, with the share. Compare the energy itself.",
        ),
        Wrong(
            "smallest-first",
            smallest_first,
            "You begin with the smallest singular values. The largest come first: they keep the most.",
        ),
        Wrong(
            "threshold",
            above_a_threshold,
            "You count the values above a threshold. Add up the energies until the share of the total is "
            "reached.",
        ),
        Wrong(
            "share-of-count",
            lambda s, share: int(np.ceil(share * len(s))),
            "You take a share of the number of directions, not of their energy.",
        ),
        Wrong(
            "nearest",
            nearest,
            "You take the rank whose share comes nearest. It must keep at least the given share.",
        ),
        Wrong(
            "rounded",
            rounded(2),
            "You round the shares to two digits, so a share that is just missed counts as kept. Compare "
            "without rounding.",
        ),
        Wrong(
            "mixed-powers",
            share_of_the_sum_of_values,
            "You compare a sum of squares with a sum of singular values. Square both.",
        ),
        Wrong(
            "share-of-largest",
            share_of_the_largest,
            "You compare each direction with the largest one. Add up the energies until the share of the "
            "total is reached.",
        ),
        Wrong(
            "each-alone",
            each_alone,
            "You count the directions with more energy than average. Add up the energies until the share "
            "is reached.",
        ),
        Wrong(
            "cubed",
            flawed(power=4),
            "You square twice; the energy of a direction is the square of its singular value.",
        ),
        Wrong(
            "full-rank",
            lambda s, share: int(np.count_nonzero(s)),
            "You count all directions that are not zero: that is the rank for a share of 1. Fewer will do.",
        ),
    ),
    variants=(
        Variant("a loop", by_loop),
        Variant("by what is lost", by_what_is_lost),
        Variant("a search", by_search),
    ),
)
