"""Exercises in JupyterLab in a real browser: an empty, a wrong and a right answer, and what the learner then sees."""

import ast
import importlib.util
import shutil
from pathlib import Path

import nbformat
import pytest

from minilora.exercises import registry
from minilora.exercises.question_parts import Choice
from minilora.grading.grade import grade
from minilora.grading.marks import Course
from minilora.grading.submission import Submission, read_notebook
from tests.browser import missing
from tests.test_grading import BOXES

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

PATIENCE = 180_000  # ms: a busy machine takes long to start a kernel, and that is not what is tested

SET_SOURCE = """
([place, text]) => jupyterapp.shell.currentWidget.content.widgets[place].model.sharedModel.setSource(text)
"""
KERNEL_RESTS = "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
RUN_ALL = "() => jupyterapp.commands.execute('notebook:run-all-cells')"  # ends with the last cell


@pytest.fixture(scope="module")
def explorables():
    """The program that measures explorables: its server and browser serve here too."""
    spec = importlib.util.spec_from_file_location("explorables", ROOT / "benchmarks" / "explorables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def lab(explorables, tmp_path, monkeypatch):
    """(browser page, address) of a JupyterLab on a copy of the student notebooks."""
    monkeypatch.setenv("MINILORA_HOME", str(tmp_path / "home"))
    for path in (ROOT / "exercises").glob("*.ipynb"):
        shutil.copy(path, tmp_path)
    with explorables.jupyter_server(tmp_path) as address, explorables.browser_page() as page:
        page.set_default_timeout(PATIENCE)
        yield page, address


def test_a_function_from_empty_over_wrong_to_right(lab):
    exercise = registry.get("choose-rank")
    crashing = exercise.stub_source().replace("# YOUR CODE HERE", "return 1 / 0")
    wrong = exercise.stub_source().replace("# YOUR CODE HERE", "found = 1")
    shown = walk(
        lab,
        "04_why_it_works.ipynb",
        "choose-rank",
        [crashing, wrong, exercise.solution_source()],
    )
    assert "○ Choose the rank from a spectrum: not attempted" in shown[0]
    assert "! Choose the rank from a spectrum: crashed" in shown[1]
    assert "division by zero" in shown[1]
    assert "Traceback" not in shown[1]
    assert "✗ Choose the rank from a spectrum: incorrect" in shown[2]
    assert "did you forget a return?" in shown[2]
    assert "✓ Choose the rank from a spectrum: correct, 2 of 2 points" in shown[3]
    assert exercise.explanation.split(".")[0] in shown[3]


def test_a_question_from_empty_over_wrong_to_right(lab):
    question = registry.get("full-or-lora")
    right = question.solution_source()
    wrong = right.replace('"stuck": "b"', '"stuck": "a"')
    assert wrong != right
    shown = walk(lab, "09_when_to_use_what.ipynb", "full-or-lora-answers", [wrong, right])
    assert "not attempted" in shown[0]
    assert "6 of 7 points" in shown[1]
    assert "Perhaps later" in shown[1]
    assert "A model answer" not in shown[0]
    assert "correct, 7 of 7 points" in shown[2]
    assert "A model answer" in shown[2]


def test_what_is_clicked_and_typed_stands_in_the_file_that_is_handed_in(lab, tmp_path):
    """With the mouse, by keyboard, and as text; saved, and graded with nothing but the file."""
    page, address = lab
    question, name = registry.get("full-or-lora"), "09_when_to_use_what.ipynb"
    open_and_run(page, address, name)
    page.locator(".minilora-form").nth(1).wait_for()
    prediction, answers = page.locator(".minilora-form").nth(0), page.locator(".minilora-form").nth(1)
    prediction.locator("input[value=b]").check()
    prediction.get_by_text("You can change it until").wait_for()
    solved = question.solved("ada")
    groups = answers.locator("fieldset")
    for place, part in enumerate(part for part in question.parts if isinstance(part, Choice)):
        first = groups.nth(place).locator("input").first
        if place == 0:
            first.focus()
            for _ in range("abcd".index(solved[part.key])):
                page.keyboard.press("ArrowDown")
        else:
            groups.nth(place).locator(f"input[value={solved[part.key]}]").check()
    typed = [key for key, value in solved.items() if len(str(value)) > 1 or not isinstance(value, str)]
    for key, field in zip(typed, answers.locator("input:not([type=radio]), textarea").all(), strict=True):
        field.fill(str(solved[key]))
        field.blur()
    answers.get_by_text("Written into the cell above").wait_for()
    page.wait_for_timeout(1000)
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    cells = nbformat.read(tmp_path / name, as_version=4).cells
    [cell] = [cell for cell in cells if cell.source.startswith("answers = {")]
    assert ast.literal_eval(ast.parse(cell.source).body[0].value) == solved
    submission = Submission("ada", {name: read_notebook((tmp_path / name).read_bytes())})
    graded = grade(submission, Course(b"a secret of thirty-two bytes ...", (question.name,)), BOXES["plain"])
    assert graded.score == question.points
    page.evaluate(RUN_ALL)
    ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in cells]
    page.wait_for_timeout(500)
    assert "correct, 7 of 7 points" in check_output(page, ids)


def open_and_run(page, address, name):
    page.goto(f"{address}/lab/tree/{name}?reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    page.wait_for_function(KERNEL_RESTS)
    page.evaluate(RUN_ALL)


def walk(lab, name, answer, sources):
    """What the check shows for the untouched notebook, and then with each of these texts in the answer's cell."""
    page, address = lab
    cells = nbformat.read(ROOT / "exercises" / name, as_version=4).cells
    ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in cells]
    place = ids.index(answer)
    open_and_run(page, address, name)
    shown = [check_output(page, ids)]
    for source in sources:
        page.evaluate(SET_SOURCE, [place, source])
        page.evaluate(RUN_ALL)
        page.wait_for_timeout(500)
        shown.append(check_output(page, ids))
    return shown


def check_output(page, ids):
    """The text of the panel below the check; the panel itself must be there, not only its plain text."""
    place = next(place for place, grade_id in enumerate(ids) if grade_id and grade_id.endswith("-check"))
    cell = page.locator(".jp-Notebook .jp-Cell").nth(place)
    cell.scroll_into_view_if_needed()
    panel = cell.locator(".jp-RenderedHTMLCommon div[style*='border-left']").first
    panel.wait_for()
    return panel.inner_text()
