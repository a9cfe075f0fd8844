"""How many small slips would the exercises' checks let pass? What tools/mutate_exercises.py finds, as a record.

    python benchmarks/mutants.py [--json FILE]

Each solution is changed in one place at a time. Exit status 1 if a changed one passes and nobody has said why it may.
Linux or macOS.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from mutate_exercises import try_all  # noqa: E402
from page_parts import table as markdown_table  # noqa: E402
from page_parts import this_machine, versions  # noqa: E402

from minilora.exercises.registry import HANDS_ON  # noqa: E402


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    tried, survivors = sum(recorded["tried"].values()), recorded["survivors"]
    rejected = tried - len(survivors)
    rows = [[s["exercise"], f"`{s['change']}`", s["reason"] or "**unexplained**"] for s in survivors]
    table = markdown_table(["exercise", "what passes", "why it is right all the same"], rows)
    solutions = len(recorded["tried"])
    return (
        f"{versions(recorded['machine'])}.\n\nOne operator, constant, comparison, axis or function of a solution is "
        f"another in each mutant. Of {tried} mutants of {solutions} solutions the checks reject "
        f"{rejected} ({rejected / tried:.1%}). The others are right as well:\n\n{table}"
    ).replace("|---|---:|---:|", "|---|---|---|")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    figures = {"machine": this_machine("numpy", "torch"), **try_all(list(HANDS_ON))}
    print(page(figures))
    if options.json:
        text = json.dumps(figures, indent=1, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8", newline="\n")
    return 1 if any(not survivor["reason"] for survivor in figures["survivors"]) else 0


if __name__ == "__main__":
    sys.exit(main())
