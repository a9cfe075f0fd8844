"""Writes the texts that the front page shows before it has the model: some openings, each in every voice.

Within an opening all voices have the same seed: the first with which none of them breaks off at once.

Not here: the model in the page (exporting.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from exporting import VOICES, load

from minilora import LoraModel
from minilora.lesson.watching import whole_sentences

OPENINGS = ("The little fox and the hen", "My grandmother has a clock", "Once upon a time")
WORDS = 18  # of the shortest text
SEEDS = range(1, 9)


def texts(model: LoraModel, opening: str) -> dict[str, str]:
    """Voice -> what it writes, up to the end of a sentence."""
    found: dict[str, str] = {}
    for seed in SEEDS:
        written = {voice: continued(model, voice, opening, seed) for voice in ("none", *VOICES)}
        if shortest(written) > shortest(found):
            found = written
        if shortest(found) >= WORDS:
            break
    return found


def continued(model: LoraModel, voice: str, opening: str, seed: int) -> str:
    names = [] if voice == "none" else [voice]
    model.set_adapters(names, [1.0] * len(names))
    text = model.generate(opening, max_new_tokens=70, seed=seed)
    return whole_sentences(opening + text)[len(opening) :]


def shortest(written: dict[str, str]) -> int:
    return min((len(text.split()) for text in written.values()), default=-1)


if __name__ == "__main__":
    model = load()
    made = {"texts": {opening: texts(model, opening) for opening in OPENINGS}}
    Path(sys.argv[1]).write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
