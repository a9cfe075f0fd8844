"""What the learner calls for the questions of the chapter: numbers, a form, a prediction, an experiment, ratings.

Not here: `check`, `hint`, `solution` and `progress`, which all exercises have (notebook.py).
"""

from __future__ import annotations

from typing import Any

from minilora.exercises import feedback, records, registry
from minilora.exercises.question import Question
from minilora.exercises.verdict import numbers_page


class Given(dict):
    """A student's numbers: a dict that shows itself with what each number is."""

    def __init__(self, page: feedback.Page, numbers: dict[str, Any]):
        super().__init__(numbers)
        self.page = page

    def __repr__(self) -> str:
        return repr(self.page)

    def _repr_html_(self) -> str:
        return self.page._repr_html_()


def numbers(name: str, student: str = "") -> Given:
    """Shows the numbers of a question that were drawn for you.

    Args:
        name: Name of the question.
        student: Your name or number; it is remembered, so you need to give it only once.

    Returns:
        A dict with the numbers, which displays itself with what each number is.
    """
    question = _question(name)
    student = (student or student_of(name)).strip()
    if not student:
        page = feedback.Page(
            question.title, "Write your name between the quotes of this cell, and run it again."
        )
        return Given(page, {})
    records.update(name, lambda record: record.update(student=student))
    mine = question.numbers(student)
    return Given(numbers_page(question, student), {key: mine[key] for key in question.given})


def form(name: str, answers: dict[str, Any]) -> Any:
    """Shows buttons and fields for a question's answers, as the last line of the cell that holds them.

    Each choice is written into the cell, so the notebook that is handed in holds plain data. The answers can also be
    written into the dict by hand.

    Args:
        name: Name of the question.
        answers: The dict of the cell; it is changed in place.

    Returns:
        The form, or a page that says so where widgets are not available.

    Raises:
        ValueError: There is no such question, or `answers` is not a dict.
    """
    question = _question(name)
    if not isinstance(answers, dict):
        raise ValueError(f'{name} takes the dict of your answers: form("{name}", answers)')
    try:
        from minilora.exercises.answer_form import answer_form
    except ImportError:  # a grader's machine has no widgets
        return feedback.Page(
            question.title, "Widgets are not available here; write your answers into the dict above."
        )
    return answer_form(question, answers, student_of(name))


def expect(name: str, letter: str | None = None) -> Any:
    """Asks what you expect of the experiment, and stores it. You can change it until the experiment has run.

    Args:
        name: Name of the question.
        letter: Letter of an option; without it, buttons are shown.

    Returns:
        The buttons, or a page that says what is stored.
    """
    question = _question(name)
    options = dict(question.prediction.lettered())
    record = records.load().get(name, {})
    if not isinstance(letter, str) or letter.strip().lower() not in options:
        lines = [question.prediction.prompt, *(f"  {letter}) {text}" for letter, text in options.items())]
        lines.append(f'Decide, then write the letter: expect("{name}", "a")')
        page = feedback.Page(f"{question.title}: what do you expect?", "\n".join(lines))
        return page if letter is not None else _buttons(question, record, page)
    return feedback.Page(
        f"{question.title}: your prediction", _keep_prediction(question, letter.strip().lower())
    )


def _keep_prediction(question: Question, letter: str) -> str:
    """Keeps it unless the experiment has run, and says what is kept."""
    options, name = dict(question.prediction.lettered()), question.name
    record = records.load().get(name, {})
    if "observed" in record:
        return f"Your prediction stays: {options[record['prediction']]}. You have seen the result."
    records.update(name, lambda record: record.update(prediction=letter))
    return f'Your prediction: {options[letter]}. You can change it until you run experiment("{name}").'


def _buttons(question: Question, record: records.Record, page: feedback.Page) -> Any:
    try:
        from minilora.exercises.answer_form import expectation_form
    except ImportError:
        return page
    chosen = record.get("prediction")
    shown = expectation_form(question, chosen, repr(page), lambda letter: _keep_prediction(question, letter))
    shown.locked = "observed" in record
    return shown


def experiment(name: str) -> feedback.Page:
    """Runs the experiment of a question on this machine, and shows the result beside your prediction.

    Args:
        name: Name of the question.
    """
    question = _question(name)
    predicted = records.load().get(name, {}).get("prediction")
    if predicted is None:
        say = f'Say what you expect: choose above, or write expect("{name}", "a")'
        return feedback.Page(f"{question.title}: predict first", say)
    try:
        observed = question.prediction.experiment(question.numbers(student_of(name) or "nobody"))
    except FileNotFoundError as error:
        return feedback.Page(f"{question.title}: nothing to measure yet", str(error))
    records.update(name, lambda record: record.update(observed=observed.letter))
    options = dict(question.prediction.lettered())
    verdict = (
        "As you predicted."
        if observed.letter == predicted
        else f"The result is different: {options[observed.letter]}."
    )
    text = f"You expected: {options[predicted]}.\n{observed.sentence}\n{verdict}"
    return feedback.Page(f"{question.title}: the experiment", text)


def rate(name: str, part: str, ticks: list[bool]) -> feedback.Page:
    """Stores how you rate your own text.

    Args:
        name: Name of the question.
        part: Name of the text, such as "compare".
        ticks: True or False for each thing to look for, in order.

    Raises:
        ValueError: There is no such text, or `ticks` does not match its list.
    """
    question = _question(name)
    by_key = {prose.key: prose for prose in question.prose}
    if part not in by_key:
        raise ValueError(f"{name} has no text {part!r}; there is {' and '.join(map(repr, by_key))}")
    rubric = by_key[part].rubric
    if len(ticks) != len(rubric) or not all(isinstance(tick, bool) for tick in ticks):
        raise ValueError(
            f"{part} has {len(rubric)} things to look for: give as many True or False, in a list"
        )
    records.update(name, lambda record: record.setdefault("ratings", {}).update({part: list(ticks)}))
    rows = [["yes" if tick else "not yet", text] for tick, text in zip(ticks, rubric, strict=True)]
    return feedback.Page(f"{question.title}: your rating of {part}", "", table=rows)


def _question(name: str) -> Question:
    exercise = registry.get(name)
    if not isinstance(exercise, Question):
        raise ValueError(f"{name} is a function to write: it has check, hint and solution only")
    return exercise


def student_of(name: str) -> str:
    """The student's name as given for this question, else for another one; empty if none was given."""
    kept = records.load()
    names = [kept.get(name, {}).get("student", ""), *(record.get("student", "") for record in kept.values())]
    return next((student for student in names if student), "")
