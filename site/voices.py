"""Writes the texts that the front page shows before it has the model: some openings, each in every voice.

Within an opening all voices have the same seed: the first with which all of them write well, as far as a program can
tell (benchmarks/voices.py): long enough, in words that exist, and heard as what they are.

Not here: the model in the page (exporting.py).
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from exporting import VOICES, load

from minilora import LoraModel
from minilora.lesson.watching import whole_sentences

OPENINGS = ("The little fox and the hen", "One rainy afternoon the two squirrels", "Once upon a time")
HEARD_AS = {"none": "story", **{voice: voice for voice in VOICES}}
WORDS = 18  # a shorter text has broken off
SEEDS = range(1, 41)


def measures() -> Any:
    """The program that measures what the adapters write. subtle: it is called voices, like this one."""
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "voices.py"
    sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location("measures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(model: LoraModel, opening: str, measured: Any) -> dict[str, str]:
    """Voice -> what it writes, up to the end of a sentence."""
    found: dict[str, str] = {}
    fewest = sys.maxsize
    for seed in SEEDS:
        written = {voice: continued(model, voice, opening, seed) for voice in HEARD_AS}
        wrong = sum(faults(text, HEARD_AS[voice], measured) for voice, text in written.items())
        if wrong < fewest:
            found, fewest = written, wrong
        if not wrong:
            break
    return found


def continued(model: LoraModel, voice: str, opening: str, seed: int) -> str:
    names = [] if voice == "none" else [voice]
    model.set_adapters(names, [1.0] * len(names))
    text = model.generate(opening, max_new_tokens=70, seed=seed)
    return whole_sentences(opening + text)[len(opening) :]


def faults(text: str, style: str, measured: Any) -> int:
    """What is wrong with a text: it breaks off, has words that do not exist, tears code, sounds like another voice."""
    short = len(text.split()) < WORDS
    unknown = sum(word not in measured.known_words() for word in measured.words(text))
    torn = "```" in text or text.count("`") % 2  # code that has no end, or none that fits into a line
    return short + unknown + torn + (measured.classifier().heard(text) != style)


if __name__ == "__main__":
    model, measured = load(), measures()
    made = {"texts": {opening: texts(model, opening, measured) for opening in OPENINGS}}
    Path(sys.argv[1]).write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
