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


def fill_marks(
    table: bytes, id_column: str, mark_column: str, marks: dict[str, int]
) -> tuple[bytes, list[str]]:
    """The table with the marks in it, and the students for whom it has no row.

    table: a CSV file in UTF-8, fields separated by comma, semicolon or tab. Case and outer spaces of ids do not count.

    >>> fill_marks(b'"ID";Mark;Note\\r\\n"a1";;"x"\\r\\nb2;7;\\r\\n', "ID", "Mark", {"A1": 12, "c3": 5})
    (b'"ID";Mark;Note\\r\\n"a1";12;"x"\\r\\nb2;7;\\r\\n', ['c3'])
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
    wanted = {student.strip().lower(): student for student in marks}
    if len(wanted) != len(marks):
        raise ValueError("two students differ only in case or spaces; a table cannot tell them apart")
    changes: list[tuple[int, int, bytes]] = []
    seen: set[str] = set()
    for number, row in enumerate(rows[1:], 2):
        if len(row) <= places[id_column]:
            continue  # an empty line
        student = row[places[id_column]].text.strip().lower()
        if student not in wanted:
            continue
        if student in seen or len(row) <= places[mark_column]:
            raise ValueError(f"row {number} of the table, {student!r}, comes twice or has too few fields")
        seen.add(student)
        field = row[places[mark_column]]
        quoted = table[field.start : field.start + 1] == b'"'
        mark = str(marks[wanted[student]]).encode()
        changes.append((field.start, field.end, b'"' + mark + b'"' if quoted else mark))
    for start, end, mark in sorted(changes, reverse=True):
        table = table[:start] + mark + table[end:]
    return table, [name for key, name in wanted.items() if key not in seen]


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
