"""The assertions behind the claims of the pages: one file per page, one function per claim.

A function gets the page's variables as they are right after the cell tagged `claim:ID`. `broken` says, for each of its
`assert` statements in order, which other variables must make that very statement fail; so none is true by itself.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

Page = Mapping[str, Any]  # the variables of a page
Broken = Mapping[str, Any] | Callable[[Page], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Claim:
    name: str
    check: Callable[[Page], None]
    broken: Sequence[Broken]

    def asserts(self) -> list[range]:
        """The lines of each assert statement, in the order of the file."""
        source = textwrap.dedent(inspect.getsource(self.check))
        first = self.check.__code__.co_firstlineno - 1
        found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
        lines = sorted((first + node.lineno, first + (node.end_lineno or node.lineno)) for node in found)
        return [range(start, end + 1) for start, end in lines]

    def problems(self, page: Page) -> list[str]:
        """What is wrong: an assertion that does not hold, or one that holds for broken variables too."""
        line = self.failing_line(page)
        if line:
            return [f"{self.name}: line {line} of {inspect.getsourcefile(self.check)} does not hold"]
        found = []
        for number, (lines, broken) in enumerate(zip(self.asserts(), self.broken, strict=True), 1):
            changes = broken(page) if callable(broken) else broken
            line = self.failing_line({**page, **changes})
            if line not in lines:
                found.append(f"{self.name}: assertion {number} (line {lines[0]}) holds for broken variables")
        return found

    def failing_line(self, page: Page) -> int | None:
        try:
            self.check(page)
        except AssertionError as error:
            trace = error.__traceback__
            lines = []
            while trace:
                if trace.tb_frame.f_code is self.check.__code__:
                    lines.append(trace.tb_lineno)
                trace = trace.tb_next
            return lines[0]
        return None


CLAIMS: dict[str, Claim] = {}


def claim(name: str, broken: Sequence[Broken]) -> Callable[[Callable[[Page], None]], Callable[[Page], None]]:
    """Registers a function as the assertions of a claim."""

    def register(check: Callable[[Page], None]) -> Callable[[Page], None]:
        assert name not in CLAIMS, f"{name} has assertions in two places"
        CLAIMS[name] = Claim(name, check, broken)
        return check

    return register


def altered(thing: Any, **attributes: Any) -> SimpleNamespace:
    """A stand-in with the attributes of a thing, some of them replaced."""
    return SimpleNamespace(
        **{**{n: getattr(thing, n) for n in dir(thing) if not n.startswith("_")}, **attributes}
    )
