"""Exercise: different adapters for the rows of one batch."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats
from minilora.exercises.drawing import decimals
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong
from minilora.exercises.hands_on import swap_adapters
from minilora.exercises.hands_on.scales import strengths, without_alpha, wrong_scales
from minilora.exercises.hands_on.swap_adapters import scaled, some_adapters, update


def mixed_batch(x, W, adapters, rows):
    """Computes a layer's output for a batch in which every row has its own adapter.

    Args:
        x: Inputs (batch, tokens, in).
        W: The frozen weight (out, in).
        adapters: Name -> {"A": (r, in), "B": (out, r), "alpha": a number}.
        rows: The name of an adapter, or None, for each row.

    Returns:
        y (batch, tokens, out).

    >>> x, W = np.array([[[1.0, 2.0]], [[1.0, 2.0]]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> louder = {"A": np.array([[1.0, 1.0]]), "B": np.array([[1.0], [0.0]]), "alpha": 2.0}
    >>> mixed_batch(x, W, {"louder": louder}, [None, "louder"])
    array([[[1., 2.]],
    <BLANKLINE>
           [[7., 2.]]])
    """
    ### BEGIN SOLUTION
    y = x @ W.T  # the base computes all rows at once
    for row, name in enumerate(rows):
        if name is not None:
            A, B, alpha = adapters[name]["A"], adapters[name]["B"], adapters[name]["alpha"]
            y[row] += alpha / A.shape[0] * (x[row] @ A.T @ B.T)  # (tokens, out)
    return y
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    cases = []
    for label, i, o, ranks, rows in (
        ("an adapter twice, and a row without", 4, 5, {"legal": 2, "code": 2, "support": 2},
         ["code", None, "legal", "code", "support"]),
        ("different ranks", 3, 3, {"support": 1, "code": 3, "legal": 2}, ["legal", "support", None, "legal"]),
    ):  # fmt: skip
        arguments = {"x": decimals(rng, len(rows), 2, i), "W": decimals(rng, o, i)}
        cases.append(Case(label, {**arguments, "adapters": some_adapters(rng, i, o, ranks), "rows": rows}))
    return cases


def tolerance(x, W, adapters, rows):
    """As for one adapter at a time."""
    return swap_adapters.tolerance(x, W, adapters, rows)


def by_adapter(x, W, adapters, rows):
    y = x @ W.T
    for name, a in adapters.items():
        mine = np.array([row == name for row in rows])
        y[mine] += a["alpha"] / len(a["A"]) * x[mine] @ a["A"].T @ a["B"].T
    return y


def gathered(x, W, adapters, rows):
    """All matrices padded to one rank and gathered by row: one product for the whole batch."""
    rank = max(len(a["A"]) for a in adapters.values())
    A = np.zeros((len(rows), rank, x.shape[-1]))
    B = np.zeros((len(rows), W.shape[0], rank))
    for place, name in enumerate(rows):
        if name is not None:
            a, r = adapters[name], len(adapters[name]["A"])
            A[place, :r], B[place, :, :r] = a["A"], a["B"] * a["alpha"] / r
    return x @ W.T + (x @ A.transpose(0, 2, 1)) @ B.transpose(0, 2, 1)


def row_by_row(x, W, adapters, rows):
    results = []
    for part, name in zip(x, rows, strict=True):
        weight = W if name is None else W + update(np.eye(W.shape[1]), adapters[name]).T
        results.append((part @ weight.T).astype(np.float32))
    return np.stack(results)


def flawed(
    one=lambda x, adapters, name, row, rows: 0 if name is None else update(x, adapters[name]), base=1.0
):
    def mixed(x, W, adapters, rows):
        parts = [
            base * (x[row] @ W.T) + one(x[row], adapters, name, row, rows) for row, name in enumerate(rows)
        ]
        return np.stack(parts)

    return mixed


def with_scale(factor):
    change = scaled(factor)
    return flawed(lambda x, adapters, name, row, rows: 0 if name is None else change(x, adapters[name]))


def added_to_all(x, W, adapters, rows):
    """Each row's update goes to every row."""
    y = x @ W.T
    for row, name in enumerate(rows):
        if name is not None:
            y += update(x[row], adapters[name])
    return y


def row_of_names(x, W, adapters, rows):
    """Rows are taken in the order of the dict: names give the row."""
    y = x @ W.T
    for place, name in enumerate(n for n in rows if n is not None):
        y[place] += update(x[place], adapters[name])
    return y


def first_token_only(x, W, adapters, rows):
    y = x @ W.T
    for row, name in enumerate(rows):
        if name is not None:
            y[row, 0] += update(x[row, 0], adapters[name])
    return y


def replaced(x, W, adapters, rows):
    """Only the last row that has an adapter keeps its update."""
    last = max(row for row, name in enumerate(rows) if name is not None)
    return flawed(lambda x, adapters, name, row, rows: update(x, adapters[name]) if row == last else 0)(
        x, W, adapters, rows
    )


def from_first_row(x, W, adapters, rows):
    """Every update is computed from the first row's x."""
    y = x @ W.T
    for row, name in enumerate(rows):
        if name is not None:
            y[row] += update(x[0], adapters[name])
    return y


def last_name(adapters):
    return list(adapters)[-1]


def no_base_for_adapted(x, W, adapters, rows):
    return np.stack(
        [
            part @ W.T if name is None else update(part, adapters[name])
            for part, name in zip(x, rows, strict=True)
        ]
    )


def each_adapter_once(x, W, adapters, rows):
    y = x @ W.T
    for name in set(rows) - {None}:
        row = rows.index(name)
        y[row] += update(x[row], adapters[name])
    return y


def row_order_lost(x, W, adapters, rows):
    """Computes group by group and joins the groups."""
    groups = sorted(range(len(rows)), key=lambda row: str(rows[row]))
    right = mixed_batch(x, W, adapters, rows)
    return right[groups]


EXERCISE = Exercise(
    name="mixed-batch",
    title="Different adapters in one batch",
    minutes=30,
    points=3,
    statement="""
A server collects requests into a batch, and each request may need a different adapter. The base is the same
for all, so the large product `x @ W.T` is computed once for the whole batch. Only the small updates differ
from row to row.

Write `mixed_batch`. Row `i` of `x` gets the adapter `rows[i]`, or none if that is None. A name may occur
several times.
""",
    solution=mixed_batch,
    example={
        "x": np.array([[[1.0, 2.0]], [[1.0, 2.0]]]),
        "W": np.array([[1.0, 0.0], [0.0, 1.0]]),
        "adapters": {"louder": {"A": np.array([[1.0, 1.0]]), "B": np.array([[1.0], [0.0]]), "alpha": 2.0}},
        "rows": [None, "louder"],
    },
    draw=draw,
    result=Floats("y", tolerance),
    hints=(
        "x @ W.T is right for all rows already. What is missing in each of them?",
        "enumerate(rows) gives the number of each row with its name; x[row] has the shape (tokens, in).",
        "y = x @ W.T; then for each row with a name: y[row] += alpha / r * (x[row] @ A.T @ B.T).",
    ),
    pitfalls=(
        "`KeyError: None`: a row without an adapter keeps what the base gave it.",
        "`operands could not be broadcast together`: the update of one row was added to all of y. Add it "
        "to y[row].",
    ),
    explanation="Servers for many adapters work like this, but multiply the small matrices of all rows in "
    "one operation. A second adapter in the batch costs almost nothing; switching the whole "
    "model for each request would be slow.",
    wrong=(
        *wrong_scales(with_scale),
        Wrong(
            "added-to-all",
            added_to_all,
            "The update of one row is added to all rows. Write to y[row] only.",
        ),
        Wrong(
            "rows-shifted",
            row_of_names,
            "You do not count rows without an adapter, so later updates go to the wrong rows. Use "
            "enumerate(rows).",
        ),
        Wrong(
            "first-token",
            first_token_only,
            "Only the first token of each row gets the update; all tokens of the row do.",
        ),
        Wrong(
            "last-row-only",
            replaced,
            "Only the last row with an adapter gets its update. Add each update inside the loop.",
        ),
        Wrong(
            "backwards",
            lambda x, W, adapters, rows: mixed_batch(x, W, adapters, rows[::-1]),
            "You go through the names in reverse order. Row i gets the adapter rows[i].",
        ),
        Wrong(
            "x-of-first-row",
            from_first_row,
            "Every update is computed from the first row of x. Use x[row].",
        ),
        Wrong(
            "first-for-all",
            flawed(lambda x, adapters, name, row, rows: update(x, adapters[rows[0] or last_name(adapters)])),
            "The first row's adapter is used for all rows. Each row has its own.",
        ),
        Wrong(
            "none-is-last",
            flawed(lambda x, adapters, name, row, rows: update(x, adapters[name or last_name(adapters)])),
            "Rows without an adapter get the last adapter, perhaps because of an index of -1. They should "
            "get none.",
        ),
        Wrong(
            "none-is-first",
            flawed(lambda x, adapters, name, row, rows: update(x, adapters[name or next(iter(adapters))])),
            "Rows without an adapter get the first adapter. They should get none.",
        ),
        Wrong(
            "none-is-zero",
            lambda x, W, adapters, rows: np.stack(
                [
                    0 * (part @ W.T) if name is None else part @ W.T + update(part, adapters[name])
                    for part, name in zip(x, rows, strict=True)
                ]
            ),
            "Rows without an adapter are zero; they should keep the base's output.",
        ),
        Wrong(
            "once-each",
            each_adapter_once,
            "If a name occurs twice, only its first row gets the adapter: rows.index finds only the first.",
        ),
        Wrong(
            "by-position",
            flawed(
                lambda x, adapters, name, row, rows: (
                    0 if name is None else update(x, list(adapters.values())[row % len(adapters)])
                )
            ),
            "Rows get the adapters in the order of the dict. Use the name in rows[i].",
        ),
        Wrong(
            "all-at-once",
            flawed(
                lambda x, adapters, name, row, rows: (
                    0 if name is None else sum(update(x, a) for a in adapters.values())
                )
            ),
            "All adapters are active in every row that has one; only the named one should be.",
        ),
        Wrong("no-adapters", flawed(lambda *_: 0), "Every row is the base's output; no adapter is used."),
        Wrong(
            "no-base",
            no_base_for_adapted,
            "In rows with an adapter the base is missing; the update is added to x @ W.T.",
        ),
        Wrong(
            "shared-scale",
            flawed(
                lambda x, adapters, name, row, rows: (
                    0
                    if name is None
                    else swap_adapters.scale(adapters[rows[0]])
                    * (x @ adapters[name]["A"].T @ adapters[name]["B"].T)
                )
            ),
            "The first row's alpha / r is used for all. Each adapter has its own.",
        ),
        Wrong(
            "order-lost",
            row_order_lost,
            "The rows come back sorted by adapter. Put each result back in its own row.",
        ),
        *strengths(mixed_batch, without_alpha, "The update of each row"),
    ),
    variants=(
        Variant("adapter by adapter", by_adapter),
        Variant("gathered", gathered),
        Variant("merged row by row, float32", row_by_row),
    ),
)
