"""Exercise: several adapters at once, each with its own strength."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats
from minilora.exercises.drawing import sum_rounding
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong
from minilora.exercises.hands_on.scales import wrong_scales
from minilora.exercises.hands_on.swap_adapters import scale, some_adapters


def blend(adapters, strengths):
    """Computes the change of W that several adapters make together.

    Args:
        adapters: Name -> {"A": (r, in), "B": (out, r), "alpha": a number}.
        strengths: Name -> the strength of that adapter.

    Returns:
        The change of W (out, in).

    >>> a = {"A": np.array([[1.0, 2.0]]), "B": np.array([[1.0], [0.0]]), "alpha": 2.0}
    >>> b = {"A": np.array([[0.0, 1.0]]), "B": np.array([[0.0], [4.0]]), "alpha": 1.0}
    >>> blend({"a": a, "b": b}, {"a": 0.5, "b": 0.25})  # 0.5·2·[1, 2] above 0.25·1·[0, 4]
    array([[1., 2.],
           [0., 1.]])
    """
    ### BEGIN SOLUTION
    change = 0
    for name, strength in strengths.items():
        A, B, alpha = adapters[name]["A"], adapters[name]["B"], adapters[name]["alpha"]
        change = change + strength * alpha / A.shape[0] * (B @ A)
    return change
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    cases = []
    for label, i, o, ranks, names in (
        ("two of three, equal ranks", 4, 5, {"legal": 2, "code": 2, "support": 2}, ["support", "legal"]),
        ("different ranks", 5, 3, {"code": 3, "legal": 1, "support": 2}, ["legal", "code", "support"]),
    ):
        weak = rng.permutation([0.25, 0.75, 1.1])
        strengths = [weak[0], 1.6, weak[1]][: len(names)]  # the strongest is neither the first nor the last
        pairs = {name: float(strength) for name, strength in zip(names, strengths, strict=True)}
        cases.append(Case(label, {"adapters": some_adapters(rng, i, o, ranks), "strengths": pairs}))
    return cases


def tolerance(adapters, strengths):
    """A sum over adapters of sums of r products, with three more operations each, rounded to float32."""
    absolute = {
        name: {"A": np.abs(a["A"]), "B": np.abs(a["B"]), "alpha": a["alpha"]} for name, a in adapters.items()
    }
    ranks = sum(len(a["A"]) for a in adapters.values())
    return sum_rounding(ranks + 4 * len(strengths), blend(absolute, strengths))


def joined(adapters, strengths):
    """One adapter as wide as all together: A under A, B beside B."""
    parts = [adapters[name] for name in strengths]
    A = np.concatenate([a["A"] for a in parts])
    B = np.concatenate(
        [s * a["alpha"] / len(a["A"]) * a["B"] for a, s in zip(parts, strengths.values(), strict=True)],
        axis=1,
    )
    return B @ A


def in_place(adapters, strengths):
    some = next(iter(adapters.values()))
    change = np.zeros((len(some["B"]), some["A"].shape[1]), np.float32)
    for name in adapters:
        a = adapters[name]
        change += np.float32(strengths.get(name, 0) * a["alpha"] / a["A"].shape[0]) * np.matmul(
            a["B"], a["A"]
        )
    return change


def flawed(factor=lambda strength, a, strengths, adapters: strength * scale(a)):
    def mixed(adapters, strengths):
        return sum(
            factor(strength, adapters[name], strengths, adapters)
            * (adapters[name]["B"] @ adapters[name]["A"])
            for name, strength in strengths.items()
        )

    return mixed


def with_scale(other):
    """other(alpha, r, in, out) in the place of each adapter's alpha / r."""
    return flawed(lambda s, a, strengths, adapters: s * other(a["alpha"], *a["A"].shape, len(a["B"])))


def first_only(adapters, strengths):
    return flawed()(adapters, dict(list(strengths.items())[:1]))


def strongest_only(adapters, strengths):
    best = max(strengths, key=lambda name: strengths[name])
    return flawed()(adapters, {best: strengths[best]})


def multiplied(adapters, strengths):
    product = 1
    for name, strength in strengths.items():
        product = product * strength * scale(adapters[name]) * (adapters[name]["B"] @ adapters[name]["A"])
    return product


def transposed(adapters, strengths):
    return sum(
        s * scale(adapters[n]) * (adapters[n]["A"].T @ adapters[n]["B"].T) for n, s in strengths.items()
    )


def swapped(adapters, strengths):
    return sum(s * scale(adapters[n]) * (adapters[n]["A"] @ adapters[n]["B"]) for n, s in strengths.items())


def is_sum_of_products(arguments, value):
    """Some combination of the adapters' B @ A, whatever the factors."""
    products = np.stack([(a["B"] @ a["A"]).ravel() for a in arguments["adapters"].values()], axis=1)
    found = np.asarray(value, float).ravel()
    factors = np.linalg.lstsq(products, found, rcond=None)[0]
    return np.abs(products @ factors - found).max() <= 1e-4 * np.abs(found).max()


def parts_first(adapters, strengths):
    A = sum(s * adapters[n]["A"] for n, s in strengths.items())
    B = sum(scale(adapters[n]) * adapters[n]["B"] for n in strengths)
    return B @ A


def parts_first_both(adapters, strengths):
    A = sum(s * adapters[n]["A"] for n, s in strengths.items())
    B = sum(s * scale(adapters[n]) * adapters[n]["B"] for n, s in strengths.items())
    return B @ A


