"""Which of several notebooks counts for an exercise: by its name, never by what it earns.

Taking the best would let a student hand in every answer at once. So the notebook that is called as it was handed out
counts, before drafts; where that does not tell, and the notebooks earn different points, a person decides.

Not here: judging (grade.py).
"""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath
from typing import Any

from minilora.grading import platforms

DRAFT_FOLDERS = {
    "old",
    "older",
    "versions",
    "version",
    "backup",
    "backups",
    "archive",
    "draft",
    "drafts",
    "trash",
}
DRAFT_NAMES = ("untitled", "draft", "old", "backup", "scratch", "test")


@dataclasses.dataclass
class Attempt:
    """What one notebook earns in one exercise."""

    notebook: str
    grade: Any  # a QuestionGrade


def choose(attempts: list[Attempt], handed_out: tuple[str, ...]) -> tuple[Attempt | None, str]:
    """The attempt that counts, or None where a person must decide; and a remark where there was a choice."""
    if len(attempts) == 1:
        return attempts[0], ""
    ranked = sorted(attempts, key=lambda attempt: rank(attempt.notebook, handed_out), reverse=True)
    best = [a for a in ranked if rank(a.notebook, handed_out) == rank(ranked[0].notebook, handed_out)]
    names = ", ".join(_told(attempt) for attempt in ranked)
    if len(best) == 1 or all(_alike(best[0].grade, other.grade) for other in best[1:]):
        return best[0], f"{len(attempts)} notebooks answer this ({names}); {best[0].notebook} counts"
    return None, f"{len(attempts)} notebooks answer this, and differ ({names}); say which counts"


def _told(attempt: Attempt) -> str:
    earned = attempt.grade.earned
    return f"{attempt.notebook}: {'?' if earned is None else earned}"


def _alike(a: Any, b: Any) -> bool:
    return (a.earned, a.outcome, a.written) == (b.earned, b.outcome, b.written)


def rank(name: str, handed_out: tuple[str, ...]) -> tuple[bool, bool, int]:
    """More is better: has the name of the page, is no draft, lies high up.

    >>> rank("03_lora.ipynb", ("03_lora.ipynb",)) > rank("old/03_lora.ipynb", ("03_lora.ipynb",))
    True
    """
    path = PurePosixPath(name.lower())
    folders = {part.strip() for part in path.parts[:-1]}
    draft = bool(folders & DRAFT_FOLDERS) or path.stem.startswith(DRAFT_NAMES)
    called = platforms.bare_name(path.name) in {page.lower() for page in handed_out}
    return called, not draft, -len(path.parts) if called else 0
