"""Where rank is the limit: tasks of known size for adapters of every rank, with seeds and training times varied.

    python benchmarks/walls.py [--json FILE]            about five minutes on one processor core

A wall is one if it stays where it is: with other seeds, and when training takes four times as long. Page 09 runs a part
of this; the tasks are in minilora/lesson/walls.py.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from page_parts import table, this_machine, versions

from minilora.lesson.walls import learn_change, memorize_pairs

RANKS = (1, 2, 4, 8, 16, 32, "full")
SEEDS = (0, 1, 2)
TASKS = {
    "change": (learn_change, (1, 4, 16, 64), (100, 400)),
    "pairs": (memorize_pairs, (64, 256), (200, 800)),
}
HEADS = {"change": "rank of the change", "pairs": "pairs to memorize"}


def page(recorded: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    parts = [
        f"{versions(recorded['machine'])}. One layer of 64 × 64; the lowest and the highest of {len(SEEDS)} seeds."
    ]
    for task, (_, sizes, times) in TASKS.items():
        rows = [
            [
                f"{size}, {steps} steps",
                *(_spread(recorded["shares"][task][f"{size}, {r}, {steps}"]) for r in RANKS),
            ]
            for size, steps in itertools.product(sizes, times)
        ]
        head = [HEADS[task], *(f"r = {r}" if r != "full" else "full" for r in RANKS)]
        parts.append(table(head, rows))
    parts.append(
        "A change of rank k needs rank k, and training longer does not help; an adapter of lower rank learns the share "
        "r/k. With pairs to memorize the wall is as firm far below the rank that they need, and soft close to it, "
        "where training longer does help."
    )
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _spread(shares: list[float]) -> str:
    low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
    return low if low == high else f"{low} to {high}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the matrices are too small for more
    shares: dict[str, dict[str, list[float]]] = {}
    for task, (run, sizes, times) in TASKS.items():
        shares[task] = {}
        for size, r, steps in itertools.product(sizes, RANKS, times):
            found = [round(run(size, r, steps, seed), 4) for seed in SEEDS]
            shares[task][f"{size}, {r}, {steps}"] = found
            print(f"{task} {size}, rank {r}, {steps} steps: {statistics.mean(found):.1%}", flush=True)
    if options.json:
        result = {"machine": this_machine("torch"), "shares": shares}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
