"""Text and tables in a page's output, one call each.

Not here: how they look (minilora/figures), and charts, which show themselves as the last line of a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from IPython.display import display

from minilora.figures.passage import Passage
from minilora.figures.tables import Table


def show_text(words: str | Mapping[str, str]) -> None:
    """Shows words as a paragraph; of a dict, each text after its label.

    >>> show_text({"before": "The pony ran.", "after": "The pony shall run."})
    before: The pony ran.
    after: The pony shall run.
    """
    for label, text in words.items() if isinstance(words, Mapping) else [("", words)]:
        display(Passage(text, label))


def show_table(head: Sequence[object], rows: Iterable[Sequence[object]], names: int = 1) -> None:
    """Shows a small table.

    Args:
        head: The names of the columns.
        rows: One cell per column in each.
        names: How many columns hold words; they stand to the left, numbers to the right.

    >>> show_table(["", "loss"], [["before", 4.5], ["after", 3.2]])
             loss
    before    4.5
    after     3.2
    """
    display(Table(head, rows, names))
