"""How long a plan takes: a slider of the explorables asks for three at each step, and has 80 ms for the whole picture.

    python benchmarks/planning.py [--json FILE]

Arithmetic alone, so the figures are in microseconds. Not here: the picture (explorables.py).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

from page_parts import table, versions

from minilora.memory import METHODS, plan_memory

ROUNDS = 200
AT_ONCE = 50  # plans that a chart over a slider's whole range would ask for
MODELS = ("tiny-gpt", "llama-3.1-8b", "llama-3.1-405b")


def microseconds(model: str, method: str) -> list[float]:
    """One plan at a time, each with another length, as a slider would ask."""
    times = []
    for i in range(ROUNDS):
        start = time.perf_counter()
        plan = plan_memory(model, method, target_modules="all-linear", sequence_length=128 + i)
        assert plan.total
        times.append((time.perf_counter() - start) * 1e6)
    return times


def measure(model: str, method: str) -> dict[str, Any]:
    """The median and the 95 % of single plans, and the median of so many in a row, in microseconds."""
    times = microseconds(model, method)
    together = [sum(times[i : i + AT_ONCE]) for i in range(0, ROUNDS, AT_ONCE)]
    return {
        "model": model,
        "method": method,
        "median": statistics.median(times),
        "95 %": sorted(times)[int(0.95 * ROUNDS)],
        "at once": statistics.median(together),
    }


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = [
        [f"{row['model']}, {row['method']}", f"{row['median']:.0f} µs", f"{row['95 %']:.0f} µs",
         f"{row['at once'] / 1e3:.1f} ms"]
        for row in recorded["rows"]
    ]  # fmt: skip
    return (
        f"{versions(recorded['machine'])}. A slider has 80 ms from key press to picture and asks for three plans.\n\n"
        + table(["", "one plan, median", "95 %", f"{AT_ONCE} plans, median"], rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows = []
    print(f"{'':24}{'median':>12}{'95 %':>12}{f'{AT_ONCE} of them':>14}")
    for model in MODELS:
        for method in METHODS:
            row = measure(model, method)
            rows.append(row)
            print(
                f"{model + ', ' + method:24}{row['median']:9.0f} µs{row['95 %']:9.0f} µs{row['at once'] / 1e3:11.1f} ms"
            )
    if options.json:
        machine = {"python": platform.python_version(), "cores": os.cpu_count()}
        result = {"machine": machine, "rows": rows}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
