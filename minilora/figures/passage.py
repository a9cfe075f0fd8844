"""Words to read in a page's output: they take the width of the window and break between words, as prose does.

Not here: tables (tables.py), and the sentence under an explorable (widgets/explorer.py).
"""

from __future__ import annotations

import html
import textwrap

from minilora.figures.svg import MOST

# In JupyterLab, as far to the right as prose and printed lines are; elsewhere not at all.
EDGE = "margin-left: calc(var(--jp-code-padding, -1px) + 1px)"
LETTERS = 88  # characters of a line where only plain text is shown


class Passage:
    """A paragraph of text.

    Args:
        words: A story or a sentence; line ends count as spaces.
        label: Who wrote it; stands before the words.

    >>> Passage("The pony ran.", label="base")
    base: The pony ran.
    """

    def __init__(self, words: str, label: str = ""):
        self.words, self.label = " ".join(words.split()), label

    def __repr__(self) -> str:
        return textwrap.fill(f"{self.label}: {self.words}" if self.label else self.words, LETTERS)

    def _repr_html_(self) -> str:
        label = f"<b>{html.escape(self.label)}:</b> " if self.label else ""
        return (
            f'<p style="{EDGE}; max-width: {MOST}px; line-height: 1.4">{label}{html.escape(self.words)}</p>'
        )
