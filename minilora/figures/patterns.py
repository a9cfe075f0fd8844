"""Draws a weight change rebuilt from patterns: one row stretched over a table, then a second, and so on.

Each pattern is one row of numbers; every row of the table is that row times a number of its own, the column. Not here:
finding the patterns (minilora/lesson/directions.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from minilora.figures.cells import Matrix, cells, largest, share_bar, table
from minilora.figures.colors import COLORS
from minilora.figures.svg import WIDTH, frame, percent, svg, text, title

PANEL = 190.0  # the side of each of the three tables
LEFTS = (22.0, (WIDTH - 3 * PANEL - 22) / 2 + 22 + PANEL, WIDTH - PANEL - 1)
TOP = 92.0


def draw(
    change: Matrix,
    rebuilt: Matrix,
    column: Sequence[float],
    row: Sequence[float],
    rank: int,
    shape: tuple[int, int],
    held: float,
) -> tuple[str, str]:
    """Draws a window of a large table.

    Args:
        change: The real numbers in the window.
        rebuilt: The first `rank` patterns added up, there.
        column: The newest pattern's factor for each row; empty at rank 0.
        row: The newest pattern's row; empty at rank 0.
        rank: How many patterns are added up.
        shape: Shape of the whole table (out, in).
        held: Share of the whole table's energy in these patterns, 0 … 1.
    """
    out, into = shape
    numbers = f"{rank * (out + into):,} numbers instead of {out * into:,}"
    if rank:
        added = "row, stretched over the table, holds" if rank == 1 else "stretched rows, added up, hold"
        sentence = f"Rank {rank}: {rank} {added} {percent(held)} of the change, in {numbers}."
    else:
        sentence = "Rank 0: nothing is added up yet. Move the slider."
    cell, size = PANEL / len(change), largest(change)
    hold = "holds" if rank == 1 else "hold"
    heading = f"{rank} of these patterns {hold} {percent(held)} of the change"
    parts = [title(heading if rank else "The real change, and an empty table")]
    parts += _newest(column, row, rank, cell, size)
    words = f"1 to {rank}, added up" if rank > 1 else "added up"
    parts += table(LEFTS[1], TOP, rebuilt, cell, size, "trainable", words)
    parts += table(LEFTS[2], TOP, change, cell, size, "neutral", "the real change")
    parts += share_bar(TOP + PANEL + 54, held, f"{percent(held)} of the change is rebuilt, in {numbers}")
    return svg(TOP + PANEL + 78, parts, sentence), sentence


def _newest(column: Sequence[float], row: Sequence[float], rank: int, cell: float, size: float) -> list[str]:
    """The newest pattern, with its row above it and its column to the left."""
    x, name = LEFTS[0], f"pattern {rank}" if rank else "no pattern yet"
    if not rank:
        return [frame(x, TOP, PANEL, PANEL, COLORS["neutral"]), text(x, TOP - 9, name, size=16, bold=True)]
    stretched = [[c * r for r in row] for c in column]
    return [
        *cells(x, TOP - 20, [row], cell, 14, largest([row])),
        frame(x, TOP - 20, PANEL, 14, COLORS["trainable"], thick=1.5),
        *cells(x - 20, TOP, [[c] for c in column], 14, cell, largest([column])),
        frame(x - 20, TOP, 14, PANEL, COLORS["trainable"], thick=1.5),
        *table(x, TOP, stretched, cell, size, "trainable"),
        text(x, TOP - 30, f"{name}: one row, stretched", size=16, bold=True),
    ]
