"""Exercise: take a merged adapter out again."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats
from minilora.exercises.drawing import alpha_for, layer, sum_rounding
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong
from minilora.exercises.hands_on.merge import merge
from minilora.exercises.hands_on.scales import strengths, without_alpha, wrong_scales


def unmerge(merged, A, B, alpha):
    """Takes a merged adapter out again.

    Args:
        merged: The merged weight (out, in).
        A: (r, in).
        B: (out, r).
        alpha: A number; the update was scaled by alpha / r.

    Returns:
        The base's weight W (out, in), a new array.

    >>> A, B = np.array([[3.0, -1.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 0.5]])
    >>> unmerge(np.array([[7.0, -2.0], [0.0, 2.0]]), A, B, alpha=4)  # minus 4/2 · B A
    array([[1., 0.],
           [0., 1.]])
    """
    ### BEGIN SOLUTION
    r = A.shape[0]
    return merged - (alpha / r) * (B @ A)
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    cases = []
    for label, i, o, r in (("in, out and r differ", 6, 4, 2), ("all square", 3, 3, 3), ("r is 1", 3, 5, 1)):
        arguments = layer(rng, i, o, r)
        alpha = alpha_for(rng, r)
        merged = merge(arguments.pop("W"), arguments["A"], arguments["B"], alpha)
        cases.append(Case(label, {"merged": merged, **arguments, "alpha": alpha}))
    return cases


def tolerance(merged, A, B, alpha):
    """A sum of r products and three operations more, each rounded to float32."""
    return sum_rounding(A.shape[0] + 3, merge(*map(np.abs, (merged, A, B)), alpha))


def with_negative_alpha(merged, A, B, alpha):
    return merged + (-alpha / A.shape[0]) * np.matmul(B, A)


def one_direction_at_a_time(merged, A, B, alpha):
    W = merged.copy()
    for k in range(len(A)):
        W -= alpha / len(A) * np.outer(B[:, k], A[k])
    return W


def in_float32(merged, A, B, alpha):
    merged, A, B = (m.astype(np.float32) for m in (merged, A, B))
    return merged - B @ A * np.float32(alpha) / np.float32(len(A))


def in_place(merged, A, B, alpha):
    merged -= alpha / A.shape[0] * (B @ A)
    return merged


def flawed(scale):
    return lambda merged, A, B, alpha: merged - scale(alpha, *A.shape, B.shape[0]) * (B @ A)


EXERCISE = Exercise(
    name="unmerge",
    title="Take a merged adapter out again",
    minutes=5,
    points=1,
    statement="""
You are given a weight with an adapter merged into it, and the adapter. Write `unmerge`, which returns the
base's weight. Do not change `merged`: the caller may still need it.
""",
    solution=unmerge,
    example={
        "merged": np.array([[7.0, -2.0], [0.0, 2.0]]),
        "A": np.array([[3.0, -1.0], [0.0, 1.0]]),
        "B": np.array([[1.0, 0.0], [0.0, 0.5]]),
        "alpha": 4,
    },
    draw=draw,
    result=Floats("W", tolerance),
    hints=(
        "Write merging as an equation, and solve it for W.",
        "In merged = W + …, everything is known except W.",
        "W = merged minus alpha / r times B @ A, in a new array (so - and not -=).",
    ),
    pitfalls=("`merged -= …` changes the caller's array.",),
    explanation="In exact arithmetic this undoes merging completely. With rounding it does not: after "
    "merging and unmerging in 16 bits, some weights differ from the original in their last "
    "digits. So keep a copy of the base.",
    wrong=(
        *wrong_scales(
            flawed,
            minus="You add the update a second time; subtract it.",
            no_scale="What was added is alpha / r times B @ A; subtract as much.",
        ),
        Wrong(
            "delta-only",
            lambda merged, A, B, alpha: alpha / A.shape[0] * (B @ A),
            "This is the update alone. Subtract it from merged.",
        ),
        Wrong(
            "subtracted-twice",
            lambda merged, A, B, alpha: merged - 2 * alpha / A.shape[0] * (B @ A),
            "You subtract the update twice; it was added once.",
        ),
        Wrong(
            "unchanged",
            lambda merged, A, B, alpha: merged,
            "You return the merged weight as it came; the update is still in it.",
        ),
        Wrong(
            "delta-minus-merged",
            lambda merged, A, B, alpha: alpha / A.shape[0] * (B @ A) - merged,
            "The difference is the wrong way around: it is merged minus the update.",
        ),
        Wrong(
            "divided",
            lambda merged, A, B, alpha: (merged - B @ A) * A.shape[0] / alpha,
            "You divide the whole matrix by the scale; only the update was scaled.",
        ),
        Wrong(
            "swapped",
            lambda merged, A, B, alpha: merged - alpha / A.shape[0] * (A @ B),
            "The product is in the wrong order: B @ A has the shape (out, in).",
        ),
        Wrong(
            "transposed",
            lambda merged, A, B, alpha: merged - alpha / A.shape[0] * (B @ A).T,
            "The update is transposed; B @ A fits W as it is.",
        ),
        Wrong(
            "in-place",
            in_place,
            "The numbers are right, but the caller's merged matrix was overwritten. Return a new one.",
        ),
        Wrong(
            "last-direction",
            lambda merged, A, B, alpha: merged - alpha / A.shape[0] * np.outer(B[:, -1], A[-1]),
            "Only the last of the r directions is in the result: add them all up, as B @ A does.",
        ),
        Wrong(
            "first-direction",
            lambda merged, A, B, alpha: merged - alpha / A.shape[0] * np.outer(B[:, 0], A[0]),
            "Only the first of the r directions is in the result: B @ A uses all columns of B and all "
            "rows of A.",
        ),
        *strengths(unmerge, without_alpha, "The update B @ A"),
    ),
    variants=(
        Variant("negative alpha", with_negative_alpha),
        Variant("one direction at a time", one_direction_at_a_time),
        Variant("float32", in_float32),
    ),
)
