"""What Python does for an exercise on the web site: text in, a verdict out, with and without NumPy.

Not here: the page itself (tests/browser/test_site_exercises.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minilora.exercises import in_page, registry
from minilora.exercises.exercise import Exercise
from minilora.exercises.fields import fields_of
from minilora.exercises.judging import judge_locally
from minilora.exercises.question import Question

ROOT = Path(__file__).parents[1]
IN_PAGE = [question for question in registry.QUESTIONS if not question.program]
# As on a site without NumPy: it cannot be found, and each question is answered right and wrong.
WITHOUT_NUMPY = """
import importlib.util, json, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "numpy" else find(name, *more)
sys.modules["numpy"] = sys.modules["torch"] = None
from minilora.exercises.no_numpy import import_anyway
del sys.modules["numpy"]
in_page = import_anyway("minilora.exercises.in_page")
sys.modules["numpy"] = None
print(json.dumps([in_page.check(*given)["outcome"] for given in json.loads(sys.argv[1])]))
"""


def filled(question: Question, answers: dict) -> str:
    """The cell after each answer was typed or chosen in the page."""
    source = question.skeleton() + f'\n\nform("{question.name}", answers)'
    for field in fields_of(question):
        reply = in_page.fill_in(question.name, source, field["key"], str(answers[field["key"]]))
        assert not reply["note"]
        source = reply["source"]
    return source


@pytest.mark.parametrize("exercise", registry.EXERCISES, ids=lambda exercise: exercise.name)
def test_each_exercise_is_found_by_its_name(exercise):
    assert in_page.load(exercise.name) is exercise


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="merge"):
        in_page.load("murge")


@pytest.mark.parametrize("exercise", registry.HANDS_ON, ids=lambda exercise: exercise.name)
def test_a_function_gets_the_verdict_of_the_notebook(exercise: Exercise):
    pytest.importorskip("torch")
    prepared = "import torch\n" if exercise.name == "freeze" else ""
    right = in_page.check(exercise.name, prepared + exercise.solution_source(), [])
    assert right["outcome"] == "correct", right["html"]
    assert f"{exercise.points} of {exercise.points} points" in right["html"]
    untouched = in_page.check(exercise.name, exercise.stub_source(), [])
    assert untouched["outcome"] == "not attempted"
    assert "Hint 1 of 3" in untouched["html"]


def test_a_known_mistake_is_named():
    merge = registry.get("merge")
    source = "def merge(W, A, B, alpha):\n    return W + alpha * (B @ A)"
    wrong = judge_locally(merge, next(w.function for w in merge.wrong if w.key == "alpha-only"))
    found = in_page.check("merge", source, [])
    assert found["outcome"] == "incorrect"
    assert wrong.sentence in found["html"].replace("&#x27;", "'")


@pytest.mark.parametrize("question", IN_PAGE, ids=lambda question: question.name)
def test_a_question_is_filled_in_and_judged(question: Question):
    answers = question.solved("ada")
    assert in_page.check(question.name, question.skeleton(), [])["outcome"] == "not attempted"
    assert in_page.check(question.name, filled(question, answers), [])["outcome"] == "correct"
    [choice] = [part for part in question.parts if hasattr(part, "options")][:1]
    _, wrong, sentence = choice.wrong(question.numbers("ada"))[0]
    found = in_page.check(question.name, filled(question, answers | {choice.key: wrong}), [])
    assert found["outcome"] == "incorrect"
    assert sentence.split("`")[0].split("'")[0][:60] in found["html"]


def test_without_numpy_the_questions_are_judged():
    given, wanted = [], []
    for question in IN_PAGE:
        given += [[question.name, filled(question, question.solved("ada")), []]]
        given += [[question.name, question.skeleton(), []], [question.name, "import numpy", []]]
        wanted += ["correct", "not attempted", "crashed"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMPY, json.dumps(given)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == wanted


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def merge(W, A:\n    pass", "Python cannot read the cell"),
        ("x = 1\nraise SystemExit(3)", "line 2: raise SystemExit(3)"),
        ("def merged(W, A, B, alpha):\n    return W", "Nothing in the cell is called merge"),
        ("merge = 3", "Hand in the function itself"),
        ("def merge(W, A, B, alpha):\n    return 1 / 0", "line 2: return 1 / 0"),
        ("def merge(W, A, B, alpha):\n    return W + ...", "is still in merge"),
    ],
)
def test_what_goes_wrong_is_said(source, said):
    assert said in in_page.check("merge", source, [])["html"]


def test_a_cell_finds_what_the_notebook_has():
    """NumPy, the functions of the cells above, and the names that are buttons here; prints are shown."""
    source = 'def merge(W, A, B, alpha):\n    return W + update(A, B, alpha)\n\nhint("merge")\nprint("tried")'
    above = ["raise ValueError", "def update(A, B, alpha):\n    return alpha / len(A) * np.matmul(B, A)"]
    found = in_page.check("merge", source, above)
    assert found["outcome"] == "correct"
    assert found["printed"] == "tried\n"


def test_the_name_of_the_cell_above_does_not_answer_for_this_one():
    merge = registry.get("merge").solution_source()
    assert in_page.check("merge", "x = 1", [merge])["outcome"] == "can't be checked"


def test_numbers_and_solution_are_for_the_student():
    question = registry.get("full-or-lora")
    assert in_page.numbers("full-or-lora", " ") == ""
    assert "the numbers of ada" in in_page.numbers("full-or-lora", "ada")
    name, value = next(iter(question.numbers("ada").items()))
    assert f"{value:,}" in in_page.numbers("full-or-lora", "ada") or str(value) in in_page.numbers(
        "full-or-lora", "ada"
    ), name
    source = filled(question, question.solved("ada"))
    assert "&quot;student&quot;: &quot;ada&quot;" in in_page.solution("full-or-lora", source)
    assert "def merge" in in_page.solution("merge", "")


def test_an_unreadable_cell_is_left_as_it_is():
    reply = in_page.fill_in("full-or-lora", "answers = 3", "stuck", "b")
    assert reply["source"] == "answers = 3"
    assert "Start over" in reply["note"]
