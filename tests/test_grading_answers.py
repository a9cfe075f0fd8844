"""Right answers to questions, in every way to write them, and those that a person must decide about."""

import re

import pytest

from minilora.exercises import registry
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
