"""Makes docs/grading/report.png: the report on a made-up class, graded by the real command and seen in a browser.

    python tools/report_picture.py [--count 40]

The class is that of benchmarks/grading.py, with two students more: one whose number only their own machine can compute,
and one who handed in another one's notebook.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "grading" / "report.png"
PAGE = ROOT / "exercises" / "05_qlora.ipynb"
WIDTH, HEIGHT = 1040, 1500  # pixels
SECRET = "the secret of a made-up class"

sys.path.insert(0, str(ROOT / "benchmarks"))
from explorables import browser_page  # noqa: E402
from grading import write_class  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=40, help="submissions (default 40)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        report = grade(Path(work), options.count)
        with browser_page() as page:
            page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            page.goto(report.as_uri())
            page.locator("details").first.evaluate("(one) => { one.open = true; }")
            page.screenshot(path=PICTURE)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size // 1000} KB")


def grade(work: Path, count: int) -> Path:
    """Grades the class; returns the report."""
    write_class(PAGE, work / "class", count, seed=3)
    right = next(path for path in sorted((work / "class").glob("right-*")))
    shutil.copy(right, work / "class" / f"{right.stem}-too.ipynb")
    notebook = json.loads(right.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id", "").endswith("-answers"):
            key = next(
                key for key, value in eval_answers(cell["source"]).items() if isinstance(value, float | int)
            )
            cell["source"] += f'\nanswers["{key}"] = open("my-measurement.txt").read()'
    (work / "class" / "measured-it.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    (work / "secret").write_text(SECRET, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "minilora.cli",
        "grade",
        str(work / "class"),
        "--results",
        str(work / "marks"),
    ]
    command += ["--secret-file", str(work / "secret"), "--exercises", str(PAGE)]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return work / "marks" / "report.html"


def eval_answers(source: str | list[str]) -> dict[str, object]:
    """Our own solution cell, run."""
    found: dict[str, dict[str, object]] = {}
    exec("".join(source), found)
    return found["answers"]


if __name__ == "__main__":
    main()
