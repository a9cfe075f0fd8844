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
    """One call of the learner's function.

    Attributes:
        label: What is particular about it.
        arguments: By name, all plain data (learner_side.py).
        alone: Feedback if only cases with this text fail.
    """

    label: str
    arguments: dict[str, Any]
    alone: str = ""


@dataclasses.dataclass(frozen=True)
class Wrong:
    """A known wrong answer. A learner whose function behaves the same is shown `sentence`.

    Two functions behave the same if they return the same, change the same arguments and fail in the same cases.

    Attributes:
        key: Short name of the mistake.
        function: The wrong function itself.
        sentence: The feedback.
        recognize: For a mistake that takes many forms: (arguments, returned value) -> bool decides instead, and must be
            true of every case that returned.
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
    """A function to write.

    Attributes:
        name: Short name, as in `check(name, function)`.
        title: Heading of its part of the notebook.
        minutes: Honest time to solve it.
        points: What it earns.
        statement: The task, in Markdown.
        solution: The right function, with marks around what the learner writes. Its docstring, with the worked example,
            is part of what the learner gets.
        example: The arguments of that example, which is always the first case.
        draw: From a random generator to the other cases.
        result: The spec (compare.py) of what the function returns.
        hints: Three; the first is never the answer.
        pitfalls: Errors that one is likely to meet, and what they mean.
        explanation: Shown after success.
        wrong: Known wrong answers, each with its feedback.
        variants: Right answers that are written differently.
        takes: Argument -> name of a conversion at the learner's side, for what is not plain data.
        gives: Name of the conversion of the result.
        across: For what only all results together can show: the cases and their values -> (index of a case, sentence,
            key of the mistake), or None if nothing is wrong.
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
    pitfalls: tuple[str, ...]
    explanation: str
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
    """Replaces every marked region by `stub`, indented as the mark was.

    >>> print(replace_solution("def f():\\n    ### BEGIN SOLUTION\\n    return 1\\n    ### END SOLUTION", "..."))
    def f():
        ...
    """

    def indented(match: re.Match) -> str:
        return textwrap.indent(stub, match[1])

    return re.sub(rf"(?ms)^([ ]*){BEGIN}$.*?^[ ]*{END}$", indented, source)
