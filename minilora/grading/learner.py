"""A learner's notebook while it runs: its namespace, and the functions and answers that it has come to.

Cells run statement by statement, and continue after an error, as a person would who reads the notebook: a demonstration
that fails costs nothing but itself. The worker in the sandbox gets a copy of this file.

Not here: who asks (worker.py), and deadlines (session.py).
"""

from __future__ import annotations
import __future__

import ast
import asyncio
import inspect
import linecache
import traceback
import types
from collections.abc import Callable
from typing import Any

from minilora.exercises import learner_side
from minilora.grading import source as text
from minilora.grading.answers import AnswerBook
from minilora.grading.stand_ins import HELPERS, StandIn

Say = Callable[..., Any]  # tells the grader something while a request is at work; returns what it answers
KEPT_PROBLEMS = 5  # of one cell


class Learner:
    """One notebook.

    functions: names that are looked for -> how many arguments they take. ids: name of an exercise -> its function.
    questions: name of a question -> the keys of its answers. student: whose numbers count where no one is named.
    """

    def __init__(
        self,
        functions: dict[str, int],
        ids: dict[str, str],
        questions: dict[str, list[str]],
        student: str,
        say: Say,
    ):
        self.arities, self.ids, self.student, self.say = functions, ids, student, say
        self.module = types.ModuleType("__main__")
        self.book = AnswerBook(questions)
        self.functions: dict[str, Any] = {}  # name -> the last thing of that name that is not the stub
        self.flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        vars(self.module).update({name: StandIn(name) for name in HELPERS})
        vars(self.module).update(get_ipython=StandIn("get_ipython"), check=self._check, numbers=self._numbers)
        self.helpers = types.SimpleNamespace(check=self._check, numbers=self._numbers)

    # -- what the notebook may call --------------------------------------------------------------------------------

    def _check(self, name: Any = "", answers: Any = None, *others: Any) -> StandIn:
        """The notebook's check says nothing here, but what is handed to it is what the learner means."""
        if isinstance(answers, dict) and name in self.book.questions:
            self.book.look({"answers": dict(answers)}, (name,))
        return StandIn("check")

    def _numbers(self, name: str = "", student: str = "") -> dict[str, Any]:
        """A question's numbers, which the grader draws; a name that was said once need not be said again."""
        self.student = str(student).strip() or self.student
        return self.say(want=[str(name), self.student]) or {}

    # -- cells -----------------------------------------------------------------------------------------------------

    def cell(
        self, source: str, name: str, ids: list[str], skip: list[int], definitions: bool
    ) -> dict[str, Any]:
        """Runs a cell. skip: statements that ended an earlier process. definitions: there is no time for the rest."""
        problems: list[list[Any]] = []
        defined: set[str] = set()
        file = text.file_to_write(source)
        if file:
            problems += self._write(*file)
            source = "\n" + file[1]  # in the place of the magic, so that lines keep their numbers
        try:
            body = text.parse_cell(source).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None) or 0
            reason = getattr(error, "msg", None) or str(error)
            return {
                "problems": [[line, type(error).__name__, str(reason)[:500]]],
                "defined": [],
                "parsed": False,
            }
        filename = f"<{name}>"
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        for number, statement in enumerate(body):
            before = {function: vars(self.module).get(function) for function in self.arities}
            if number in skip:
                self.book.salvage(statement, None, tuple(ids))
            elif not definitions or text.is_definition(statement):
                self.say(at=number)
                try:
                    self._run(statement, filename)
                except BaseException as error:  # also sys.exit(): what stands below still counts
                    problems.append(_described(error, filename, statement))
                    self.book.salvage(statement, vars(self.module), tuple(ids))
            self.book.look(vars(self.module), tuple(ids))
            defined |= self._collect(before)
        defined |= self._renamed(body, ids, defined)
        return {"problems": problems[:KEPT_PROBLEMS], "defined": sorted(defined), "parsed": True}

    def text(self, source: str, name: str, ids: list[str]) -> dict[str, Any]:
        """A cell that is no code any more: run if it holds an answer that no other cell holds."""
        source = text.fenced(source)
        try:
            body = text.parse_cell(source).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return {"problems": [], "defined": [], "parsed": False}
        missing = {
            name for name in self.arities if name not in self.functions or is_open(self.functions[name])
        }
        named = {node.name for node in body if isinstance(node, ast.FunctionDef)}
        keys = {node.value for part in body for node in ast.walk(part) if isinstance(node, ast.Constant)}
        unanswered = [name for name, kept in self.book.kept.items() if not kept]
        if named & missing or any(
            2 * len(own & keys) > len(own) for own in map(self.book.questions.__getitem__, unanswered)
        ):
            return self.cell(source, name, ids, [], False)
        return {"problems": [], "defined": [], "parsed": True}

    def _write(self, name: str, content: str) -> list[list[Any]]:
        try:
            with open(name, "w", encoding="utf-8") as file:
                file.write(content)
        except (OSError, ValueError) as error:
            return [[1, type(error).__name__, str(error)[:500]]]
        return []

    def _run(self, statement: ast.stmt, filename: str) -> None:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            for alias in statement.names:
                self.flags |= getattr(getattr(__future__, alias.name, None), "compiler_flag", 0)
        tree = ast.Module([statement], [])
        code = compile(tree, filename, "exec", self.flags, dont_inherit=True)
        result = eval(code, vars(self.module))
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(result)

    # -- functions -------------------------------------------------------------------------------------------------

    def _collect(self, before: dict[str, Any]) -> set[str]:
        """Keeps what has come under a name that is looked for; says which names."""
        new = set()
        for name, old in before.items():
            found = vars(self.module).get(name)
            if found is not old and callable(found) and not isinstance(found, StandIn):
                new.add(name)
                if name not in self.functions or self._rank(name, found) >= self._rank(
                    name, self.functions[name]
                ):
                    self.functions[name] = found
        return new

    def _renamed(self, body: list[ast.stmt], ids: list[str], defined: set[str]) -> set[str]:
        """The only function in an exercise's own cell is its answer, whatever it is called."""
        own = [node.name for node in body if isinstance(node, ast.FunctionDef)]
        names = {self.ids[i] for i in ids if i in self.ids and self.ids[i] not in defined}
        if len(own) != 1 or len(names) != 1 or own[0] in self.arities:
            return set()
        (name,) = names
        found = vars(self.module).get(own[0])
        if callable(found) and (name not in self.functions or is_open(self.functions[name])):
            self.functions[name] = found
            return {name}
        return set()

    def _rank(self, name: str, function: Any) -> tuple[bool, bool]:
        """A stub replaces no answer, and neither does something of that name that takes other arguments."""
        return not is_open(function), _takes(function, self.arities[name])

    def call(
        self, function: str, arguments: dict[str, Any], takes: dict[str, str], gives: str
    ) -> dict[str, Any]:
        if function not in self.functions:
            return {"status": learner_side.UNTOUCHED}
        try:
            reply = learner_side.call(self.functions[function], arguments, takes, gives)
        except BaseException as error:
            return {
                "status": learner_side.RAISED,
                "error_type": type(error).__name__,
                "message": str(error)[:2000],
            }
        return dict(vars(reply), lines=[list(line) for line in reply.lines])


def is_open(function: Any) -> bool:
    """True for a stub, also the kind that raises NotImplementedError."""
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    return learner_side.is_stub(function) or code.co_names == ("NotImplementedError",)


def _takes(function: Any, count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except Exception:  # some built-in functions do not tell, and a learner's object may do anything
        return True
    return True


def _described(error: BaseException, filename: str, statement: ast.stmt) -> list[Any]:
    """[line, type, message] of an error in a cell."""
    try:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno or 0 for frame in frames if frame.filename == filename]
        return [lines[-1] if lines else statement.lineno, type(error).__name__, str(error)[:500]]
    except BaseException:  # an exception that cannot be shown
        return [statement.lineno, type(error).__name__, ""]
