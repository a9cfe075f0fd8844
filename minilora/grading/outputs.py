"""What a run writes: the screen or a file, the reports on a class, feedback for each student, marks in a table.

Not here: how each of these looks (formats.py, report.py, web.py, lms.py).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from minilora.exercises.records import write_whole
from minilora.grading import formats, lms, platforms, report, results, web
from minilora.grading.marks import FAILED, UNDECIDED, UNREADABLE
from minilora.grading.plain_text import one_line
from minilora.grading.submission import Entry

Result = dict[str, Any]
SHOWN = 10  # names in a message


def write(found: list[Result], form: str, output: Path | None) -> None:
    """In the form asked for, to the screen or a file."""
    text = _render(found, form)
    if output:
        write_whole(output, (text.rstrip("\n") + "\n").encode("utf-8", "replace"))
    else:
        print(text.rstrip("\n"))


def _render(found: list[Result], form: str) -> str:
    if form == "json":
        return formats.as_json(found)
    if form == "csv":
        return formats.as_csv(found)
    if form == "gradescope":
        return formats.as_gradescope(found[0])
    if form == "classroom50":
        return formats.as_classroom50(found[0])
    if len(found) > 1:
        return report.as_markdown(report.of_class(found))
    return formats.as_text(found[0])


def write_reports(folder: Path, found: list[Result]) -> None:
    """For the instructor: the page to open first, the same in short as text, and a table of marks."""
    counted = report.of_class(found)
    write_whole(folder / "report.html", web.report_page(counted, found).encode("utf-8", "replace"))
    write_whole(folder / "report.md", report.as_markdown(counted).encode("utf-8", "replace"))
    write_whole(folder / "marks.csv", formats.as_csv(found).encode("utf-8", "replace"))
    print(f"minilora: the report is in {folder / 'report.html'}", file=sys.stderr)


def write_feedback(folder: Path, found: list[Result], entries: list[Entry]) -> None:
    """One page for each student, called as their submission where a platform named it."""
    folder.mkdir(parents=True, exist_ok=True)
    for result, entry in zip(found, entries, strict=True):
        own = platforms.feedback_name(entry.path.name) if not entry.inside else ""
        path = folder / own if own else results.path_for(folder, entry.student).with_suffix(".html")
        write_whole(path, web.feedback_page(result).encode("utf-8", "replace"))


def fill_table(
    table: Path, columns: tuple[str, str], found: list[Result], output: Path, ids: dict[str, tuple[str, ...]]
) -> None:
    """Marks into the LMS's table; who has no mark, or handed in nothing readable, is left as it was.

    Once texts are marked, they count, and who has a text that waits has no mark yet. The marks are printed besides.
    """
    totals = {result["student"]: result.get("total", result["score"]) for result in found}
    readable = {
        result["student"] for result in found if result["status"] not in (FAILED, UNREADABLE, UNDECIDED)
    }
    marks = {name: total for name, total in totals.items() if name in readable and total is not None}
    filled = lms.fill_marks(table.read_bytes(), *columns, marks, ids)
    write_whole(output, filled.table)
    print(formats.as_csv(found), end="")
    _say("have no mark to fill in", [name for name in totals if name not in marks])
    _say(f"have a mark, and no row in {table}", filled.missing)
    _say(f"have a row in {table}, and no mark", filled.empty)


def _say(words: str, names: list[str]) -> None:
    if names:
        told = ", ".join(map(one_line, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
        print(f"minilora: {len(names)} {words}: {told}", file=sys.stderr)
