"""Wrong answers to the exercises that multiply A and B."""

import numpy as np


def forward(scale=lambda x, A, B, alpha: alpha / A.shape[0], path=None):
    def lora_forward(x, W, A, B, alpha):
        return x @ W.T + scale(x, A, B, alpha) * (x @ A.T @ B.T)

    return lora_forward


def half(x):
    return x.astype(np.float16)


def base_in_float16(x, W, A, B, alpha):
    return half(x) @ half(W).T + alpha / A.shape[0] * (x @ A.T @ B.T)


def update_in_float16(x, W, A, B, alpha):
    return x @ W.T + alpha / A.shape[0] * (half(x) @ half(A).T @ half(B).T)


def all_in_float16(x, W, A, B, alpha):
    return half(x @ W.T + alpha / A.shape[0] * (x @ A.T @ B.T))


def through_float16(x, W, A, B, alpha):
    return all_in_float16(x, W, A, B, alpha).astype(np.float32)


def one_row_only(x, W, A, B, alpha):
    row = x.reshape(-1, x.shape[-1])[0]
    return row @ W.T + alpha / A.shape[0] * (row @ A.T @ B.T)


def rank_from_b(x, W, A, B, alpha):
    return x @ W.T + alpha / len(B) * (x @ A.T @ B.T)


def update_squared(x, W, A, B, alpha):
    low = alpha / A.shape[0] * (x @ A.T)
    return x @ W.T + alpha / A.shape[0] * (low @ B.T)


def doubled_base(x, W, A, B, alpha):
    y = x @ W.T
    return y + (y + alpha / A.shape[0] * (x @ A.T @ B.T))


def elementwise(x, W, A, B, alpha):
    return x @ W.T * (1 + alpha / A.shape[0] * (x @ A.T @ B.T))


def with_relu(x, W, A, B, alpha):
    return x @ W.T + alpha / A.shape[0] * (np.maximum(x @ A.T, 0) @ B.T)


def merge_with(scale):
    return lambda W, A, B, alpha: W + scale(A, B, alpha) * (B @ A)


def unmerge_with(scale):
    return lambda merged, A, B, alpha: merged - scale(A, B, alpha) * (B @ A)


def merged_float16(W, A, B, alpha):
    return half(W + alpha / A.shape[0] * (B @ A))


def merged_through_float16(W, A, B, alpha):
    return W + (alpha / A.shape[0] * (half(B) @ half(A))).astype(np.float64)


def merged_in_a_loop(W, A, B, alpha):
    """Only the last direction stays."""
    for k in range(A.shape[0]):
        merged = W + alpha / A.shape[0] * np.outer(B[:, k], A[k])
    return merged


def merged_first_direction(W, A, B, alpha):
    return W + alpha / A.shape[0] * np.outer(B[:, 0], A[0])


def gradients_by(grad_a, grad_b):
    return lambda grad_y, x, A, B, scaling: (
        grad_a(grad_y, x, A, B, scaling),
        grad_b(grad_y, x, A, B, scaling),
    )


def right_a(grad_y, x, A, B, scaling):
    return scaling * (grad_y @ B).T @ x


def right_b(grad_y, x, A, B, scaling):
    return scaling * grad_y.T @ (x @ A.T)


def one_update(x, a, scale=None):
    factor = a["alpha"] / a["A"].shape[0] if scale is None else scale(a)
    return factor * (x @ a["A"].T @ a["B"].T)


def swapping(one):
    return lambda x, W, adapters, order: [one(x, W, adapters, name) for name in order]


def scaled_by(scale):
    return swapping(
        lambda x, W, adapters, name: x @ W.T + (0 if name is None else one_update(x, adapters[name], scale))
    )


def without_copy(x, W, adapters, order):
    """One array is changed again and again."""
    y, results = x @ W.T, []
    for name in order:
        if name is not None:
            y += one_update(x, adapters[name])
        results.append(y)
    return results


def last_adapter_always(x, W, adapters, order):
    last = list(adapters.values())[-1]
    return [x @ W.T + (0 if name is None else one_update(x, last)) for name in order]


def keyed_by_name(x, W, adapters, order):
    return {str(name): x @ W.T + (0 if name is None else one_update(x, adapters[name])) for name in order}


def stacked_along_the_batch(x, W, adapters, order):
    return np.concatenate(scaled_by(None)(x, W, adapters, order))


def summed(x, W, adapters, order):
    return sum(scaled_by(None)(x, W, adapters, order))


def batch_with(one):
    def mixed_batch(x, W, adapters, rows):
        return np.stack([one(part, W, adapters, name) for part, name in zip(x, rows, strict=True)])

    return mixed_batch


