"""Draws two texts side by side, the base's and the adapted model's, with the digest of the base's weights.

Not here: the texts and the digest, which the widget brings.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from minilora.figures.colors import COLORS
from minilora.figures.svg import WIDTH, frame, rect, svg, text, title

COLUMN = WIDTH / 2 - 12
LETTERS = 38  # in one line of a column
LINES = 9
LINE = 20


def draw(
    prompt: str, base_text: str, text_now: str, scales: Mapping[str, float], digests: tuple[str, str]
) -> tuple[str, str]:
    """digests: of all base weights, when the widget was made and now. Both texts may still be growing."""
    names = " + ".join(f"{scale:g} × {name}" for name, scale in scales.items() if scale) or "adapter off"
    unchanged = digests[0] == digests[1]
    fate = "unchanged" if unchanged else "CHANGED"
    sentence = (
        f"After “{prompt}” the base writes “{_short(base_text)}”, and with {names} “{_short(text_now)}”. "
        f"The base's weights are {fate} (SHA-256 {digests[1][:12]})."
    )
    heading = (
        "One base, one prompt, another style" if any(scales.values()) else "Adapter off: the base itself"
    )
    parts = [title(heading), text(0, 40, f"Prompt: {_short(prompt, 76)}")]
    parts += _column(0, "base", base_text, "frozen")
    parts += _column(WIDTH / 2 + 12, names, text_now, "trainable" if any(scales.values()) else "frozen")
    bottom = 88 + LINES * LINE + 34
    parts += [
        text(
            0,
            bottom,
            f"SHA-256 of all base weights: {digests[0][:12]} at the start, {digests[1][:12]} now: {fate}",
            size=13,
        )
    ]
    return svg(bottom + 12, parts, sentence), sentence


def _column(x: float, name: str, words: str, role: str) -> list[str]:
    lines = [line for part in words.strip().splitlines() for line in textwrap.wrap(part, LETTERS)]
    shown = [*lines[: LINES - 1], lines[LINES - 1] + " …"] if len(lines) > LINES else lines
    return [
        rect(x, 58, COLUMN, 5, COLORS[role]),
        frame(x, 58, COLUMN, 44 + LINES * LINE, COLORS[role]),
        text(x + 10, 84, name, bold=True),
        *(text(x + 10, 108 + i * LINE, line) for i, line in enumerate(shown)),
    ]


def _short(words: str, letters: int = 60) -> str:
    """One line, cut after a whole word.

    >>> _short("once upon a time there was", 14)
    'once upon a …'
    """
    return textwrap.shorten(words.strip(), letters, placeholder=" …")
