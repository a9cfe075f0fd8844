"""When each submission came, and what being late takes off.

The time comes from where nobody's copying changes it: nbgrader's timestamp.txt in the folder, or a table (`times =
"times.csv"` with `id-column` and `time-column`, as platforms export it). `times = "files"` takes the files' own times,
which a download usually resets. Where no time is known nothing is taken off, and that is said.

Not here: reading the rules (rules.py).
"""

from __future__ import annotations

import datetime
import math
import sys
from pathlib import Path
from typing import Any

from minilora.grading import sheets
from minilora.grading.plain_text import one_line
from minilora.grading.rules import Late
from minilora.grading.submission import Entry

Result = dict[str, Any]
STAMP = "timestamp.txt"  # nbgrader's
DAY = datetime.timedelta(days=1)


def apply(found: list[Result], entries: list[Entry], late: Late | None) -> list[Result]:
    """The results with `late` (days, percent taken off, when due) and less points, where work came late."""
    if late is None:
        return found
    times = submitted(entries, late)
    unknown = [entry.student for entry in entries if times[entry.student] is None]
    if unknown:
        names = ", ".join(map(one_line, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        print(
            f"minilora: for {len(unknown)} no time is known, so nothing was taken off: {names}",
            file=sys.stderr,
        )
    strangers = set(late.extensions) - {name.lower() for e in entries for name in (e.student, *e.ids)}
    if strangers:
        print(
            f"minilora: extensions for students without a submission: {', '.join(sorted(strangers))}",
            file=sys.stderr,
        )
    return [
        _apply(result, entry, times[entry.student], late)
        for result, entry in zip(found, entries, strict=True)
    ]


def _apply(result: Result, entry: Entry, time: datetime.datetime | None, late: Late) -> Result:
    if time is None:
        note = "late, as its platform says; how late is not known" if entry.late else ""
        return result | ({"remarks": [*result["remarks"], note]} if note else {})
    due = next(
        (
            late.extensions[name.strip().lower()]
            for name in (entry.student, *entry.ids)
            if name.strip().lower() in late.extensions
        ),
        late.due,
    )
    days = math.ceil((time - due - late.grace) / DAY)
    if days <= 0:
        return result
    percent = min(100, late.percent_per_day * days)
    if late.days is not None and days > late.days:
        percent = 100
    told: Result = {
        "late": {"days": days, "percent": percent, "due": due.isoformat(), "came": time.isoformat()}
    }
    for key in ("score", "total"):
        if result.get(key) is not None:
            told[key] = result[key] - result[key] * percent // 100
    days_late = f"{days} day{'s' if days > 1 else ''} late"
    return result | told | {"remarks": [*result["remarks"], f"{days_late}: {percent} % taken off"]}


def submitted(entries: list[Entry], late: Late) -> dict[str, datetime.datetime | None]:
    """Student -> when the work came, or None."""
    table = _table(late) if late.times not in ("", "files") else {}
    told: dict[str, datetime.datetime | None] = {}
    for entry in entries:
        names = [name.strip().lower() for name in (entry.student, *entry.ids)]
        told[entry.student] = next((table[name] for name in names if name in table), None) or _stamp(entry)
        if told[entry.student] is None and late.times == "files" and not entry.inside:
            told[entry.student] = _of_files(entry)
    return told


def _table(late: Late) -> dict[str, datetime.datetime]:
    """Id -> time, out of a CSV."""
    path = late.place / late.times
    if not all(late.columns):
        raise ValueError(f"[late] times = {late.times!r} needs id-column and time-column besides")
    id_column, time_column = late.columns
    found = {}
    for number, row in enumerate(sheets.rows(path.read_bytes(), late.columns, str(path)), 2):
        if row[time_column] not in ("", "-"):
            try:
                found[row[id_column].lower()] = as_time(row[time_column])
            except ValueError as error:
                raise ValueError(f"{path}, row {number}: {error}") from error
    return found


def as_time(text: str) -> datetime.datetime:
    """A date with a time of day, in the usual ways of writing; one that can be read in two ways is refused.

    >>> as_time("Monday, 2 March 2026, 10:05 AM").strftime("%Y-%m-%d %H:%M")
    '2026-03-02 10:05'
    """
    iso = (
        text.strip().removesuffix("UTC").rstrip() + "+00:00" if text.strip().endswith("UTC") else text.strip()
    )
    try:
        time = datetime.datetime.fromisoformat(iso.replace("Z", "+00:00"))
    except ValueError:
        time = _in_other_ways(text)
    else:
        if ":" not in text:
            raise ValueError(f"{text!r} has no time of day; write 2026-03-01 23:59")
    return time.astimezone()  # without an offset: in the time of this machine


def _in_other_ways(text: str) -> datetime.datetime:
    from dateutil import parser

    readings = set()
    for default in (datetime.datetime(2001, 1, 1, 1, 1), datetime.datetime(2002, 2, 2, 2, 2)):
        for day_first in (False, True):
            readings.add(parser.parse(text, default=default, dayfirst=day_first).replace(microsecond=0))
    if len({time.replace(second=0) for time in readings}) > 1:
        raise ValueError(
            f"{text!r} is no whole date with a time, or can be read in two ways; write 2026-03-01 23:59"
        )
    return readings.pop()


def _stamp(entry: Entry) -> datetime.datetime | None:
    """What nbgrader noted, at the latest of its assignments; None where there is nothing that can be read."""
    if entry.inside or not entry.path.is_dir() or entry.path.is_symlink():
        return None
    times = []
    for path in [entry.path / STAMP, *sorted(entry.path.glob(f"*/{STAMP}"))]:
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 200:
            try:
                times.append(as_time(path.read_text(encoding="utf-8")))
            except (ValueError, OSError):
                return None
    return max(times, default=None)


def _of_files(entry: Entry) -> datetime.datetime | None:
    places: list[Path] = []
    for path in (entry.path, *entry.more):
        places += [p for p in path.rglob("*.ipynb") if p.is_file()] if path.is_dir() else [path]
    newest = max((path.lstat().st_mtime for path in places), default=None)
    return None if newest is None else datetime.datetime.fromtimestamp(newest).astimezone()
