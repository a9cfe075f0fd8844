"""Ordinary accidents: right answers that keep their points, cells that do not run, files that lie elsewhere."""

import pytest

from minilora.exercises.judging import CRASHED
from minilora.grading.grade import grade
from minilora.grading.marks import GRADED, Course
from minilora.grading.session import Deadlines
from minilora.grading.submission import Submission, read_notebook
from tests.grading_cases.accidents import CRASH, KEEP, SLOW, SLOW_EARN
from tests.test_grading import ALSO_GOOD, COURSE, GOOD, RIGHT, STRONGEST, as_cell, as_notebook, earned


def written(template):
    text = template.replace("{merge}", GOOD.strip()).replace("{unmerge}", ALSO_GOOD.strip())
    return text.replace("{formula}", RIGHT).replace("{{", "{").replace("}}", "}")


def graded(cells, course=COURSE):
    notebook = read_notebook(as_notebook(*cells))
    return grade(Submission("alice", {"a.ipynb": notebook}, digest="d"), course, STRONGEST)


QUICK = ("a helper in a cell that raises later", "%%writefile", "a broken later version")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in KEEP])
def test_a_right_answer_survives_an_accident(name):
    result = graded([written(cell) for cell in KEEP[name]])
    assert (result.status, earned(result)) == (GRADED, [2, 1]), result


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_what_takes_too_long_costs_itself_alone(name):
    course = Course(COURSE.secret, COURSE.names, Deadlines(cell=4, call=4))
    result = graded([written(cell) for cell in SLOW[name]], course)
    assert (result.status, earned(result)) == (GRADED, SLOW_EARN.get(name, [2, 1])), result


@pytest.mark.parametrize(
    "name", [n if n == "a colon is missing" else pytest.param(n, marks=pytest.mark.slow) for n in CRASH]
)
@pytest.mark.parametrize("stub_above", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_cell_that_does_not_run_is_a_crash_with_its_line(name, stub_above):
    source, kind, line = CRASH[name]
    cell = as_cell(written(source)) | {"metadata": {"nbgrader": {"grade_id": "merge"}}}
    above = ["def merge(W, A, B, alpha):\n    ..."] if stub_above else []
    merge, unmerge = graded([*above, cell, ALSO_GOOD]).questions
    assert (merge.earned, merge.outcome, unmerge.earned) == (0, CRASHED, 1), merge
    assert kind in merge.sentence
    assert not line or f"(line {line})" in merge.sentence
