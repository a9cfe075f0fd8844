"""A learner's function as another person may see it: without comments, docstring and the rest of its cell.

It is parsed in a process of the pool, which has a deadline and a cap on memory.
"""

from __future__ import annotations

import ast

from minilora.grading.source import parse_cell

MOST = 5000  # characters; what is longer is not looked at


def definition(source: str, name: str) -> str:
    """The last function of that name, or the only one where it is called otherwise; empty where there is none.

    >>> definition("def f(x):\\n    '''Ada's.'''\\n    return x  # mine", "f")
    'def f(x):\\n    return x'
    """
    if len(source) > MOST:
        return ""
    try:
        functions = [node for node in parse_cell(source).body if isinstance(node, ast.FunctionDef)]
        found = [node for node in functions if node.name == name] or functions[-1:]
        if not found:
            return ""
        body = found[-1].body
        if ast.get_docstring(found[-1], clean=False) is not None:
            found[-1].body = body[1:] or [ast.Pass()]
        return ast.unparse(found[-1])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
