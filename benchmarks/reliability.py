"""Thousands of damaged files, and hundreds of kills: what was refused, what was loaded, and that nothing was lost.

    python benchmarks/reliability.py [--cases N] [--kills N] [--only NAME ...] [--json FILE]

The damage and what must hold are those of tests/test_fuzzing.py and tests/test_kill.py; here there is more of it.
Needs a POSIX system. Not here: timings.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from page_parts import table  # noqa: E402

from tests.test_fuzzing import READERS, run_apart  # noqa: E402
from tests.test_kill import ROUNDS  # noqa: E402

BATCH = 250  # cases in one process; a crash of the process names the batch
FIRST = 10_000  # other cases than the tests'


def fuzz(reader: str, cases: int) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    for first in range(FIRST, FIRST + cases, BATCH):
        found = run_apart([reader], first, min(BATCH, FIRST + cases - first))[reader]
        outcomes.update(found["outcomes"])
        wrong += found["wrong"]
    return {"cases": cases, "outcomes": dict(sorted(outcomes.items())), "wrong": wrong}


def kill(name: str, kills: int) -> dict[str, Any]:
    """Rounds until the process was killed so many times; a round that finds anything lost is counted as wrong."""
    rng, counts, wrong, rounds = random.Random(1), Counter({"killed": 0}), [], 0
    with tempfile.TemporaryDirectory() as work:
        while counts["killed"] < kills and rounds < 3 * kills:
            rounds += 1
            try:
                counts += ROUNDS[name](Path(work) / "folder", rng)
            except Exception as error:
                wrong.append(f"round {rounds}: {type(error).__name__}: {str(error)[:200]}")
                counts["killed"] += 1
    return {"rounds": rounds, **counts, "wrong": wrong}


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    files = [
        [name, figures["cases"], figures["outcomes"].get("loaded", 0),
         figures["cases"] - figures["outcomes"].get("loaded", 0), len(figures["wrong"])]
        for name, figures in recorded["files"].items()
    ]  # fmt: skip
    kills = [
        [name, figures["killed"], figures.get("kills_within_a_save", figures.get("kills_within_the_class", "")),
         len(figures["wrong"])]
        for name, figures in recorded["kills"].items()
    ]  # fmt: skip
    return (
        "Damaged files: each is loaded, if it still means something, or refused with an error that names it. Wrong "
        "would be a crash, another kind of error, or a model half changed.\n\n"
        + table(["file", "damaged", "loaded all the same", "refused", "wrong"], files)
        + "\nPrograms killed with `kill -9` at work. Wrong would be anything lost.\n\n"
        + table(["at work on", "kills", "of them amid writing", "wrong"], kills)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=3000, help="damaged files for each reader")
    parser.add_argument("--kills", type=int, default=100, help="kills of each kind of work")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*[f"file {r}" for r in READERS], *[f"kill {r}" for r in ROUNDS]],
        metavar="NAME",
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    figures: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.system(),
        "files": {},
        "kills": {},
    }
    if options.json and options.json.exists():  # a part of the figures may be made anew
        figures |= json.loads(options.json.read_text(encoding="utf-8"))
    chosen = options.only or [*[f"file {r}" for r in READERS], *[f"kill {r}" for r in ROUNDS]]
    for name in chosen:
        kind, _, what = name.partition(" ")
        found = figures["files" if kind == "file" else "kills"][what] = (
            fuzz(what, options.cases) if kind == "file" else kill(what, options.kills)
        )
        print(f"{name}: {found}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8", newline="\n")
    if any(found["wrong"] for part in ("files", "kills") for found in figures[part].values()):
        raise SystemExit("something went wrong; see above")


if __name__ == "__main__":
    main()