def batch_scaled(scale):
    return batch_with(
        lambda part, W, adapters, name: (
            part @ W.T + (0 if name is None else one_update(part, adapters[name], scale))
        )
    )


def one_token_fewer(x, W, adapters, rows):
    return batch_scaled(None)(x, W, adapters, rows)[:, :-1]


def averaged_over_tokens(x, W, adapters, rows):
    y = batch_scaled(None)(x, W, adapters, rows)
    return y.mean(axis=1, keepdims=True).repeat(x.shape[1], axis=1)


def rows_reversed(x, W, adapters, rows):
    return batch_scaled(None)(x, W, adapters, rows[::-1])


def whole_batch_joined(x, W, adapters, rows):
    y = batch_scaled(None)(x, W, adapters, rows)
    return y.reshape(-1, y.shape[-1])


def base_twice(x, W, adapters, rows):
    return batch_scaled(None)(x, W, adapters, rows) + x @ W.T


def blend_with(factor):
    def blend(adapters, strengths):
        return sum(
            factor(s, adapters[name]) * (adapters[name]["B"] @ adapters[name]["A"])
            for name, s in strengths.items()
        )

    return blend


def right_scale(a):
    return a["alpha"] / a["A"].shape[0]


def all_adapters_equally(adapters, strengths):
    return sum(right_scale(a) * (a["B"] @ a["A"]) for a in adapters.values()) * sum(strengths.values())


def softmax_strengths(adapters, strengths):
    shares = np.exp(list(strengths.values()))
    shares = dict(zip(strengths, shares / shares.sum(), strict=True))
    return blend_with(lambda s, a: s * right_scale(a))(adapters, shares)


def largest_rank_for_all(adapters, strengths):
    r = max(a["A"].shape[0] for a in adapters.values())
    return blend_with(lambda s, a: s * a["alpha"] / r)(adapters, strengths)


def weights_as_list(adapters, strengths):
    return [s * right_scale(adapters[n]) * adapters[n]["B"] @ adapters[n]["A"] for n, s in strengths.items()]


