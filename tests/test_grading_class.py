"""A class: kept results, a killed grader, the report, marks in an exported table, and other platforms' files."""

import csv
import html
import importlib.metadata
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from minilora import cli
from minilora.exercises import registry
from minilora.grading import formats, gradescope, lms, report, results, web
from minilora.grading.batch import grade_all
from minilora.grading.marks import FAILED, Course
from minilora.grading.sandbox import Sandbox, choose
from minilora.grading.submission import entries
from tests.test_grading import ALSO_GOOD, GOOD, as_notebook, merge_that

NAMES = ["merge", "unmerge"]
COURSE = Course(b"a secret of thirty-two bytes ...", tuple(NAMES))
ALPHA_ONLY = merge_that("return W + alpha * (B @ A)")
NOWHERE = Sandbox("plain", python="no-such-python")  # nothing can be graded in it


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory) -> Path:
    """Six submissions: right, wrong twice, deadly, in a zip, broken."""
    folder = tmp_path_factory.mktemp("handed-in")
    (folder / "ada.ipynb").write_bytes(as_notebook(GOOD, ALSO_GOOD))
    (folder / "bob.ipynb").write_bytes(as_notebook(ALPHA_ONLY, ALSO_GOOD))
    (folder / "cyn").mkdir()
    (folder / "cyn" / "work.ipynb").write_bytes(as_notebook(ALPHA_ONLY))
    (folder / "dan.ipynb").write_bytes(as_notebook(GOOD, "import os\nos._exit(0)", ALSO_GOOD))
    with zipfile.ZipFile(folder / "eve.zip", "w") as archive:
        archive.writestr("1.ipynb", as_notebook(GOOD))
        archive.writestr("2.ipynb", as_notebook(ALSO_GOOD))
    (folder / "fay.ipynb").write_bytes(b"{")
    return folder


@pytest.fixture
def classroom(handed_in, tmp_path, monkeypatch) -> Path:
    """A copy of them, which a test may change."""
    monkeypatch.setenv(results.SECRET_VARIABLE, COURSE.secret.decode())
    return shutil.copytree(handed_in, tmp_path / "class")


@pytest.fixture(scope="module")
def graded(handed_in, tmp_path_factory):
    """Their results, and the folder that keeps them; graded once, since each submission starts a process."""
    kept = tmp_path_factory.mktemp("graded") / "marks"
    return grade_all(entries(handed_in), COURSE, choose(), kept, workers=1), kept


SCORES = {"ada": 3, "bob": 1, "cyn": 0, "dan": 3, "eve": 3, "fay": 0}


def scores(found):
    return {result["student"]: result["score"] for result in found}


def test_every_submission_gets_its_result_and_none_is_graded_twice(classroom, graded, tmp_path):
    found, kept = graded[0], shutil.copytree(graded[1], tmp_path / "marks")
    assert scores(found) == SCORES
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    assert len(before) == 6
    assert grade_all(entries(classroom), COURSE, NOWHERE, kept, workers=1) == found, "graded again"
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before

    (classroom / "bob.ipynb").write_bytes(as_notebook(GOOD, ALSO_GOOD))
    found = grade_all(entries(classroom), COURSE, choose(), kept, workers=1)
    assert scores(found) == SCORES | {"bob": 3}


def test_a_failure_is_kept_for_no_one_and_tried_again(classroom, tmp_path):
    for name in ("dan.ipynb", "eve.zip", "fay.ipynb"):  # the first two submissions tell enough
        (classroom / name).unlink()
    shutil.rmtree(classroom / "cyn")
    found = grade_all(entries(classroom), COURSE, NOWHERE, tmp_path / "marks", workers=1)
    assert {result["status"] for result in found} == {FAILED}
    assert {result["score"] for result in found} == {None}
    expected = {student: SCORES[student] for student in ("ada", "bob")}
    assert scores(grade_all(entries(classroom), COURSE, choose(), tmp_path / "marks", workers=1)) == expected


