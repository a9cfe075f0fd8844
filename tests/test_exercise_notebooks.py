"""The exercise notebooks: in step with the registry, without solutions for students, and usable in nbgrader."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from minilora.exercises import registry
from minilora.exercises.exercise import BEGIN, END, Exercise
from minilora.exercises.learner_side import is_stub
from minilora.exercises.question import Choice, Question
from tests.helpers import jupyter_apart

ROOT = Path(__file__).parents[1]
NUMPY = ROOT / "exercises" / "00_numpy.ipynb"  # has nothing to solve
STUDENT = sorted(set((ROOT / "exercises").glob("*.ipynb")) - {NUMPY})
SOLVED = sorted((ROOT / "exercises" / "solutions").glob("*.ipynb"))
BUILD = [sys.executable, str(ROOT / "tools" / "build_exercises.py")]
each_student = pytest.mark.parametrize("path", STUDENT, ids=lambda path: path.stem)


def cells_by_id(path):
    cells = nbformat.read(path, as_version=4).cells
    return {cell.metadata.nbgrader.grade_id: cell for cell in cells if "nbgrader" in cell.metadata}


def everywhere(paths):
    """grade id -> cell, over all pages."""
    return {grade_id: cell for path in paths for grade_id, cell in cells_by_id(path).items()}


def secrets(exercise):
    """What a student must come to alone: what is between the marks, hints, explanations, sentences on mistakes."""
    found = [*exercise.hints, exercise.explanation]
    if isinstance(exercise, Exercise):
        found += [wrong.sentence for wrong in exercise.wrong]
        given = exercise.stub_source() + exercise.statement + "".join(exercise.pitfalls)
        body = exercise.marked_source().split(BEGIN)[1].split(END)[0]
        lines = [line.strip() for line in body.split("\n")]
        found += [line for line in lines if len(line) > 12 and line not in given]
    else:
        found += [text.model_answer for text in exercise.prose]
        found += [s for part in exercise.parts for _, _, s in part.wrong(exercise.numbers("example"))]
        if exercise.program:
            body = exercise.program_source(solved=True).split(BEGIN)[1].split(END)[0]
            found += [line.strip() for line in body.split("\n") if len(line.strip()) > 12]
    return found


def test_every_student_notebook_has_its_solutions():
    assert [path.name for path in STUDENT] == [path.name for path in SOLVED]


@each_student
def test_solutions_appear_nowhere_in_a_student_notebook(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    words = " ".join(text.split())
    assert BEGIN not in text
    assert END not in text
    for exercise in registry.EXERCISES:
        for secret in secrets(exercise):
            assert " ".join(secret.split()) not in words, (exercise.name, secret)


def test_the_search_for_solutions_would_find_them():
    text = " ".join(" ".join(cell.source.split()) for cell in everywhere(SOLVED).values())
    for exercise in registry.EXERCISES:
        if isinstance(exercise, Exercise):
            body = exercise.marked_source().split(BEGIN)[1].split(END)[0]
            assert " ".join(body.split()) in text


@pytest.mark.parametrize("exercise", registry.EXERCISES, ids=lambda exercise: exercise.name)
def test_each_exercise_has_its_cells(exercise):
    student, solved = everywhere(STUDENT), everywhere(SOLVED)
    statement = student[f"{exercise.name}-statement"].source
    assert exercise.statement.strip() in statement
    assert f"{exercise.minutes} minutes" in statement
    check = student[f"{exercise.name}-check"]
    assert check.metadata.nbgrader.points == exercise.points
    assert check.metadata.nbgrader.locked
    if isinstance(exercise, Exercise):
        namespace = {}
        exec("import numpy as np\nimport torch\n" + student[exercise.name].source, namespace)
        assert is_stub(namespace[exercise.function_name])
        assert exercise.marked_source() == solved[exercise.name].source
    else:
        cell = student[f"{exercise.name}-answers"]
        answers = read_answers(cell.source)
        assert all(value in (None, "") for key, value in answers.items() if key not in exercise.settings)
        assert [*answers] == ["student", *exercise.settings, *(part.key for part in exercise.parts)]
        assert cell.metadata.nbgrader.points == exercise.prose_points
        assert read_answers(solved[f"{exercise.name}-answers"].source) == exercise.solved()
        shown = student[f"{exercise.name}-parts"].source
        for part in exercise.parts:
            assert part.prompt in shown
            if isinstance(part, Choice):
                assert all(f"**{letter})** {option.text}" in shown for letter, option in part.lettered())


def read_answers(source):
    """As a grader reads them: the last `answers = {…}` of the cell, as data."""
    assignments = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return ast.literal_eval(assignments[-1].value)


WIDTH = 96  # characters that a cell shows in a window 1280 pixels wide, beside the file browser


@pytest.mark.parametrize("path", [NUMPY, *STUDENT], ids=lambda path: path.stem)
def test_code_fits_a_window(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    lines = [line for cell in cells for line in cell.source.split("\n")]
    assert [line for line in lines if len(line) > WIDTH] == []


@pytest.mark.parametrize("path", [NUMPY, *STUDENT], ids=lambda path: path.stem)
def test_student_notebooks_are_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    ids = [cell.metadata.nbgrader.grade_id for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert len(set(ids)) == len(ids)
    assert b"\r" not in path.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_solutions_run_to_correct_and_stubs_to_not_attempted():
    done = subprocess.run([*BUILD, "--run"], capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_on_numpy_runs_and_has_what_the_solutions_use(tmp_path):
    """As scripts do, without a kernel; and each NumPy function of a solution is shown there."""
    cells = [cell.source for cell in nbformat.read(NUMPY, as_version=4).cells if cell.cell_type == "code"]
    exec("\n".join(cells), {})
    text = "\n".join(cell.source for cell in nbformat.read(NUMPY, as_version=4).cells)
    for exercise in registry.HANDS_ON:
        for name in re.findall(r"np\.(\w+)\(", exercise.solution_source()):
            assert name in text, (exercise.name, name)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_nbval_runs_the_solutions_without_an_error(path, tmp_path):
    """Lax: what cells print is not compared (the test above reads the verdicts). A copy, for a page leaves files."""
    pytest.importorskip("nbval")
    shutil.copy(path, tmp_path)
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=600", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "-o", "addopts=", path.name]
    environment = jupyter_apart(tmp_path) | {"MINILORA_HOME": str(tmp_path)}
    environment.pop("NBGRADER_EXECUTION", None)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


# -- nbgrader itself -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course with one assignment, made from the solution notebooks and released."""
    pytest.importorskip("nbgrader")  # it has no release for Python 3.10
    folder = tmp_path_factory.mktemp("course")
    shutil.copy(ROOT / "exercises" / "nbgrader_config.py", folder)
    source = folder / "source" / "lora"
    source.mkdir(parents=True)
    for path in SOLVED:
        shutil.copy(path, source)
    (source / "minilora-progress.json").write_text("{}", encoding="utf-8")  # from trying the notebooks out
    nbgrader(folder, "generate_assignment", "lora")
    return folder


