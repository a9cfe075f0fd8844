"""The instructors' pages (docs/grading), followed to the letter: what they say to type is typed, in an empty folder."""

import csv
import getpass
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from minilora.exercises import registry
from minilora.exercises.exercise import Exercise
from minilora.grading import classroom50, sandbox
from minilora.grading.counted import choose_exercises
from tests.helpers import jupyter_apart
from tests.test_grading_scale import DOCS, code_blocks

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "exercises" / "09_when_to_use_what.ipynb"
COUNTED = [registry.get(name) for name in choose_exercises([str(PAGE)])]
MOST = sum(exercise.points for exercise in COUNTED)
FUNCTIONS = sum(exercise.points for exercise in COUNTED if isinstance(exercise, Exercise))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix" or not shutil.which("bash"), reason="lines for a Unix shell"),
]


def handed_in(student, right=True):
    """The handed-out page with answers in its cells."""
    notebook = json.loads(PAGE.read_text(encoding="utf-8"))
    solved = {}
    for exercise in COUNTED:
        if isinstance(exercise, Exercise):
            solved[exercise.name] = exercise.solution_source()
        elif right:
            solved[f"{exercise.name}-answers"] = exercise.solution_source(student)
    for cell in notebook["cells"]:
        cell["source"] = solved.get(cell["metadata"].get("nbgrader", {}).get("grade_id"), cell["source"])
    return json.dumps(notebook)


@pytest.fixture
def place(tmp_path):
    """A folder with the exercises, and a class: Ada has all right, Bob leaves the question out."""
    shutil.copytree(ROOT / "exercises", tmp_path / "exercises")
    shutil.copytree(DOCS, tmp_path / "docs" / "grading")
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "ada.ipynb").write_text(handed_in("ada"), encoding="utf-8")
    (tmp_path / "class" / "bob.ipynb").write_text(handed_in("bob", right=False), encoding="utf-8")
    (tmp_path / "home").mkdir()
    return tmp_path


def type_in(place, block, folder=".", **variables):
    """Runs a block as a person would, with this Python first on the path."""
    environment = jupyter_apart(place / "home") | {"HOME": str(place / "home")} | variables
    environment["PATH"] = f"{place / 'bin'}{os.pathsep}{environment['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(
        command, cwd=place / folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def blocks_of(name):
    found = code_blocks((DOCS / name).read_text(encoding="utf-8"))
    assert found
    return found


def marks_of(folder):
    return {p.stem: json.loads(p.read_text(encoding="utf-8"))["score"] for p in folder.glob("*[a-z].json")}


def test_the_first_page_from_marks_to_texts(place):
    (place / "export.csv").write_bytes(b"Identifier;Name;Grade\r\nada;Ada;\r\nzoe;Zoe;\r\n")
    for block in blocks_of("README.md"):
        type_in(place, block)
        if "--export-written" in block:
            rows = list(
                csv.DictReader(
                    io.StringIO((place / "to-mark.csv").read_text(encoding="utf-8-sig"), newline="")
                )
            )
            assert {row["student"] for row in rows} == {"ada"}
            table = io.StringIO(newline="")
            writer = csv.DictWriter(table, list(rows[0]))
            writer.writeheader()
            writer.writerows(row | {"mark": row["points"]} for row in rows)
            (place / "to-mark.csv").write_text(table.getvalue(), encoding="utf-8", newline="")
    assert (
        place / "to-import.csv"
    ).read_bytes() == f"Identifier;Name;Grade\r\nada;Ada;{MOST}\r\nzoe;Zoe;\r\n".encode()
    assert {"report.md", "report.html", "marks.csv", "ada.json"} <= {
        p.name for p in (place / "marks").iterdir()
    }
    assert {p.name for p in (place / "feedback").iterdir()} == {"ada.html", "bob.html"}
    assert "oral exam" in (place / "feedback" / "bob.html").read_text(encoding="utf-8")
    by_hand = sum(exercise.prose_points for exercise in COUNTED if not isinstance(exercise, Exercise))
    lines = (place / "marks" / "marks.csv").read_text(encoding="utf-8").splitlines()
    assert lines[1].startswith(f"ada,graded,{MOST},{MOST},")
    assert lines[1].endswith(f",{by_hand},{by_hand},{MOST + by_hand},")  # no remarks


def test_the_rules_of_the_course_as_the_page_has_them(place):
    page = (DOCS / "course.md").read_text(encoding="utf-8")
    (toml,) = (part.split("```")[0] for part in page.split("```toml\n")[1:])
    (place / "course.toml").write_text(toml, encoding="utf-8")
    table = (
        'Identifier,Last modified (submission)\nada,"Monday, 2 March 2026, 1:00 AM"\nbob,2026-03-07 10:00\n'
    )
    (place / "times.csv").write_text(table, encoding="utf-8")
    (block,) = blocks_of("course.md")
    type_in(place, block, TZ="Europe/Paris")
    rows = csv.DictReader((place / "marks" / "marks.csv").read_text(encoding="utf-8").splitlines())
    told = {row["student"]: row for row in rows}
    most = int(told["ada"]["max_score"])
    assert most == sum({"merge": 4, "training-memory": 5}.get(e.name, e.points) for e in COUNTED)
    assert int(told["ada"]["score"]) == most - most * 10 // 100
    assert "late" in told["ada"]["remarks"]
    assert "late" not in told["bob"]["remarks"]


