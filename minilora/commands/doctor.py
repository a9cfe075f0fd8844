"""Checks this installation, and prints a table that a bug report can quote."""

from __future__ import annotations

import dataclasses

from minilora.options import Options, option

EXAMPLES = ("minilora doctor",)


@dataclasses.dataclass(kw_only=True)
class Settings(Options):
    format: str = option("text", "output", "of the table", choices=("text", "json"))


def run(settings: Settings) -> int:
    """Prints the table; 1 if something that is needed is broken."""
    from minilora.doctor import run as check

    return check(as_json=settings.format == "json")
