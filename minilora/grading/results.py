"""Results on disk: one JSON file for each submission, written whole or not at all.

A file's key says for which work, under which rules and secret it was made; if that is the same again, nothing is graded
again. Its seal says that nobody has changed it since. A failure of the grader is never kept as a result, so the next
run tries again.

Not here: what a result says (grade.py), and tables of many (report.py).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import sys
from pathlib import Path
from typing import Any

from minilora.exercises.progress import write_whole
from minilora.grading.marks import FAILED
from minilora.grading.plain_text import one_line

SECRET_VARIABLE = "MINILORA_COURSE_SECRET"


RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10)),
}  # Windows
LONGEST = 80  # of a name, in letters that take one byte each


def path_for(folder: Path, student: str) -> Path:
    """A name that every system can hold, different for different students. It never lies in a folder of `folder`.

    >>> path_for(Path("marks"), "alice").name, path_for(Path("marks"), "Ada: 3/4").name
    ('alice.json', 'Ada_3_4-8ffdf056.json')
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", student[: 2 * LONGEST])[:LONGEST]
    known = plain == student == student.lower()  # some systems take A and a for the same
    if not known or plain.startswith(".") or plain.split(".")[0] in RESERVED:
        plain += "-" + hashlib.sha256(student.encode("utf-8", "replace")).hexdigest()[:8]
    return folder / f"{plain}.json"


def seal(result: dict[str, Any], secret: bytes) -> str:
    """Says that exactly this result was made by who knows the secret."""
    told = json.dumps({key: value for key, value in result.items() if key != "seal"}, sort_keys=True)
    return hmac.new(secret, told.encode("utf-8", "replace"), "sha256").hexdigest()


def read(folder: Path, student: str, key: str, secret: bytes) -> dict[str, Any] | None:
    """The result for this key, or None where it must be made, also because its file was changed since."""
    try:
        kept = json.loads(path_for(folder, student).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(kept, dict) or kept.get("key") != key or kept.get("status") == FAILED:
        return None
    if not hmac.compare_digest(str(kept.get("seal")).encode(), seal(kept, secret).encode()):
        print(
            f"minilora: the result of {one_line(student)!r} was changed; it is graded again", file=sys.stderr
        )
        return None
    return kept


def write(folder: Path, result: dict[str, Any], secret: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    result["seal"] = seal(result, secret)
    try:
        text = json.dumps(result, indent=1, ensure_ascii=False, sort_keys=True).encode("utf-8")
    except UnicodeEncodeError:  # a file's name that is no text on this system
        text = json.dumps(result, indent=1, sort_keys=True).encode("ascii")
    write_whole(path_for(folder, result["student"]), text + b"\n")


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
