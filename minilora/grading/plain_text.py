"""A learner's text, made harmless for a terminal, a table and a spreadsheet.

Not here: HTML (minilora/exercises/feedback.py escapes it).
"""

from __future__ import annotations

import unicodedata
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute a field that begins so
KEPT = ("\n", "\t")
TURNS = set(
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # the direction of what follows


def visible(text: str, most: int = 20_000) -> str:
    """The text with its control characters, and those that turn its direction, written out. Lines stay.

    >>> visible("a\\x1b[2J\\u202eb")
    'a\\\\x1b[2J\\\\u202eb'
    """
    text = text.replace("\r\n", "\n")
    if len(text) > most:
        text = text[:most] + "…"
    return "".join(_name(c) if _obeyed(c) else c for c in text)


def one_line(text: str, most: int = 2000) -> str:
    """`visible`, in one line.

    >>> one_line("ada: wrong\\nada: 2 of 2 points")
    'ada: wrong ada: 2 of 2 points'
    """
    return visible(" ".join(text[:most].split()), most)


def _obeyed(character: str) -> bool:
    return character in TURNS or (character not in KEPT and unicodedata.category(character) in ("Cc", "Cs"))


def _name(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def harmless(value: Any) -> Any:
    """A field that no spreadsheet takes for a formula.

    >>> harmless("=1+1"), harmless("a = 1")
    ("'=1+1", 'a = 1')
    """
    if not isinstance(value, str):
        return value
    value = visible(value)
    return f"'{value}" if value.lstrip().startswith(FORMULA) or value.startswith(FORMULA) else value
