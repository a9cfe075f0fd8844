"""What a hands-on exercise is: one value that holds everything about it, and the text that is cut out of it.

An exercise lives in one file (hands_on/) and nowhere else: the notebooks, the instant check, the grader's hidden
checks, the tests and the hints are all made from it. Every list of cases comes from a seed, so that a grader can draw
inputs that no learner has seen.

Not here: the questions of the chapter (question.py), and deciding about an answer (judging.py).
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"  # the marks that nbgrader knows
EXAMPLE = "the docstring's example"
STUB = "# YOUR CODE HERE"  # below a docstring that is a whole function


@dataclasses.dataclass(frozen=True)
class Case:
    """One call: arguments by name, all plain data (learner_side.py), and what is particular about them.

    alone: what to say where cases with this text are the only ones that fail.
    """

    label: str
    arguments: dict[str, Any]
    alone: str = ""


@dataclasses.dataclass(frozen=True)
class Wrong:
    """A known wrong answer. Who hands in one that behaves the same is told `sentence`.

    Two behave the same if they return the same, change the same arguments and fail in the same cases. Where one mistake
    has many faces, `recognize` (arguments, returned value -> bool) decides instead: for every case that returned.
    """

    key: str
    function: Callable
    sentence: str
    recognize: Callable[[dict[str, Any], Any], bool] | None = None


@dataclasses.dataclass(frozen=True)
class Variant:
    """A right answer, written differently from the solution; it must pass."""

    key: str
    function: Callable


@dataclasses.dataclass(frozen=True)
class Exercise:
    """A function to write. `solution` is the right one, with marks around what the learner writes.

    Its docstring, with the worked example, is what the learner gets. example: the arguments of that example, which is
    always the first case. draw: a random generator -> the other cases. result: the spec (compare.py) of what comes
    back. takes, gives: conversions at the learner's side, for what is not plain data. across: the cases and all values
    -> what is wrong with them taken together (place of a case, sentence, key), or None.
    """

    name: str
    title: str
    minutes: int
    points: int
    statement: str
    solution: Callable
    example: dict[str, Any]
    draw: Callable[[np.random.Generator], list[Case]]
    result: Any
    hints: tuple[str, str, str]
    pitfalls: tuple[str, ...]  # errors that one is likely to meet, and what they mean
    explanation: str  # shown after success
    wrong: tuple[Wrong, ...]
    variants: tuple[Variant, ...]
    takes: dict[str, str] = dataclasses.field(default_factory=dict)
    gives: str = "value"
    across: Callable[[list[Case], list[Any]], tuple[int, str, str] | None] | None = None

    @property
    def function_name(self) -> str:
        return self.solution.__name__

    def cases(self, seed: int) -> list[Case]:
        """The docstring's example, then the calls drawn for a seed: the same on every machine."""
        return [Case(EXAMPLE, self.example), *self.draw(np.random.default_rng(seed))]

    def marked_source(self) -> str:
        """The solution's text with nbgrader's marks, as an instructor's notebook holds it."""
        return textwrap.dedent(inspect.getsource(self.solution)).strip()

    def stub_source(self) -> str:
        """What the learner starts from: signature, docstring, and a place to write."""
        return replace_solution(self.marked_source(), STUB)

    def solution_source(self) -> str:
        """The solution without marks."""
        lines = self.marked_source().split("\n")
        return "\n".join(line for line in lines if line.strip() not in (BEGIN, END))


def replace_solution(source: str, stub: str) -> str:
    """Puts `stub` in the place of every marked region, indented as the mark was.

    >>> print(replace_solution("def f():\\n    ### BEGIN SOLUTION\\n    return 1\\n    ### END SOLUTION", "..."))
    def f():
        ...
    """

    def indented(match: re.Match) -> str:
        return textwrap.indent(stub, match[1])

    return re.sub(rf"(?ms)^([ ]*){BEGIN}$.*?^[ ]*{END}$", indented, source)
