"""Functions that still hold the `...` of a page: the learner has not written that line yet.

Not here: the stubs of the exercise notebooks (learner_side.is_stub), where the whole body is missing.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable


def is_unfilled(function: Callable) -> bool:
    """Whether a `...` stands where a value belongs. In `x[..., 0]` it is NumPy's, and does not count.

    >>> def half(x):
    ...     return x @ ...
    >>> def whole(x):
    ...     return x[..., 0]
    >>> is_unfilled(half), is_unfilled(whole)
    (True, False)
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False  # no source to look at: then it is judged by what it does
    indices = {
        inner for node in ast.walk(tree) if isinstance(node, ast.Subscript) for inner in ast.walk(node.slice)
    }
    return any(
        isinstance(node, ast.Constant) and node.value is Ellipsis and node not in indices
        for node in ast.walk(tree)
    )
