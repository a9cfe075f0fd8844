"""The program in the sandbox: runs a learner's cells, calls the learner's functions, and answers over a private pipe.

It gets a copy of learner_side.py and protocol.py and nothing else of ours, so there is nothing in here worth stealing.
Whatever it answers is only a claim, which the grader compares outside.

Not here: deadlines (session.py kills this process), and walls around it (sandbox.py).
"""

from __future__ import annotations

import ast
import asyncio
import importlib.abc
import importlib.machinery
import inspect
import linecache
import os
import re
import sys
import types
from ast import parse  # subtle: by name, so that a learner who replaces ast.parse harms no later cell
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # in the sandbox: the copies beside this file, then folders with allowed packages
    SITE = sys.argv[1:]
    sys.path += [str(Path(__file__).parent), *SITE]
    import learner_side  # type: ignore[import-not-found]
    import protocol  # type: ignore[import-not-found]
else:  # to be read and tested
    SITE = []
    from minilora.exercises import learner_side
    from minilora.grading import protocol

ALLOWED = {
    "numpy",
    "torch",
    "torchgen",
    "functorch",
    "typing_extensions",
    "sympy",
    "mpmath",
    "networkx",
    "jinja2",
}
ALLOWED |= {"markupsafe", "fsspec", "filelock", "tqdm", "nvidia", "triton", "cuda"}
STAND_INS = {
    "minilora",
    "matplotlib",
    "IPython",
    "ipywidgets",
    "plotly",
    "pandas",
    "seaborn",
    "nbgrader",
    "otter",
}
HELPERS = ("check", "hint", "solution", "progress", "expect", "experiment", "numbers", "rate", "display")


class StandIn(types.ModuleType):
    """A module or function that does nothing: pictures, and the notebook's own check, are of no use here."""

    __path__: list[str] = []  # noqa: RUF012  a package has one

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(name)

    def __call__(self, *arguments: Any, **options: Any) -> StandIn:
        return self


class Gate(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets the standard library and the allowed packages through, and puts stand-ins in the place of others."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        top = name.partition(".")[0]
        if top in STAND_INS:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        if top in ALLOWED or top in sys.stdlib_module_names or not SITE:
            return None  # the usual finders go on
        raise ModuleNotFoundError(f"No module named {name!r} where submissions are graded", name=name)

    def create_module(self, spec: Any) -> Any:
        return StandIn(spec.name)

    def exec_module(self, module: Any) -> None:
        pass


def main() -> None:
    requests, replies = _private_pipes()
    sys.meta_path.insert(0, Gate())
    learner = Learner()
    while (request := protocol.read_message(requests)) is not None:
        answer = {"nonce": request.pop("nonce")}
        try:
            answer |= getattr(learner, request.pop("do"))(**request)
        except BaseException as error:
            answer |= {"status": "error", "message": f"{type(error).__name__}: {error}"[:2000]}
        try:
            protocol.write_message(replies, answer)
        except (ValueError, RecursionError) as error:
            note = {
                "status": learner_side.NOT_PLAIN,
                "message": f"something that cannot be sent ({error})"[:2000],
            }
            protocol.write_message(replies, {"nonce": answer["nonce"]} | note)


def _private_pipes() -> tuple[Any, Any]:
    """Takes the pipes away from standard input and output; what is printed goes where errors go."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return requests, replies


class Learner:
    """The namespace of one notebook, and the functions that it defined on the way."""

    def __init__(self) -> None:
        self.module = types.ModuleType("__main__")
        self.functions: dict[str, Any] = {}  # name -> the last thing of that name that is not the stub

    def setup(self, limits: dict[str, int], torch: bool) -> dict[str, Any]:
        _set_limits(limits)
        import numpy as np

        sys.modules["__main__"] = self.module
        vars(self.module).update({name: StandIn(name) for name in HELPERS}, np=np)
        vars(self.module)["get_ipython"] = StandIn("get_ipython")
        if torch:
            import torch as loaded

            loaded.set_num_threads(1)
            vars(self.module)["torch"] = loaded
        return {"status": "ok"}

    def cell(self, source: str, name: str, functions: dict[str, str]) -> dict[str, Any]:
        """functions: names as they may be defined here -> the names under which they are called."""
        before = {defined: vars(self.module).get(defined) for defined in functions}
        try:
            self._run(source, f"<{name}>")
            answer = {"status": "ok", "message": ""}
        except BaseException as error:  # also sys.exit(): the cells below still count
            answer = {"status": "error", "message": f"{type(error).__name__}: {error}"[:500]}
        for defined, called in functions.items():
            found = vars(self.module).get(defined)
            if found is not before[defined] and callable(found) and self._is_better(called, found):
                self.functions[called] = found
        return answer

    def _is_better(self, name: str, function: Any) -> bool:
        """A stub, such as a second copy of the cell, does not replace an answer; nor does a stand-in."""
        if isinstance(function, StandIn):
            return False
        return name not in self.functions or not is_open(function)

    def _run(self, source: str, filename: str) -> None:
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        code = compile(
            parse_cell(source), filename, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
        result = eval(code, vars(self.module))
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(result)

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


def parse_cell(source: str) -> ast.Module:
    """The cell's syntax tree; where it is no plain Python, without its magics and shell commands."""
    try:
        return parse(source)
    except SyntaxError:
        return parse(without_magics(source))


def without_magics(source: str) -> str:
    """Puts `pass` where IPython would do something: %magic, !command, name?

    A cell in another language (%%bash) becomes empty; %%time and its like keep what is below them.

    >>> without_magics("%matplotlib inline\\nx = !ls\\ny = 1")
    'pass\\nx = None\\ny = 1'
    """
    lines = source.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        if lines[first].split()[0] not in ("%%time", "%%timeit", "%%capture", "%%prun"):
            return ""
        lines[first] = ""
    for number, line in enumerate(lines):
        line = re.sub(r"^(\s*)(%|!|\?).*", r"\1pass", line)
        line = re.sub(r"^(\s*)[\w.]+\?+\s*$", r"\1pass", line)
        lines[number] = re.sub(r"^(\s*[\w, ]+=\s*)[!%].*", r"\1None", line)
    return "\n".join(lines)


def _set_limits(limits: dict[str, int]) -> None:
    """Hard limits, which nothing in here can raise again."""
    try:
        import resource
    except ImportError:  # Windows has none
        return
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):  # macOS refuses some
            continue
    try:  # if memory runs out all the same, the system ends this process first
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass


if __name__ == "__main__":
    main()
