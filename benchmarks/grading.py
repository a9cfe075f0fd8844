"""Submissions per minute: a generated class of right, wrong, hostile and broken notebooks, graded by the real command.

    python benchmarks/grading.py [--count 500] [--workers 2] [--seed 0] [--json benchmarks/results/grading.json]

Two pages are handed in: one whose exercises need NumPy alone, and one for which a worker loads torch. The generator
knows what each submission deserves, so marks are compared as well as timed, and exit status 1 says that some differ.
Deadlines are those of the command: an endless loop costs its ten seconds. At the end the run is repeated, when every
result is kept already.

Wrong answers are solutions changed in one place (tools/mutate_exercises.py). Linux or macOS.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from mutate_exercises import EQUIVALENT, mutants  # noqa: E402
from page_parts import table, this_machine, versions  # noqa: E402

from minilora.exercises import registry  # noqa: E402
from minilora.exercises.exercise import STUB, Exercise  # noqa: E402
from minilora.exercises.question import Question  # noqa: E402
from minilora.exercises.question_parts import Choice, Number  # noqa: E402
from minilora.grading.counted import choose_exercises  # noqa: E402
from minilora.grading.marks import Course  # noqa: E402

PAGES = {"NumPy": "05_qlora.ipynb", "torch": "03_lora.ipynb"}
SHARES = {"right": 40, "wrong": 40, "hostile": 10, "broken": 10}  # in percent
ATTACKS = (
    "while True: pass",
    "import os; os._exit(0)",
    "import ctypes; ctypes.string_at(0)",
    "x = []\nwhile True: x.append(bytearray(10**8))",
    "while True: print('x' * 10_000)",
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "return [0] * 50_000_000",
    "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "return type('Yes', (), {'__eq__': lambda *a: True, '__array__': lambda *a, **k: np.zeros(3)})()",
    "import sys; sys.exit(0)",
)
Notebook = dict[str, Any]


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = []
    for kind in PAGES:
        found = recorded[kind]
        rows += [
            [f"{found['page']} ({kind})", found["submissions"], f"{found['seconds']:.0f} s",
             found["submissions_per_minute"],
             f"{found['seconds_when_all_is_kept']:.1f} s", len(found["marks_not_as_deserved"])]
        ]  # fmt: skip
    machine = recorded["machine"]
    machine = machine if isinstance(machine, str) else versions(machine)  # older records hold a text
    head = ["page", "submissions", "time", "a minute", "the second time", "marks not as deserved"]
    return (
        f"{machine}, {recorded['workers']} workers, one worker process for each submission. A tenth of the "
        "class is hostile and a tenth broken; an endless loop costs its ten seconds.\n\n" + table(head, rows)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500, help="submissions of each page (default 500)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": this_machine("numpy", "torch")}
    figures |= {"workers": options.workers, "load_before": round(os.getloadavg()[0], 2)}
    for kind, page in PAGES.items():
        with tempfile.TemporaryDirectory() as work:
            figures[kind] = measure(ROOT / "exercises" / page, Path(work), options)
        print(f"{kind}: {json.dumps(figures[kind], indent=1)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8", newline="\n")
    return 1 if any(figures[kind]["marks_not_as_deserved"] for kind in PAGES) else 0


def measure(page: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Grades a class that handed in `page`, twice, and says how long it took and how many marks are not as deserved."""
    deserved = write_class(page, work / "class", options.count, options.seed)
    command = [sys.executable, "-m", "minilora.cli", "grade", str(work / "class"), "--format", "json"]
    command += ["--output", str(work / "all.json"), "--results", str(work / "marks")]
    command += ["--exercises", str(page), "--workers", str(options.workers)]
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        subprocess.run(command, check=True, cwd=ROOT)
        seconds.append(time.perf_counter() - start)
    found = json.loads((work / "all.json").read_text(encoding="utf-8"))
    marks = {result["student"]: (result["status"], result["score"]) for result in found}
    differing = sorted(student for student in deserved if marks[student] != deserved[student])
    return {
        "page": page.name,
        "exercises": len(choose_exercises([str(page)])),
        "submissions": len(found),
        "kinds": dict(Counter(student.split("-")[0] for student in deserved)),
        "sandbox": found[0]["sandbox"],
        "seconds": round(seconds[0], 1),
        "submissions_per_minute": round(60 * len(found) / seconds[0]),
        "seconds_when_all_is_kept": round(seconds[1], 1),
        "mean_score": round(statistics.mean(score for _, score in marks.values()), 1),
        "max_score": found[0]["max_score"],
        "marks_not_as_deserved": differing,
    }


