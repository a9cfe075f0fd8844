"""Results on disk: one JSON file for each submission, written whole or not at all.

A file's key says for which work, under which rules and secret it was made; if that is the same again, nothing is graded
again. A failure of the grader is never kept as a result, so the next run tries again.

Not here: what a result says (grade.py), and tables of many (report.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from minilora.exercises.progress import write_whole
from minilora.grading.grade import FAILED

SECRET_VARIABLE = "MINILORA_COURSE_SECRET"


def path_for(folder: Path, student: str) -> Path:
    """A name that every system can hold, different for different students.

    >>> path_for(Path("marks"), "alice").name, path_for(Path("marks"), "Ada: 3/4").name
    ('alice.json', 'Ada_3_4-8ffdf056.json')
    """
    plain = re.sub(r"[^\w.-]+", "_", student)[:80]
    if plain != student or student.lower() != student:  # some systems take A and a for the same
        plain += "-" + hashlib.sha256(student.encode("utf-8", "replace")).hexdigest()[:8]
    return folder / f"{plain}.json"


def read(folder: Path, student: str, key: str) -> dict[str, Any] | None:
    """The result for this key, or None where it must be made."""
    try:
        kept = json.loads(path_for(folder, student).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return (
        kept if isinstance(kept, dict) and kept.get("key") == key and kept.get("status") != FAILED else None
    )


def write(folder: Path, result: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1, ensure_ascii=False, sort_keys=True)
    write_whole(path_for(folder, result["student"]), text.encode("utf-8", "replace") + b"\n")


def course_secret(path: Path | None) -> bytes:
    """The secret from which hidden inputs follow: from the file, the environment, or a file made once in your home."""
    if path is None and os.environ.get(SECRET_VARIABLE):
        return os.environ[SECRET_VARIABLE].encode()
    if path is None:
        path = Path.home() / ".minilora-course-secret"
        if not path.exists():
            write_whole(path, secrets.token_hex(32).encode() + b"\n")
            path.chmod(0o600)
    secret = path.read_bytes().strip()
    if len(secret) < 16:
        raise ValueError(f"{path} holds {len(secret)} characters; a course's secret needs 16 at least")
    return secret
