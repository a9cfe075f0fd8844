"""An adapter that came with a submission, looked at in a folder of its own.

Its settings may name the layers by a pattern. A learner's pattern is never matched here: one that takes for ever is a
line long. Not here: what a good adapter is (minilora/exercises/questions).
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from minilora.exercises.question import Question
from minilora.exercises.question_parts import Numbers
from minilora.grading.submission import ADAPTER_FILES, Submission

BASES = ("tiny-gpt", "smollm2-135m-instruct")  # that an adapter may be for
SETTINGS = "minilora_settings"  # in the head of the weights' file
MAX_SETTINGS = 2**20  # bytes
PLAIN = re.compile(r"[\w.-]{1,200}")  # a name, in which nothing can be matched twice
PATTERNS = (
    "target_modules",
    "exclude_modules",
    "rank_pattern",
    "alpha_pattern",
    "layers_pattern",
    "modules_to_save",
)


def from_submission(question: Question, submission: Submission, flags: list[str]) -> Question:
    """The question, which then observes what was handed in, and never a path that the answers name."""
    if not question.observe:
        return question
    observe = question.observe

    def look(answers: dict[str, Any], numbers: Numbers) -> Numbers:
        wanted = str(answers.get("folder", "")).replace("\\", "/").rstrip("/").rpartition("/")[2]
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work) / "adapter"
            for name, data in submission.files.items():
                parent, _, last = f"/{name}".rpartition("/")
                if last in ADAPTER_FILES and parent.rpartition("/")[2] == wanted:
                    folder.mkdir(exist_ok=True)
                    (folder / last).write_bytes(data)
            problem = find_problem(folder, wanted)
            if problem:
                return {"problem": problem}
            base = answers.get("base") if answers.get("base") in BASES else BASES[0]
            if answers.get("base") != BASES[0]:
                told = str(answers.get("base"))[:80]
                flags.append(f"{question.name}: says that its base is {told!r}; look at it")
            return observe({"folder": str(folder), "base": base}, numbers)

    return dataclasses.replace(question, observe=look)


def find_problem(folder: Path, wanted: str) -> tuple[str, str] | None:
    """Why an adapter is not loaded at all: (mistake, sentence), or None."""
    if not folder.exists():
        return "not-handed-in", f"The folder {wanted[:80]} with the adapter was not handed in."
    for settings in (_settings(folder / ADAPTER_FILES[0]), _settings_of_weights(folder / ADAPTER_FILES[1])):
        for key in PATTERNS:
            if not _is_plain(settings.get(key)):
                sentence = f"In the adapter's settings, {key} is a pattern; write a list of names of layers."
                return "unreadable", sentence
    return None


def _is_plain(value: Any) -> bool:
    """True where no part of it is a pattern."""
    if isinstance(value, str):
        return bool(PLAIN.fullmatch(value))
    if isinstance(value, list | dict):
        return all(map(_is_plain, value))
    return True


def _settings(path: Path) -> dict[str, Any]:
    """Empty where it cannot be read; loading the adapter says so then."""
    try:
        return _as_dict(path.read_bytes())
    except OSError:
        return {}


def _settings_of_weights(path: Path) -> dict[str, Any]:
    """Those that minilora writes into the head of the weights' file."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            head = _as_dict(file.read(size)) if size <= MAX_SETTINGS else {"__metadata__": {SETTINGS: "*"}}
    except OSError:
        return {}
    metadata = head.get("__metadata__")
    told = metadata.get(SETTINGS) if isinstance(metadata, dict) else None
    if told == "*":
        return {PATTERNS[0]: "*"}
    return _as_dict(told.encode("utf-8", "replace")) if isinstance(told, str) else {}


def _as_dict(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_SETTINGS:
        return {PATTERNS[0]: "*"}  # nothing that is so large is loaded
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