# -- a class ---------------------------------------------------------------------------------------------------


def write_class(page: Path, folder: Path, count: int, seed: int) -> dict[str, tuple[str, int]]:
    """Writes `count` notebooks; returns the status and the score that each deserves."""
    folder.mkdir()
    handed_out = json.loads(page.read_text(encoding="utf-8"))
    course = Course(b"", choose_exercises([str(page)]))
    deserved = {}
    for number in range(count):
        rng = random.Random(f"{seed}/{page.name}/{number}")
        kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
        student = f"{kind}-{number:04}"
        points = {exercise.name: exercise.points for exercise in course.exercises}
        sources = {exercise.name: right(exercise, student) for exercise in course.exercises}
        data, status = None, "graded"
        if kind == "wrong":
            for exercise in rng.sample(course.exercises, rng.randint(1, len(course.exercises))):
                sources[exercise.name], points[exercise.name] = wrong(exercise, student, rng)
        elif kind == "hostile":
            victim = rng.choice([e for e in course.exercises if isinstance(e, Exercise)])
            sources[victim.name], points[victim.name] = attack(victim, rng), 0
        notebook = filled(handed_out, sources)
        if kind == "broken":
            data, status = broken(notebook, points, rng)
        (folder / f"{student}.ipynb").write_bytes(data or as_bytes(notebook))
        deserved[student] = (status, sum(points.values()))
    return deserved


def right(exercise: Question | Exercise, student: str) -> str:
    return exercise.solution_source(student) if isinstance(exercise, Question) else exercise.solution_source()


def wrong(exercise: Question | Exercise, student: str, rng: random.Random) -> tuple[str, int]:
    """A wrong answer, and the points that it earns: none, or those of the other parts of a question."""
    if isinstance(exercise, Exercise):
        return rng.choice(changed(exercise.name)), 0
    answers = exercise.solved(student)
    part = rng.choice([part for part in exercise.parts if isinstance(part, Choice | Number)])
    answers[part.key] = rng.choice(part.wrong(exercise.numbers(student)))[1]
    return f"answers = {answers!r}", exercise.points - part.points


@functools.cache
def changed(name: str) -> list[str]:
    """The exercise's solution with one small change; none of these is right."""
    exercise = registry.get(name)
    assert isinstance(exercise, Exercise)
    return [source for line, source in mutants(exercise) if (name, line) not in EQUIVALENT]


def attack(exercise: Exercise, rng: random.Random) -> str:
    body = rng.choice(ATTACKS).replace("\n", "\n    ")
    return exercise.stub_source().replace(STUB, body)


def filled(handed_out: Notebook, sources: dict[str, str]) -> Notebook:
    """The page with these answers in its cells."""
    notebook = copy.deepcopy(handed_out)
    for cell in notebook["cells"]:
        name = grade_id(cell).removesuffix("-answers")
        if cell["cell_type"] == "code" and name in sources:
            cell["source"] = sources[name]
    return notebook


def broken(notebook: Notebook, points: dict[str, int], rng: random.Random) -> tuple[bytes, str]:
    """An accident; takes from `points` what it costs. Some cost nothing."""
    cells = notebook["cells"]
    answers = [n for n, cell in enumerate(cells) if cell["cell_type"] == "code" and grade_id(cell) in points]
    place = rng.choice(answers)
    accident = rng.choice(("truncated", "empty", "deleted", "no Python", "doubled", "retyped", "BOM"))
    if accident in ("truncated", "empty"):
        points.clear()
        return as_bytes(notebook)[: 1000 if accident == "truncated" else 0] or b" ", "unreadable"
    if accident in ("deleted", "no Python"):
        points[grade_id(cells[place])] = 0
    if accident == "deleted":
        del cells[place]
    elif accident == "no Python":
        cells[place]["source"] += "\n    return ("
    elif accident == "doubled":
        cells.insert(place, copy.deepcopy(cells[place]))
    elif accident == "retyped":
        cells[place] = {"cell_type": "markdown", "metadata": {}, "source": cells[place]["source"]}
    return (b"\xef\xbb\xbf" if accident == "BOM" else b"") + as_bytes(notebook), "graded"


def grade_id(cell: Notebook) -> str:
    return cell["metadata"].get("nbgrader", {}).get("grade_id", "")


def as_bytes(notebook: Notebook) -> bytes:
    return json.dumps(notebook, ensure_ascii=False).encode("utf-8")


if __name__ == "__main__":
    sys.exit(main())
