"""What a submission may import: the standard library, what the lab installs, and stand-ins for the rest.

The worker in the sandbox gets a copy of this file. Not here: which folders the sandbox shows (sandbox.py).
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

# What the lab installs, and its dependencies; and what students like to import, where this machine has it.
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
ALLOWED |= {
    "matplotlib",
    "mpl_toolkits",
    "pylab",
    "contourpy",
    "cycler",
    "dateutil",
    "fontTools",
    "kiwisolver",
}
ALLOWED |= {"packaging", "PIL", "pyparsing", "six", "scipy", "pandas", "pytz", "tzdata", "einops"}
STAND_INS = {"minilora", "IPython", "ipywidgets", "plotly", "seaborn", "nbgrader", "otter"}
HELPERS = ("check", "hint", "solution", "progress", "expect", "experiment", "form", "rate", "display")


class StandIn(types.ModuleType):
    """A module or function that does nothing: the notebook's own check, and widgets, are of no use here."""

    __path__: list[str] = []  # noqa: RUF012  a package has one

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(name)

    def __call__(self, *arguments: Any, **options: Any) -> StandIn:
        return self

    def __getitem__(self, key: Any) -> StandIn:
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def _itself(self, *others: Any) -> StandIn:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _itself
    __floordiv__ = __mod__ = __pow__ = __neg__ = __matmul__ = _itself


class Gate(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets the standard library, the allowed packages and the notebook's own files through.

    missing: names of packages that a submission wanted and that are not here. helpers: what `minilora.exercises` has
    besides stand-ins.
    """

    def __init__(self, folder: str):
        self.folder = folder
        self.missing: list[str] = []
        self.helpers: dict[str, Any] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        top = name.partition(".")[0]
        if top in STAND_INS:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        if top in sys.stdlib_module_names:
            return None  # the usual finders go on
        own = os.path.join(self.folder, top)
        if os.path.exists(own + ".py") or os.path.isdir(own):
            return None
        if top in ALLOWED:
            return self._installed(name, path, target)
        return self._refuse(name)

    def _installed(self, name: str, path: Any, target: Any) -> Any:
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        return self._refuse(name) if spec is None and "." not in name else spec

    def _refuse(self, name: str) -> Any:
        self.missing.append(name.partition(".")[0][:100])
        raise ModuleNotFoundError(f"No module named {name!r} where submissions are graded", name=name)

    def create_module(self, spec: Any) -> Any:
        return StandIn(spec.name)

    def exec_module(self, module: Any) -> None:
        if module.__name__.partition(".")[0] == "minilora":
            vars(module).update(self.helpers)
