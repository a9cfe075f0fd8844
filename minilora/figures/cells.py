"""Numbers as colored cells, and a bar that fills: what the pictures of matrices share.

Amber is above zero, blue-gray below, white is zero. Not here: the layout of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence

from minilora.figures.colors import COLORS, diverging
from minilora.figures.svg import WIDTH, frame, rect, text

Matrix = Sequence[Sequence[float]]
ZERO = diverging(0)  # also behind all cells, so that no gap between two of them is dark in a dark theme


def cells(x: float, y: float, values: Matrix, wide: float, high: float, size: float) -> list[str]:
    """The numbers of a matrix as cells of wide by high, colored from -size to size.

    >>> len(cells(0, 0, [[1.0, 1.0], [0.0, -1.0]], 5, 5, 1.0))  # one path for each color keeps a picture small
    3
    """
    wide_in_all, high_in_all = len(values[0]) * wide, len(values) * high
    ground = (
        f'<path fill="{ZERO}" d="M{x:.5g} {y:.5g}h{wide_in_all:.5g}v{high_in_all:.5g}h-{wide_in_all:.5g}z"/>'
    )
    paths: dict[str, list[str]] = {}
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            color = diverging(round(8 * value / (size or 1)) / 8)
            corner = f"M{x + j * wide:.5g} {y + i * high:.5g}"
            if color != ZERO:
                paths.setdefault(color, []).append(f"{corner}h{wide:.4g}v{high:.4g}h-{wide:.4g}z")
    return [ground] + [
        f'<path fill="{color}" shape-rendering="crispEdges" d="{"".join(d)}"/>' for color, d in paths.items()
    ]


def table(
    x: float, y: float, values: Matrix, cell: float, size: float, role: str, name: str = "", note: str = ""
) -> list[str]:
    """A matrix in a frame of its role's color, with a name above and a note below."""
    wide, high = len(values[0]) * cell, len(values) * cell
    parts = [*cells(x, y, values, cell, cell, size), frame(x, y, wide, high, COLORS[role], thick=2.5)]
    parts += [text(x, y - 9, name, size=16, bold=True)] if name else []
    parts += [text(x, y + high + 20, note, size=16)] if note else []
    return parts


def share_bar(y: float, share: float, words: str, role: str = "trainable") -> list[str]:
    """A bar over the whole width of which `share` (0 … 1) is filled, with words above it."""
    return [
        text(0, y - 8, words, size=16, bold=True),
        rect(0, y, WIDTH * min(1.0, max(0.0, share)), 16, COLORS[role]),
        frame(0.5, y, WIDTH - 1, 16, COLORS["neutral"]),
    ]


def largest(values: Matrix) -> float:
    """The largest magnitude of any number; 1 if all are zero."""
    return max(abs(v) for row in values for v in row) or 1.0
