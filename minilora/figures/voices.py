"""Draws what several voices make of one opening, one below the other, with the words of each voice underlined.

Not here: the texts, and which words are a voice's own (minilora/widgets/adapters.py).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from html import escape

from minilora.figures.colors import COLORS
from minilora.figures.svg import rect, svg, text, title

LETTERS = 57  # in one line: fits at this size in the widest of the usual fonts, in bold too
SIZE, LINE = 17, 25
LEFT = 16.0

Word = tuple[str, bool]  # and whether it is underlined


@dataclasses.dataclass(frozen=True)
class Voice:
    """A name and what it writes after the opening.

    Attributes:
        name: Name of the adapter, or "base".
        words: The continuation, word by word.
        adapted: False for the base itself.
    """

    name: str
    words: Sequence[Word]
    adapted: bool = True


def draw(
    opening: str, voices: Sequence[Voice], heading: str, note: str, least_lines: int = 1
) -> tuple[str, str]:
    """Draws the opening once, then the voices.

    Args:
        opening: What all voices continue.
        voices: From top to bottom.
        heading: What there is to see.
        note: The sentence below the picture.
        least_lines: Lines to reserve for each voice, so that the picture keeps its height while texts grow.
    """
    parts = [title(heading)]
    y = 44.0
    for line in wrapped([(word, False) for word in f"“{opening} …”".split()]):
        parts += [_words(0, y, line)]
        y += LINE
    y += 2
    for voice in voices:
        lines = wrapped([("…", False), *voice.words])
        high = 30 + LINE * max(len(lines), least_lines)
        parts += [
            rect(0, y - 8, 6, high - 4, COLORS["trainable" if voice.adapted else "frozen"]),
            text(LEFT, y + 8, voice.name, size=15, bold=True),
            *(_words(LEFT, y + 32 + i * LINE, line) for i, line in enumerate(lines)),
        ]
        y += high + 12
    spoken = " ".join(f"{voice.name}: {' '.join(word for word, _ in voice.words)}" for voice in voices)
    return svg(y - 6, parts, f"{note} After “{opening}”: {spoken}"), note


def wrapped(words: Sequence[Word], letters: int = LETTERS) -> list[list[Word]]:
    """Lines of whole words.

    >>> wrapped([("one", False), ("two", True), ("three", False)], letters=8)
    [[('one', False), ('two', True)], [('three', False)]]
    """
    lines: list[list[Word]] = [[]]
    room = letters
    for word in words:
        if len(word[0]) > room and lines[-1]:
            lines.append([])
            room = letters
        lines[-1].append(word)
        room -= len(word[0]) + 1
    return lines


def _words(x: float, y: float, line: Sequence[Word]) -> str:
    """One line of text; neighbors that are underlined share one line below them."""
    groups = [
        (marked, escape(" ".join(word for word, _ in group), quote=False))
        for marked, group in itertools.groupby(line, key=lambda word: word[1])
    ]
    # subtle: an underline takes the color of the element that asks for it, so the words need one of their own
    styled = [
        f'<tspan fill="{COLORS["trainable"]}" text-decoration="underline" font-weight="600">'
        f'<tspan fill="currentColor">{words}</tspan></tspan>'
        if marked
        else words
        for marked, words in groups
    ]
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{SIZE}">{" ".join(styled)}</text>'
