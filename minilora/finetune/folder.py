"""The folder of a run: run.json with its settings, from which `--resume` continues, and history.jsonl.

Not here: the trained state (training/run_state.py) and what was learned (adapter files, checkpoints).
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from minilora import __version__
from minilora.files.safe_files import json_writer, read_json, replace_files
from minilora.finetune.models import RUN_FILE
from minilora.finetune.settings import FinetuneSettings
from minilora.options import declared, flag
from minilora.training.run_state import STATE_FILE

HISTORY_FILE = "history.jsonl"
# What may differ when a run is resumed: it changes no number that is learned, or the trained state's own check sees it.
FREE = {"out", "resume", "format", "save_steps", "eval_steps", "sample_prompt", "no_samples", "tensorboard"}
FREE |= {"device", "gradient_accumulation_steps", "gradient_checkpointing"}
FREE |= {"activation_offloading", "cuda_graph"}
FREE |= {"data", "validation_data", "base"}  # moved, perhaps; their content must be the same
FREE |= {"max_steps", "epochs"}  # a run can be extended


def check_new(out: Path) -> None:
    """Raises a ValueError unless the folder is new or empty."""
    if (out / RUN_FILE).exists():
        raise ValueError(f"{out} holds a run already; continue it with --resume, or choose another --out")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty, and no run of this command; choose another --out")


def write_settings(out: Path, settings: FinetuneSettings) -> None:
    """Writes run.json: all settings, also those that followed from the data."""
    names = [
        field.name for field in declared(FinetuneSettings) if field.name not in ("out", "resume", "format")
    ]
    kept = {name: getattr(settings, name) for name in names}
    replace_files(out, {RUN_FILE: json_writer({"minilora": __version__, "settings": kept})})


def resumed(settings: FinetuneSettings) -> FinetuneSettings:
    """The settings of the run in the folder, changed by those that were given and may differ.

    Raises:
        FileNotFoundError: If no run is there.
        ValueError: If a setting that was given contradicts the run.
    """
    out = Path(settings.out)
    if not (out / RUN_FILE).exists():
        raise FileNotFoundError(f"there is no run to resume in {out}: it has no {RUN_FILE}; is --out right?")
    saved = read_json(out / RUN_FILE).get("settings")
    known = {field.name for field in declared(FinetuneSettings)}
    if not isinstance(saved, dict) or not saved.keys() <= known:
        raise ValueError(f"{out / RUN_FILE} does not hold the settings of a run; was it edited?")
    given = {name: getattr(settings, name) for name in settings.given}
    differs = [
        f"{flag(name)} was {_shown(saved.get(name))} and is {_shown(value)}"
        for name, value in given.items()
        if name not in FREE and value != saved.get(name)
    ]
    if differs:
        raise ValueError(
            f"the run in {out} has other settings: {'; '.join(sorted(differs))}. Leave them out to resume it, or "
            "choose another --out"
        )
    if "epochs" in given or "max_steps" in given:
        saved |= {"epochs": None, "max_steps": None}
    return FinetuneSettings(
        **saved | given | {"out": settings.out, "resume": True, "format": settings.format}
    )


def _shown(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


def command(*words: str) -> str:
    """A line to type, quoted where it must be."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def resume_command(out: Path) -> str:
    """The line that continues the run in a folder."""
    return command("minilora", "finetune", "--resume", "--out", str(out))


def left_behind(out: Path) -> str:
    """What an interrupted run left in its folder, and how to resume it."""
    if (out / STATE_FILE).exists():
        return (
            f"Stopped at once. What the last save holds is in {out}; continue with:\n  {resume_command(out)}"
        )
    if (out / RUN_FILE).exists():
        return f"Stopped before anything was saved; begin again with:\n  {resume_command(out)}"
    return "Interrupted before training began; nothing was written."


class HistoryFile:
    """history.jsonl: one line of JSON per step, with the validation loss and a sample where there was one."""

    def __init__(self, out: Path, step: int):
        """Continues after `step`: what a killed run wrote beyond its last save is dropped."""
        path = out / HISTORY_FILE
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.lines = [line for line in map(_parsed, lines) if line is not None and line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        replace_files(out, {HISTORY_FILE: lambda path: path.write_text(text, encoding="utf-8", newline="\n")})
        self.file = path.open("a", encoding="utf-8", newline="\n")

    def add(self, **values: Any) -> None:
        """Writes one line, at once."""
        self.lines.append(values)
        self.file.write(json.dumps(values) + "\n")
        self.file.flush()

    def sample_before(self) -> str | None:
        """The sample of the base, if it is known."""
        return next((line["sample"] for line in self.lines if line["step"] == 0 and "sample" in line), None)


def _parsed(line: str) -> dict[str, Any] | None:
    """A line that was cut off by a kill is no JSON."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and type(value.get("step")) is int else None


def settled(settings: FinetuneSettings, **values: Any) -> FinetuneSettings:
    """The same settings with what followed from the data."""
    return dataclasses.replace(settings, **values)
