"""What the learner has done, in one small JSON file: attempts, verdicts, hints seen, predictions, prose.

The file is minilora-progress.json in the folder that MINILORA_HOME names, else in the working folder. It belongs to the
learner: nothing secret is in it, and a grader does not believe it. Each change reads the file and replaces it whole, so
an interruption leaves the old one.

Not here: how progress is shown (feedback.py).
"""

from __future__ import annotations

import json
import os
import secrets
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAME = "minilora-progress.json"
Record = dict[str, Any]


def path() -> Path:
    """Where progress is kept."""
    return Path(os.environ.get("MINILORA_HOME") or ".") / NAME


def load() -> dict[str, Record]:
    """Exercise name -> record; empty if the file cannot be read, of which `update` warns."""
    try:
        return _read()
    except OSError:
        return {}


def _read() -> dict[str, Record]:
    """Reads the file; a damaged one is kept under another name, and progress starts over."""
    try:
        records = json.loads(path().read_text(encoding="utf-8"))
        if not isinstance(records, dict) or not all(isinstance(r, dict) for r in records.values()):
            raise ValueError("not a table of records")
        return records
    except FileNotFoundError:
        return {}
    except ValueError as error:
        kept = path().with_suffix(".damaged.json")
        path().replace(kept)
        warnings.warn(f"{path()} could not be read ({error}); it is kept as {kept.name}", stacklevel=2)
        return {}


def update(name: str, change: Callable[[Record], None]) -> Record:
    """Reads the file, lets `change` alter the record of one exercise, and writes the file; returns the record.

    If nothing can be written, a warning says so once and the learner continues without.
    """
    try:
        records = (
            _read()
        )  # subtle: not load, or a file that cannot be read now would be replaced by an empty one
        record = records.setdefault(name, {})
        change(record)
        write(records)
        return record
    except OSError as error:
        warnings.warn(f"your progress cannot be kept in {path()}: {error}", stacklevel=2)
        record = {}
        change(record)
        return record


def write(records: dict[str, Record]) -> None:
    target = path()
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, json.dumps(records, indent=1, ensure_ascii=False, sort_keys=True).encode("utf-8"))


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file atomically: an interrupted write keeps the old one."""
    new = path.with_name(
        f".{secrets.token_hex(8)}.new"
    )  # a container beside this one has the same process ids
    try:
        with open(new, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def attempt(name: str, outcome: str, earned: int, mistakes: list[str]) -> Record:
    """Counts one check."""

    def change(record: Record) -> None:
        if outcome not in ("not attempted", "can't be checked"):
            record["attempts"] = record.get("attempts", 0) + 1
        record["outcome"] = outcome
        record["earned"] = max(earned, record.get("earned", 0))
        record["solved"] = record.get("solved", False) or outcome == "correct"
        for mistake in mistakes:
            counts = record.setdefault("mistakes", {})
            counts[mistake] = counts.get(mistake, 0) + 1

    return update(name, change)
