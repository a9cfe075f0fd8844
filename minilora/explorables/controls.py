"""The controls of an explorable, declared once: Jupyter makes ipywidgets of them, and the web site native inputs.

Not here: how they look and what a move does (minilora/widgets/explorer.py, site/static/explorable.js).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from minilora.figures.svg import in_a_name


@dataclasses.dataclass(frozen=True)
class Control:
    """One control.

    Attributes:
        kind: "slider" or "choice" (of one of the options), or "switch" (on or off).
        label: What stands beside it.
        options: (words, value) for each position; empty for a switch.
        start: The value to begin with.
    """

    kind: str
    label: str
    options: tuple[tuple[str, Any], ...]
    start: Any

    def values(self) -> list[Any]:
        """All values that it can have.

        >>> slider("Rank r", [1, 2, 4], 1).values(), switch("Checkpointing", False).values()
        ([1, 2, 4], [False, True])
        """
        return [value for _, value in self.options] if self.options else [False, True]


def slider(label: str, values: Iterable[Any], start: Any) -> Control:
    """A slider over the values that matter, such as 1, 2, 4 … 256; `values` may be (words, value) pairs."""
    return Control("slider", label, _pairs(values), start)


def choice(label: str, options: Iterable[Any], start: Any) -> Control:
    """A list of a few names, or of (words, value) pairs."""
    return Control("choice", label, _pairs(options), start)


def switch(label: str, start: bool) -> Control:
    return Control("switch", label, (), start)


def declaration(controls: Mapping[str, Control], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a page without a kernel needs to build the controls anew, as JSON: the words and where each one stands.

    >>> declaration({"r": slider("Rank", [1, 2, 4], 1)}, {"r": 4})[0]
    {'name': 'r', 'kind': 'slider', 'label': 'Rank', 'words': ['1', '2', '4'], 'values': ['1', '2', '4'], 'place': 2}
    """
    return [
        {
            "name": name,
            "kind": control.kind,
            "label": control.label,
            "words": [words for words, _ in control.options],
            "values": [in_a_name(value) for value in control.values()],
            "place": control.values().index(values[name]),
        }
        for name, control in controls.items()
    ]


def _pairs(options: Iterable[Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(option if isinstance(option, tuple) else (str(option), option) for option in options)
