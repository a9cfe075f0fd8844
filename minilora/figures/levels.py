"""Draws where a model's weights lie, and what share of them each level of a 4-bit code gets.

Not here: normalizing and rounding the weights (minilora/lesson/quantizing.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minilora.figures.colors import COLORS
from minilora.figures.svg import WIDTH, line, percent, rect, scale, svg, text, title

TOP, GROUND = 40.0, 170.0  # of the histogram
ROW, HANG = 112.0, 62.0  # from one code to the next; how long a bar with `FULL` of all weights is
FULL = 0.16
place = scale(-1.06, 1.06, 0, WIDTH)


def draw(
    bins: Sequence[float], codes: Mapping[str, Sequence[float]], shares: Mapping[str, Sequence[float]]
) -> tuple[str, str]:
    """Draws the weights and the levels of each code.

    Args:
        bins: Share of the weights in each of equally wide bins from -1 to 1, where 1 is the absmax of the block.
        codes: The levels of each code, by its name.
        shares: What share of the weights is rounded to each level, by the same names.
    """
    most = {name: max(each) for name, each in shares.items()}
    sentence = "Share of the weights at the fullest level: " + ", ".join(
        f"{name} {percent(share)}" for name, share in most.items()
    )
    first, *_ = codes
    parts = [title(f"{first} puts its levels where the weights are")]
    y, wide = scale(0, max(bins), GROUND, TOP), place(2 / len(bins)) - place(0)
    for i, share in enumerate(bins):
        x = place(-1 + 2 * i / len(bins))
        parts.append(rect(x, y(share), wide - 0.5, GROUND - y(share), COLORS["frozen"]))
    parts += [text(0, TOP + 14, "the weights,", size=16), text(0, TOP + 34, "each divided by the", size=16)]
    parts += [text(0, TOP + 54, "absmax of its block", size=16)]
    parts += [line(0, GROUND, WIDTH, GROUND, COLORS["neutral"])]
    for tick in (-1, -0.5, 0, 0.5, 1):
        parts.append(text(place(tick), GROUND + 20, f"{tick:g}", size=16, anchor="middle"))
    for i, (name, levels) in enumerate(codes.items()):
        parts += _code(GROUND + 64 + i * ROW, name, levels, shares[name], "neutral" if i else "quantized")
    return svg(GROUND + 52 + ROW * len(codes), parts, sentence + "."), sentence + "."


def _code(y: float, name: str, levels: Sequence[float], shares: Sequence[float], role: str) -> list[str]:
    """A tick for each level, and hanging from it a bar as long as its share of the weights."""
    parts = [
        text(
            0, y - 12, f"{name}: its levels, and the share of the weights that each gets", size=16, bold=True
        )
    ]
    parts.append(line(0, y, WIDTH, y, COLORS["neutral"]))
    for level, share in zip(levels, shares, strict=True):
        x = place(level)
        parts += [line(x, y - 7, x, y, COLORS[role], thick=2.5)]
        parts += [rect(x - 9, y, 18, min(1.0, share / FULL) * HANG, COLORS[role], hint=percent(share))]
    fullest = max(range(len(levels)), key=lambda i: shares[i])
    low = y + min(1.0, shares[fullest] / FULL) * HANG
    return [
        *parts,
        text(place(levels[fullest]), low + 16, percent(shares[fullest]), size=16, anchor="middle"),
    ]