def test_an_exercise_of_ones_own_as_the_page_has_it(place):
    page = (DOCS / "own-exercises.md").read_text(encoding="utf-8")
    exercise, handed_out = (part.split("```")[0] for part in page.split("```python\n")[1:])
    (place / "my-exercises").mkdir()
    (place / "my-exercises" / "scale_rows.py").write_text(exercise, encoding="utf-8")
    answer = "def scale_rows(W, s):\n    return (W.T * s).T\n"
    cells = [{"cell_type": "code", "source": text, "metadata": {}} for text in (answer, handed_out)]
    (place / "class" / "ada.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    (block,) = blocks_of("own-exercises.md")
    type_in(place, block)
    assert marks_of(place / "own-marks") == {"ada": 2, "bob": 0}
    program = answer + handed_out.replace("check(", "print(check(") + ")"
    type_in(place, f"python - <<'END'\n{program}\nEND\n")


def test_gradescope(place):
    for block in blocks_of("gradescope.md"):
        type_in(place, block)
    told = json.loads((place / "root" / "results" / "results.json").read_text(encoding="utf-8"))
    assert told["score"] == sum(test["max_score"] for test in told["tests"]) == MOST


def test_classroom_50_and_a_checkout_that_wants_to_be_imported(place):
    """Modules, settings of the interpreter and a result that the student's folder brings along have no effect."""
    evil = f"open({str(place / 'was-run')!r}, 'w')"
    (place / "checkout" / "minilora").mkdir(parents=True)
    for name in ("numpy.py", "json.py", "sitecustomize.py", "usercustomize.py", "minilora/__init__.py"):
        (place / "checkout" / name).write_text(evil, encoding="utf-8")
    (place / "checkout" / "result.json").write_text('{"score": 1000}', encoding="utf-8")
    for block in blocks_of("classroom50.md"):
        type_in(place, block)
    assert not (place / "was-run").exists()
    told = json.loads((place / "checkout" / "result.json").read_text(encoding="utf-8"))
    assert told["score"] == told["max-score"] == sum(test["score"] for test in told["tests"]) == MOST
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told["datetime"])
    del told["score"], told["max-score"], told["tests"], told["datetime"]
    assert told == {
        "schema": "classroom50/result/v1",
        "classroom": "CLASSROOM",
        "assignment": "ASSIGNMENT",
        "submission": "submit/1",
        "commit": "c",
        "release": "r",
        "review": "c",
    }
    with pytest.raises(ValueError, match="not an empty folder"):
        classroom50.build_folder(place / "checkout", ("merge",), b"")


def test_classroom_50_gets_an_error_and_no_result_where_grading_fails(place):
    build, *_, run = blocks_of("classroom50.md")
    type_in(place, build)
    folder = place / "classroom50" / "CLASSROOM" / "autograders" / "ASSIGNMENT"
    (folder / "course-secret").write_bytes(b"short")
    (place / "checkout").mkdir()
    (place / "checkout" / "result.json").write_text('{"score": 1000}', encoding="utf-8")
    with pytest.raises(AssertionError, match="needs 16 at least"):
        type_in(place, run)
    assert not (place / "checkout" / "result.json").exists()


@pytest.mark.skipif(isinstance(sandbox.available()["bubblewrap"], str), reason="needs bubblewrap")
def test_github_actions(place):
    """The page, then the workflow's own line for grading, with a `sudo` that has nothing to change."""
    yaml = pytest.importorskip("yaml")
    secret = ""
    for block in blocks_of("github-actions.md"):
        secret = type_in(place, block).strip() or secret
    assert len(secret) == 64
    repository = place / "repository"
    shutil.copytree(place / "exercises", repository / "exercises", ignore=shutil.ignore_patterns("0[1-8]*"))
    workflow = yaml.safe_load(
        (repository / ".github" / "workflows" / "grade.yml").read_text(encoding="utf-8")
    )
    (grading,) = (step for step in workflow["jobs"]["grade"]["steps"] if step.get("name") == "Grade")
    assert grading["env"] == {"MINILORA_COURSE_SECRET": "${{ secrets.MINILORA_COURSE_SECRET }}"}
    (place / "bin").mkdir()
    sudo = place / "bin" / "sudo"
    sudo.write_text('#!/bin/sh\nshift\nexec "$@"\n', encoding="utf-8")
    sudo.chmod(0o755)
    summary = place / "summary.md"
    variables = {"MINILORA_COURSE_SECRET": secret, "GITHUB_STEP_SUMMARY": str(summary)}
    type_in(place, grading["run"], "repository", **variables)
    assert marks_of(repository / "marks") == {"ada": MOST, "bob": FUNCTIONS}
    assert "2 submissions, 2 graded" in summary.read_text(encoding="utf-8")


def test_nbgrader_releases_and_collects_and_both_grade(place):
    pytest.importorskip("nbgrader")  # it has no release for Python 3.10
    for block in blocks_of("nbgrader.md"):
        type_in(place, block)
    released = (place / "course" / "release" / "lora" / PAGE.name).read_text(encoding="utf-8")
    assert "BEGIN SOLUTION" not in released
    (student,) = (folder.name for folder in (place / "course" / "submitted").iterdir())
    assert student == getpass.getuser()
    assert (place / "course" / "autograded" / student / "lora" / PAGE.name).exists()
    assert marks_of(place / "marks") == {student: MOST}


def test_every_link_on_the_pages_leads_somewhere():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (DOCS / target).exists(), f"{page.name}: {target}"
