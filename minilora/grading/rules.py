"""A course's own rules, out of one small TOML file: points, partial credit, late work.

    [points]              # whole numbers; exercises that are not named keep theirs
    merge = 4
    [partial-credit]
    cases = true          # a function that is right in 6 of 8 cases earns 6/8 of its points, rounded down
    [late]
    due = 2026-03-01T23:59:00+01:00
    grace-minutes = 10
    percent-per-day = 10  # of what is earned, for each day begun
    days = 5              # later than that earns nothing
    times = "times.csv"   # or "files"; see late.py
    [extensions]          # another due time for one student
    ada = 2026-03-05T23:59:00+01:00

They change no result that is kept, only what follows from it, so nothing is graded again when they change. Not here:
marks that a person gave (overrides.py, written.py).
"""

from __future__ import annotations

import dataclasses
import datetime
import sys
from pathlib import Path
from typing import Any

from minilora.exercises import registry
from minilora.grading.marks import GRADED

Result = dict[str, Any]
KEYS: dict[str, Any] = {
    "points": None,
    "partial-credit": {"cases": bool},
    "late": {
        "due": datetime.datetime,
        "grace-minutes": int,
        "percent-per-day": int,
        "days": int,
        "times": str,
        "id-column": str,
        "time-column": str,
    },
    "extensions": None,
}


@dataclasses.dataclass(frozen=True)
class Late:
    """When work is due, and what it costs to be late. place: where relative names in the file begin."""

    due: datetime.datetime
    extensions: dict[str, datetime.datetime]
    grace: datetime.timedelta
    percent_per_day: int
    days: int | None
    times: str
    columns: tuple[str, str]
    place: Path


@dataclasses.dataclass(frozen=True)
class Rules:
    """points: exercise -> points, where they are not the exercise's own; partial: a part of them for some cases."""

    points: dict[str, int] = dataclasses.field(default_factory=dict)
    partial: bool = False
    late: Late | None = None

    def points_of(self, name: str) -> int:
        return self.points.get(name, registry.get(name).points)

    def apply(self, result: Result, names: tuple[str, ...]) -> Result:
        """The result with the course's points. names: of the exercises that count."""
        questions = [self._question(question) for question in result["questions"]]
        told = result | {"questions": questions, "max_score": sum(map(self.points_of, names))}
        if result["status"] == GRADED:
            told["score"] = sum(question["earned"] for question in questions)
        return told

    def _question(self, question: dict[str, Any]) -> dict[str, Any]:
        points = self.points.get(question["name"], question["points"])
        earned = question["earned"]
        if earned is not None:
            earned = earned * points // max(question["points"], 1)
            if self.partial and question["cases"]:
                earned = max(earned, points * question["passed"] // question["cases"])
        return question | {"points": points, "earned": earned}


def read(path: Path | None) -> Rules:
    """The rules in a file; ValueError names what it does not know."""
    if path is None:
        return Rules()
    try:
        told = _toml(path.read_text(encoding="utf-8"))
        _refuse_unknown(told)
        for name, points in told.get("points", {}).items():
            registry.get(name)
            if type(points) is not int or points < 0:
                raise ValueError(f"points of {name}: {points!r} is not a whole number from 0")
        late = _late(told["late"], told.get("extensions", {}), path.parent) if "late" in told else None
        if late is None and told.get("extensions"):
            raise ValueError("[extensions] need a [late] with the time that is due for the others")
        return Rules(told.get("points", {}), told.get("partial-credit", {}).get("cases", False), late)
    except ValueError as error:  # of TOML too
        raise ValueError(f"{path}: {error}") from error


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def _refuse_unknown(told: dict[str, Any]) -> None:
    for name, table in told.items():
        if name not in KEYS or not isinstance(table, dict):
            raise ValueError(f"[{name}] is not known; there are {', '.join(f'[{key}]' for key in KEYS)}")
        known = KEYS[name]
        for key, value in table.items() if known is not None else ():
            if key not in known:
                raise ValueError(f"[{name}] has no {key!r}; it has {', '.join(known)}")
            if type(value) is not known[key]:
                kind = {"datetime": "a date with a time", "int": "a whole number", "bool": "true or false"}
                raise ValueError(f"[{name}] {key} must be {kind.get(known[key].__name__, 'a text')}")


def _late(told: dict[str, Any], extensions: dict[str, Any], place: Path) -> Late:
    if "due" not in told:
        raise ValueError("[late] needs due, a date with a time")
    percent, days = told.get("percent-per-day", 0), told.get("days")
    if not 0 <= percent <= 100 or (days is not None and days < 0):
        raise ValueError("[late] percent-per-day is from 0 to 100, and days from 0")
    for student, due in extensions.items():
        if type(due) is not datetime.datetime:
            raise ValueError(f"[extensions] {student} must be a date with a time")
    return Late(
        told["due"].astimezone(),  # without an offset: in the time of this machine
        {student.strip().lower(): due.astimezone() for student, due in extensions.items()},
        datetime.timedelta(minutes=told.get("grace-minutes", 0)),
        percent,
        days,
        told.get("times", ""),
        (told.get("id-column", ""), told.get("time-column", "")),
        place,
    )
