"""Exercise: what one layer with LoRA computes."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats
from minilora.exercises.drawing import alpha_for, layer, quarters, sum_rounding
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def lora_forward(x, W, A, B, alpha):
    """x (..., in), W (out, in), A (r, in), B (out, r), alpha a number -> y (..., out).

    >>> x, W = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> A, B = np.array([[3.0, -1.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 0.5], [2.0, 0.0]])
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
        arguments = {"x": quarters(rng, *rows, in_features), **layer(rng, in_features, out_features, r)}
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


def flawed(scale=lambda alpha, r: alpha / r, base=1.0):
    def forward(x, W, A, B, alpha):
        return base * (x @ W.T) + scale(alpha, A.shape[0]) * (x @ A.T @ B.T)

    return forward


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
    minutes=10,
    points=3,
    statement="""
A linear layer turns `x` into `x @ W.T`. LoRA leaves `W` alone and adds a second, much thinner path: down to
`r` numbers through `A`, up again through `B`, and then scaled. The scale is the setting `lora_alpha`
divided by the rank, so that one can change the rank without tuning the strength again.

Write `lora_forward`. The rank is not an argument: read it off the matrices. None of the arguments may
change.
""",
    solution=lora_forward,
    draw=draw,
    result=Floats("y", tolerance),
    hints=(
        "There are two paths from x to y. Compute each by itself and print its shape; both must end in "
        "(..., out).",
        "A is (r, in): which of its sides meets the last side of x? A transpose brings that side to the front.",
        "The thin path is x, then A transposed, then B transposed. Multiply it by alpha divided by the "
        "number of rows of "
        "A, and add the path through W.",
    ),
    pitfalls=(
        "`ValueError: matmul: ... mismatch`: one matrix is not transposed. Write the shapes under each other.",
        "Right for square matrices only: the order of A and B is swapped somewhere.",
    ),
    explanation="The thin path costs r · (in + out) products for each row, the full one in · out. You "
    "never built B @ A: "
    "that is why LoRA trains in little memory. Merging, a later exercise, does build it, once.",
    wrong=(
        Wrong(
            "no-scale",
            flawed(lambda alpha, r: 1),
            "You add the correction unscaled; LoRA multiplies it by alpha / r first.",
        ),
        Wrong(
            "alpha-only",
            flawed(lambda alpha, r: alpha),
            "You scale by alpha; LoRA scales by alpha / r.",
        ),
        Wrong(
            "r-over-alpha",
            flawed(lambda alpha, r: r / alpha),
            "Your scale is upside down: r / alpha. It is alpha / r, so that a larger alpha gives a "
            "stronger adapter.",
        ),
        Wrong(
            "sqrt-r",
            flawed(lambda alpha, r: alpha / np.sqrt(r)),
            "You divide alpha by the square root of r. That is the variant called rsLoRA; plain LoRA "
            "divides by r.",
        ),
        Wrong(
            "one-over-r",
            flawed(lambda alpha, r: 1 / r),
            "You divide by r but leave alpha out; the scale is alpha / r.",
        ),
        Wrong(
            "times-r",
            flawed(lambda alpha, r: alpha * r),
            "You multiply alpha by r; divide instead. Otherwise a higher rank would mean a stronger adapter.",
        ),
        Wrong(
            "scale-twice",
            flawed(lambda alpha, r: (alpha / r) ** 2),
            "The scale acts twice, for example once on A and once on B. The product of both is to be "
            "scaled once.",
        ),
        Wrong(
            "in-for-r",
            lambda x, W, A, B, alpha: x @ W.T + alpha / A.shape[1] * (x @ A.T @ B.T),
            "You divide alpha by the number of inputs. The rank is the other side of A, its number of rows.",
        ),
        Wrong(
            "out-for-r",
            lambda x, W, A, B, alpha: x @ W.T + alpha / B.shape[0] * (x @ A.T @ B.T),
            "You divide alpha by the number of outputs. The rank is the other side of B, its number of columns.",
        ),
        Wrong(
            "swapped",
            lambda x, W, A, B, alpha: x @ W.T + alpha / A.shape[0] * (x @ B.T @ A.T),
            "A and B are swapped: the input meets A first, which takes it down to r numbers, and B brings "
            "it up again.",
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
            "The frozen path is missing: LoRA adds its correction to x @ W.T, it does not replace it.",
        ),
        Wrong(
            "no-update",
            flawed(lambda alpha, r: 0),
            "This is the frozen layer alone; the correction through A and B does not reach the result.",
        ),
        Wrong(
            "minus",
            flawed(lambda alpha, r: -alpha / r),
            "You subtract the correction; LoRA adds it.",
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
            "You wrote the correction into W itself. The base stays frozen; a second call would now add "
            "the correction again.",
        ),
        Wrong(
            "scaled-base",
            scaled_base,
            "You scale the frozen path too. Only the correction is multiplied by alpha / r.",
        ),
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
