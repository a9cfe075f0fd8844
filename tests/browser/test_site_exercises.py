"""Exercises on the web site: solved in the page, judged there by Python, and graded as the file that is downloaded.

What needs NumPy runs where the site has it. Not here: what Python says (tests/test_exercises_in_page.py).
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minilora.exercises import registry
from minilora.exercises.question_parts import Choice
from minilora.grading.grade import grade
from minilora.grading.marks import Course
from minilora.grading.submission import Submission, read_notebook
from tests.browser import site_server
from tests.test_grading import BOXES

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(site_server.missing()), reason=site_server.missing()),
]

QUESTION, PAGE = registry.get("full-or-lora"), "exercises/09_when_to_use_what.html"
FUNCTION, FUNCTION_PAGE = registry.get("choose-rank"), "exercises/04_why_it_works.html"
# Drives the worker as judge.js does.
JUDGE = """
([address, questions]) => new Promise((resolve, reject) => {
  const worker = new Worker(address, { type: "module" }), answers = [];
  const next = () => worker.postMessage(
    { number: answers.length, action: "check", given: [...questions[answers.length], []], packages: ["numpy"] });
  worker.onmessage = ({ data }) => {
    if (data.begun) return;
    answers.push(data.result?.outcome ?? data.error);
    answers.length < questions.length ? next() : resolve(answers);
  };
  worker.onerror = (event) => reject(new Error(event.message));
  next();
})
"""
SECRET = b"a secret of thirty-two bytes ..."


@pytest.fixture
def opened(address, browser) -> Iterator[Any]:
    """(page, address) of a reader who comes for the first time; nothing may go wrong meanwhile."""
    with site_server.visit(browser, address, service_workers="block", accept_downloads=True) as (
        page,
        problems,
    ):
        page.set_default_timeout(300_000)
        yield page, address
        assert not [problem for problem in problems if "Service Worker" not in problem]


@pytest.fixture(scope="module")
def has_numpy(site: Path) -> bool:
    return bool([*(site / "_static" / "pyodide").glob("numpy-*")])


def exercise(page: Any, name: str) -> Any:
    return page.locator(f".exercise[data-exercise*='\"{name}\"']")


def check(page: Any, name: str) -> str:
    """Presses the button, and waits for the verdict."""
    node = exercise(page, name)
    node.evaluate("(node) => delete node.dataset.outcome")
    node.get_by_role("button", name="Check").click()
    page.wait_for_function("(node) => node.dataset.outcome", arg=node.element_handle())
    return node.locator(".verdict").inner_text()


def fill(page: Any, name: str, answers: dict[str, Any]) -> None:
    question, node = registry.get(name), exercise(page, name)
    name_field = node.get_by_label("Your name or number")
    name_field.fill(answers["student"])
    name_field.blur()
    node.get_by_text(f"the numbers of {answers['student']}").wait_for()
    groups = {part.key: part for part in question.parts}
    for key, part in groups.items():
        if isinstance(part, Choice):
            node.locator(f'input[name="{name}-{key}"][value="{answers[key]}"]').check()
    typed = [key for key, part in groups.items() if not isinstance(part, Choice)]
    fields = node.locator(".typed input, .typed textarea").all()[1:]
    for key, field in zip(typed, fields, strict=True):
        field.fill(str(answers[key]))
        field.blur()


def download(page: Any, folder: Path) -> Path:
    with page.expect_download() as waited:
        page.get_by_role("button", name="Download the notebook").click()
    path = folder / waited.value.suggested_filename
    waited.value.save_as(path)
    return path


def score(path: Path, name: str) -> float:
    submission = Submission("ada", {path.name: read_notebook(path.read_bytes())})
    return grade(submission, Course(SECRET, (name,)), BOXES["plain"]).score


def test_a_question_from_empty_over_wrong_to_the_file_that_is_graded(opened, tmp_path):
    page, address = opened
    page.goto(address + PAGE)
    assert "not attempted" in check(page, QUESTION.name)
    right = QUESTION.solved("ada")
    choice = next(part for part in QUESTION.parts if isinstance(part, Choice))
    _, wrong, sentence = choice.wrong(QUESTION.numbers("ada"))[0]
    fill(page, QUESTION.name, right | {choice.key: wrong})
    said = check(page, QUESTION.name)
    assert "incorrect" in said
    assert sentence[:40] in said
    assert "the numbers of ada" in exercise(page, QUESTION.name).inner_text()
    fill(page, QUESTION.name, right)
    assert "correct, 7 of 7 points" in check(page, QUESTION.name)
    page.reload()
    node = exercise(page, QUESTION.name)
    assert node.get_by_label("Your name or number").input_value() == "ada", "what was written is kept"
    assert page.get_by_text("1 of 1 right").is_visible()
    path = download(page, tmp_path)
    assert path.name == "09_when_to_use_what.ipynb"
    assert score(path, QUESTION.name) == QUESTION.points


def test_only_the_answers_differ_from_the_notebook_that_is_handed_out(opened, tmp_path):
    page, address = opened
    page.goto(address + PAGE)
    original = json.loads(
        (site_server.ROOT / "exercises" / "09_when_to_use_what.ipynb").read_text(encoding="utf-8")
    )
    assert json.loads(download(page, tmp_path).read_text(encoding="utf-8")) == original
    fill(page, QUESTION.name, QUESTION.solved("ada"))
    check(page, QUESTION.name)
    changed = json.loads(download(page, tmp_path).read_text(encoding="utf-8"))
    pairs = zip(changed["cells"], original["cells"], strict=True)
    different = [new["metadata"]["nbgrader"]["grade_id"] for new, old in pairs if new != old]
    assert different == [f"{QUESTION.name}-answers"]


def test_the_prediction_covers_what_the_experiment_shows(opened):
    page, address = opened
    page.goto(address + PAGE)
    assert not page.locator(".reveal").first.is_visible()
    page.locator(".prediction").first.get_by_role("button").first.click()
    page.get_by_role("button", name="Show what was measured").click()
    options = dict(QUESTION.prediction.lettered())
    assert options[QUESTION.prediction.comes_true] in page.locator(".reveal").first.inner_text()


def test_code_that_never_ends_is_ended_and_the_page_lives_on(opened):
    """By the button, and by itself after a while."""
    page, address = opened
    page.goto(address + PAGE)
    endless = "while True:\n    pass"
    key = f"minilora/exercise/{QUESTION.name}"
    page.evaluate("([key, source]) => localStorage.setItem(key, JSON.stringify({ source }))", [key, endless])
    page.reload()
    node = exercise(page, QUESTION.name)
    node.get_by_role("button", name="Check").click()
    page.wait_for_timeout(2000)
    assert page.evaluate("() => 1 + 1") == 2, "the page answers meanwhile"
    node.get_by_role("button", name="Stop").click()
    assert "you stopped it" in node.locator(".verdict").inner_text()
    assert "did not finish within 20 seconds" in check(page, QUESTION.name)
    node.get_by_role("button", name="Start over").click()
    assert "not attempted" in check(page, QUESTION.name), "Python starts again"


def test_hints_come_one_at_a_time_by_buttons_and_need_no_python(opened):
    page, address = opened
    page.goto(address + PAGE)
    hints = page.locator(".hints").first
    for number, hint in enumerate(QUESTION.hints, 1):
        assert not hints.get_by_text(hint[:40]).is_visible()
        hints.get_by_text(f"Hint {number} of 3").click()
        assert hints.get_by_text(hint[:40]).is_visible()
    assert page.evaluate(
        "() => performance.getEntriesByType('resource').every(({ name }) => !name.includes('pyodide'))"
    )


def test_a_solution_is_offered_after_an_attempt(opened):
    page, address = opened
    page.goto(address + PAGE)
    button = exercise(page, QUESTION.name).get_by_role("button", name="Show a solution")
    assert not button.is_visible()
    check(page, QUESTION.name)
    button.click()
    page.get_by_text("one solution").wait_for()


def test_every_exercise_can_be_solved_in_the_page_or_says_where(site, has_numpy):
    pages = "".join(path.read_text(encoding="utf-8") for path in (site / "exercises").glob("0*.html"))
    found = [json.loads(html.unescape(part.split('"')[0])) for part in pages.split('data-exercise="')[1:]]
    here = {data["name"] for data in found}
    questions = {question.name for question in registry.QUESTIONS if not question.program}
    functions = {function.name for function in registry.HANDS_ON} - {"freeze"}
    assert here == (questions | functions if has_numpy else questions)
    left_out = {entry.name for entry in registry.EXERCISES} - here
    assert pages.count(">on your own computer<") >= len(left_out)


def test_a_function_is_written_with_the_keyboard_and_judged(opened, has_numpy, tmp_path):
    if not has_numpy:
        pytest.skip("this site was built without NumPy for the browser")
    page, address = opened
    page.goto(address + FUNCTION_PAGE)
    editor = page.get_by_label(f"Your code for {FUNCTION.name}")
    assert editor.input_value() == FUNCTION.stub_source()
    assert "not attempted" in check(page, FUNCTION.name)
    editor.fill("def choose_rank(s, share):")
    editor.press("End")
    page.keyboard.press("Enter")
    page.keyboard.type("return 1 / 0")
    assert editor.input_value() == "def choose_rank(s, share):\n    return 1 / 0", "indented after a colon"
    said = check(page, FUNCTION.name)
    assert "division by zero" in said
    assert "line 2: return 1 / 0" in said
    page.keyboard.press("Escape")
    editor.focus()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Check", (
        "the keyboard can leave the field"
    )
    editor.fill(FUNCTION.solution_source())
    assert "correct, 2 of 2 points" in check(page, FUNCTION.name)
    assert score(download(page, tmp_path), FUNCTION.name) == FUNCTION.points


def test_every_function_is_judged_in_the_browser(opened, has_numpy):
    if not has_numpy:
        pytest.skip("this site was built without NumPy for the browser")
    page, address = opened
    functions = [function for function in registry.HANDS_ON if function.name != "freeze"]
    questions = [[f.name, source] for f in functions for source in (f.solution_source(), f.stub_source())]
    page.goto(address)
    outcomes = page.evaluate(JUDGE, [address + "_static/exercise_worker.js", questions])
    assert outcomes == ["correct", "not attempted"] * len(functions)
