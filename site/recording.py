"""Records the pictures of explorables and predictions while a page is executed, for the web site.

Each still gets `data-states`, the name of a file with the picture for every state of its controls, drawn by the very
object that the page shows. A prediction's answer gets one picture for every guess. Runs inside the page's kernel.

Not here: executing the pages (tools/build_site.py), and showing the pictures (static/explorable.js).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minilora.explorables.picture import as_html, picture
from minilora.lesson.guessing import Reveal
from minilora.widgets.explorer import Explorer

MOST_STATES = 300  # an explorable with more of them runs as Python in the browser, or stays a picture


def start(folder: Path) -> None:
    """From now on each still that this process makes has its states recorded in the folder."""
    for kind, states in ((Explorer, explorer_states), (Reveal, reveal_states)):
        record_stills(kind, states, folder)


def record_stills(kind: Any, states: Any, folder: Path) -> None:
    plain = kind.still

    def still(self: Any) -> str:
        html, pictures = plain(self), states(self)
        if not pictures:
            return html
        return html.replace("<div ", f'<div data-states="{save(pictures, folder)}" ', 1)

    kind.still = still


def explorer_states(explorer: Explorer) -> list[str]:
    """What stands below the controls for each of their states, the last control's values changing fastest."""
    values = [control.values() for control in explorer.declared.values()]
    if not values or len(values) < len(explorer.controls) or math.prod(map(len, values)) > MOST_STATES:
        return []
    return [
        as_html(*picture(explorer.draw, dict(zip(explorer.declared, state, strict=True))))
        for state in itertools.product(*values)
    ]


def reveal_states(reveal: Reveal) -> list[str]:
    """Without a guess, then for each guess that is offered."""
    prediction = reveal.prediction
    guesses: Iterable[Any] = getattr(prediction, "values", None) or list(prediction.options)
    return [as_html(*reveal.beside(guess)) for guess in (None, *guesses)]


def save(pictures: list[str], folder: Path) -> str:
    """Writes the pictures under a name that follows from them; returns the name."""
    data = json.dumps(pictures, ensure_ascii=False).encode("utf-8")
    name = hashlib.sha256(data).hexdigest()[:16] + ".json"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return name
