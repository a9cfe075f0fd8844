"""Writes what README.md and docs/ have from elsewhere: tables between marks, and the picture of an explorable.

    python tools/build_docs.py            writes
    python tools/build_docs.py --check    is everything in step? writes nothing

A part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; the function of that name below makes it. Figures
come from benchmarks/results/, exercises from their registry, titles and times from the pages themselves, the counts
of the corpora from their README.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

from minilora.exercises.exercise import Exercise
from minilora.exercises.question import EXAMPLE_STUDENT
from minilora.exercises.registry import EXERCISES
from minilora.figures.svg import still
from minilora.memory import gigabytes
from minilora.training.corpora import CORPORA
from minilora.widgets import memory_explorer

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PICTURE = ROOT / "docs" / "memory-explorer.svg"
PAGES = ("README.md", "docs/instructors.md", "docs/four-bits-on-a-gpu.md")
PART = re.compile(r"(<!-- begin ([a-z-]+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)

sys.path.insert(0, str(ROOT / "benchmarks"))
from lora_against_full import page as lora_against_full_page  # noqa: E402
from page_parts import table, versions  # noqa: E402
from voices import page as voices_page  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare only")
    options = parser.parse_args()
    wanted = {ROOT / name: filled(ROOT / name) for name in PAGES}
    wanted[PICTURE] = picture()
    stale = [
        path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        name = path.relative_to(ROOT).as_posix()
        print(
            f"{name} is out of step; run: python tools/build_docs.py" if options.check else f"{name}: written"
        )
        if not options.check:
            path.write_text(wanted[path], encoding="utf-8", newline="\n")
    return 1 if options.check and stale else 0


def filled(path: Path) -> str:
    """The file's text with each part made anew, its links as they are seen from the file's folder."""
    up = "../" * (len(path.relative_to(ROOT).parts) - 1)

    def part(match: re.Match) -> str:
        made = re.sub(r"\]\((?=notebooks/|exercises/)", f"]({up}", PARTS[match[2]]())
        return f"{match[1]}\n{made}\n{match[3]}"

    return PART.sub(part, path.read_text(encoding="utf-8"))


def record(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


# -- the parts -----------------------------------------------------------------------------------------------


def pages() -> str:
    """The map of the chapters: what each page is about, what it takes, and which exercises belong to it."""
    seconds = record("course")["pages"]
    rows = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        first = nbformat.read(path, as_version=4).cells[0].source
        title = first.split("\n")[0].lstrip("# ")
        minutes = re.search(r"\*\*Time:\*\* ([\w]+ minutes)", first)
        assert minutes, f"{path.name} does not say how long it takes"
        exercises = f"[exercises](exercises/{path.name})" if (ROOT / "exercises" / path.name).exists() else ""
        runs = f"{seconds[path.stem]:.0f} s" if path.stem in seconds else ""
        rows.append([f"[{title}](notebooks/{path.name})", minutes[1], runs, exercises])
    return table(["page", "for a person", "for a machine of 2 cores", ""], rows)


def faithful() -> str:
    planner = record("memory_gpu")
    card, found = planner["machine"]["gpu"], planner["summary"]
    rows = [list(row) for row in record("faithfulness")["rows"]]
    about = f"`minilora plan`, beside the measured peak of {found['ran']} trainings on one {card}"
    rows.append([about, f"{found['worst']:.1%} off at the worst, {found['median_error']:.3%} in the median"])
    return table(["what is compared", "the largest difference"], rows)


def lora_against_full() -> str:
    return lora_against_full_page(record("lora_against_full"))


def voices() -> str:
    return voices_page(record("voices"))


def corpora() -> str:
    """How varied the texts are that the lessons train on: the table of their README."""
    readme = (CORPORA / "README.md").read_text(encoding="utf-8")
    return "".join(line + "\n" for line in readme.splitlines() if line.startswith("|"))


def mistakes() -> str:
    """For each exercise, the mistakes that its check knows by name, the first of them."""
    rows = []
    for exercise in EXERCISES:
        known = sentences(exercise)
        rows.append([f"{exercise.title} (`{exercise.name}`)", len(known), known[0]])
    return table(["exercise", "known mistakes", "for one"], rows).replace("|---|---:|---:|", "|---|---:|---|")


def sentences(exercise: Any) -> list[str]:
    """What a learner is told who makes a mistake that is known."""
    if isinstance(exercise, Exercise):
        return [wrong.sentence for wrong in exercise.wrong]
    numbers = exercise.numbers(EXAMPLE_STUDENT)
    return [sentence for part in exercise.parts for _, _, sentence in part.wrong(numbers)]


def picture() -> str:
    """An explorable as it stands on page 06, without a kernel."""
    explorer = memory_explorer()
    explorer.batch_size.value, explorer.gradient_checkpointing.value = 1, True
    return still(explorer.svg) + "\n"


def four_bits_on_a_gpu() -> str:
    """Microseconds of each way to do a thing with one weight, and bitsandbytes' time divided by it."""
    recorded = record("quantization_gpu")
    rows = [
        [f"{row['what']}: {row['how']}", f"{statistics.median(row['microseconds']):.1f}",
         f"{statistics.median(row['ratios']):.2f}"]
        for row in recorded["rows"][1:]
        if row["ratios"] and row["how"] != "an ordinary bfloat16 layer"
        and ("called from Python" not in row["what"] or "dequantize" not in row["what"])
    ]  # fmt: skip
    return versions(recorded["machine"]) + ".\n\n" + table(["", "µs", "bitsandbytes / this"], rows).rstrip()


def qlora_step_on_a_gpu() -> str:
    recorded = record("seven_billion")
    rows = [
        [f"{row['batch']} × {row['length']}{', checkpointing' * row['checkpointing']}: {row['how']}",
         f"{row['tokens_per_second']:,.0f}", f"{row['speed_ratio']:.2f}" if "speed_ratio" in row else "",
         gigabytes(row["peak"])]
        for row in recorded["side_by_side"] if "failed" not in row
    ]  # fmt: skip
    text = f"{versions(recorded['machine'])}; {recorded['shape']}, r={recorded['r']} on {recorded['targets']}.\n\n"
    return text + table(["", "tokens/s", "speed", "peak"], rows).rstrip()


def long_rows_on_a_gpu() -> str:
    recorded = record("long_rows")
    rows = [
        [f"{row['how']}, {row['tokens']:,} tokens", gigabytes(row["planned"]),
         gigabytes(row["peak"]) if "peak" in row else "does not fit",
         f"{row['tokens_per_second']:,.0f}" if "peak" in row else ""]
        for row in recorded["rows"]
    ]  # fmt: skip
    text = (
        f"{versions(recorded['machine'])}; {recorded['shape']}, QLoRA, r={recorded['r']}, one row a step.\n\n"
    )
    return (
        text
        + table(["", "planned", f"measured, within {recorded['budget_gb']} GB", "tokens/s"], rows).rstrip()
    )


PARTS: dict[str, Callable[[], str]] = {
    "pages": pages,
    "faithful": faithful,
    "lora-against-full": lora_against_full,
    "voices": voices,
    "corpora": corpora,
    "mistakes": mistakes,
    "four-bits-on-a-gpu": four_bits_on_a_gpu,
    "qlora-step-on-a-gpu": qlora_step_on_a_gpu,
    "long-rows-on-a-gpu": long_rows_on_a_gpu,
}


if __name__ == "__main__":
    sys.exit(main())
