"""Exercise: the gradients of A and B, by hand."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats, Parts
from minilora.exercises.drawing import decimals, sum_rounding
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def lora_gradients(grad_y, x, A, B, scaling):
    """Computes the gradients of A and B.

    Args:
        grad_y: Gradient of the output (batch, out).
        x: Inputs (batch, in).
        A: (r, in).
        B: (out, r).
        scaling: The factor of the update.

    Returns:
        The gradient of A (r, in) and that of B (out, r).

    >>> x, A = np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]])  # x Aᵀ = 1
    >>> B = np.array([[1.0], [0.0], [2.0]])
    >>> lora_gradients(np.array([[1.0, 1.0, 1.0]]), x, A, B, scaling=0.5)
    (array([[1.5, 3. ]]), array([[0.5],
       [0.5],
       [0.5]]))
    """
    ### BEGIN SOLUTION
    low = x @ A.T  # (batch, r)
    grad_low = scaling * (grad_y @ B)  # (batch, r)
    grad_A = grad_low.T @ x  # (r, in): every row of the batch adds its share
    grad_B = scaling * (grad_y.T @ low)  # (out, r)
    return grad_A, grad_B
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    cases = []
    for label, batch, i, o, r in (
        ("all sizes differ", 3, 5, 4, 2),
        ("all sizes are equal", 3, 3, 3, 3),
        ("a fresh adapter: B is zero", 2, 4, 5, 2),
    ):
        cases.append(
            Case(
                label,
                {
                    "grad_y": decimals(rng, batch, o),
                    "x": decimals(rng, batch, i),
                    "A": decimals(rng, r, i),
                    "B": decimals(rng, o, r) * (0.0 if "zero" in label else 1.0),
                    "scaling": float(rng.choice([0.75, 1.5, 2.5, 3.0])),
                },
            )
        )
    return cases


def tolerance(grad_y, x, A, B, scaling):
    """The largest magnitude over both gradients, of sums of out, then batch (or in, then batch) products."""
    magnitudes = lora_gradients(*map(np.abs, (grad_y, x, A, B)), scaling)
    return sum_rounding(sum(grad_y.shape) + x.shape[1] + 3, max(m.max() for m in magnitudes))


def by_full_gradient(grad_y, x, A, B, scaling):
    grad_W = grad_y.T @ x  # (out, in)
    return scaling * B.T @ grad_W, scaling * grad_W @ A.T


def by_einsum(grad_y, x, A, B, scaling):
    return (
        scaling * np.einsum("no,or,ni->ri", grad_y, B, x),
        scaling * np.einsum("no,ni,ri->or", grad_y, x, A),
    )


def by_loops(grad_y, x, A, B, scaling):
    grad_A, grad_B = np.zeros_like(A), np.zeros_like(B)
    for g, row in zip(grad_y, x, strict=True):
        grad_A += scaling * np.outer(B.T @ g, row)
        grad_B += scaling * np.outer(g, A @ row)
    return grad_A, grad_B


def by_autograd(grad_y, x, A, B, scaling):
    import torch

    grad_y, x = torch.from_numpy(grad_y), torch.from_numpy(x)
    A, B = torch.from_numpy(A).requires_grad_(), torch.from_numpy(B).requires_grad_()
    (scaling * x @ A.T @ B.T).backward(grad_y)
    return A.grad, B.grad


def changed(a=lambda g, arguments: g, b=lambda g, arguments: g):
    """The right gradients, altered."""

    def gradients(grad_y, x, A, B, scaling):
        arguments = {"grad_y": grad_y, "x": x, "A": A, "B": B, "s": scaling}
        grad_A, grad_B = lora_gradients(grad_y, x, A, B, scaling)
        return a(grad_A, arguments), b(grad_B, arguments)

    return gradients


def first_row(grad_y, x, A, B, scaling):
    return lora_gradients(grad_y[:1], x[:1], A, B, scaling)


def no_low(grad_y, x, A, B, scaling):
    return lora_gradients(grad_y, x, A, B, scaling)[0], scaling * (grad_y.T @ x)


def by_columns_sum(grad_y, x, A, B, scaling):
    grad_A, _ = lora_gradients(grad_y, x, A, B, scaling)
    return grad_A, np.outer(scaling * grad_y.sum(axis=0), (x @ A.T).sum(axis=0))


def divided(grad_y, x, A, B, scaling):
    return tuple(g / scaling**2 for g in lora_gradients(grad_y, x, A, B, scaling))


def after_b_moved(grad_y, x, A, B, scaling):
    """B takes its step first, and A's gradient is that of the new B."""
    _, grad_B = lora_gradients(grad_y, x, A, B, scaling)
    return lora_gradients(grad_y, x, A, B - grad_B, scaling)[0], grad_B


def first_order_sum(grad_y, x, A, B, scaling):
    """The batch is summed before the products."""
    return lora_gradients(grad_y.sum(0, keepdims=True), x.sum(0, keepdims=True), A, B, scaling)


def no_b(grad_y, x, A, B, scaling):
    return scaling * (grad_y.T @ x), lora_gradients(grad_y, x, A, B, scaling)[1]


