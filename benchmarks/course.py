"""How long the course keeps a machine busy: every page run from the top in a fresh kernel, and all quick tests.

    python benchmarks/course.py [--no-tests] [--json FILE]

Not here: how long a person takes; that stands at the head of each page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from page_parts import table

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "notebooks" / "src"


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    machine = recorded["machine"]
    rows = [[name, f"{seconds:.0f} s"] for name, seconds in recorded["pages"].items()]
    rows.append(["all pages", f"{sum(recorded['pages'].values()):.0f} s"])
    text = (
        f"{machine['cores']} cores, torch {machine['torch']}, Python {machine['python']}, {machine['system']}. A page "
        "runs from the top in a fresh kernel, imports included.\n\n" + table(["page", "to run"], rows)
    )
    tests = recorded.get("tests")
    return text + (f"\nThe quick tests: {tests['said']}." if tests else "")


def run_page(source: Path) -> float:
    """Seconds. In a kernel of its own, by the program that builds the pages; what is there is not written over."""
    with tempfile.TemporaryDirectory() as work:
        build = [sys.executable, str(ROOT / "tools" / "build_notebooks.py")]
        environment = dict(os.environ, IPYTHONDIR=work, MPLCONFIGDIR=work, OMP_WAIT_POLICY="PASSIVE")
        start = time.perf_counter()
        command = [*build, "--execute", str(source), str(Path(work) / "result.ipynb")]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


def run_tests() -> dict[str, Any]:
    """What pytest says at the end, and whether all passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = re.search(r"^=*\s*(\d+ (?:passed|failed).* in [\d.]+s)", done.stdout, re.MULTILINE)
    return {"said": said[1] if said else done.stdout[-200:], "passed": done.returncode == 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-tests", action="store_true", help="the pages only")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    machine = {"cores": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version()}
    result: dict[str, Any] = {"machine": machine | {"system": platform.system()}, "pages": {}}
    for source in sorted(SOURCES.glob("*.py")):
        result["pages"][source.stem] = round(run_page(source), 1)
        print(f"{result['pages'][source.stem]:7.1f} s  {source.stem}", flush=True)
    if not options.no_tests:
        result["tests"] = run_tests()
        print(result["tests"])
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
