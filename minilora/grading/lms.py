"""Marks into a table that a learning platform exported: one column is filled, and every other byte stays.

A spreadsheet, or any program that reads and writes the table anew, may change quotes, line ends or dates; then the
platform refuses the file. So the fields are found in the bytes as they are.

Not here: where the marks come from (grade.py).
"""

from __future__ import annotations

import dataclasses
import re

DELIMITERS = b",;\t"


@dataclasses.dataclass(frozen=True)
class Field:
    """One field: where it lies in the bytes, and its text."""

    start: int
    end: int
    text: str


@dataclasses.dataclass(frozen=True)
class Filled:
    """The table with marks in it; students for whom it has no row; ids of its rows for which there is no mark."""

    table: bytes
    missing: list[str]
    empty: list[str]


def fill_marks(
    table: bytes,
    id_column: str,
    mark_column: str,
    marks: dict[str, int],
    ids: dict[str, tuple[str, ...]] | None = None,
) -> Filled:
    """Puts each mark into the row of its student.

    table: a CSV file in UTF-8, fields separated by comma, semicolon or tab. ids: what else a student may be called in
    it. Case and outer spaces of ids do not count.

    >>> fill_marks(b'"ID";Mark;Note\\r\\n"a1";;"x"\\r\\nb2;7;\\r\\n', "ID", "Mark", {"A1": 12, "c3": 5})
    Filled(table=b'"ID";Mark;Note\\r\\n"a1";12;"x"\\r\\nb2;7;\\r\\n', missing=['c3'], empty=['b2'])
    """
    try:
        table.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("the table is not UTF-8; export it as CSV in UTF-8") from error
    rows = read_fields(table)
    header = [field.text.strip() for field in rows[0]] if rows else []
    places = {}
    for name in (id_column, mark_column):
        if header.count(name) != 1:
            raise ValueError(
                f"the table needs one column {name!r}; it has {', '.join(map(repr, header)) or 'none'}"
            )
        places[name] = header.index(name)
    wanted = _by_id(marks, ids or {})
    changes: list[tuple[int, int, bytes]] = []
    seen: set[str] = set()
    empty: list[str] = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) <= places[id_column]:
            continue  # an empty line
        student = wanted.get(row[places[id_column]].text.strip().lower())
        if student is None:
            empty.append(row[places[id_column]].text)
            continue
        if student in seen or len(row) <= places[mark_column]:
            raise ValueError(f"row {number} of the table, {student!r}, comes twice or has too few fields")
        seen.add(student)
        field = row[places[mark_column]]
        quoted = table[field.start : field.start + 1] == b'"'
        mark = str(marks[student]).encode()
        changes.append((field.start, field.end, b'"' + mark + b'"' if quoted else mark))
    for start, end, mark in sorted(changes, reverse=True):
        table = table[:start] + mark + table[end:]
    return Filled(table, [student for student in marks if student not in seen], empty)


def _by_id(marks: dict[str, int], ids: dict[str, tuple[str, ...]]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for student in marks:
        for name in {text.strip().lower() for text in (student, *ids.get(student, ()))}:
            if wanted.setdefault(name, student) != student:
                raise ValueError(
                    f"two students are called {name!r}, but for case or spaces; a table cannot tell them apart"
                )
    return wanted


def read_fields(table: bytes) -> list[list[Field]]:
    """The fields of every row, with their places.

    >>> [[f.text for f in row] for row in read_fields(b'a,"b ""c"", d"\\n1,2')]
    [['a', 'b "c", d'], ['1', '2']]
    """
    position = 3 if table.startswith(b"\xef\xbb\xbf") else 0
    first_line = re.split(rb"[\r\n]", re.sub(rb'"[^"]*"', b"", table), maxsplit=1)[0]
    delimiter = max((bytes([d]) for d in DELIMITERS), key=first_line.count)
    pattern = re.compile(
        rb'("(?:[^"]|"")*"|(?!")[^' + delimiter + rb"\r\n]*)(" + delimiter + rb"|\r\n|\r|\n|$)"
    )
    rows: list[list[Field]] = [[]]
    while position < len(table) or (rows[-1] and table[position - 1 : position] == delimiter):
        match = pattern.match(table, position)
        if not match:
            raise ValueError(
                f"the table cannot be read at byte {position}: a quote stands in the middle of a field"
            )
        raw = match[1].decode("utf-8")
        text = raw[1:-1].replace('""', '"') if raw.startswith('"') else raw
        rows[-1].append(Field(match.start(1), match.end(1), text))
        position = match.end()
        if match[2] != delimiter:
            if position >= len(table):
                break
            rows.append([])
    return [row for row in rows if row]
