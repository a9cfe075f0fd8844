"""Exercise: choose the rank from a spectrum."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Whole
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def choose_rank(singular_values, share):
    """singular_values (n,), largest first; share 0 … 1 -> the smallest rank that keeps that share of the energy.

    >>> choose_rank(np.array([3.0, 2.0, 1.0, 1.0]), share=0.8)  # energies 9, 4, 1, 1: 9/15 = 0.6, 13/15 = 0.87
    2
    """
    ### BEGIN SOLUTION
    energy = np.cumsum(singular_values**2)  # of the first, the first two ...
    return int(np.argmax(energy >= share * energy[-1])) + 1
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    decaying = np.sort(rng.integers(1, 6, 12) * 2.0 ** -np.arange(12))[::-1].copy() * 8
    flat = np.sort(rng.integers(10, 20, 16) / 4)[::-1].copy()
    return [
        Case("a few directions dominate", {"singular_values": decaying, "share": 0.98}),
        Case(
            "a nearly flat spectrum", {"singular_values": flat, "share": float(rng.choice([0.6, 0.7, 0.8]))}
        ),
        # Energies 16, 4, 4, 4, 4: three directions hold exactly three quarters.
        Case("exactly reached", {"singular_values": np.array([4.0, 2, 2, 2, 2]), "share": 0.75}),
        # Energies 9, 4, 1, 1: one direction holds 0.60, which is near 0.61 but not enough.
        Case("just missed", {"singular_values": np.array([3.0, 2, 1, 1]), "share": 0.61}),
        Case("everything, beside zeros", {"singular_values": np.array([2.0, 1, 0.5, 0, 0]), "share": 1.0}),
    ]


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


def nearest(singular_values, share):
    energy = np.cumsum(singular_values**2)
    return int(np.abs(energy / energy[-1] - share).argmin()) + 1


EXERCISE = Exercise(
    name="choose-rank",
    title="Choose the rank from a spectrum",
    minutes=10,
    points=2,
    statement="""
How many directions does a change of weights need? Its singular values tell. The square of each is the
energy of one direction, and the first r directions together are the best that any matrix of rank r can do.

Write `choose_rank`: the smallest r whose directions keep at least the given share of the whole energy.
Reaching the share exactly is enough.
""",
    solution=choose_rank,
    draw=draw,
    result=Whole("the rank"),
    hints=(
        "np.cumsum gives the sums of the first, the first two, the first three. Of what should they be the sums?",
        "Compare the sums of squares with share times the whole sum. The first place where they are at "
        "least as large counts.",
        "energy = np.cumsum(singular_values ** 2); np.argmax(energy >= share * energy[-1]) is the first "
        "such place, "
        "counted from 0: add 1.",
    ),
    pitfalls=(
        "One too small: argmax counts from 0, the rank from 1.",
        "One too large where the share is met exactly: compare with >= and not with >.",
    ),
    explanation="For the change that fine-tuning makes, a small r keeps most of the energy; for a random "
    "matrix of the same shape, it does "
    "not. This difference is why LoRA works.",
    wrong=(
        Wrong(
            "not-squared",
            flawed(power=1),
            "You add up the singular values themselves; the energy of a direction is the square.",
        ),
        Wrong("from-zero", flawed(plus=0), "One too small: the first place is 0, and there the rank is 1."),
        Wrong(
            "one-more", flawed(plus=2), "One too large: the place found, counted from 0, plus 1 is the rank."
        ),
        Wrong(
            "more-than",
            lambda s, share: (
                int(flawed(reached=lambda kept, share: kept > share)(s, share)) if share < 1 else 3
            ),
            "Where the share is reached exactly, you take one direction more. At least the share: >=, not >.",
        ),
        Wrong(
            "lost-for-kept",
            flawed(reached=lambda kept, share: kept >= 1 - share),
            "You stop when 1 - share is kept; share itself is to be kept.",
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
            "You count the values above a threshold. The share is one of the whole energy: add up until it "
            "is reached.",
        ),
        Wrong(
            "share-of-count",
            lambda s, share: int(np.ceil(share * len(s))),
            "You take a share of the number of directions, not of their energy.",
        ),
        Wrong(
            "nearest",
            nearest,
            "You take the rank that comes nearest to the share. It must reach it: at least that much is to "
            "be kept.",
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
