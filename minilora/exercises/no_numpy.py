"""Imports the judging code where there is no NumPy, as on a web site that was built without it.

A question's answers are plain data, for which no array is ever made: the code only asks whether a value is one.

Not here: functions to write (hands_on/), whose cases are arrays; these need NumPy.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import Any


class NoArrays(types.ModuleType):
    """Stands in for NumPy: each name is a type of which there are no values."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def import_anyway(name: str) -> Any:
    """The module of that name. Whoever imports NumPy afterwards is told that it is missing."""
    if importlib.util.find_spec("numpy") is not None:
        return importlib.import_module(name)
    sys.modules["numpy"] = NoArrays("numpy")
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules["numpy"]
