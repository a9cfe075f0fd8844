"""Draws what an adapted layer computes: x through the frozen W, x through A and B, and both joined, with real numbers.

W, A and B are drawn to one scale; of a packed W, the area shows its bits. Not here: where the numbers come from
(minilora/lesson/layers.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from minilora.figures.cells import cells
from minilora.figures.colors import COLORS, ink
from minilora.figures.svg import curve, frame, line, percent, polygon, rect, svg, text, title

SIDE = 150  # of the longer side of W
UPPER, MIDDLE, LOWER = 140.0, 247.0, 354.0  # the heights of the two paths, and of x and y between them


def draw(
    x: Sequence[float],
    through_w: Sequence[float],
    low: Sequence[float],
    update: Sequence[float],
    scaling: float,
    word: str = "",
    bits: float | None = None,
) -> tuple[str, str]:
    """Draws the two paths of one token through one layer.

    Args:
        x: What comes in (in).
        through_w: W x (out).
        low: A x (r).
        update: B (A x), before scaling (out).
        scaling: lora_alpha / r.
        word: The token.
        bits: Bits per weight of a packed W, which is decoded for this product; None if W is stored as it is.
    """
    n_in, n_out, r = len(x), len(through_w), len(low)
    y = [w + scaling * u for w, u in zip(through_w, update, strict=True)]
    unit = SIDE / max(n_in, n_out)
    wide, high, thin = n_in * unit, n_out * unit, max(3.0, r * unit)
    share = scaling * _length(update) / (_length(through_w) or 1)
    packed = (
        ""
        if bits is None
        else f"W is stored in {bits:.4g} bits per weight and decoded for this one product. "
    )
    sentence = packed + (
        f"{n_in} numbers come in. W turns them into {n_out}. Beside it, A squeezes them down to {r} and "
        f"B spreads these out to {n_out} again. The update, {scaling:g} times B·(A·x), is {percent(share)} as large "
        "as W·x. Their sum is y."
    )
    size = max(map(abs, [*through_w, *y]))
    parts = [title("The same x takes two paths, and the results are added")]
    if bits is not None:
        parts = [title("The frozen path is packed, the trained path is not")]
    parts += _strip(28, MIDDLE, x, unit, max(map(abs, x)), "x")
    parts += [text(36, MIDDLE + high / 2 + 42, word, size=16, anchor="middle")] if word else []
    parts += _arrow(50, MIDDLE - 12, 122, UPPER) + _arrow(50, MIDDLE + 12, 122, LOWER)
    parts += _upper(wide, high, through_w, unit, size, n_in, n_out, bits)
    parts += _lower(wide, high, thin, low, update, unit, size / scaling, n_in, n_out)
    parts += [frame(477, LOWER - 19, 106, 38, "currentColor", thick=1.5)]
    parts += [text(530, LOWER + 6, f"times {scaling:g}", size=18, anchor="middle", bold=True)]
    parts += [text(530, LOWER + 40, "(scaling)", size=16, anchor="middle")]
    parts += _arrow(530, LOWER - 22, 530, MIDDLE + 20) + _arrow(530, UPPER, 530, MIDDLE - 20)
    parts += [
        f'<circle cx="530" cy="{MIDDLE:g}" r="17" fill="none" stroke="currentColor" stroke-width="2"/>',
        text(530, MIDDLE + 9, "+", size=26, anchor="middle", bold=True),
    ]
    parts += _arrow(550, MIDDLE, 590, MIDDLE)
    parts += _strip(598, MIDDLE, y, unit, size, "y")
    words = "Strips are real numbers: amber above zero, blue-gray below. W, A and B are to scale."
    if bits is not None:
        words = "Blue: 4-bit, its area shows the bits; the dashed W exists only during this product."
    parts += [text(0, LOWER + high / 2 + 62, words, size=15)]
    return svg(LOWER + high / 2 + 74, parts, sentence), sentence


def _upper(
    wide: float,
    high: float,
    values: Sequence[float],
    unit: float,
    size: float,
    n_in: int,
    n_out: int,
    bits: float | None,
) -> list[str]:
    color, left, top = COLORS["frozen"], 130.0, UPPER - high / 2
    if bits is None:
        parts, on_it, note = [rect(left, top, wide, high, color)], ink(color), "frozen"
    else:
        color, on_it, note, thin = COLORS["quantized"], "currentColor", "decoded", wide * bits / 32
        parts = [rect(left, top, thin, high, color), *_arrow(left + thin + 6, UPPER, left + thin + 38, UPPER)]
        parts += [text(left, top + high + 20, f"packed, {bits:.4g} bits per weight", size=16)]
        left += thin + 44
        parts += _dashed(left, top, wide, high, color)
    middle = left + wide / 2
    return [
        *parts,
        text(middle, UPPER - 14, "W", size=30, anchor="middle", bold=True, fill=on_it),
        text(middle, UPPER + 12, f"{n_out} × {n_in}", size=16, anchor="middle", fill=on_it),
        text(middle, UPPER + 34, note, size=16, anchor="middle", fill=on_it),
        *_arrow(left + wide + 6, UPPER, 412, UPPER),
        *_strip(420, UPPER, values, unit, size, "W·x"),
        line(440, UPPER, 530, UPPER, thick=2),
    ]


def _dashed(x: float, y: float, wide: float, high: float, color: str) -> list[str]:
    """The outline of what exists for a moment only."""
    corners = [(x, y), (x + wide, y), (x + wide, y + high), (x, y + high), (x, y)]
    return [curve(corners, color, thick=2.5, dash="7 5")]


def _lower(
    wide: float,
    high: float,
    thin: float,
    low: Sequence[float],
    update: Sequence[float],
    unit: float,
    size: float,
    n_in: int,
    n_out: int,
) -> list[str]:
    color, r, middle = COLORS["trainable"], len(low), 130 + wide / 2
    return [
        rect(130, LOWER - thin / 2, wide, thin, color),
        text(middle, LOWER - 12, "A", size=22, anchor="middle", bold=True),
        text(middle, LOWER + 24, f"{r} × {n_in}", size=16, anchor="middle"),
        text(middle, LOWER + 45, "trained", size=16, anchor="middle"),
        *_arrow(130 + wide + 6, LOWER, 306, LOWER),
        *_strip(314, LOWER, low, 64 / r, max(map(abs, low)) or 1, "A·x"),
        *_arrow(334, LOWER, 366, LOWER),
        rect(372, LOWER - high / 2, thin, high, color),
        text(372 + thin / 2, LOWER - high / 2 - 8, "B", size=22, anchor="middle", bold=True),
        text(372 + thin / 2, LOWER + high / 2 + 20, f"{n_out} × {r}", size=16, anchor="middle"),
        *_arrow(380 + thin, LOWER, 414, LOWER),
        *_strip(420, LOWER, update, unit, size, "B·(A·x)"),
        *_arrow(440, LOWER, 474, LOWER),
    ]


def _strip(
    x: float, middle: float, values: Sequence[float], unit: float, size: float, name: str
) -> list[str]:
    """A list of numbers as a column of cells, with its name above and its length below."""
    high = len(values) * unit
    top = middle - high / 2
    return [
        *cells(x, top, [[value] for value in values], 16, unit, size),
        frame(x, top, 16, high, COLORS["neutral"]),
        text(x + 8, top - 8, name, size=18, anchor="middle", bold=True),
        *(
            [text(x + 8, top + high + 20, str(len(values)), size=16, anchor="middle")]
            if name != "B·(A·x)"
            else []
        ),
    ]


def _arrow(x1: float, y1: float, x2: float, y2: float) -> list[str]:
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    head = [(x2, y2), *((x2 - 9 * dx + s * 5 * dy, y2 - 9 * dy - s * 5 * dx) for s in (1, -1))]
    return [line(x1, y1, x2 - 8 * dx, y2 - 8 * dy, thick=2), polygon(head, "currentColor")]


def _length(values: Sequence[float]) -> float:
    return sum(value * value for value in values) ** 0.5
