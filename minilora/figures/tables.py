"""Small tables for the pages: HTML in a notebook, where they fit a narrow window, and aligned text elsewhere.

Not here: tables for Markdown files (benchmarks/page_parts.py).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence


class Table:
    """A small table.

    Args:
        head: Names of the columns.
        rows: Rows with one cell per column.
        names: How many of the first columns are aligned left; the others, with figures, are aligned right.

    True and False are written as yes and no.

    >>> Table(["", "planned"], [["weights", "23.1 MB"], ["gradients", "23.1 MB"]])
                planned
    weights     23.1 MB
    gradients   23.1 MB
    """

    def __init__(self, head: Sequence[object], rows: Iterable[Sequence[object]], names: int = 1):
        words = {True: "yes", False: "no"}
        self.lines = [
            [words[cell] if isinstance(cell, bool) else str(cell) for cell in line] for line in (head, *rows)
        ]
        self.names = names
        for line in self.lines:
            if len(line) != len(head):
                raise ValueError(f"the head has {len(head)} cells, but this row {len(line)}: {line}")

    def __repr__(self) -> str:
        widths = [max(len(cell) for cell in column) for column in zip(*self.lines, strict=True)]
        padded = [
            [
                cell.ljust(width) if place < self.names else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            for line in self.lines
        ]
        return "\n".join("   ".join(line).rstrip() for line in padded)

    def _repr_html_(self) -> str:
        head, *rows = self.lines
        return f"<table><thead>{self._row(head, 'th')}</thead><tbody>{''.join(map(self._row, rows))}</tbody></table>"

    def _row(self, line: list[str], tag: str = "td") -> str:
        sides = ["left" if place < self.names else "right" for place in range(len(line))]
        cells = [
            f'<{tag} style="text-align: {side}">{_keep_units(html.escape(cell))}</{tag}>'
            for cell, side in zip(line, sides, strict=True)
        ]
        return f"<tr>{''.join(cells)}</tr>"


def _keep_units(text: str) -> str:
    """No line ends between a figure and its unit, as in "16.06 GB"."""
    return re.sub(r"(?<=\d) (?=[kMG]?B\b|ms\b)", "&nbsp;", text)
