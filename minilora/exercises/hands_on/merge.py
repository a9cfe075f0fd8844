"""Exercise: one matrix that does the work of W, A and B."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats
from minilora.exercises.drawing import alpha_for, layer, sum_rounding
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong
from minilora.exercises.hands_on.scales import strengths, without_alpha, wrong_scales


def merge(W, A, B, alpha):
    """Merges an adapter into the weight of its layer.

    Args:
        W: The frozen weight (out, in).
        A: (r, in).
        B: (out, r).
        alpha: A number; the update is scaled by alpha / r.

    Returns:
        The merged weight (out, in), a new array.

    >>> W = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> A = np.array([[3.0, -1.0], [0.0, 1.0]])
    >>> B = np.array([[1.0, 0.0], [0.0, 0.5], [2.0, 0.0]])
    >>> merge(W, A, B, alpha=4)  # W + 4/2 · B A
    array([[ 7., -2.],
           [ 0.,  2.],
           [13., -3.]])
    """
    ### BEGIN SOLUTION
    r = A.shape[0]
    return W + (alpha / r) * (B @ A)
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    shapes = (("in, out and r differ", 5, 4, 2), ("all square", 3, 3, 3), ("r is 1", 4, 4, 1))
    return [Case(label, {**layer(rng, i, o, r), "alpha": alpha_for(rng, r)}) for label, i, o, r in shapes]


def tolerance(W, A, B, alpha):
    """A sum of r products and three operations more, each rounded to float32."""
    return sum_rounding(A.shape[0] + 3, merge(*map(np.abs, (W, A, B)), alpha))


def by_outer_products(W, A, B, alpha):
    merged = W.copy()
    for k in range(A.shape[0]):
        merged += alpha / A.shape[0] * np.outer(B[:, k], A[k])
    return merged


def in_float32(W, A, B, alpha):
    return W.astype(np.float32) + (B.astype(np.float32) * np.float32(alpha / len(A))) @ A.astype(np.float32)


def from_the_unit_vectors(W, A, B, alpha):
    x = np.eye(W.shape[1])
    return (x @ W.T + alpha / A.shape[0] * x @ A.T @ B.T).T


def flawed(scale):
    return lambda W, A, B, alpha: W + scale(alpha, *A.shape, B.shape[0]) * (B @ A)


def in_place(W, A, B, alpha):
    W += alpha / A.shape[0] * (B @ A)
    return W


EXERCISE = Exercise(
    name="merge",
    title="Merge an adapter into its layer",
    minutes=10,
    points=2,
    statement="""
Two paths take more time than one. After training, the frozen matrix and the update can be combined into a
single matrix. Then the adapted model is exactly as fast as the base.

Write `merge`. Return a new matrix and leave `W` unchanged, because the base is still needed.
""",
    solution=merge,
    example={
        "W": np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        "A": np.array([[3.0, -1.0], [0.0, 1.0]]),
        "B": np.array([[1.0, 0.0], [0.0, 0.5], [2.0, 0.0]]),
        "alpha": 4,
    },
    draw=draw,
    result=Floats("the merged weight", tolerance),
    hints=(
        "What shape must the result have, so that x @ merged.T gives what the two paths gave together?",
        "Of the two products A @ B and B @ A, only one has the shape of W.",
        "Take B @ A, multiply it by alpha divided by the rank, and add W. Use + and not +=.",
    ),
    pitfalls=(
        "`operands could not be broadcast together`: the product has the shape (r, r) or (in, out), not "
        "that of W.",
        "`W += …` changes the caller's array, so the base is lost.",
    ),
    explanation="The merged weight has as many numbers as W, so it is no longer small. That is why "
    "adapters are stored and shared separately, and merged, if at all, where they are used.",
    wrong=(
        *wrong_scales(flawed, minus="You subtract the update; merging adds it (unmerging subtracts it)."),
        Wrong(
            "unchanged",
            lambda W, A, B, alpha: W.copy(),
            "This is W as it was; the update is not in it.",
        ),
        Wrong(
            "multiplied",
            lambda W, A, B, alpha: W * (alpha / A.shape[0] * (B @ A)),
            "You multiply W by the update, entry by entry; merging adds the two.",
        ),
        Wrong(
            "averaged",
            lambda W, A, B, alpha: (W + alpha / A.shape[0] * (B @ A)) / 2,
            "You take the mean of W and the update; merging adds them.",
        ),
        Wrong(
            "swapped",
            lambda W, A, B, alpha: W + alpha / A.shape[0] * (A @ B),
            "A @ B is an (r, r) matrix at best. The input goes through A first and B second, so the "
            "product is B @ A.",
        ),
        Wrong(
            "transposed",
            lambda W, A, B, alpha: W + alpha / A.shape[0] * (B @ A).T,
            "The update is transposed: B @ A has the shape of W already, (out, in), and needs no transpose.",
        ),
        Wrong(
            "in-place",
            in_place,
            "The numbers are right, but you wrote them into W itself, so the base is lost. Return a new "
            "matrix.",
        ),
        Wrong(
            "delta-only",
            lambda W, A, B, alpha: alpha / A.shape[0] * (B @ A),
            "This is the update alone; the merged weight is W plus the update.",
        ),
        Wrong(
            "scaled-base",
            lambda W, A, B, alpha: alpha / A.shape[0] * (W + B @ A),
            "You scale W as well; only the update is scaled.",
        ),
        Wrong(
            "last-direction",
            lambda W, A, B, alpha: W + alpha / A.shape[0] * np.outer(B[:, -1], A[-1]),
            "Only the last of the r directions is in the result: add them all up, as B @ A does.",
        ),
        Wrong(
            "first-direction",
            lambda W, A, B, alpha: W + alpha / A.shape[0] * np.outer(B[:, 0], A[0]),
            "Only the first of the r directions is in the result: B @ A uses all columns of B and all "
            "rows of A.",
        ),
        *strengths(merge, without_alpha, "The update B @ A"),
    ),
    variants=(
        Variant("outer products", by_outer_products),
        Variant("float32", in_float32),
        Variant("from the unit vectors", from_the_unit_vectors),
    ),
)