def nbgrader(folder, *arguments):
    environment = jupyter_apart(folder / "home")
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nbgrader_releases_what_we_hand_out(course):
    released = sorted((course / "release" / "lora").glob("*.ipynb"))
    assert [path.name for path in released] == [path.name for path in STUDENT]
    assert not (course / "release" / "lora" / "minilora-progress.json").exists()

    def without_mark(cell):
        """Below a value to fill in, nbgrader leaves its stub and we leave nothing."""
        lines = [line for line in cell.source.split("\n") if line.strip() not in ("", "# YOUR CODE HERE")]
        return "\n".join(lines)

    for theirs, ours in zip(released, STUDENT, strict=True):
        pairs = zip(*(nbformat.read(path, as_version=4).cells for path in (theirs, ours)), strict=True)
        assert all(without_mark(a) == without_mark(b) for a, b in pairs), theirs.name
        test_solutions_appear_nowhere_in_a_student_notebook(theirs)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [path.name for path in SOLVED])
def test_nbgrader_validates_solutions_and_refuses_stubs(course, name):
    said = nbgrader(course, "validate", str(course / "source" / "lora" / name))
    assert "Success! Your notebook passes all the tests." in said
    said = nbgrader(course, "validate", str(course / "release" / "lora" / name))
    assert "VALIDATION FAILED" in said


SOLVED_PAGES = ("02_change_only_a_little.ipynb", "09_when_to_use_what.ipynb")
STUB_PAGE = "04_why_it_works.ipynb"


@pytest.mark.slow
def test_nbgrader_grades_a_submission(course):
    """Three pages: one question and one function solved, and one function left as it was handed out."""
    submitted = course / "submitted" / "ada" / "lora"
    submitted.mkdir(parents=True)
    for folder, page in (("source", SOLVED_PAGES[0]), ("source", SOLVED_PAGES[1]), ("release", STUB_PAGE)):
        shutil.copy(course / folder / "lora" / page, submitted)
    nbgrader(course, "autograde", "lora", "--create")
    code = (
        "import json; from nbgrader.api import Gradebook\n"
        "with Gradebook('sqlite:///gradebook.db') as book:\n"
        "    s = book.find_submission('lora', 'ada'); print(json.dumps([s.score, s.max_score]))"
    )
    environment = jupyter_apart(course / "home")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=course, env=environment, capture_output=True, text=True, check=True
    )
    score, most = json.loads(done.stdout)
    automatic = sum(exercise.points for exercise in registry.EXERCISES)
    by_hand = sum(exercise.prose_points for exercise in registry.EXERCISES if isinstance(exercise, Question))
    assert score == sum(registry.get(name).points for name in ("count-trainable", "full-or-lora"))
    assert most == automatic + by_hand
