"""Rows of a CSV that a person filled in with a spreadsheet program.

Not here: a platform's own table, of which no byte but the marks may change (lms.py).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator


def rows(table: bytes, needed: tuple[str, ...], what: str = "the sheet") -> Iterator[dict[str, str]]:
    """Each row's fields by their column; an empty row has empty fields, so that row numbers stay those of the sheet.

    >>> list(rows(b"a;b\\n 1;2\\n", ("a", "b")))
    [{'a': '1', 'b': '2'}]
    """
    try:
        text = table.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} is not UTF-8; save it as CSV in UTF-8") from error
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)  # spreadsheets choose by language
    try:
        found = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f"{what} cannot be read as CSV: {error}") from error
    header = [name.strip() for name in found[0]] if found else []
    missing = [name for name in needed if header.count(name) != 1]
    if missing:
        raise ValueError(
            f"{what} needs one column each of {', '.join(missing)}; it has {', '.join(header) or 'none'}"
        )
    places = {name: header.index(name) for name in needed}
    for row in found[1:]:
        yield {name: row[n].strip() if n < len(row) else "" for name, n in places.items()}