EXERCISE = Exercise(
    name="lora-gradients",
    title="The gradients of A and B by hand",
    minutes=40,
    points=4,
    statement="""
The update is `scaling * (x @ A.T) @ B.T`. To train, we need the gradient of the loss with respect to each
number in `A` and in `B`. You are given `grad_y`, its gradient with respect to each number of the output.

Write `lora_gradients` without autograd. One rule is enough; use it twice. If `y = u @ M.T`, then the
gradient of `u` is `grad_y @ M`, and the gradient of `M` is `grad_y.T @ u`. The loss is a sum over the
batch, so the contributions of its rows add up.
""",
    solution=lora_gradients,
    example={
        "grad_y": np.array([[1.0, 1.0, 1.0]]),
        "x": np.array([[1.0, 2.0]]),
        "A": np.array([[3.0, -1.0]]),
        "B": np.array([[1.0], [0.0], [2.0]]),
        "scaling": 0.5,
    },
    draw=draw,
    result=Parts((Floats("grad_A", tolerance), Floats("grad_B", tolerance))),
    hints=(
        "Give the result between A and B a name: low = x @ A.T, of shape (batch, r). The update is then "
        "scaling * low @ B.T.",
        "Start with the second step, low @ B.T: which gradients do B and low get? Then do x @ A.T, with "
        "the gradient of low in the role of grad_y.",
        "grad_B = scaling * grad_y.T @ low. And grad_low = scaling * grad_y @ B, from which grad_A = "
        "grad_low.T @ x follows.",
    ),
    pitfalls=(
        "A gradient always has the same shape as its matrix. Often only one product gives that shape.",
        "`matmul: ... mismatch`: the sum runs over the batch, so the batch must be the inner dimension: "
        "grad_y.T @ …",
    ),
    explanation="The gradient of A contains B, and that of B contains A. With B at zero, as in a fresh "
    "adapter, the gradient of A is zero too: the first step changes only B. The full gradient "
    "(out, in) is never needed.",
    wrong=(
        Wrong(
            "no-scale",
            changed(lambda g, a: g / a["s"], lambda g, a: g / a["s"]),
            "The scaling is missing in both; it multiplies the update, so it multiplies its gradients.",
        ),
        Wrong(
            "a-unscaled",
            changed(a=lambda g, a: g / a["s"]),
            "The gradient of A lacks the scaling; that of B has it.",
        ),
        Wrong(
            "b-unscaled",
            changed(b=lambda g, a: g / a["s"]),
            "The gradient of B lacks the scaling; that of A has it.",
        ),
        Wrong(
            "scale-twice",
            changed(lambda g, a: g * a["s"], lambda g, a: g * a["s"]),
            "The scaling is applied twice. It occurs once in the update, so once in each gradient.",
        ),
        Wrong(
            "mean",
            changed(lambda g, a: g / len(a["x"]), lambda g, a: g / len(a["x"])),
            "You take the mean over the batch. The loss is a sum here: add the rows up.",
        ),
        Wrong(
            "negative",
            changed(lambda g, a: -g, lambda g, a: -g),
            "Both signs are wrong. The minus belongs to the optimizer's step, not to the gradient.",
        ),
        Wrong(
            "order",
            lambda grad_y, x, A, B, scaling: lora_gradients(grad_y, x, A, B, scaling)[::-1],
            "The two are returned in the wrong order: return grad_A first.",
        ),
        Wrong(
            "scaling-divided",
            divided,
            "You divide by the scaling; a factor in the forward pass is the same factor in the gradient.",
        ),
        Wrong(
            "summed-first",
            first_order_sum,
            "You add up the batch before you multiply. Each row's grad_y belongs to its own x: multiply "
            "first.",
        ),
        Wrong(
            "sum-for-b",
            by_columns_sum,
            "For B you add up the batch before you multiply. Each row of grad_y belongs to its own row "
            "of low.",
        ),
        Wrong(
            "b-moved-first",
            after_b_moved,
            "For A you use a B that has already been updated. Both gradients use the same A and B.",
        ),
        Wrong(
            "a-zero",
            changed(a=lambda g, a: 0 * g),
            "Your gradient of A is zero. That is right only while B is zero.",
        ),
        Wrong(
            "b-zero",
            changed(b=lambda g, a: 0 * g),
            "Your gradient of B is zero.",
        ),
        Wrong(
            "updated",
            changed(lambda g, a: a["A"] - g, lambda g, a: a["B"] - g),
            "You return A and B after a step. Return only the gradients; the optimizer takes the step.",
        ),
        Wrong(
            "a-transposed",
            changed(a=lambda g, a: g.T),
            "The gradient of A is transposed. It has the shape of A, (r, in).",
        ),
        Wrong(
            "b-transposed",
            changed(b=lambda g, a: g.T),
            "The gradient of B is transposed. It has the shape of B, (out, r).",
        ),
        Wrong(
            "turned",
            changed(lambda g, a: g.T, lambda g, a: g.T),
            "Both are transposed. A gradient has the shape of its matrix: (r, in) and (out, r).",
        ),
        Wrong(
            "first-row", first_row, "Only the first row of the batch counts in your answer. All rows add up."
        ),
        Wrong(
            "no-low",
            no_low,
            "For B you use x where the rule says low = x @ A.T: B never sees x itself.",
        ),
        Wrong(
            "no-b",
            no_b,
            "For A you use grad_y where the gradient of low belongs: what arrives at A has come through B.",
        ),
        Wrong(
            "transposed-b",
            lambda grad_y, x, A, B, scaling: (
                scaling * (grad_y @ B.T).T @ x,
                scaling * (grad_y.T @ (x @ A.T)),
            ),
            "For the gradient of low you transpose B. The forward pass uses low @ B.T, so the backward "
            "pass uses grad_y @ B.",
        ),
    ),
    variants=(
        Variant("through the full gradient", by_full_gradient),
        Variant("einsum", by_einsum),
        Variant("loops over the batch", by_loops),
        Variant("autograd", by_autograd),
    ),
)
