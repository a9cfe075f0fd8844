"""Texts that a person marks: out as a sheet with their rubric, and back as marks beside the program's.

    minilora grade class/ --results marks/ --export-written to-mark.csv
    (open it in a spreadsheet, fill the columns `mark` and `comment`, save it as CSV)
    minilora grade class/ --results marks/ --merge-written to-mark.csv

A sheet is merged whole or not at all. Marks are kept beside the results and belong to a text: who hands in another text
is to be marked again, and who hands in the same one keeps the mark, whatever else is graded anew.

Not here: judging texts. No program does.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import hmac
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minilora.exercises import registry
from minilora.exercises.exercise import Exercise
from minilora.exercises.question import Question
from minilora.exercises.records import write_whole
from minilora.grading import sheets
from minilora.grading.marks import GRADED
from minilora.grading.plain_text import harmless

Result = dict[str, Any]
COLUMNS = ("student", "exercise", "part", "points", "mark", "comment", "text", "rubric", "model answer", "id")
NEEDED = ("student", "exercise", "part", "mark", "comment", "id")
KEPT = "by-hand/written-marks.json"  # in a folder, where the results of no submission lie
BEFORE = "written-marks.json"  # where it was once, and where a submission of that name has its result now


@dataclasses.dataclass(frozen=True)
class Text:
    """One text to mark. id: of the text and of whose it is, so that no mark goes to another one."""

    student: str
    exercise: str
    part: str
    points: int
    text: str
    rubric: tuple[str, ...]

    @property
    def id(self) -> str:
        told = json.dumps([self.student, self.exercise, self.part, self.text])
        return "t" + hashlib.sha256(told.encode()).hexdigest()[:16]  # a letter first: it is no number

    @property
    def model_answer(self) -> str:
        exercise = registry.BY_NAME.get(self.exercise)
        parts = exercise.prose if isinstance(exercise, Question) else ()
        return next((part.model_answer for part in parts if part.key == self.part), "")


@dataclasses.dataclass(frozen=True)
class Mark:
    """What a person gave for one text."""

    points: int
    comment: str = ""


Marks = dict[str, Mark]  # by the id of the text


def texts(result: Result) -> Iterator[Text]:
    """What a submission holds for a person to read."""
    for question in result["questions"]:
        for item in question["written"]:
            place = (result["student"], question["name"], item["key"])
            yield Text(*place, item["points"], item["text"], tuple(item["rubric"]))


def as_sheet(found: list[Result], marks: Marks, secret: bytes = b"") -> bytes:
    """All texts of a class as CSV, one question after the other, with the marks given already.

    secret: makes it anonymous; a code stands for each student, which only who knows the secret can tell.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for text in sorted(
        (text for result in found for text in texts(result)),
        key=lambda t: (t.exercise, t.part, code(t.student, secret) if secret else t.student),
    ):
        mark = marks.get(text.id)
        given = (mark.points, mark.comment) if mark else ("", "")
        rubric = " ".join(f"({number}) {criterion}" for number, criterion in enumerate(text.rubric, 1))
        who = code(text.student, secret) if secret else text.student
        place = (who, text.exercise, text.part, text.points)
        row = (
            *place,
            *given,
            text.text,
            rubric,
            text.model_answer,
            _hidden(text, secret) if secret else text.id,
        )
        writer.writerow(map(harmless, row))
    return table.getvalue().encode("utf-8-sig", "replace")  # without the mark in front, Excel guesses wrong


def code(student: str, secret: bytes) -> str:
    """What stands for a student in an anonymous sheet."""
    return "S" + hmac.new(secret, f"anonymous {student}".encode("utf-8", "replace"), "sha256").hexdigest()[:8]


def _hidden(text: Text, secret: bytes) -> str:
    return "a" + hmac.new(secret, text.id.encode(), "sha256").hexdigest()[:16]


def read_sheet(table: bytes, found: list[Result], secret: bytes) -> Marks:
    """The marks in a filled sheet; ValueError lists all that is wrong with it, by row. Empty marks are left out."""
    known = {text.id: text for result in found for text in texts(result)}
    known |= {_hidden(text, secret): text for text in known.values()}
    marks: Marks = {}
    problems = []
    for number, row in enumerate(sheets.rows(table, NEEDED), 2):
        place = f"row {number} ({row['student']}, {row['exercise']}, {row['part']})"
        if not row["mark"]:
            continue
        text = known.get(row["id"])
        if text is None:
            problems.append(f"{place}: this text is not in the results; was another one handed in since?")
        elif text.id in marks:
            problems.append(f"{place}: the text comes twice")
        elif (row["exercise"], row["part"]) != (text.exercise, text.part) or row["student"].removeprefix(
            "'"
        ) not in (text.student.strip().removeprefix("'"), code(text.student, secret)):
            problems.append(f"{place}: the id is that of another text; were some columns sorted alone?")
        elif (points := _points(row["mark"])) is None or points > text.points:
            problems.append(
                f"{place}: the mark {row['mark']!r} is not a whole number from 0 to {text.points}"
            )
        else:
            marks[text.id] = Mark(points, row["comment"])
    if problems:
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise ValueError("no mark was taken over:\n  " + "\n  ".join(problems[:10]) + more)
    return marks


def _points(mark: str) -> int | None:
    """A whole number, also as some spreadsheets write it: 2.0 or 2,00."""
    match = re.fullmatch(r"([0-9]{1,6})(?:[.,]0+)?", mark)
    return int(match[1]) if match else None


# -- kept beside the results ---------------------------------------------------------------------------------------


def read_kept(folder: Path) -> Marks:
    """The marks merged so far. A file that cannot be read is an error: it holds a person's work."""
    path = folder / KEPT
    if not path.exists():
        _move(folder / BEFORE, path)
    if not path.exists():
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {key: Mark(int(mark["points"]), str(mark["comment"])) for key, mark in kept.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); repair or remove it, and merge the sheet again"
        ) from error


def _move(old: Path, new: Path) -> None:
    """Marks from a folder of an earlier version; a result has a schema, and stays where it is."""
    if old.exists() and "schema" not in json.loads(old.read_text(encoding="utf-8")):
        new.parent.mkdir(exist_ok=True)
        old.replace(new)


def keep(folder: Path, marks: Marks) -> None:
    (folder / KEPT).parent.mkdir(parents=True, exist_ok=True)
    told = {key: dataclasses.asdict(mark) for key, mark in sorted(marks.items())}
    write_whole(
        folder / KEPT, (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")
    )


def most(exercises: tuple[Question | Exercise, ...]) -> int:
    """The points that all texts of the exercises can earn."""
    return sum(exercise.prose_points for exercise in exercises if isinstance(exercise, Question))


def with_marks(found: list[Result], marks: Marks, written_max: int) -> list[Result]:
    """The results with `written`, `written_max` and `total`. While a text of someone waits, so does the total: None.

    written_max: the points that all texts of the exercises can earn.
    """
    return [_with_marks(result, marks, written_max) for result in found]


def _with_marks(result: Result, marks: Marks, written_max: int) -> Result:
    own = [marks.get(text.id) for text in texts(result)]
    given = [mark.points for mark in own if mark]
    written = sum(given) if result["status"] == GRADED and len(given) == len(own) else None
    total = None if written is None else result["score"] + written
    comments = [
        f"{text.exercise}, {text.part}: {mark.points} of {text.points}"
        + (f". {mark.comment}" if mark.comment else "")
        for text, mark in zip(texts(result), own, strict=True)
        if mark
    ]
    return result | {"written": written, "written_max": written_max, "total": total, "comments": comments}