@pytest.mark.slow
def test_in_parallel_and_through_the_command_line_it_is_the_same(classroom, tmp_path, capsys):
    asked = ["grade", str(classroom), "--results", str(tmp_path / "marks"), "--exercises", *NAMES]
    assert cli.main([*asked, "--workers", "2", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["student"]: int(row["score"]) for row in rows} == SCORES
    assert (tmp_path / "marks" / "report.md").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills by a signal")
def test_a_killed_grader_leaves_whole_results_and_the_next_run_finishes(classroom, tmp_path):
    kept = tmp_path / "marks"
    command = [sys.executable, "-m", "minilora.cli", "grade", str(classroom), "--results", str(kept)]
    command += ["--exercises", *NAMES, "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while not list(kept.glob("*.json")) and time.monotonic() < limit:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in kept.glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["schema"] == "minilora-grade/1"
    assert not (kept / "report.md").exists()
    subprocess.run(command, check=True, capture_output=True)
    assert scores(json.loads(p.read_text(encoding="utf-8")) for p in kept.glob("*.json")) == SCORES


def test_the_report_names_the_mistake_and_who_to_look_at(graded):
    counted = report.of_class(graded[0])
    text = report.as_markdown(counted)
    assert "6 submissions, 5 graded" in text
    sentence = next(wrong.sentence for wrong in registry.get("merge").wrong if wrong.key == "alpha-only")
    assert f"| 2 | merge | {sentence} |" in text
    assert "- fay (unreadable): fay.ipynb: the file is not a notebook" in text
    assert "- dan (graded): cell 2: its process ended" in text
    assert counted.scores == [3, 1, 0, 3, 3]
    assert counted.tenths == [1, 0, 0, 1, 0, 0, 0, 0, 0, 3]
    told = [(e.title, e.tried, e.full) for e in counted.exercises]
    assert told == [(registry.get("merge").title, 5, 3 / 5), (registry.get("unmerge").title, 4, 1.0)]


def result_of(student, *questions, **more):
    """A made-up result: (exercise, earned, mistakes) for each question."""
    told = [
        {
            "name": name,
            "title": registry.get(name).title,
            "points": registry.get(name).points,
            "earned": earned,
            "outcome": "correct" if earned == registry.get(name).points else "incorrect",
            "mistakes": mistakes,
            "sentence": "",
            "answer": "",
            "chosen": {},
            "written": [],
        }
        for name, earned, mistakes in questions
    ]
    score = sum(earned for _, earned, _ in questions)
    most = sum(question["points"] for question in told)
    result = {"student": student, "status": "graded", "score": score, "max_score": most, "questions": told}
    return result | {"remarks": [], "content": ""} | more


def test_the_page_draws_the_numbers_of_the_report():
    question = registry.QUESTIONS[0]
    slip, sentence = next((w[0], w[2]) for p in question.parts for w in p.wrong(question.numbers("ada")))
    found = [result_of(f"s{n}", ("merge", 0, ["minus"]), (question.name, 6, [])) for n in range(3)]
    found += [result_of("t", ("merge", 2, []), (question.name, 5, [slip]))]
    counted = report.of_class(found)
    page = web.report_page(counted, found)
    heights = re.findall(r'y="[\d.]+" width="52" height="([\d.]+)"', page)
    assert [round(float(height) / 110, 3) for height in heights] == [c / 3 for c in counted.tenths[:7]] + [
        1,
        0.333,
        0,
    ]
    exercises, mistakes = page.split('id="exercises"')[1].split('id="students"')[0].split('id="mistakes"')
    bars = [
        [float(width) for width in re.findall(r'width="([\d.]+)" height="12" class="bar"', p)]
        for p in (exercises, mistakes)
    ]
    assert bars == [[25, 75], [100, pytest.approx(100 / 3)]]
    assert mistakes.index("You subtract the update") < mistakes.index(html.escape(sentence[:20]))
    assert "<svg" not in web.report_page(report.of_class([]), [])  # nothing graded yet


def test_a_mistake_without_words_of_its_own_is_told_as_the_student_was():
    one = result_of("ada", ("merge", 0, ["found on the spot"]))
    one["questions"][0]["sentence"] = "Two rows are swapped."
    assert report.of_class([one]).mistakes[0].sentence == "Two rows are swapped."


# -- tables ----------------------------------------------------------------------------------------------------------

TABLES = {
    "Moodle": b'Identifier,"Full name",Grade,"Last modified (submission)"\n"Participant 1",Ada,,"Monday, 1 March"\n',
    "semicolons and CRLF": b'Identifier;Name;Grade\r\n"Participant 1";"A;da";;\r\nx;y;3\r\n',
    "quotes, tabs, BOM": b'\xef\xbb\xbf"Identifier"\t"Grade"\t"Note"\n"Participant 1"\t"0"\t"a ""b""\nc"\n\n',
    "no line end at the end": b"Grade,Identifier\n,Participant 1",
    "umlauts": "Identifier,Grade,Größe\nParticipant 1,,ß\nZoë,-,ß\n".encode(),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_one_column_is_filled_and_every_other_byte_stays(table):
    found = lms.fill_marks(table, "Identifier", "Grade", {"participant 1": 77})
    assert found.missing == []
    filled = found.table
    start = next(i for i, (a, b) in enumerate(zip(table, filled, strict=False)) if a != b)
    old, new = table[start:], filled[start:]
    assert new.startswith(b"77")
    assert old in (new[2:], b"0" + new[2:]), "nothing but the mark changed"


def test_a_table_that_cannot_be_filled_is_refused():
    for table, words in (
        (b"Identifier,b\n1,2\n", "needs one column 'Grade'"),
        (b"", "needs one column"),
        (b"Identifier,Grade,Grade\n", "needs one column 'Grade'"),
        (b"Identifier,Grade\nx,1\nX,2\n", "comes twice"),
        (b"Identifier,Grade\nx\n", "too few fields"),
        (b"Identifier,Grade\n\xff,1\n", "not UTF-8"),
        (b'Identifier,Grade\n"x"y,1\n', "cannot be read at byte"),
    ):
        with pytest.raises(ValueError, match=words):
            lms.fill_marks(table, "Identifier", "Grade", {"x": 1})


def test_only_real_marks_are_filled_in(classroom, graded, tmp_path, capsys):
    kept = shutil.copytree(graded[1], tmp_path / "marks")
    table, out = tmp_path / "export.csv", tmp_path / "filled.csv"
    table.write_bytes(b"id,mark\nada,\nfay,\nzoe,\n")
    asked = ["grade", str(classroom), "--exercises", *NAMES, "--workers", "1", "--fill", str(table)]
    asked += ["--results", str(kept), "--id-column", "id", "--mark-column", "mark", "--output", str(out)]
    assert cli.main(asked) == 0
    assert out.read_bytes() == b"id,mark\nada,3\nfay,\nzoe,\n"
    said = capsys.readouterr().err
    assert f"4 have a mark, and no row in {table}: bob, cyn, dan, eve" in said
    assert "1 have no mark to fill in: fay" in said
    assert f"2 have a row in {table}, and no mark: fay, zoe" in said


# -- other platforms -------------------------------------------------------------------------------------------------


def test_other_platforms_files(classroom, capsys):
    one = ["grade", str(classroom / "bob.ipynb"), "--exercises", *NAMES, "--format"]
    assert cli.main([*one, "gradescope"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["score"] == 1
    assert [(t["score"], t["max_score"], t["status"]) for t in told["tests"]] == [
        (0, 2, "failed"),
        (1, 1, "passed"),
    ]
    assert "Divide alpha by the rank" in told["tests"][0]["output"]
    assert cli.main([*one, "classroom50"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "classroom50/result/v1"
    assert (told["score"], told["max-score"]) == (1, 3)
    assert told["tests"][0] == {"test-name": "merge", "passed": False, "score": 0, "max-score": 2}
    assert cli.main(["grade", str(classroom), "--format", "gradescope"]) == 1
    assert "is for one submission" in capsys.readouterr().err


def test_a_failed_grading_is_no_score_anywhere(classroom, monkeypatch, capsys):
    monkeypatch.setattr("minilora.grading.sandbox.choose", lambda name: NOWHERE)
    one = ["grade", str(classroom / "ada.ipynb"), "--exercises", *NAMES]
    assert cli.main([*one, "--format", "gradescope"]) == 3
    assert "score" not in json.loads(capsys.readouterr().out)
    assert cli.main([*one, "--format", "classroom50"]) == 1
    assert cli.main([*one, "--format", "csv"]) == 3
    assert "ada,failed,,3" in capsys.readouterr().out


def test_a_notebook_as_handed_out_says_what_counts():
    from minilora.grading.counted import choose_exercises

    handed_out = Path(__file__).parent.parent / "exercises" / "07_swappable_adapters.ipynb"
    names = choose_exercises([str(handed_out)])
    assert names == ("swappable-adapters", "save-adapter", "swap-adapters", "blend", "mixed-batch")
    assert set(choose_exercises(None)) == set(registry.BY_NAME)
    with pytest.raises(ValueError, match="there is no exercise"):
        choose_exercises(["mergee"])


def test_text_for_a_person_says_how_safe_it_was(classroom):
    result = grade_all(entries(classroom / "ada.ipynb"), COURSE, choose("plain"))[0]
    text = formats.as_text(result)
    assert "ada: 3 of 3 points" in text
    assert "not a security boundary" in text


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="Gradescope's machines have bash")
def test_the_gradescope_zip_runs_in_a_scratch_root(classroom, tmp_path, capsys):
    built, root = tmp_path / "autograder.zip", tmp_path / "root"
    assert cli.main(["grade", "--gradescope-zip", str(built), "--exercises", *NAMES]) == 0
    with zipfile.ZipFile(built) as archive:
        archive.extractall(root / "source")
        modes = {
            name: archive.getinfo(name).external_attr >> 16 & 0o777 for name in ("setup.sh", "run_autograder")
        }
    assert set(modes.values()) == {0o755}
    (root / "submission").mkdir()
    shutil.copy(classroom / "bob.ipynb", root / "submission")
    (root / "submission_metadata.json").write_text('{"users": [{"email": "bob"}]}', encoding="utf-8")
    environment = os.environ | {"AUTOGRADER_ROOT": str(root), "MINILORA_PYTHON": sys.executable}
    run = ["bash", str(root / "source" / "run_autograder")]
    subprocess.run(run, env=environment, check=True, capture_output=True, timeout=200)
    assert json.loads((root / "results" / "results.json").read_text(encoding="utf-8"))["score"] == 1
    (root / "results" / "results.json").unlink()
    shutil.rmtree(root / "source" / "minilora")
    subprocess.run(run, env=environment | {"MINILORA_PYTHON": "false"}, check=True, capture_output=True)
    assert "no zero" in (root / "results" / "results.json").read_text(encoding="utf-8")


@pytest.mark.skipif(os.name != "posix" or not shutil.which("bash"), reason="Gradescope's machines have bash")
def test_gradescopes_machine_is_set_up_without_cuda_and_on_any_python(tmp_path):
    """setup.sh itself, in a scratch root; what it would install is written down and not fetched."""
    built, root, said = tmp_path / "autograder.zip", tmp_path / "root", tmp_path / "said"
    gradescope.build_zip(built, tuple(NAMES), b"secret")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(root / "source")
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    note = f'#!/bin/sh\necho "$(basename "$0") $*" >> {shlex.quote(str(said))}\n'
    (fakes / "apt-get").write_text(note, encoding="utf-8")
    make = 'mkdir -p "$3/bin" && cp "$(dirname "$0")/apt-get" "$3/bin/pip"\n'
    (fakes / "python3").write_text(note + make, encoding="utf-8")
    for fake in fakes.iterdir():
        fake.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{fakes}{os.pathsep}{os.environ['PATH']}",
        "AUTOGRADER_ROOT": str(root),
        "MINILORA_ENVIRONMENT": str(tmp_path / "environment"),
        "TORCH_INDEX": "an-index",
    }
    for script in ("setup.sh", "run_autograder"):
        subprocess.run(["bash", "-n", str(root / "source" / script)], check=True)
    subprocess.run(["bash", str(root / "source" / "setup.sh")], env=environment, check=True)
    update, install, venv, torch, others = said.read_text(encoding="utf-8").splitlines()
    assert update.startswith("apt-get update")
    assert "bubblewrap" in install
    assert venv.startswith("python3 -m venv")
    assert torch.startswith("pip install --quiet --index-url an-index torch>=2.5,<=")
    assert others.startswith("pip install --quiet numpy>=1.26,<=")
    assert "torch" not in others
    assert not [path for path in (root / "source").rglob("*") if path.stat().st_mode & 0o077]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_what_gradescope_installs_exists_for_each_python(python):
    """The lock was resolved for all of them: its version for that Python must fit, or this machine's, if older."""
    lock = (Path(__file__).parents[1] / "requirements.lock").read_text(encoding="utf-8")
    lines = [Requirement(line) for line in lock.splitlines() if line and not line.startswith("#")]
    there = {"python_full_version": f"{python}.9", "python_version": python, "sys_platform": "linux"}
    locked = {
        line.name.lower(): str(line.specifier).removeprefix("==")
        for line in lines
        if line.marker is None or line.marker.evaluate(there)
    }
    for wanted in map(Requirement, gradescope.requirements()):
        if wanted.marker:  # for other Pythons than this one
            continue
        here = Version(importlib.metadata.version(wanted.name))
        fits = min(Version(locked[wanted.name]), Version(here.public))
        assert wanted.specifier.contains(fits), (wanted, fits)
