"""A cell's text as Python: without what IPython alone understands, and statement by statement.

The worker in the sandbox gets a copy of this file, and only there it is used: parsing costs time and memory.

Not here: running the statements (learner.py).
"""

from __future__ import annotations

import ast
import re
from ast import parse  # subtle: by name, so that a learner who replaces ast.parse harms no later cell

OTHER_LANGUAGES = {
    "bash",
    "cmd",
    "html",
    "javascript",
    "js",
    "latex",
    "markdown",
    "perl",
    "ruby",
    "script",
    "sh",
    "svg",
}
OTHER_LANGUAGES |= {"cython", "python2", "R", "sql", "system", "sx"}
WRITES_A_FILE = ("%%writefile", "%%file")
RUNS_A_STATEMENT = ("%time", "%prun", "%memit")


def parse_cell(source: str) -> ast.Module:
    """The cell's syntax tree; where it is no plain Python, without its magics and shell commands.

    A SyntaxError is that of the cell as it stands, so that its line is the learner's.
    """
    source = source.lstrip("\ufeff\u200b")
    try:
        return parse(source)
    except SyntaxError:
        return parse(without_magics(source))


def without_magics(source: str) -> str:
    """Puts `pass` where IPython would do something: %magic, !command, name?

    A cell in another language (%%bash) becomes empty; %%time and its like keep what is below them. Lines keep their
    numbers.

    >>> without_magics("%matplotlib inline\\nx = !ls\\ny = 1")
    'pass\\nx = None\\ny = 1'
    """
    lines = source.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        magic = lines[first][2:].split()
        if magic and magic[0] in OTHER_LANGUAGES:
            return ""
        lines[first] = ""
    return "\n".join(map(_without_magic, lines))


def _without_magic(line: str) -> str:
    # subtle: plain text methods, since a pattern with two ways to match a space takes hours for a long line of them
    text = line.lstrip()
    indent = line[: len(line) - len(text)]
    for magic in RUNS_A_STATEMENT:
        if text.startswith(magic + " "):
            return indent + (text[len(magic) :].strip() or "pass")
    if text.startswith(("%", "!", "?")):
        return indent + "pass"
    bare = text.rstrip().rstrip("?")
    if bare != text.rstrip() and re.fullmatch(r"[\w.]+", bare):
        return indent + "pass"
    name, equals, value = text.partition("=")
    if equals and value.lstrip().startswith(("!", "%")) and not value.startswith("="):
        return f"{indent}{name}= None"
    return line


def file_to_write(source: str) -> tuple[str, str] | None:
    """(name, content) where the cell is written to a file by %%writefile, else None."""
    head, _, rest = source.lstrip("\ufeff\u200b \n").partition("\n")
    words = head.split()
    if len(words) < 2 or words[0] not in WRITES_A_FILE:
        return None
    return words[-1].strip("\"'"), rest


def fenced(source: str) -> str:
    """What stands between the first pair of ``` in a text, or all of it.

    >>> fenced("My answer:\\n```python\\nx = 1\\n```")
    'x = 1\\n'
    """
    _, mark, rest = source.partition("```")
    if not mark or "```" not in rest:
        return source
    return rest.partition("\n")[2].partition("```")[0]


def is_definition(statement: ast.stmt) -> bool:
    """True for what is run even where there is no time for the rest of a cell."""
    return isinstance(
        statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom
    ) or (isinstance(statement, ast.Assign | ast.AnnAssign) and not _calls(statement))


def _calls(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Call | ast.ListComp | ast.GeneratorExp) for node in ast.walk(statement))
