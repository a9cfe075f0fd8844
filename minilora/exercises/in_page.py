"""An exercise on the web site: what Python does there. Text comes in, HTML goes out.

The page hands over the text of a cell. It runs in a namespace of its own, and its function, or its dict of answers,
gets the verdict that `check` shows in a notebook. A question needs no NumPy, so each exercise is loaded by itself.

Not here: the page (site/static/exercise.js), and the end of what never ends (the page ends this Python).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import linecache
import pkgutil
import traceback
from typing import Any

from minilora.exercises import feedback, foresee, questions
from minilora.exercises.answer_cell import NAME, with_answers
from minilora.exercises.exercise import Exercise
from minilora.exercises.fields import STUDENT, part_of, understood
from minilora.exercises.judging import CRASHED, UNCHECKABLE, Result
from minilora.exercises.question import Question
from minilora.exercises.verdict import numbers_page, solution_page, verdict_on

FILE = "<your code>"
MOST_PRINTED = 10_000  # characters
# What the notebooks import; in a page there is a button for each of them.
BUTTONS = ("check", "expect", "experiment", "form", "hint", "numbers", "progress", "rate", "solution")


def load(name: str) -> Question | Exercise:
    """The exercise of that name; a question without the functions to write, which need NumPy."""
    for file in pkgutil.iter_modules(questions.__path__, f"{questions.__name__}."):
        question = importlib.import_module(file.name).QUESTION
        if question.name == name:
            return question
    return importlib.import_module("minilora.exercises.registry").get(name)


def load_question(name: str) -> Question:
    question = load(name)
    assert isinstance(question, Question), f"{name} asks for a function; a form is for questions"
    return question


def check(name: str, source: str, before: list[str]) -> dict[str, str]:
    """The verdict on the text of a cell.

    Args:
        name: Name of the exercise.
        source: The cell.
        before: The cells above it, whose functions it may call; what is wrong in them does not count here.

    Returns:
        "outcome"; "html", the panel; "printed", what the code wrote.
    """
    exercise, space = load(name), namespace()
    wanted = NAME if isinstance(exercise, Question) else exercise.function_name
    written = io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
        for cell in before:
            with contextlib.suppress(BaseException):
                exec(compile(cell, "<cell above>", "exec"), space)
        space.pop(wanted, None)
        try:
            exec(compiled(source), space)
        except BaseException as error:  # also sys.exit(): it must not end Python
            result = crashed(exercise, error)
        else:
            result = verdict_on(exercise, space[wanted]) if wanted in space else missing(exercise, wanted)
            warned = foresee.warning(space.get(wanted), [source])
            result.note = " ".join(filter(None, (result.note, warned)))
    result.hints = exercise.hints
    return {
        "outcome": result.outcome,
        "html": feedback.as_html(result),
        "printed": written.getvalue()[:MOST_PRINTED],
    }


def namespace() -> dict[str, Any]:
    """What a cell finds: NumPy, where there is one, and names of the notebook that do nothing here."""
    space: dict[str, Any] = {"__name__": "__main__"}
    space |= dict.fromkeys(BUTTONS, lambda *given, **named: None)
    with contextlib.suppress(ImportError):
        space["np"] = importlib.import_module("numpy")
    return space


def compiled(source: str) -> Any:
    """Its lines can be shown beside an error afterwards."""
    linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)
    return compile(source, FILE, "exec")


def crashed(exercise: Question | Exercise, error: BaseException) -> Result:
    """The cell did not even get to its end."""
    result = Result(exercise.name, exercise.title, CRASHED, points=exercise.points)
    result.sentence = f"The cell stopped with {type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename == FILE:
        result.sentence = f"Python cannot read the cell: {error.msg}"
        result.lines = [(error.lineno or 0, (error.text or "").rstrip())]
    else:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == FILE]
        result.lines = [(f.lineno or 0, f.line or "") for f in frames[:2]]
    return result


def missing(exercise: Question | Exercise, wanted: str) -> Result:
    sentence = f"Nothing in the cell is called {wanted}. Keep the name that it had."
    return Result(exercise.name, exercise.title, UNCHECKABLE, sentence, points=exercise.points)


def fill_in(name: str, source: str, key: str, text: str) -> dict[str, str]:
    """Writes an answer, as it was typed or chosen, into the text of the cell.

    Returns:
        "source", the new text; "note", what to say about the answer.
    """
    value, note = understood(part_of(load_question(name), key), text)
    written = with_answers(source, {key: value})
    return {
        "source": written or source,
        "note": note if written else "The cell holds no dict `answers` that can be read. Start over.",
    }


def numbers(name: str, student: str) -> str:
    """A student's numbers as HTML."""
    return numbers_page(load_question(name), student.strip())._repr_html_() if student.strip() else ""


def solution(name: str, source: str) -> str:
    """A solution as HTML; that of a question for the student whom the cell names."""
    exercise = load(name)
    return solution_page(exercise, student_in(source) if isinstance(exercise, Question) else "")._repr_html_()


def student_in(source: str) -> str:
    space = namespace()
    with contextlib.suppress(BaseException):
        exec(source, space)
    answers = space.get(NAME)
    return str(answers.get(STUDENT) or "").strip() if isinstance(answers, dict) else ""
