"""The form below a question's answers: what it takes, and the plain data that it leaves in the notebook."""

import ast

import pytest

from minilora.exercises import expect, experiment, form
from minilora.exercises.answer_cell import with_answers
from minilora.exercises.question_parts import Artifact, Choice, Number, Prose
from minilora.exercises.records import load
from minilora.exercises.registry import QUESTIONS, get
from minilora.grading.grade import grade
from minilora.grading.marks import GRADED, Course
from minilora.grading.submission import Submission, read_notebook
from tests.test_grading import BOXES, as_cell, as_notebook

each = pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
QUESTION = get("full-or-lora")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILORA_HOME", str(tmp_path))
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)


def cell_of(question):
    """The answers' cell as it is handed out."""
    return f'{question.skeleton()}\n\nform("{question.name}", answers)'


def run(source):
    """The answers, and the form, after the cell has run."""
    shown = []
    space = {"form": lambda *given: shown.append(form(*given))}
    exec(source, space)
    return space["answers"], shown[-1]


def filled(question, source, texts):
    """The cell after each of these was chosen or typed, as the browser does it; and the answers of the kernel."""
    answers, shown = run(source)
    for key, text in texts.items():
        reply = shown.fill_in(key, text, source)
        assert reply["note"] == ""
        assert "copy" not in reply
        source = reply["source"]
    return source, answers


def typed(question):
    return {key: str(value) for key, value in question.solved("ada").items() if key not in question.settings}


def test_the_first_cell_can_run_again_after_a_form_was_shown():
    """A module of that name, imported when the first form is made, would take the function's place."""
    form(QUESTION.name, {})
    from minilora.exercises import form as again

    assert again is form


@each
def test_what_is_filled_in_is_plain_data_in_the_cell(question):
    source, answers = filled(question, cell_of(question), typed(question))
    assert answers == question.solved("ada")
    again, shown = run(source)
    assert again == answers
    assert shown.values == typed(question)
    [assigned] = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    assert ast.literal_eval(assigned.value) == answers
    assert max(map(len, source.split("\n"))) <= 110


@each
def test_every_part_has_a_field_with_its_words(question):
    _, shown = run(cell_of(question))
    kinds = {Choice: "choice", Number: "line", Artifact: "line", Prose: "text"}
    fields = {field["key"]: field for field in shown.fields}
    assert [*fields] == ["student", *(part.key for part in question.parts)]
    for part in question.parts:
        assert fields[part.key]["kind"] == kinds[type(part)]
        assert fields[part.key]["prompt"] == part.prompt
        assert part.prompt in repr(shown)
        if isinstance(part, Choice):
            options = [[letter, option.text] for letter, option in part.lettered()]
            assert fields[part.key]["options"] == options


@pytest.mark.parametrize("program", [True, False], ids=["by the form", "by hand"])
def test_a_notebook_is_graded_by_itself(program):
    """The file alone, in the grader's sandbox, which has no form: nothing else remembers what was chosen."""
    source = cell_of(QUESTION)
    source = filled(QUESTION, source, typed(QUESTION))[0] if program else QUESTION.solution_source("ada")
    cells = ["from minilora.exercises import check, form", source, f'check("{QUESTION.name}", answers)']
    submission = Submission("ada", {"a.ipynb": read_notebook(as_notebook(*map(as_cell, cells)))})
    result = grade(submission, Course(b"a secret of thirty-two bytes ...", (QUESTION.name,)), BOXES["plain"])
    assert (result.status, result.score) == (GRADED, QUESTION.points), result
    assert [text["key"] for text in result.questions[0].written] == ["when", "gap"]


def test_a_choice_can_be_changed_and_taken_back():
    source, answers = filled(QUESTION, cell_of(QUESTION), {"stuck": "a", "gpus": "3", "when": "word " * 40})
    source, answers = filled(QUESTION, source, {"stuck": "b", "gpus": " ", "when": "otherwise"})
    assert (answers["stuck"], answers["gpus"], answers["when"]) == ("b", None, "otherwise")
    assert run(source)[0] == answers
    assert '"stuck": "b",  # "a", "b", "c"' in source


