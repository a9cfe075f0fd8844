"""What stands below the controls: the picture and its sentence, also for a choice that cannot be.

Not here: drawing (minilora/figures).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from minilora.figures.svg import svg, title


def picture(draw: Callable[..., tuple[str, str]], chosen: Mapping[str, Any]) -> tuple[str, str]:
    """The picture and its sentence for what is chosen; the engine's own message where that cannot be.

    >>> def draw(rank):
    ...     raise ValueError("r=99 is too large")
    >>> picture(draw, {"rank": 99})[1]
    'r=99 is too large'
    """
    try:
        return draw(**chosen)
    except ValueError as error:
        return svg(30, [title("This choice cannot be; the reason stands below")], str(error)), str(error)


def as_html(drawing: str, sentence: str) -> str:
    """Both as a page shows them. A screen reader hears the sentence once: it is the drawing's label too."""
    return f'{drawing}<p aria-hidden="true">{escape(sentence)}</p>'
