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

from minilora.exercises.records import write_whole
from minilora.grading.marks import FAILED
from minilora.grading.plain_text import one_line

SECRET_VARIABLE = "MINILORA_COURSE_SECRET"
WEAKEST_FIRST = ("plain", "setpriv", "bubblewrap")
CHECK = "secret.check"  # tells two secrets apart, and neither of them

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


def read(folder: Path, student: str, key: str, secret: bytes, box: str = "") -> dict[str, Any] | None:
    """The result for this key, or None where it must be made, also because its file was changed since.

    box: the sandbox at hand. What was made in a weaker one is made again.
    """
    try:
        kept = json.loads(path_for(folder, student).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(kept, dict) or kept.get("key") != key or kept.get("status") == FAILED:
        return None
    if _strength(str(kept.get("sandbox"))) < _strength(box):
        return None
    if not hmac.compare_digest(str(kept.get("seal")).encode(), seal(kept, secret).encode()):
        print(
            f"minilora: the result of {one_line(student)!r} was changed; it is graded again", file=sys.stderr
        )
        return None
    return kept


def _strength(box: str) -> int:
    return WEAKEST_FIRST.index(box) if box in WEAKEST_FIRST else -1


def write(folder: Path, result: dict[str, Any], secret: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    result["seal"] = seal(result, secret)
    try:
        text = json.dumps(result, indent=1, ensure_ascii=False, sort_keys=True).encode("utf-8")
    except UnicodeEncodeError:  # a file's name that is no text on this system
        text = json.dumps(result, indent=1, sort_keys=True).encode("ascii")
    write_whole(path_for(folder, result["student"]), text + b"\n")


# -- the course's secret -------------------------------------------------------------------------------------------


def course_secret(path: Path | None, folder: Path | None = None) -> bytes:
    """The secret from which hidden inputs follow: from the file, the environment, or a file in your home.

    Spaces and line ends around it do not count, and it has 16 characters at least, wherever it comes from. One is made
    only where nothing was graded before, and that is said. folder: of results.
    """
    home = Path.home() / ".minilora-course-secret"
    if path is None and os.environ.get(SECRET_VARIABLE):
        return _secret(os.environ[SECRET_VARIABLE].encode(), f"the variable {SECRET_VARIABLE}")
    if path is None and not home.exists():
        if folder and (folder / CHECK).exists():
            raise ValueError(
                f"there is no secret in {home}, and the results in {folder} were made with one; give it with "
                f"--secret-file or {SECRET_VARIABLE}"
            )
        write_whole(home, secrets.token_hex(32).encode() + b"\n")
        home.chmod(0o600)
        print(f"minilora: made the course's secret in {home}; keep this file", file=sys.stderr)
    return _secret((path or home).read_bytes(), str(path or home))


def _secret(text: bytes, place: str) -> bytes:
    secret = text.strip()
    if len(secret) < 16:
        raise ValueError(f"{place} holds {len(secret)} characters; a course's secret needs 16 at least")
    return secret


def belong_together(folder: Path, secret: bytes) -> None:
    """Notes on the first run with which secret results are made; ValueError where another one is given later."""
    told = hmac.new(secret, b"the secret of these results", "sha256").hexdigest()[:16]
    path = folder / CHECK
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, told.encode() + b"\n")
    elif path.read_text(encoding="ascii", errors="replace").strip() != told:
        raise ValueError(
            f"the results in {folder} were made with another secret; give that one, or name another folder. To grade "
            f"everything anew, remove {path}"
        )
