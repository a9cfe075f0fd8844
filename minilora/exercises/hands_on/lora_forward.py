"""Exercise: what one layer with LoRA computes."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats
from minilora.exercises.drawing import alpha_for, decimals, layer, sum_rounding
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong
from minilora.exercises.hands_on.scales import strengths, without_alpha, wrong_scales


def lora_forward(x, W, A, B, alpha):
    """Computes the output of a linear layer with LoRA.

    Args:
        x: Inputs (..., in).
        W: The frozen weight (out, in).
        A: (r, in).
        B: (out, r).
        alpha: A number; the update is scaled by alpha / r.

    Returns:
        y (..., out).

    >>> x, W = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> A = np.array([[3.0, -1.0], [0.0, 1.0]])
    >>> B = np.array([[1.0, 0.0], [0.0, 0.5], [2.0, 0.0]])
    >>> lora_forward(x, W, A, B, alpha=6)  # [1, 2, 3] + 6/2 · [1, 1, 2]
    array([[4., 5., 9.]])
    """
    ### BEGIN SOLUTION
    r = A.shape[0]
    frozen = x @ W.T  # (..., out)
    low = x @ A.T  # (..., r): the bottleneck
    return frozen + (alpha / r) * (low @ B.T)
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    cases = []
    for label, rows, (in_features, out_features, r) in (
        ("in, out and r differ", (3,), (5, 4, 2)),
        ("in, out and r are equal", (2,), (3, 3, 3)),  # here no shape gives a mistake away
        ("rows of tokens: x has three dimensions", (2, 3), (4, 6, 3)),
        ("one vector: x has one dimension", (), (6, 3, 2)),
    ):
        arguments = {"x": decimals(rng, *rows, in_features), **layer(rng, in_features, out_features, r)}
        cases.append(Case(label, {**arguments, "alpha": alpha_for(rng, r)}))
    return cases


def tolerance(x, W, A, B, alpha):
    """Sums of in, then in, then r products, and three operations more, each rounded to float32."""
    magnitudes = lora_forward(*map(np.abs, (x, W, A, B)), alpha)
    return sum_rounding(2 * A.shape[1] + A.shape[0] + 3, magnitudes)


# -- right answers in other words --------------------------------------------------------------------------------------


def full_matrix(x, W, A, B, alpha):
    return x @ (W + alpha / len(A) * B @ A).T


def by_einsum(x, W, A, B, alpha):
    update = np.einsum("...i,ri,or->...o", x, A, B)
    return np.einsum("...i,oi->...o", x, W) + update * alpha / A.shape[0]


def by_loops(x, W, A, B, alpha):
    out, r = B.shape
    y = np.zeros((*x.shape[:-1], out))
    for o in range(out):
        for i in range(x.shape[-1]):
            weight = W[o, i] + sum(alpha / r * B[o, k] * A[k, i] for k in range(r))
            y[..., o] += x[..., i] * weight
    return y


def in_place(x, W, A, B, alpha):
    y = x @ W.T
    y += x @ A.T @ B.T * (alpha / A.shape[0])
    return y


def in_float32(x, W, A, B, alpha):
    x, W, A, B = (m.astype(np.float32) for m in (x, W, A, B))
    return x @ W.T + np.float32(alpha / A.shape[0]) * (x @ A.T @ B.T)


def in_torch(x, W, A, B, alpha):
    import torch

    x, W, A, B = (torch.from_numpy(m).requires_grad_() for m in (x, W, A, B))
    return x @ W.T + alpha / A.shape[0] * (x @ A.T) @ B.T


# -- wrong answers -----------------------------------------------------------------------------------------------------


def flawed(scale=lambda alpha, r, i, o: alpha / r, base=1.0):
    def forward(x, W, A, B, alpha):
        return base * (x @ W.T) + scale(alpha, *A.shape, B.shape[0]) * (x @ A.T @ B.T)

    return forward


def same_order_for_tokens(x, W, A, B, alpha):
    """Right for rows; where x has more dimensions, .T turns all of them over."""
    return (W @ x.T + alpha / A.shape[0] * (B @ (A @ x.T))).T


def low_not_scaled(x, W, A, B, alpha):
    return x @ W.T + x @ A.T @ B.T / A.shape[0] + alpha


def zeroed(x, W, A, B, alpha):
    A[:], B[:] = 0, 0
    return x @ W.T + alpha / A.shape[0] * (x @ A.T @ B.T)


def base_mutated(x, W, A, B, alpha):
    W += alpha / A.shape[0] * (B @ A)
    return x @ W.T


def scaled_base(x, W, A, B, alpha):
    return alpha / A.shape[0] * (x @ W.T + x @ A.T @ B.T)


EXERCISE = Exercise(
    name="lora-forward",
    title="The forward pass of LoRA",
    minutes=20,
    points=3,
    statement="""
