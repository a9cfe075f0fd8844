"""Exercise: one base, and an adapter for each request."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats, Rows
from minilora.exercises.drawing import alpha_for, decimals, layer, sum_rounding
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong
from minilora.exercises.hands_on.scales import wrong_scales


def run_with_adapters(x, W, adapters, order):
    """Computes a layer's outputs with one adapter after another.

    Args:
        x: Inputs (batch, in).
        W: The frozen weight (out, in).
        adapters: Name -> {"A": (r, in), "B": (out, r), "alpha": a number}.
        order: Names of adapters, or None for the base alone.

    Returns:
        A list with one output (batch, out) per entry of order.

    >>> x, W = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> louder = {"A": np.array([[1.0, 1.0]]), "B": np.array([[1.0], [0.0]]), "alpha": 2.0}
    >>> run_with_adapters(x, W, {"louder": louder}, ["louder", None])
    [array([[7., 2.]]), array([[1., 2.]])]
    """
    ### BEGIN SOLUTION
    results = []
    for name in order:
        y = x @ W.T
        if name is not None:
            A, B, alpha = adapters[name]["A"], adapters[name]["B"], adapters[name]["alpha"]
            y = y + alpha / A.shape[0] * (x @ A.T @ B.T)
        results.append(y)
    return results
    ### END SOLUTION


def some_adapters(rng: np.random.Generator, i: int, o: int, ranks: dict[str, int]) -> dict:
    """Name -> A (r, i), B (o, r) and an alpha, all different."""
    found = {}
    for name, r in ranks.items():
        matrices = layer(rng, i, o, r)
        found[name] = {"A": matrices["A"], "B": matrices["B"], "alpha": alpha_for(rng, r)}
    return found


def draw(rng: np.random.Generator) -> list[Case]:
    cases = []
    for label, i, o, ranks, order in (
        ("three adapters of different rank", 4, 5, {"legal": 2, "code": 3, "support": 1},
         ["legal", "code", None, "support", "legal"]),
        ("two of equal rank", 3, 3, {"code": 2, "legal": 2}, [None, "legal", "code", "code", None]),
    ):  # fmt: skip
        adapters = some_adapters(rng, i, o, ranks)
        x, W = decimals(rng, 2, i), decimals(rng, o, i)
        cases.append(Case(label, {"x": x, "W": W, "adapters": adapters, "order": order}))
    return cases


def tolerance(x, W, adapters, order):
    """Sums of in, in and r products, rounded to float32; the largest over all adapters."""
    plain = np.abs(x) @ np.abs(W).T
    thin = [
        np.abs(a["alpha"] / len(a["A"])) * np.abs(x) @ np.abs(a["A"]).T @ np.abs(a["B"]).T
        for a in adapters.values()
    ]
    rank = max(len(a["A"]) for a in adapters.values())
    return sum_rounding(2 * x.shape[1] + rank + 3, plain + np.max(thin, axis=0))


def merging_copies(x, W, adapters, order):
    merged = {None: W}
    for name, a in adapters.items():
        merged[name] = W + a["alpha"] / a["A"].shape[0] * a["B"] @ a["A"]
    return [x @ merged[name].T for name in order]


def in_float32(x, W, adapters, order):
    base = (x @ W.T).astype(np.float32)

    def change(A, B, alpha):
        return (
            (x.astype(np.float32) @ A.T.astype(np.float32))
            @ B.T.astype(np.float32)
            * np.float32(alpha / len(A))
        )

    return [base if name is None else base + change(**adapters[name]) for name in order]


def scale(a):
    return a["alpha"] / a["A"].shape[0]


def update(x, a):
    return scale(a) * (x @ a["A"].T @ a["B"].T)


def scaled(factor):
    """update with another scale: factor(alpha, r, in, out)."""
    return lambda x, a: factor(a["alpha"], *a["A"].shape, len(a["B"])) * (x @ a["A"].T @ a["B"].T)


def with_scale(factor):
    change = scaled(factor)
    return simply(lambda x, W, a, name: x @ W.T + (change(x, a[name]) if name else 0))


def each_once(x, W, adapters, order):
    """The adapters in the order of the dict, and the base in front, whatever was asked."""
    return [x @ W.T, *(x @ W.T + update(x, a) for a in adapters.values())]


def bases_left_out(x, W, adapters, order):
    return run_with_adapters(x, W, adapters, [name for name in order if name is not None])


def backwards(x, W, adapters, order):
    return run_with_adapters(x, W, adapters, order[::-1])


def in_the_dicts_order(x, W, adapters, order):
    """The i-th entry gets the i-th adapter."""
    turns = [*adapters.values()]
    return [
        x @ W.T + (0 if name is None else update(x, turns[place % len(turns)]))
        for place, name in enumerate(order)
    ]


def one_array(x, W, adapters, order):
    y, results = x @ W.T, []
    for name in order:
        y += 0 if name is None else update(x, adapters[name])
        results.append(y)
    return results


def only_last(x, W, adapters, order):
    return run_with_adapters(x, W, adapters, order)[-1]


def merged_and_stacked(x, W, adapters, order):
    results = np.array(run_with_adapters(x, W, adapters, order))
    return list(results.mean(axis=0, keepdims=True).repeat(len(order), axis=0))


def repeats_skipped(x, W, adapters, order):
    return run_with_adapters(x, W, adapters, list(dict.fromkeys(order)))


def stacked(x, W, adapters, order):
    return np.stack(run_with_adapters(x, W, adapters, order))


def piling_up(x, W, adapters, order):
    y, results = x @ W.T, []
    for name in order:
        y = y if name is None else y + update(x, adapters[name])
        results.append(y)
    return results


def base_changed(x, W, adapters, order):
    results = []
    for name in order:
        if name is not None:
            a = adapters[name]
            W += a["alpha"] / a["A"].shape[0] * a["B"] @ a["A"]
        results.append(x @ W.T)
    return results


def stays_on(x, W, adapters, order):
    results, current = [], None
    for name in order:
        current = name if name is not None else current
        results.append(x @ W.T if current is None else x @ W.T + update(x, adapters[current]))
    return results


def simply(one):
    """one(x, W, adapters, name) for each entry."""
    return lambda x, W, adapters, order: [one(x, W, adapters, name) for name in order]


def first_of(adapters):
    return next(iter(adapters.values()))


EXERCISE = Exercise(
    name="swap-adapters",
    title="One base, and an adapter for each request",
    minutes=20,
    points=2,
    statement="""
