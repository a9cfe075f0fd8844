"""Right answers to questions, in every way to write them, and those that a person must decide about."""

import re

import pytest

from minilora.exercises import foresee, registry
from minilora.grading.grade import grade
from minilora.grading.marks import GRADED, UNDECIDED, Course
from minilora.grading.submission import Submission, read_notebook
from tests.grading_cases.answers import UNREADABLE, WAYS
from tests.test_grading import BOXES, as_cell, as_notebook

QUESTION = registry.get("full-against-lora")
COURSE = Course(b"a secret of thirty-two bytes ...", (QUESTION.name,))
SOLVED = QUESTION.solved("ada")


def cells_of(templates):
    """The cells of a way, with the answers in them."""
    told = {key: repr(value) for key, value in SOLVED.items()}
    told |= {"answers": repr(SOLVED), "skeleton": QUESTION.skeleton()}

    def written(template):
        text = re.sub(r"(?<!\{)\{([\w-]+)\}", lambda match: told[match[1]], template)
        return text.replace("{{", "{").replace("}}", "}")

    cells = []
    for template in templates:
        kind, text = template if isinstance(template, tuple) else ("code", template)
        cells.append(as_cell(written(text)) | {"cell_type": kind})
    return cells


def graded(cells, box=BOXES["plain"], student="ada", course=COURSE):
    return grade(Submission(student, {"a.ipynb": read_notebook(as_notebook(*cells))}), course, box)


# The others take a worker each: slow together, but nothing of theirs runs elsewhere.
QUICK = ("below the skeleton, one by one", "from numbers() without a name", "a cell turned into raw text")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in WAYS]
)
def test_a_right_answer_is_right_however_it_is_written(name):
    result = graded(cells_of(WAYS[name]))
    assert (result.status, result.score) == (GRADED, QUESTION.points), result
    assert [text["key"] for text in result.questions[0].written] == ["compare", "gap"]


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_for_a_person_to_decide(name):
    templates, keys = UNREADABLE[name]
    result = graded(cells_of(templates))
    (question,) = result.questions
    assert (result.status, result.score, question.earned) == (UNDECIDED, None, None), result
    assert all(key in question.sentence for key in keys), question.sentence


# -- what the notebook's own check says beforehand -------------------------------------------------------------------

FAR = {
    "a model": [
        "from minilora import GPT\nmodel = GPT.from_pretrained('tiny-gpt')",
        "trained = model.count()",
        'answers = {"trained": trained}',
    ],
    "a file": ["with open('x.txt') as file:\n    text = file.read()", 'answers = {"trained": len(text)}'],
    "a path": ["import os", 'answers = {"trained": 1}\nanswers["trained"] = os.path.getsize("x") // 4'],
    "a package": [
        "import transformers as t",
        'answers = {"student": "ada"}\nanswers.update(trained=t.count())',
    ],
    "a function of one's own": [
        "import minilora",
        "def count():\n    return minilora.count()",
        'answers = {"trained": count()}',
    ],
}
NEAR = {
    "overwritten by the number": [*FAR["a model"], 'answers["trained"] = 98304'],
    "a model that another cell uses": [*FAR["a model"][:1], "print(model)", 'answers = {"trained": 98304}'],
    "a variable that was set anew": [
        "size = open('x').read()",
        "size = 4",
        'answers = {"trained": 2 * size}',
    ],
    "NumPy": ["import numpy as np, math", 'answers = {"trained": int(np.prod([3, 4])) + math.ceil(2.5)}'],
    "its own numbers": [
        "from minilora.exercises import check, numbers",
        'n = numbers("q")\nanswers = {"trained": n["r"]}',
    ],
}


@pytest.mark.parametrize("name", FAR)
def test_the_check_warns_of_an_answer_that_needs_the_learners_machine(name):
    assert "trained" in foresee.warning({"student": "ada", "trained": 98304}, FAR[name])
    assert "student" not in foresee.warning({"student": "ada", "trained": 98304}, FAR[name])


@pytest.mark.parametrize("name", NEAR)
def test_the_check_warns_of_no_answer_that_a_grader_can_read(name):
    assert foresee.warning({"student": "ada", "trained": 98304}, NEAR[name]) == ""


@pytest.mark.parametrize("name", WAYS)
def test_none_of_the_ways_to_write_a_right_answer_is_warned_of(name):
    cells = [cell["source"] for cell in cells_of(WAYS[name]) if cell["cell_type"] == "code"]
    assert foresee.warning(SOLVED, cells) == ""


def test_the_warning_reaches_the_learner(monkeypatch, tmp_path):
    from minilora.exercises import check

    monkeypatch.setenv("MINILORA_HOME", str(tmp_path))
    monkeypatch.setattr(foresee, "history", lambda: FAR["a file"])
    said = repr(check(QUESTION.name, SOLVED))
    assert "cannot work out trained anew" in " ".join(said.split())
    assert "correct" in said
