"""Which answers a grader will not be able to read: those that need the learner's own machine.

A grader runs the notebook again, without the learner's files and without minilora's models. So `check` looks at how
each answer was computed, as far as the cells show it, and warns before anything is handed in.

Not here: reading answers (minilora/grading/answers.py).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from typing import Any

KNOWN = {"numpy", "torch", "matplotlib", "scipy", "pandas", "einops", "sympy"}  # where submissions are graded
OPENS = {"open", "input", "os", "pathlib", "Path", "glob", "shutil", "subprocess"}
GIVEN = {"check", "numbers"}  # of minilora.exercises; a grader has them too


def warning(answers: Any, cells: list[str]) -> str:
    """Warns about answers that a grader could not compute again.

    Args:
        answers: What the learner checks.
        cells: The text of the cells that ran, in order.

    Returns:
        A sentence for the learner; empty if there is nothing to warn about.

    >>> warning({"trained": 98304}, ["import minilora", 'answers = {"trained": minilora.count()}'])[:37]
    'A grader cannot work out trained anew'
    """
    if not isinstance(answers, dict):
        return ""
    statements = [statement for cell in cells for statement in _statements(cell)]
    if not any(map(_is_far, statements)):
        return ""  # the usual case, without any search
    by_name: dict[str, list[ast.stmt]] = {}
    for statement in statements:
        for name in _stored(statement):
            by_name.setdefault(name, []).append(statement)
    keys = [
        key for key in answers if isinstance(key, str) and _needs_machine(_last(key, statements), by_name)
    ]
    if not keys:
        return ""
    return (
        f"A grader cannot work out {', '.join(keys)} anew: it has neither your files nor minilora's models. Write the "
        "value itself, as print shows it."
    )


def history() -> list[str]:
    """The text of the cells that ran in this notebook; empty outside of one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return [cell for cell in shell.user_ns.get("In", []) if isinstance(cell, str)] if shell else []


def _statements(cell: str) -> list[ast.stmt]:
    plain = "\n".join("pass" if line.startswith(("%", "!")) else line for line in cell.split("\n"))
    try:
        return ast.parse(plain).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _is_far(node: ast.AST) -> bool:
    """Whether something in it is on the learner's machine alone."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and part.id in OPENS:
            return True
        if isinstance(part, ast.Import | ast.ImportFrom) and any(_far_imports(part)):
            return True
    return False


def _far_imports(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The names that it binds to what a grader does not have."""
    for alias in node.names:
        module = node.module or "" if isinstance(node, ast.ImportFrom) else alias.name
        root = module.partition(".")[0]
        if root not in KNOWN and root not in sys.stdlib_module_names and alias.name not in GIVEN:
            yield alias.asname or alias.name.partition(".")[0]


def _stored(statement: ast.stmt) -> set[str]:
    """Names that a statement binds or changes."""
    names = {
        part.id
        for part in ast.walk(statement)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    }
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        names = {statement.name}
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        names = {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    return names


def _last(key: str, statements: list[ast.stmt]) -> ast.expr | None:
    """The expression that an answer was last assigned, or None if the cells do not show it."""
    found: ast.expr | None = None
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Dict):
                for name, value in zip(node.keys, node.values, strict=True):
                    if isinstance(name, ast.Constant) and name.value == key:
                        found = value
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
                place = node.targets[0].slice
                if isinstance(place, ast.Constant) and place.value == key:
                    found = node.value
            elif isinstance(node, ast.keyword) and node.arg == key:
                found = node.value
    return found


def _needs_machine(value: ast.expr | None, by_name: dict[str, list[ast.stmt]]) -> bool:
    """Whether the value, or anything that it was made from, is on the learner's machine alone."""
    waiting: list[ast.AST] = [value] if value is not None else []
    seen: set[str] = set()
    while waiting:
        node = waiting.pop()
        if _is_far(node):
            return True
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and part.id not in seen:
                seen.add(part.id)
                for statement in by_name.get(part.id, [])[-1:]:
                    if not isinstance(statement, ast.Import | ast.ImportFrom):
                        waiting.append(statement)
                    elif part.id in _far_imports(statement):
                        return True
    return False
