"""Draws what four bits do to numbers: a block snaps to sixteen levels, and schemes of equal size compare.

Not here: quantizing, and measuring the error.
"""

from __future__ import annotations

from collections.abc import Sequence

from minilora.figures.colors import COLORS
from minilora.figures.svg import WIDTH, dot, line, percent, rect, scale, svg, takes_hold, text, title

TOP, BOTTOM = 74, 158  # heights of the two number lines
ROW = 27


def draw(
    values: Sequence[float],
    rounded: Sequence[float],
    levels: Sequence[float],
    schemes: Sequence[tuple[str, float, float]],
    chosen: int,
) -> tuple[str, str]:
    """values and rounded (n,): one block before and after; levels: what its sixteen codes stand for.

    schemes: (name, relative error, bits per weight) for each bar; `chosen` is the place of the one that is shown above.
    """
    name, error, bits = schemes[chosen]
    used = len(set(rounded))
    best = min(range(len(schemes)), key=lambda i: schemes[i][1])
    verdict = (
        "the smallest error of all schemes shown"
        if best == chosen
        else f"{schemes[best][0]} has {percent(schemes[best][1])}"
    )
    sentence = (
        f"{name}: the {len(values)} numbers of one block snap to {used} of {max(16, len(levels))} levels. The error is "
        f"{percent(error)} at {bits:.3g} bits per weight; {verdict}."
    )
    parts = [title(f"{len(values)} numbers share sixteen levels, and this block uses {used} of them")]
    parts += _number_lines(values, rounded, levels)
    parts += _bars(schemes, chosen, BOTTOM + 66)
    return svg(BOTTOM + 84 + ROW * len(schemes), parts, sentence), sentence


def _number_lines(values: Sequence[float], rounded: Sequence[float], levels: Sequence[float]) -> list[str]:
    reach = max([abs(v) for v in [*values, *rounded, *levels]], default=1.0) or 1.0
    x = scale(-reach, reach, 12, WIDTH - 12)
    parts = [text(0, 48, "as it was"), line(12, TOP, WIDTH - 12, TOP, COLORS["neutral"])]
    parts += [
        line(x(a), TOP, x(b), BOTTOM, COLORS["quantized"], thick=0.8)
        for a, b in zip(values, rounded, strict=True)
    ]
    parts += [dot(x(v), TOP, 4, COLORS["frozen"]) for v in values]
    parts += [line(12, BOTTOM, WIDTH - 12, BOTTOM, COLORS["neutral"])]
    parts += [
        line(x(level), BOTTOM - 9, x(level), BOTTOM + 9, COLORS["quantized"], thick=2) for level in levels
    ]
    parts += [dot(x(v), BOTTOM, 4, COLORS["quantized"]) for v in sorted(set(rounded))]
    parts += [text(0, BOTTOM + 26, "in four bits")]
    parts += [
        text(x(v), BOTTOM + 26, f"{v:+.2g}" if v else "0", anchor=anchor, size=13)
        for v, anchor in ((0.0, "middle"), (reach, "end"))
    ]
    return parts


def _bars(schemes: Sequence[tuple[str, float, float]], chosen: int, y: float) -> list[str]:
    x = scale(0, max(error for _, error, _ in schemes) or 1, 0, 250)
    parts = [text(0, y - 8, "Error at about the same bits per weight (shorter is better)", bold=True)]
    for i, (name, error, bits) in enumerate(schemes):
        top = y + 4 + i * ROW
        color = COLORS["quantized" if i == chosen else "neutral"]
        bar = [
            text(0, top + 15, name, bold=i == chosen),
            rect(190, top, max(1.0, x(error)), 19, color),
            text(190 + x(error) + 8, top + 15, f"{percent(error)} · {bits:.3g} bits", bold=i == chosen),
        ]
        parts.append(takes_hold("quant_type", name.split(",")[0], *bar))
    return parts
