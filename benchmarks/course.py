"""How long the course keeps a machine busy: every page run from the top in a fresh kernel, and all quick tests.

    python benchmarks/course.py [--no-tests] [--json FILE] [05 06 ...]

Where other programs run at the same time, the CPU time is the honest figure: an idle machine of two cores takes
between half of it and all of it. Not here: how long a person takes; that stands at the head of each page.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from page_parts import table, this_machine, versions

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "notebooks" / "src"


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown, with what this record lacks."""
    memory = recorded.get("peak_memory", {})
    cpu = recorded.get("cpu", {})
    rows = [
        [name, f"{seconds:.0f} s", *_of_page(name, cpu, memory)]
        for name, seconds in recorded["pages"].items()
    ]
    total = f"{sum(cpu.values()):.0f} s" if cpu else ""
    rows.append(["all pages", f"{sum(recorded['pages'].values()):.0f} s", total, ""])
    text = (
        f"{versions(recorded['machine'])}. A page runs from the top in a fresh kernel, imports included; its memory is "
        "the peak of the largest process.\n\n" + table(["page", "to run", "CPU time", "peak memory"], rows)
    )
    silent = recorded.get("silent")
    if silent is not None:
        text += f"\nCells that showed nothing for over 3 s: {'; '.join(silent) or 'none'}.\n"
    tests = recorded.get("tests")
    text += f"\nThe quick tests: {tests['said']}.\n" if tests else ""
    lacks = missing(recorded)
    return text + (f"\n**Not recorded yet:** {', '.join(lacks)}.\n" if lacks else "")


def _of_page(name: str, cpu: dict[str, float], memory: dict[str, int]) -> list[str]:
    return [
        f"{cpu[name]:.0f} s" if name in cpu else "",
        f"{memory[name] / 1e6:,.0f} MB" if name in memory else "",
    ]


def missing(recorded: dict[str, Any]) -> list[str]:
    """What the course has and this record hasn't: pages, their memory, the tests."""
    pages = [source.stem for source in sorted(SOURCES.glob("*.py"))]
    lacks = [f"page {name}" for name in pages if name not in recorded["pages"]]
    if set(recorded["pages"]) - set(recorded.get("peak_memory", {})):
        lacks.append("the pages' memory")
    return lacks if recorded.get("tests") else [*lacks, "the tests"]


def run_page(source: Path) -> tuple[float, float | None, int | None, list[str]]:
    """(seconds, seconds of CPU time, bytes at the peak, cells that were silent for long).

    By the program that builds the pages; what is there is not written over.
    """
    with tempfile.TemporaryDirectory() as work:
        build = [sys.executable, str(ROOT / "tools" / "build_notebooks.py")]
        environment = dict(
            os.environ, IPYTHONDIR=work, MPLCONFIGDIR=work, GOMP_SPINCOUNT="10000", MINILORA_CACHE=work
        )
        start = time.perf_counter()
        command = [*build, "--child", str(source), str(Path(work) / "result.ipynb")]
        return run_and_measure(command, environment, start)


def run_and_measure(
    command: list[str], environment: dict[str, str], start: float
) -> tuple[float, float | None, int | None, list[str]]:
    """(seconds, seconds of CPU time, bytes, what it said line by line).

    CPU time is that of all its processes together. The bytes are the resident memory of its largest process at the
    peak, itself or one below it. Both are None on Windows.
    """
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = [line.strip() for line in child.stdout]  # to its end
    cpu = peak = None
    if hasattr(os, "wait4"):
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        cpu = usage.ru_utime + usage.ru_stime
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if child.wait():
        raise subprocess.CalledProcessError(child.returncode, command)
    return time.perf_counter() - start, cpu, peak, said


def run_tests() -> dict[str, Any]:
    """What pytest says at the end, and whether all passed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "--dist",
        "loadfile",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = re.search(r"^=*\s*(\d+ (?:passed|failed).* in [\d.]+s)", done.stdout, re.MULTILINE)
    return {"said": said[1] if said else done.stdout[-200:], "passed": done.returncode == 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="beginnings of page names; default: all")
    parser.add_argument("--no-tests", action="store_true", help="the pages only")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "machine": this_machine("torch", "jupyterlab"),
        "pages": {},
        "cpu": {},
        "peak_memory": {},
        "silent": [],
    }
    wanted = tuple(options.only or [""])
    for source in (path for path in sorted(SOURCES.glob("*.py")) if path.name.startswith(wanted)):
        seconds, cpu, peak, silent = run_page(source)
        result["silent"] += silent
        result["pages"][source.stem] = round(seconds, 1)
        if cpu is not None and peak is not None:
            result["cpu"][source.stem], result["peak_memory"][source.stem] = round(cpu, 1), peak
        figures = f"{seconds:7.1f} s  {cpu or 0:7.1f} s CPU  {(peak or 0) / 1e6:7,.0f} MB"
        print(f"{figures}  {source.stem}", flush=True)
    if not options.no_tests:
        result["tests"] = run_tests()
        print(result["tests"])
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