A base is loaded once and does not change. Requests arrive one after another, and each needs a different
adapter, or none. No request may affect the next one.

Write `run_with_adapters`. For each entry of `order`, compute the layer's output for the same `x` with that
adapter, or with the base alone if the entry is None. Return the outputs as a list. Each adapter has its own
rank and its own alpha.
""",
    solution=run_with_adapters,
    example={
        "x": np.array([[1.0, 2.0]]),
        "W": np.array([[1.0, 0.0], [0.0, 1.0]]),
        "adapters": {"louder": {"A": np.array([[1.0, 1.0]]), "B": np.array([[1.0], [0.0]]), "alpha": 2.0}},
        "order": ["louder", None],
    },
    draw=draw,
    result=Rows("the results", Floats("", tolerance)),
    hints=(
        "The outputs do not depend on each other. How would you compute a single one?",
        "Start from x @ W.T each time. Then add the update, if the entry is not None.",
        "For a name: a = adapters[name]; add a['alpha'] / a['A'].shape[0] * (x @ a['A'].T @ a['B'].T).",
    ),
    pitfalls=(
        "`KeyError: None`: None is not an adapter. Test for it before the lookup.",
        "`y += …` changes the array itself, also where you have stored it already.",
    ),
    explanation="Switching costs nothing, because there is nothing to undo. That is why one base can serve "
    "hundreds of adapters.",
    wrong=(
        *wrong_scales(with_scale),
        Wrong(
            "backwards",
            backwards,
            "The results are in reverse order: the first result belongs to the first entry of order.",
        ),
        Wrong(
            "each-once",
            each_once,
            "You compute the base and each adapter once, in the order of the dict. Go through order: one "
            "result for "
            "each of its entries.",
        ),
        Wrong(
            "bases-left-out",
            bases_left_out,
            "Entries that are None are skipped. Their output is that of the base alone.",
        ),
        Wrong(
            "repeats-left-out",
            repeats_skipped,
            "Repeated entries are skipped. Return one output per entry of order.",
        ),
        Wrong(
            "by-position",
            in_the_dicts_order,
            "You take the adapters in the order of the dict. Take the one that order names.",
        ),
        Wrong(
            "one-array",
            one_array,
            "All outputs are the same array, which you keep changing. Start each from x @ W.T, and do not "
            "use +=.",
        ),
        Wrong(
            "always-last",
            simply(lambda x, W, a, name: x @ W.T + (update(x, list(a.values())[-1]) if name else 0)),
            "You always use the last adapter, whatever the name.",
        ),
        Wrong(
            "only-last",
            only_last,
            "Only the last result is returned. Append each result to a list, and return the list.",
        ),
        Wrong(
            "averaged",
            merged_and_stacked,
            "All outputs are the mean over the entries. Return one output per entry.",
        ),
        Wrong(
            "piling-up",
            piling_up,
            "The updates add up: each output still contains those of earlier requests. Start from the base "
            "every time.",
        ),
        Wrong(
            "base-changed",
            base_changed,
            "You add every adapter to W, so W is no longer the base. Do not change W.",
        ),
        Wrong(
            "stays-on",
            stays_on,
            "Where the entry is None, the previous adapter is still active. None means the base alone.",
        ),
        Wrong(
            "none-is-zero",
            simply(lambda x, W, a, name: 0 * (x @ W.T) if name is None else x @ W.T + update(x, a[name])),
            "Where the entry is None the output is zero; it should be the base alone, x @ W.T.",
        ),
        Wrong(
            "none-is-first",
            simply(lambda x, W, a, name: x @ W.T + update(x, a[name] if name else first_of(a))),
            "Where the entry is None you take the first adapter; take none.",
        ),
        Wrong(
            "always-first",
            simply(lambda x, W, a, name: x @ W.T + (update(x, first_of(a)) if name else 0)),
            "You always use the first adapter, whatever the name.",
        ),
        Wrong(
            "all-at-once",
            simply(lambda x, W, a, name: x @ W.T + (sum(update(x, b) for b in a.values()) if name else 0)),
            "All adapters are active at once; only the one that is named should be.",
        ),
        Wrong(
            "no-adapters",
            simply(lambda x, W, a, name: x @ W.T),
            "All outputs are those of the base alone; the adapters are not used.",
        ),
        Wrong(
            "shared-scale",
            simply(
                lambda x, W, a, name: (
                    x @ W.T
                    + (
                        first_of(a)["alpha"]
                        / first_of(a)["A"].shape[0]
                        * (x @ a[name]["A"].T @ a[name]["B"].T)
                        if name
                        else 0
                    )
                )
            ),
            "The first adapter's scale is used for all. Each has its own alpha and its own rank.",
        ),
        Wrong(
            "no-base",
            simply(lambda x, W, a, name: update(x, a[name]) if name else x @ W.T),
            "With an adapter the base is missing; the update is added to x @ W.T.",
        ),
    ),
    variants=(
        Variant("merged copies", merging_copies),
        Variant("one array", stacked),
        Variant("float32", in_float32),
    ),
)