def rest_at_full_strength(adapters, strengths):
    return sum(strengths.get(n, 1.0) * scale(a) * (a["B"] @ a["A"]) for n, a in adapters.items())


def by_position(adapters, strengths):
    """Strengths go to the adapters in the order in which these lie in the dict."""
    pairs = zip(adapters.values(), strengths.values(), strict=False)
    return sum(s * scale(a) * (a["B"] @ a["A"]) for a, s in pairs)


EXERCISE = Exercise(
    name="blend",
    title="Blend adapters",
    minutes=20,
    points=2,
    statement="""
Several updates can be added at once, each with its own strength: half of one style and a quarter of
another, for example.

Write `blend`. Return the change of `W` that the adapters in `strengths` make together: the sum of their
updates, each scaled by its own alpha / r and multiplied by its strength. Adapters that are not in
`strengths` are left out. Ranks may differ.
""",
    solution=blend,
    example={
        "adapters": {
            "a": {"A": np.array([[1.0, 2.0]]), "B": np.array([[1.0], [0.0]]), "alpha": 2.0},
            "b": {"A": np.array([[0.0, 1.0]]), "B": np.array([[0.0], [4.0]]), "alpha": 1.0},
        },
        "strengths": {"a": 0.5, "b": 0.25},
    },
    draw=draw,
    result=Floats("the change", tolerance),
    hints=(
        "What is the change of W that a single adapter makes? You wrote it in the exercise on merging.",
        "Compute each adapter's update before you add. Mixing all A's and all B's first gives products "
        "across adapters.",
        "Sum strength * alpha / r * (B @ A) over strengths.items(), with alpha and r of that adapter.",
    ),
    pitfalls=(
        "`operands could not be broadcast together`: you added matrices of different rank. Add the "
        "products B @ A instead.",
        "`KeyError`: go through the names in strengths, not through all adapters.",
    ),
    explanation="The blend can have a rank as large as the sum of the ranks, so it does not fit into an "
    "adapter of the same size. You can stack the A's and the B's, which is exact, or keep only "
    "the strongest directions.",
    wrong=(
        *wrong_scales(
            with_scale,
            no_scale="The adapters' own scale is missing: strength times alpha / r.",
            alpha_only="You scale by alpha; divide it by that adapter's rank.",
        ),
        Wrong(
            "first-only",
            first_only,
            "Only the first adapter is in the result. Return after the loop, not inside it.",
        ),
        Wrong(
            "strongest-only",
            strongest_only,
            "Only the strongest adapter is in the result; add all that strengths names.",
        ),
        Wrong(
            "multiplied",
            multiplied,
            "You multiply the updates of the adapters with each other; add them.",
        ),
        Wrong(
            "transposed",
            transposed,
            "The update is transposed: B @ A has the shape of W, (out, in).",
        ),
        Wrong(
            "swapped",
            swapped,
            "A @ B is an (r, r) matrix. The update of W is B @ A.",
        ),
        Wrong(
            "parts-first",
            parts_first,
            "You mix all A's and all B's and then multiply. That gives products of one adapter's B with "
            "another's A. Multiply first, then add.",
        ),
        Wrong(
            "parts-first-both",
            parts_first_both,
            "You mix the A's and the B's with the strengths and then multiply. So each strength acts "
            "twice, and one adapter's B meets another's A. Multiply first, then add.",
        ),
        Wrong(
            "normalized",
            flawed(lambda s, a, strengths, adapters: s * scale(a) / sum(strengths.values())),
            "You divide by the sum of the strengths. They need not add up to 1: use them as they are.",
        ),
        Wrong(
            "mean",
            flawed(lambda s, a, strengths, adapters: s * scale(a) / len(strengths)),
            "You take the mean over the adapters; take the sum.",
        ),
        Wrong(
            "no-strengths",
            flawed(lambda s, a, strengths, adapters: scale(a)),
            "The strengths are not used: every adapter acts at full strength.",
        ),
        Wrong(
            "strengths-squared",
            flawed(lambda s, a, strengths, adapters: s * s * scale(a)),
            "Each strength acts twice, once on A and once on B. Multiply the product B @ A by it once.",
        ),
        Wrong(
            "shared-scale",
            flawed(lambda s, a, strengths, adapters: s * scale(adapters[next(iter(strengths))])),
            "One adapter's alpha / r is used for all. Each has its own.",
        ),
        Wrong(
            "unnamed-ones-act",
            rest_at_full_strength,
            "Adapters that strengths does not name act at full strength; they should be left out.",
        ),
        Wrong(
            "by-position",
            by_position,
            "You match strengths and adapters by their order in the dicts. Match them by name.",
        ),
        Wrong(
            "last-only",
            lambda adapters, strengths: flawed()(adapters, dict(list(strengths.items())[-1:])),
            "Only the last adapter is in the result. Add each update to the sum; do not replace it.",
        ),
        Wrong(
            "factors",
            flawed(lambda s, a, strengths, adapters: np.sqrt(s) * scale(a)),
            "You add up the right products B @ A, but with wrong factors: each is strength times alpha / "
            "r, of that adapter.",
            recognize=is_sum_of_products,
        ),
    ),
    variants=(Variant("joined matrices", joined), Variant("in place, float32", in_place)),
)