A linear layer computes `x @ W.T`. LoRA leaves `W` unchanged and adds a second, much narrower path: `A` maps
the input to `r` numbers, `B` maps these to the output, and the result is scaled. The scale is `alpha / r`
(the setting `lora_alpha` divided by the rank).

Write `lora_forward`. The rank is not an argument: take it from the shapes of the matrices. Do not change
any of the arguments.
""",
    solution=lora_forward,
    example={
        "x": np.array([[1.0, 2.0]]),
        "W": np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        "A": np.array([[3.0, -1.0], [0.0, 1.0]]),
        "B": np.array([[1.0, 0.0], [0.0, 0.5], [2.0, 0.0]]),
        "alpha": 6,
    },
    draw=draw,
    result=Floats("y", tolerance),
    hints=(
        "There are two paths from x to y. Compute each one separately and print its shape: both must be "
        "(..., out).",
        "A has the shape (r, in). Which of its dimensions must match the last dimension of x? A transpose "
        "brings that one to the front.",
        "The narrow path is x @ A.T, and then @ B.T. Multiply it by alpha divided by the number of rows of "
        "A, and add the path through W.",
    ),
    pitfalls=(
        "`ValueError: matmul: ... mismatch`: one matrix is not transposed. Write the shapes below each "
        "other.",
        "It is right only for square matrices: A and B are swapped somewhere.",
    ),
    explanation="The narrow path takes r · (in + out) multiplications per token, the full one in · out. "
    "There is no need to build B @ A, which is as large as W. Only merging, a later exercise, "
    "does that, once.",
    wrong=(
        *wrong_scales(flawed, minus="You subtract the update; LoRA adds it."),
        Wrong(
            "no-update",
            flawed(lambda alpha, r, i, o: 0),
            "This is the frozen layer alone; the update through A and B does not reach the result.",
        ),
        Wrong(
            "columns",
            same_order_for_tokens,
            "You multiply from the left, W @ x.T. That works only for a matrix: with more dimensions, .T "
            "reverses all of them. Keep x on the left: x @ W.T.",
        ),
        Wrong(
            "twice-x",
            lambda x, W, A, B, alpha: (x @ W.T) + alpha / A.shape[0] * ((x @ W.T) @ W @ A.T @ B.T),
            "The narrow path starts from the output of W. It starts from x itself: both paths get the same "
            "input.",
        ),
        Wrong(
            "alpha-added",
            low_not_scaled,
            "alpha is added to the result. It is part of the scale alpha / r, which multiplies the update.",
        ),
        Wrong(
            "base-averaged",
            lambda x, W, A, B, alpha: (x @ W.T + alpha / A.shape[0] * (x @ A.T @ B.T)) / 2,
            "You take the mean of the two paths; LoRA adds them.",
        ),
        Wrong(
            "swapped",
            lambda x, W, A, B, alpha: x @ W.T + alpha / A.shape[0] * (x @ B.T @ A.T),
            "A and B are swapped: A comes first and maps the input to r numbers, then B maps these to the "
            "output.",
        ),
        Wrong(
            "transposed-product",
            lambda x, W, A, B, alpha: x @ W.T + alpha / A.shape[0] * (x @ (B @ A)),
            "The product B A is used without its transpose. It has the shape of W, (out, in), so it acts "
            "as W does: x @ (B A).T.",
        ),
        Wrong(
            "base-transposed",
            lambda x, W, A, B, alpha: x @ W + alpha / A.shape[0] * (x @ A.T @ B.T),
            "The frozen path uses W without its transpose; W is (out, in), so it is x @ W.T.",
        ),
        Wrong(
            "no-base",
            flawed(base=0.0),
            "The frozen path is missing: LoRA adds its update to x @ W.T, it does not replace it.",
        ),
        Wrong(
            "zeroed",
            zeroed,
            "You set A and B to zero inside the forward pass. B is zero only before training; here both "
            "hold what was learned.",
        ),
        Wrong(
            "base-mutated",
            base_mutated,
            "You wrote the update into W itself. W must stay frozen: a second call would add the update "
            "again.",
        ),
        Wrong(
            "scaled-base",
            scaled_base,
            "You scale the frozen path too. Only the update is multiplied by alpha / r.",
        ),
        *strengths(lora_forward, without_alpha, "The update through A and B"),
    ),
    variants=(
        Variant("full matrix", full_matrix),
        Variant("einsum", by_einsum),
        Variant("loops", by_loops),
        Variant("in place", in_place),
        Variant("float32", in_float32),
        Variant("torch, with gradients", in_torch),
    ),
)
