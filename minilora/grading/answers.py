"""Which cell answers which exercise: by the function that it defines, by its metadata, or by the keys of its dict.

Cells may be moved, doubled, renamed or turned into text; what counts is the last answer that is not the empty stub.

Not here: running anything (session.py), and whether an answer is right (grade.py).
"""

from __future__ import annotations

import ast
import operator
import re
from typing import Any

from minilora.exercises.exercise import Exercise
from minilora.exercises.question import Question
from minilora.grading.session import Cell
from minilora.grading.submission import NotebookCell
from minilora.grading.worker import parse_cell

UNREADABLE = "unreadable: write the value itself, without names or calls"
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
OPERATORS[ast.FloorDiv] = operator.floordiv


def cells_to_run(cells: list[NotebookCell], exercises: list[Exercise]) -> list[Cell]:
    """All code cells in their order, and text cells that hold an answer which no code cell holds."""
    trees = [tree(_code(cell)) for cell in cells]
    defined = [_functions(cell, found, exercises) for cell, found in zip(cells, trees, strict=True)]
    in_code = {
        name
        for cell, names in zip(cells, defined, strict=True)
        if cell.kind == "code"
        for name in names.values()
    }
    planned = []
    for number, (cell, names) in enumerate(zip(cells, defined, strict=True), 1):
        if cell.kind == "code":
            planned.append(Cell(cell.source, f"cell {number}", names))
        elif set(names.values()) - in_code:
            planned.append(Cell(_code(cell), f"cell {number}", names))
    return planned


def tree(source: str) -> ast.Module | None:
    """The syntax tree of a cell, or None where it has none."""
    try:
        return parse_cell(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _code(cell: NotebookCell) -> str:
    fenced = re.search(r"(?s)^\s*```\w*\n(.*?)```", cell.source) if cell.kind != "code" else None
    return fenced[1] if fenced else cell.source


def _functions(cell: NotebookCell, found: ast.Module | None, exercises: list[Exercise]) -> dict[str, str]:
    """Name as it is defined in this cell -> name of the exercise's function."""
    if found is None:
        return {}
    named = _top_level_names(found)
    functions = {e.function_name: e.function_name for e in exercises if e.function_name in named}
    for exercise in exercises:
        own = [node.name for node in found.body if isinstance(node, ast.FunctionDef)]
        if exercise.name in cell.ids and exercise.function_name not in named and len(own) == 1:
            functions[own[0]] = exercise.function_name  # renamed, but in its place
    return functions


def _top_level_names(found: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(found):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


# -- answers to questions ------------------------------------------------------------------------------------------


def read_answers(cells: list[NotebookCell], question: Question) -> dict[str, Any] | None:
    """The last dict of answers that belongs to `question`; None where there is none.

    Several questions of a notebook use the same name for it, so the keys tell which it is. One with answers in it is
    preferred to an empty one.
    """
    keys = {part.key for part in question.parts}
    best: tuple[int, int] = (0, 0)
    answers = None
    for cell in cells:
        found = tree(_code(cell))
        for node in found.body if found else []:
            if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)):
                continue
            read = read_dict(node.value)
            shared = len(keys & set(read))
            rank = (shared, int(any(read[key] not in (None, "") for key in keys & set(read))))
            if 2 * shared > len(keys) and rank >= best:
                best, answers = rank, read
    return answers


def read_dict(node: ast.Dict) -> dict[str, Any]:
    """The keys that are text, with plain values; arithmetic with numbers is worked out.

    >>> read_dict(ast.parse('{"a": 2 * 3, "b": open("x"), 5: 1}', mode="eval").body)
    {'a': 6, 'b': 'unreadable: write the value itself, without names or calls'}
    """
    answers: dict[str, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            try:
                answers[key.value] = _value(value)
            except (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
                answers[key.value] = UNREADABLE
    return answers


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if not all(isinstance(side, int | float) and abs(side) < 1e30 for side in (left, right)):
            raise ValueError("not a number, or too large")
        if isinstance(node.op, ast.Pow):
            if not (abs(left) <= 1e6 and abs(right) <= 16) and not (left == 2 and abs(right) <= 64):
                raise ValueError("a power that is too large")
            return left**right
        return OPERATORS[type(node.op)](left, right) if type(node.op) in OPERATORS else ast.literal_eval(node)
    return ast.literal_eval(node)
