"""Points that a person gives in the place of the program's, each with a reason.

They stand in marks/by-hand/overrides.csv, one line for each: student, exercise, points, reason. `minilora grade ...
--override STUDENT EXERCISE POINTS REASON` writes such a line, and so may you. `total` for the exercise gives the whole
mark, which then stands, late or not. They are applied to whatever is graded, also anew, until the line is taken out.

Not here: marks of texts (written.py).
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import sys
from pathlib import Path
from typing import Any

from minilora.exercises import registry
from minilora.exercises.records import write_whole
from minilora.grading import sheets
from minilora.grading.marks import GRADED, UNDECIDED
from minilora.grading.plain_text import one_line

Result = dict[str, Any]
FILE = "by-hand/overrides.csv"
COLUMNS = ("student", "exercise", "points", "reason")
TOTAL = "total"


@dataclasses.dataclass(frozen=True)
class Override:
    """One line of the file."""

    student: str
    exercise: str
    points: int
    reason: str


def read(folder: Path) -> list[Override]:
    """All lines; ValueError names every one that is wrong, because they hold a person's decisions."""
    path = folder / FILE
    if not path.exists():
        return []
    found, problems, seen = [], [], set()
    for number, row in enumerate(sheets.rows(path.read_bytes(), COLUMNS, str(path)), 2):
        if not any(row.values()):
            continue
        try:
            found.append(_checked(*(row[name] for name in COLUMNS)))
            if (key := (row["student"], row["exercise"])) in seen:
                raise ValueError("it comes twice")
            seen.add(key)
        except ValueError as error:
            problems.append(f"row {number} ({row['student']}, {row['exercise']}): {error}")
    if problems:
        raise ValueError(f"{path} is not taken over:\n  " + "\n  ".join(problems[:10]))
    return found


def _checked(student: str, exercise: str, points: str, reason: str) -> Override:
    if not student:
        raise ValueError("no student is named")
    if exercise != TOTAL:
        registry.get(exercise)
    if not re.fullmatch(r"[0-9]{1,6}", points):
        raise ValueError(f"{points!r} is not a whole number of points")
    if not reason.strip():
        raise ValueError("it needs a reason")
    return Override(student, exercise, int(points), " ".join(reason.split()))


def add(folder: Path, student: str, exercise: str, points: str, reason: str) -> None:
    """Writes a line, in the place of an earlier one for the same."""
    new = _checked(student, exercise, points, reason)
    kept = [o for o in read(folder) if (o.student, o.exercise) != (new.student, new.exercise)]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(dataclasses.astuple(override) for override in [*kept, new])
    (folder / FILE).parent.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE, table.getvalue().encode("utf-8-sig"))


def apply(found: list[Result], overrides: list[Override], last: bool = False) -> list[Result]:
    """The results with those points, and a remark for each. last: only whole marks, after all other rules."""
    names = {result["student"] for result in found}
    strangers = sorted({o.student for o in overrides} - names)
    if strangers and not last:
        told = ", ".join(map(one_line, strangers))
        print(f"minilora: overrides for students who are not in this class: {told}", file=sys.stderr)
    for override in overrides:
        if (override.exercise == TOTAL) == last:
            found = [_with(r, override) if r["student"] == override.student else r for r in found]
    return found


def _with(result: Result, override: Override) -> Result:
    if override.exercise == TOTAL:
        before = result.get("total", result["score"])
        told = {"score": override.points, "status": GRADED}
        told |= {"total": override.points} if "total" in result else {}
        return result | told | _remark(result, override, before)
    questions = [
        question | {"earned": override.points} if question["name"] == override.exercise else question
        for question in result["questions"]
    ]
    before = next((q["earned"] for q in result["questions"] if q["name"] == override.exercise), None)
    told = {"questions": questions}
    if result["status"] in (GRADED, UNDECIDED) and all(q["earned"] is not None for q in questions):
        told |= {"status": GRADED, "score": sum(question["earned"] for question in questions)}
    return result | told | _remark(result, override, before)


def _remark(result: Result, override: Override, before: int | None) -> Result:
    was = "no mark" if before is None else before
    remark = f"{override.exercise}: {override.points} points by hand instead of {was}: {override.reason}"
    return {"remarks": [*result["remarks"], one_line(remark)]}
