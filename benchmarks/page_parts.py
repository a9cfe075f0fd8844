"""Tables for the page of results, drawn by each benchmark from what it recorded."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column holds names, the others figures.

    >>> print(table(["", "time"], [["ours", "2 ms"]]), end="")
    |  | time |
    |---|---:|
    | ours | 2 ms |
    """
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    texts = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    first, rule, *rest = texts
    return (
        "\n".join(
            ["| " + " | ".join(first) + " |", "|" + "|".join(rule) + "|"]
            + [f"| {' | '.join(row)} |" for row in rest]
        )
        + "\n"
    )


def this_machine(*packages: str) -> dict[str, Any]:
    """What every record says of where it was made: processor, cores, system, Python, and versions of `packages`.

    >>> list(this_machine("torch"))
    ['processor', 'cores', 'system', 'python', 'torch']
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    } | {name: importlib.metadata.version(name) for name in packages}


def _processor() -> str:
    """Its name; Linux keeps it in a file, and platform gives no more than its kind there."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(machine: Mapping[str, Any]) -> str:
    """What a benchmark recorded of its machine, in one line.

    >>> versions({"threads": 2, "torch": "2.13.0"})
    'threads 2, torch 2.13.0'
    """
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def side_by_side_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows of `side_by_side.compare`: medians, ratio theirs / ours with its spread, and what is lost to the peer."""
    lines = []
    for row in rows:
        ratios = row["ratios"]
        ratio = statistics.median(ratios)
        missed = row["aim"] is not None and ratio < row["aim"]
        aim = "" if row["aim"] is None else f"{row['aim']:.2f}" + " (**missed**)" * missed
        shown = f"{ratio:.2f}" if ratio >= 1 else f"**{ratio:.2f}** (slower)"
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        lines.append(
            [row["name"], f"{row['ours'] * 1e3:.2f} ms", f"{row['theirs'] * 1e3:.2f} ms", shown, spread, aim]
        )
    return table(["", "ours", "theirs", "theirs / ours", "spread", "aim"], lines)