def test_what_the_learner_wrote_in_the_cell_stays():
    source = "# mine: größer\nn = 3\nanswers = {\n    'stuck': None,  # hm\n    \"gpus\": 2 * n,  # (half)\n}\nprint()"
    changed = with_answers(source, {"stuck": "b"})
    assert changed == source.replace("None", '"b"')
    changed = with_answers(source, {"gpus": 7})
    assert changed == source.replace("2 * n", "7")
    changed = with_answers(source, {"gap": 'two\nlines, "quoted"'})
    space = {}
    exec(changed, space)
    assert space["answers"] == {"stuck": None, "gpus": 6, "gap": 'two\nlines, "quoted"'}


@pytest.mark.parametrize(
    "value", ["short", "word " * 60, "x" * 300, "two\n\nlines " * 20, 'a "quoted" \\ one', "grün " * 30]
)
def test_texts_survive_twice(value):
    """In the place of a wrapped text in brackets, with a comment at its end, comes another one."""
    source = 'answers = {"when": None}'
    for text in (value, value + "!"):
        source = with_answers(source, {"when": text})
        space = {}
        exec(source, space)
        assert space["answers"] == {"when": text}
        source = source.replace(")}", " # done\n)}")


@pytest.mark.parametrize("source", ["", "answers = {", "answers = dict(stuck=None)", "other = {}", None])
def test_where_the_cell_cannot_be_written_the_lines_to_copy_are_shown(source):
    answers, shown = run(cell_of(QUESTION))
    reply = shown.fill_in("stuck", "b", source)
    assert "source" not in reply
    space = {}
    exec(reply["copy"], space)
    assert space["answers"] == answers
    assert answers["stuck"] == "b"


@pytest.mark.parametrize("text", ["12 GB", "1,5", "many", "1,23", "inf", "nan"])
def test_what_is_no_number_is_said_and_not_written(text):
    answers, shown = run(cell_of(QUESTION))
    reply = shown.fill_in("gpus", text, cell_of(QUESTION))
    assert "not a number" in reply["note"]
    assert answers["gpus"] is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("32,768", 32768), ("1,234.5", 1234.5), ("1e3", 1000.0), ("-2", -2), ("1_000", 1000)],
)
def test_numbers_as_people_type_them(text, number):
    answers, shown = run(cell_of(QUESTION))
    shown.fill_in("gpus", text, cell_of(QUESTION))
    assert answers["gpus"] == number
    assert type(answers["gpus"]) is type(number)


def test_who_was_named_before_is_filled_in():
    from minilora.exercises import numbers

    numbers("what-lora-changes", student="Ada")
    answers, shown = run(cell_of(QUESTION))
    assert shown.values["student"] == answers["student"] == "Ada"
    source = shown.fill_in("stuck", "b", cell_of(QUESTION))["source"]
    assert run(source)[0] == answers


def test_a_form_needs_a_question_and_its_dict():
    with pytest.raises(ValueError, match="a function to write"):
        form("merge", {})
    with pytest.raises(ValueError, match="takes the dict of your answers"):
        form(QUESTION.name, None)


# -- the prediction ------------------------------------------------------------------------------------------


def test_a_prediction_is_chosen_changed_and_locked_by_the_experiment():
    shown = expect(QUESTION.name)
    assert not shown.locked
    assert QUESTION.prediction.prompt in " ".join(repr(shown).split())
    for letter in "ab":
        assert "You can change it" in shown.fill_in("expect", letter)["note"]
        assert load()[QUESTION.name]["prediction"] == letter
    experiment(QUESTION.name)
    again = expect(QUESTION.name)
    assert again.locked
    assert again.values == {"expect": "b"}
    assert "stays" in shown.fill_in("expect", "c")["note"]
    assert load()[QUESTION.name]["prediction"] == "b"


def test_the_import_cell_can_run_again_after_a_form_was_shown():
    run(cell_of(QUESTION))
    space = {}
    exec("from minilora.exercises import check, expect, experiment, form, hint, numbers, progress", space)
    assert all(callable(value) for name, value in space.items() if name != "__builtins__")
