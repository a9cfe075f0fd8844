"""Draws what rounding to few levels does: one block on its levels, the error of every block, and that of other schemes.

All axes are fixed, so that two states can be compared, and the outlier can be dragged. Sizes are in units of the usual
weight, the standard deviation. Not here: quantizing, and measuring the error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from minilora.figures.colors import COLORS
from minilora.figures.svg import WIDTH, dot, holds, line, percent, rect, scale, svg, text, title

SIZE = 16.0  # of the type
OUTLIERS = (0, 4, 8, 16, 32)  # times the usual size; 0 means that the weight is left as it is
LOW, HIGH = -6.0, 33.0  # the ends of the axis
UPPER, LOWER = 78.0, 134.0  # heights of the two number lines
SKY, GROUND = 246.0, 336.0  # the blocks' errors, 100% and 0%
BARS, BAR_LEFT, BAR_WIDE, ROW = 428.0, 232.0, 320.0, 28.0

place = scale(LOW, HIGH, 8, WIDTH - 8)


@dataclasses.dataclass(frozen=True)
class Scheme:
    """One way to round.

    Attributes:
        name: Name of the scheme, with its block size.
        error: Relative error of all weights but the outlier.
        bits: Bits per weight; None where unknown.
        key: The value of the control that chooses it; "" where none does.
    """

    name: str
    error: float
    bits: float | None
    key: str = ""


def draw(
    block: Sequence[float],
    rounded: Sequence[float],
    levels: Sequence[float],
    outlier: int,
    block_size: int,
    errors: Sequence[float],
    schemes: Sequence[Scheme],
    chosen: int,
    source: str = "weights",
) -> tuple[str, str]:
    """Draws one state of the explorable.

    Args:
        block: Weights of the block with the outlier, in standard deviations; the first can become the outlier.
        rounded: The same after rounding.
        levels: The values that this block can take; empty where unknown.
        outlier: How many times the usual size one weight has been made, or 0.
        block_size: Weights per block.
        errors: Relative error of each block, without the outlier.
        schemes: What to compare.
        chosen: Index of the one that is shown above.
        source: What the weights are.
    """
    spoiled = len(errors) // 2
    sentence = _sentence(outlier, block_size, errors[spoiled], schemes, chosen)
    used = len(set(rounded[1:]))
    heading = "Weights of one block, and the levels they are rounded to"
    if outlier:
        left = "1 level is" if used == 1 else f"{used} levels are"
        heading = f"One weight is {outlier} times the usual size: {left} left for the others"
    parts = [title(heading), *_lines(block, rounded, levels, outlier)]
    parts += _skyline(errors, spoiled if outlier else None, block_size, source)
    parts += _bars(schemes, chosen)
    return svg(BARS + ROW * len(schemes) + 34, parts, sentence), sentence


def _sentence(outlier: int, block_size: int, error: float, schemes: Sequence[Scheme], chosen: int) -> str:
    scheme = schemes[chosen]
    bits = "" if scheme.bits is None else f", at {scheme.bits:.3g} bits per weight"
    if not outlier:
        return (
            f"{scheme.name}: rounding errs by {percent(scheme.error)}{bits}. Drag the red dot to the right."
        )
    return (
        f"{scheme.name}, one weight {outlier} times the usual size: the others in its block of {block_size:,} are "
        f"off by {percent(error)}, all weights together by {percent(scheme.error)}{bits}."
    )


def _lines(
    block: Sequence[float], rounded: Sequence[float], levels: Sequence[float], outlier: int
) -> list[str]:
    """The block before and after, and the outlier, which can be dragged along the upper line."""
    blue, gray = COLORS["quantized"], COLORS["neutral"]
    parts = [text(0, 48, "before", size=SIZE), line(8, UPPER, WIDTH - 8, UPPER, gray)]
    parts += [line(8, LOWER, WIDTH - 8, LOWER, gray)]
    parts += [
        line(place(a), UPPER, place(b), LOWER, blue, thick=0.8)
        for a, b in zip(block, rounded, strict=True)
        if LOW < b < HIGH
    ]
    parts += [
        line(place(level), LOWER - 10, place(level), LOWER + 10, blue, thick=2)
        for level in levels
        if LOW < level < HIGH
    ]
    parts += [dot(place(v), LOWER, 3.5, blue) for v in sorted(set(rounded)) if LOW < v < HIGH]
    parts += [dot(place(v), UPPER, 3.5, COLORS["frozen"]) for v in block[1:]]
    parts += [text(0, LOWER + 32, "rounded", size=SIZE)]
    for tick in (0, 8, 16, 24, 32):
        parts += [line(place(tick), LOWER + 10, place(tick), LOWER + 15, gray)]
        parts += [text(place(tick), LOWER + 32, f"{tick}", size=SIZE, anchor="middle")]
    parts += [
        text(WIDTH, LOWER + 54, "size of a weight, as a multiple of the usual one", size=SIZE, anchor="end")
    ]
    rest = 0.0 if outlier else block[0]  # the way back stands among the other weights
    for value in OUTLIERS:  # the track: each stop is larger than its mark, so that a finger finds it
        x = place(value or rest)
        stop = [
            rect(x - 17, UPPER - 24, 34, 44, "none"),
            dot(x, UPPER, 2.5, COLORS["gradients"]),
        ]
        if value == outlier:
            stop.append(dot(x, UPPER, 9, COLORS["gradients"]))
        parts.append(holds(stop, "outlier", value, "grab"))
    x = place(outlier or rest)
    words, anchor = ("drag me →", "start") if not outlier else (f"{outlier} times", "middle")
    return [*parts, text(min(x, WIDTH - 44), UPPER - 18, words, size=SIZE, anchor=anchor, bold=True)]


def _skyline(errors: Sequence[float], spoiled: int | None, block_size: int, source: str) -> list[str]:
    """Each block as wide as its share of the weights and as high as its error; the spoiled one is lit."""
    left = 56.0
    y, wide = scale(0, 1, GROUND, SKY), (WIDTH - left) / len(errors)
    blocks = f"{len(errors)} blocks" if len(errors) > 1 else "a single block"
    parts = [text(0, SKY - 22, f"Error of each block: {source}, {blocks}", size=SIZE, bold=True)]
    parts += _percent_axis([(y(share), share) for share in (0, 0.5, 1)], left)
    for lit, color in ((False, COLORS["quantized"]), (True, COLORS["gradients"])):
        steps = []
        for i, error in enumerate(errors):
            if (i == spoiled) == lit:
                high = GROUND - y(min(1.0, error))
                steps.append(
                    f"M{left + i * wide:.5g} {GROUND:g}v-{high:.4g}h{max(wide - 0.6, 0.8):.4g}v{high:.4g}z"
                )
        parts.append(f'<path fill="{color}" d="{"".join(steps)}"/>' if steps else "")
    words = "one block, and how far its weights are off"
    if spoiled is not None:
        words = f"red: the block of {block_size:,} with the outlier" + ", which is all of them" * (
            len(errors) == 1
        )
    return [*parts, text(left, GROUND + 24, words, size=SIZE)]


def _percent_axis(ticks: Sequence[tuple[float, float]], left: float) -> list[str]:
    parts = []
    for y, share in ticks:
        parts += [line(left, y, WIDTH, y, COLORS["neutral"], thick=0.5)]
        parts += [text(left - 8, y + 5, f"{share:.0%}", size=SIZE, anchor="end")]
    return parts


def _bars(schemes: Sequence[Scheme], chosen: int) -> list[str]:
    x = scale(0, 1, BAR_LEFT, BAR_LEFT + BAR_WIDE)
    parts = [
        text(0, BARS - 30, "Error of all weights but the outlier, at about equal bits", size=SIZE, bold=True)
    ]
    below = BARS + ROW * len(schemes)
    for share in (0, 0.5, 1):
        parts += [line(x(share), BARS - 12, x(share), below - 4, COLORS["neutral"], thick=0.5)]
        parts += [text(x(share), below + 16, f"{share:.0%}", size=SIZE, anchor="middle")]
    for i, scheme in enumerate(schemes):
        y, mine = BARS - 8 + i * ROW, i == chosen
        words = percent(scheme.error) + ("" if scheme.bits is None else f" · {scheme.bits:.3g} bits")
        end = x(min(1.0, scheme.error))
        inside = end > WIDTH - 140
        bar = [
            rect(0, y - 2, WIDTH, ROW - 2, "none"),
            text(0, y + 16, scheme.name, size=SIZE, bold=mine),
            rect(BAR_LEFT, y, max(1.0, end - BAR_LEFT), 20, COLORS["quantized" if mine else "neutral"]),
            text(
                end - 6 if inside else end + 8, y + 16, words, size=SIZE, bold=mine,
                anchor="end" if inside else "start", fill="#000000" if inside else None,
            ),
        ]  # fmt: skip
        parts.append(holds(bar, "quant_type", scheme.key) if scheme.key else "".join(bar))
    return parts
