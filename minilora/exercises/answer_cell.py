"""The text of a question's answer cell: a dict of plain data, which a form may change and a grader reads.

Not here: the form (answer_form.py), and whether an answer is right (question.py).
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

NAME = "answers"  # of the variable that holds the dict
LONGEST = 70  # characters of a text on one line


def pair(key: str, value: Any) -> str:
    """One entry of the dict as lines of the cell; a long text is wrapped.

    >>> print(pair("trained", 32768))
        "trained": 32768,
    """
    return f'    "{key}": {literal(value)},'


def literal(value: Any) -> str:
    """A value as Python writes it, with double quotes; a long text as adjacent pieces in brackets."""
    if not isinstance(value, str):
        return repr(value)
    if len(value) <= LONGEST:
        return json.dumps(value, ensure_ascii=False)
    pieces = [piece for line in value.splitlines(keepends=True) for piece in _wrapped(line)]
    return "\n".join(
        ["(", *(f"        {json.dumps(piece, ensure_ascii=False)}" for piece in pieces), "    )"]
    )


def _wrapped(line: str) -> list[str]:
    """Pieces that give the line again when joined."""
    pieces, rest = [], line
    while len(rest) > 90 and (space := rest.rfind(" ", 1, 90)) > 0:
        pieces.append(rest[: space + 1])
        rest = rest[space + 1 :]
    return [*pieces, rest]


def with_answers(source: str, changes: dict[str, Any]) -> str | None:
    """The cell with other values in its dict; all that the learner wrote around them stays.

    Args:
        source: The text of the cell.
        changes: Key -> new value. Keys that the dict lacks are added at its end.

    Returns:
        The new text; None where the cell holds no `answers = {…}` that can be read.

    >>> with_answers('answers = {"stuck": None}  # mine', {"stuck": "b"})
    'answers = {"stuck": "b"}  # mine'
    """
    for key, value in changes.items():
        changed = _with_answer(source, key, value)
        if changed is None:
            return None
        source = changed
    return source


def _with_answer(source: str, key: str, value: Any) -> str | None:
    found = _dict_of(source)
    if found is None:
        return None
    data = source.encode("utf-8")  # subtle: ast counts columns in bytes
    for place, node in zip(found.keys, found.values, strict=True):
        if isinstance(place, ast.Constant) and place.value == key:
            start, end = _span(data, place, node)
            return (data[:start] + literal(value).encode("utf-8") + data[end:]).decode("utf-8")
    end = _offset(data, found.end_lineno, found.end_col_offset) - 1  # before the bracket
    head = data[:end].decode("utf-8").rstrip()
    comma = "" if head.endswith(("{", ",")) else ","
    return f"{head}{comma}\n{pair(key, value)}\n{data[end:].decode('utf-8')}"


def _dict_of(source: str) -> ast.Dict | None:
    """The last dict that is assigned to the variable."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return None
    dicts = [
        node.value
        for node in body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Dict)
        and any(isinstance(target, ast.Name) and target.id == NAME for target in node.targets)
    ]
    return dicts[-1] if dicts else None


def _span(data: bytes, key: ast.expr, value: ast.expr) -> tuple[int, int]:
    """Where a value begins and ends, with the parentheses around it, which are no part of the node."""
    start = _offset(data, value.lineno, value.col_offset)
    end = _offset(data, value.end_lineno, value.end_col_offset)
    before = data[_offset(data, key.end_lineno, key.end_col_offset) : start]
    opened = before.count(b"(")
    if opened:
        start -= len(before) - before.index(b"(")
        closing = re.match(rb"(?:(?:\s|#[^\n]*\n)*\)){%d}" % opened, data[end:])
        end += closing.end() if closing else 0
    return start, end


def _offset(data: bytes, line: int | None, column: int | None) -> int:
    lines = data.splitlines(keepends=True)
    return sum(map(len, lines[: (line or 1) - 1])) + (column or 0)
