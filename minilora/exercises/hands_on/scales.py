"""Wrong scales: what learners write in the place of alpha / r, the same in each exercise that scales a update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minilora.exercises.exercise import Wrong

Scale = Callable[[float, int, int, int], float]  # alpha, r, in_features, out_features

SCALES: tuple[tuple[str, Scale, str], ...] = (
    (
        "no-scale",
        lambda alpha, r, i, o: 1,
        "The update is not scaled. LoRA multiplies B A by alpha / r.",
    ),
    (
        "alpha-only",
        lambda alpha, r, i, o: alpha,
        "You scale by alpha; LoRA scales by alpha / r. Divide alpha by the rank.",
    ),
    (
        "floor-division",
        lambda alpha, r, i, o: alpha // r,
        "You compute alpha // r, which drops the fraction. Use /, so that 5 / 2 is 2.5.",
    ),
    (
        "r-over-alpha",
        lambda alpha, r, i, o: r / alpha,
        "Your scale is inverted: r / alpha. It is alpha / r, so that a larger alpha gives a stronger "
        "adapter.",
    ),
    (
        "sqrt-r",
        lambda alpha, r, i, o: alpha / np.sqrt(r),
        "You divide alpha by the square root of r. That is the variant called rsLoRA; plain LoRA divides "
        "by r.",
    ),
    (
        "one-over-r",
        lambda alpha, r, i, o: 1 / r,
        "You divide by r but leave alpha out; the scale is alpha / r.",
    ),
    (
        "times-r",
        lambda alpha, r, i, o: alpha * r,
        "You multiply alpha by r; divide instead. Otherwise a higher rank would mean a stronger adapter.",
    ),
    (
        "scale-twice",
        lambda alpha, r, i, o: (alpha / r) ** 2,
        "The scale is applied twice, for example once to A and once to B. Apply it to their product, once.",
    ),
    (
        "in-for-r",
        lambda alpha, r, i, o: alpha / i,
        "You divide alpha by the number of inputs. The rank is A's other dimension, its number of rows.",
    ),
    (
        "out-for-r",
        lambda alpha, r, i, o: alpha / o,
        "You divide alpha by the number of outputs. The rank is B's other dimension, its number of columns.",
    ),
    (
        "size-of-a",
        lambda alpha, r, i, o: alpha / (r * i),
        "You divide alpha by the number of entries of A. The rank is its number of rows, A.shape[0].",
    ),
    (
        "size-of-b",
        lambda alpha, r, i, o: alpha / (r * o),
        "You divide alpha by the number of entries of B. The rank is its number of columns, B.shape[1].",
    ),
    (
        "twice-r",
        lambda alpha, r, i, o: alpha / (2 * r),
        "You divide alpha by 2 r, as if the ranks of A and B were added. Both matrices share one rank: "
        "divide by r.",
    ),
    (
        "r-plus-one",
        lambda alpha, r, i, o: alpha / (r + 1),
        "You divide alpha by r + 1; divide by r.",
    ),
    (
        "minus",
        lambda alpha, r, i, o: -alpha / r,
        "The update has the wrong sign.",
    ),
)


def wrong_scales(answer: Callable[[Scale], Callable], **sentences: str) -> tuple[Wrong, ...]:
    """Each wrong scale as a wrong answer. answer: a scale -> the exercise's function with that scale.

    sentences: others for some of the keys (with _ for -); an empty one leaves the key out.
    """
    found = []
    for key, scale, sentence in SCALES:
        text = sentences.get(key.replace("-", "_"), sentence)
        if text:
            found.append(Wrong(key, answer(scale), text))
    return tuple(found)


def strengths(
    solution: Callable, off: Callable[[dict[str, Any]], dict[str, Any]], update: str
) -> tuple[Wrong, ...]:
    """Mistakes in the strength of the two paths, whatever the factors are. They come last in a list.

    off: the arguments -> the same without an update. update: what the learner calls it.
    """

    def factors(arguments: dict[str, Any], value: Any) -> tuple[float, float]:
        """(of the base, of the update) where the result is a sum of the two; else ValueError."""
        base, both = (np.asarray(solution(**given), float) for given in (off(arguments), arguments))
        columns = np.stack([base.ravel(), (both - base).ravel()], axis=1)
        found = np.asarray(value, float)
        if found.shape != base.shape:
            raise ValueError("another shape")
        parts = np.linalg.lstsq(columns, found.ravel(), rcond=None)[0]
        if np.abs(columns @ parts - found.ravel()).max() > 1e-4 * np.abs(found).max():
            raise ValueError("no sum of the two")
        return float(parts[0]), float(parts[1])

    def near(a: float, b: float) -> bool:
        return abs(a - b) < 1e-3

    def other_strength(arguments: dict[str, Any], value: Any) -> bool:
        return near(factors(arguments, value)[0], 1)

    def other_base(arguments: dict[str, Any], value: Any) -> bool:
        return near(factors(arguments, value)[1], 1)

    def both_off(arguments: dict[str, Any], value: Any) -> bool:
        factors(arguments, value)
        return True

    def off_by(base: float, thin: float) -> Callable:
        def answer(*given: Any) -> Any:
            arguments = dict(zip(solution.__code__.co_varnames, given, strict=False))
            plain = np.asarray(solution(**off(arguments)))
            return base * plain + thin * (np.asarray(solution(**arguments)) - plain)

        return answer

    return (
        Wrong(
            "strength",
            off_by(1, 1.7),
            f"{update} has the right direction and the wrong strength. Check the scale: alpha / r, with "
            f"the r of A and B.",
            other_strength,
        ),
        Wrong(
            "base-strength",
            off_by(1.7, 1),
            "The base is multiplied by a factor; add it once, unscaled.",
            other_base,
        ),
        Wrong(
            "both-strengths",
            off_by(1.3, 1.7),
            f"Both the base and {update[0].lower()}{update[1:]} are multiplied by wrong factors: the base "
            f"counts once, "
            "and the update alpha / r times.",
            both_off,
        ),
    )


def without_alpha(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with an alpha of 0, also inside of adapters."""
    if "adapters" not in arguments:
        return arguments | {"alpha": 0.0}
    return arguments | {"adapters": {name: a | {"alpha": 0.0} for name, a in arguments["adapters"].items()}}
