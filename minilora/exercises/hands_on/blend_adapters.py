"""Exercise: several adapters at once, each with its own strength."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats
from minilora.exercises.drawing import sum_rounding
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong
from minilora.exercises.hands_on.swap_adapters import scale, some_adapters


def blend(adapters, strengths):
    """adapters: name -> {"A" (r, in), "B" (out, r), "alpha"}; strengths: name -> factor -> the change of W (out, in).

    >>> a = {"A": np.array([[1.0, 2.0]]), "B": np.array([[1.0], [0.0]]), "alpha": 2.0}
    >>> b = {"A": np.array([[0.0, 1.0]]), "B": np.array([[0.0], [4.0]]), "alpha": 1.0}
    >>> blend({"a": a, "b": b}, {"a": 0.5, "b": 0.25})  # 0.5 · 2 · [[1, 2], [0, 0]] + 0.25 · 1 · [[0, 0], [0, 4]]
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
        strengths = rng.permutation([0.25, 0.75, 1.25])[: len(names)]
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
    minutes=10,
    points=2,
    statement="""
Because corrections are added, several can be added at once, each as strongly as one likes: half of one
style and a quarter of another.

Write `blend`. It returns the change of `W` that the named adapters make together: the sum of their own
changes, each with its own alpha and rank, times its strength. Adapters that `strengths` does not name stay
silent. Ranks may differ.
""",
    solution=blend,
    draw=draw,
    result=Floats("the change", tolerance),
    hints=(
        "What is the change of W that a single adapter makes? You wrote it in the exercise on merging.",
        "Form each adapter's whole change before you add: mixing the A's and the B's separately gives "
        "products across adapters.",
        "Sum strength * alpha / r * (B @ A) over strengths.items(), with alpha and r of that adapter.",
    ),
    pitfalls=(
        "`operands could not be broadcast together`: matrices of different rank were added. Add the "
        "products instead.",
        "`KeyError`: go through the names in strengths, not through all adapters.",
    ),
    explanation="The rank of the blend is up to the sum of the ranks, so it does not fit into an adapter "
    "of the same size. Either join A "
    "under A and B beside B, which is exact, or cut to the strongest directions.",
    wrong=(
        Wrong(
            "parts-first",
            parts_first,
            "You mix all A's and all B's and then multiply: that makes products of one adapter's B with "
            "another's A. "
            "Multiply first, then add.",
        ),
        Wrong(
            "parts-first-both",
            parts_first_both,
            "You mix the A's and the B's, each with the strengths, and multiply then: strengths act twice, "
            "and adapters cross. "
            "Multiply first, then add.",
        ),
        Wrong(
            "normalized",
            flawed(lambda s, a, strengths, adapters: s * scale(a) / sum(strengths.values())),
            "You divide by the sum of the strengths. They are factors, not shares: they need not add up to 1.",
        ),
        Wrong(
            "mean",
            flawed(lambda s, a, strengths, adapters: s * scale(a) / len(strengths)),
            "You take the mean over the adapters; take the sum.",
        ),
        Wrong(
            "no-strengths",
            flawed(lambda s, a, strengths, adapters: scale(a)),
            "The strengths are not used: every adapter speaks fully.",
        ),
        Wrong(
            "strengths-squared",
            flawed(lambda s, a, strengths, adapters: s * s * scale(a)),
            "Each strength acts twice, as if it stood on A and on B. The product of both is to be "
            "multiplied once.",
        ),
        Wrong(
            "no-scale",
            flawed(lambda s, a, strengths, adapters: s),
            "The adapters' own scale is missing: strength times alpha / r.",
        ),
        Wrong(
            "alpha-only",
            flawed(lambda s, a, strengths, adapters: s * a["alpha"]),
            "You scale by alpha; divide it by that adapter's rank.",
        ),
        Wrong(
            "shared-scale",
            flawed(lambda s, a, strengths, adapters: s * scale(adapters[next(iter(strengths))])),
            "One adapter's alpha / r is used for all. Each has its own.",
        ),
        Wrong(
            "silent-ones-speak",
            rest_at_full_strength,
            "Adapters that strengths does not name speak at full strength; they should stay silent.",
        ),
        Wrong(
            "by-position",
            by_position,
            "Strengths are handed to the adapters in the order in which these lie in the dict. Go by name.",
        ),
        Wrong(
            "last-only",
            lambda adapters, strengths: flawed()(adapters, dict(list(strengths.items())[-1:])),
            "Only the last adapter is left. Add to what the others gave, do not replace it.",
        ),
    ),
    variants=(Variant("joined matrices", joined), Variant("in place, float32", in_place)),
)