FUNCTIONS = {
    "lora-forward": {
        "float16 in the base": base_in_float16,
        "float16 in the update": update_in_float16,
        "float16 result": all_in_float16,
        "through float16": through_float16,
        "first row only": one_row_only,
        "len(B) for r": rank_from_b,
        "scaled twice, in two places": update_squared,
        "base twice": doubled_base,
        "multiplied": elementwise,
        "relu between": with_relu,
        "// for /": forward(lambda x, A, B, alpha: alpha // A.shape[0]),
        "A.shape[1] for r": forward(lambda x, A, B, alpha: alpha / A.shape[1]),
        "len(x) for r": forward(lambda x, A, B, alpha: alpha / len(x)),
        "rank of the docstring": forward(lambda x, A, B, alpha: alpha / 2),
        "alpha of the docstring": forward(lambda x, A, B, alpha: 6 / A.shape[0]),
        "r squared": forward(lambda x, A, B, alpha: alpha / A.shape[0] ** 2),
        "root of all": forward(lambda x, A, B, alpha: np.sqrt(alpha / A.shape[0])),
    },
    "merge": {
        "// for /": merge_with(lambda A, B, alpha: alpha // A.shape[0]),
        "in for r": merge_with(lambda A, B, alpha: alpha / A.shape[1]),
        "out for r": merge_with(lambda A, B, alpha: alpha / B.shape[0]),
        "rank of the docstring": merge_with(lambda A, B, alpha: alpha / 2),
        "size of A": merge_with(lambda A, B, alpha: alpha / A.size),
        "int(alpha / r)": merge_with(lambda A, B, alpha: int(alpha / A.shape[0])),
        "round(alpha / r)": merge_with(lambda A, B, alpha: round(alpha / A.shape[0])),
        "float16": merged_float16,
        "float16 inside": merged_through_float16,
        "last direction": merged_in_a_loop,
        "first direction": merged_first_direction,
        "transposed result": lambda W, A, B, alpha: (W + alpha / A.shape[0] * (B @ A)).T,
        "flat": lambda W, A, B, alpha: (W + alpha / A.shape[0] * (B @ A)).ravel(),
    },
    "unmerge": {
        "// for /": unmerge_with(lambda A, B, alpha: alpha // A.shape[0]),
        "in for r": unmerge_with(lambda A, B, alpha: alpha / A.shape[1]),
        "out for r": unmerge_with(lambda A, B, alpha: alpha / B.shape[0]),
        "rank of the docstring": unmerge_with(lambda A, B, alpha: alpha / 2),
        "times r": unmerge_with(lambda A, B, alpha: alpha * A.shape[0]),
        "root of r": unmerge_with(lambda A, B, alpha: alpha / np.sqrt(A.shape[0])),
        "float16": lambda merged, A, B, alpha: half(merged - alpha / A.shape[0] * (B @ A)),
        "r for alpha": lambda merged, A, B, alpha: merged - A.shape[0] * (B @ A),
        "alpha of the docstring": unmerge_with(lambda A, B, alpha: 4 / A.shape[0]),
        "transposed result": lambda merged, A, B, alpha: (merged - alpha / A.shape[0] * (B @ A)).T,
        "pair returned": lambda merged, A, B, alpha: (merged - alpha / A.shape[0] * (B @ A), A),
    },
    "lora-gradients": {
        "float16": lambda *a: (half(right_a(*a)), half(right_b(*a))),
        "stacked rows": gradients_by(
            lambda g, x, A, B, s: s * np.einsum("no,or,ni->nri", g, B, x),
            lambda g, x, A, B, s: s * np.einsum("no,ni,ri->nor", g, x, A),
        ),
        "only A": right_a,
        "a dict": lambda *a: {"A": right_a(*a), "B": right_b(*a)},
        "mean for A alone": gradients_by(lambda *a: right_a(*a) / len(a[0]), right_b),
        "mean for B alone": gradients_by(right_a, lambda *a: right_b(*a) / len(a[0])),
        "scaling of the docstring": lambda g, x, A, B, s: (
            right_a(g, x, A, B, 0.5),
            right_b(g, x, A, B, 0.5),
        ),
        "sum over the batch lost": gradients_by(
            lambda g, x, A, B, s: right_a(g[-1:], x[-1:], A, B, s), right_b
        ),
        "divided by out": lambda *a: (right_a(*a) / a[0].shape[1], right_b(*a) / a[0].shape[1]),
        "divided by r": lambda *a: (right_a(*a) / len(a[2]), right_b(*a) / len(a[2])),
        "sign of A": gradients_by(lambda *a: -right_a(*a), right_b),
        "sign of B": gradients_by(right_a, lambda *a: -right_b(*a)),
        "A twice": gradients_by(right_a, right_a),
    },
    "swap-adapters": {
        "// for /": scaled_by(lambda a: a["alpha"] // a["A"].shape[0]),
        "in for r": scaled_by(lambda a: a["alpha"] / a["A"].shape[1]),
        "out for r": scaled_by(lambda a: a["alpha"] / a["B"].shape[0]),
        "alpha alone": scaled_by(lambda a: a["alpha"]),
        "one array again and again": without_copy,
        "always the last": last_adapter_always,
        "a dict": keyed_by_name,
        "joined along the batch": stacked_along_the_batch,
        "summed": summed,
        "float16": lambda *a: [half(y) for y in scaled_by(None)(*a)],
        "reversed": lambda x, W, adapters, order: scaled_by(None)(x, W, adapters, order)[::-1],
        "transposed": lambda *a: [y.T for y in scaled_by(None)(*a)],
    },
    "mixed-batch": {
        "// for /": batch_scaled(lambda a: a["alpha"] // a["A"].shape[0]),
        "in for r": batch_scaled(lambda a: a["alpha"] / a["A"].shape[1]),
        "alpha alone": batch_scaled(lambda a: a["alpha"]),
        "rank of the docstring": batch_scaled(lambda a: a["alpha"] / 1),
        "a token lost": one_token_fewer,
        "mean over tokens": averaged_over_tokens,
        "rows reversed": rows_reversed,
        "joined": whole_batch_joined,
        "base twice": base_twice,
        "float16": lambda *a: half(batch_scaled(None)(*a)),
        "a list by name": lambda x, W, adapters, rows: {
            str(n): one_update(x[i], adapters[n]) for i, n in enumerate(rows) if n
        },
    },
    "blend": {
        "// for /": blend_with(lambda s, a: s * (a["alpha"] // a["A"].shape[0])),
        "in for r": blend_with(lambda s, a: s * a["alpha"] / a["A"].shape[1]),
        "strengths added": blend_with(lambda s, a: s + right_scale(a)),
        "divided by the strength": blend_with(lambda s, a: right_scale(a) / s),
        "root of strengths": blend_with(lambda s, a: np.sqrt(s) * right_scale(a)),
        "all equally": all_adapters_equally,
        "softmax": softmax_strengths,
        "largest rank for all": largest_rank_for_all,
        "not summed": weights_as_list,
        "float16": lambda *a: half(blend_with(lambda s, a: s * right_scale(a))(*a)),
        "transposed": lambda *a: blend_with(lambda s, a: s * right_scale(a))(*a).T,
    },
}
