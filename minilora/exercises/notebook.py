"""What the learner calls. It shows words, never a traceback of ours.

This check is for learning: it runs in the learner's own process, so it can be fooled. Marks come from a grader.

Not here: deciding (judging.py), and how a verdict looks (feedback.py).
"""

from __future__ import annotations

import os
from typing import Any

from minilora.exercises import feedback, foresee, records, registry
from minilora.exercises.judging import (
    CORRECT,
    CRASHED,
    INCORRECT,
    KEPT,
    NOT_ATTEMPTED,
    UNCHECKABLE,
    UNFINISHED,
    Result,
)
from minilora.exercises.question import Question
from minilora.exercises.verdict import numbers_page, solution_page, verdict_on


def check(name: str, answer: Any) -> Any:
    """Checks an answer, and counts it as an attempt.

    Args:
        name: Name of the exercise.
        answer: The function itself, `check("merge", merge)`, not what a call of it returns; for a question the dict of
            answers.

    Returns:
        The verdict, which displays itself as the last line of a cell. Under nbgrader the verdict is printed, and the
        points are returned.
    """
    result = verdict(name, answer)
    result.note = " ".join(filter(None, (result.note, foresee.warning(answer, foresee.history()))))
    if result.outcome != UNCHECKABLE:
        result.hints = registry.get(name).hints
        _keep_texts(result, answer)
        mistakes = [m for m in (result.mistake, *(item.mistake for item in result.items)) if m]
        records.attempt(result.name, result.outcome, result.earned, mistakes)
    if os.environ.get("NBGRADER_EXECUTION"):  # nbgrader takes a cell's last value as its points
        print(result)
        return result.earned
    return result


def verdict(name: str, answer: Any) -> Result:
    """What `check` says, without counting it as an attempt."""
    try:
        exercise = registry.get(name)
    except ValueError as error:
        return Result(str(name), str(name), UNCHECKABLE, str(error))
    return verdict_on(exercise, answer)


def _keep_texts(result: Result, answers: Any) -> None:
    kept = {item.key: answers[item.key] for item in result.items if item.outcome == KEPT}
    if kept:
        records.update(result.name, lambda record: record.update(texts=record.get("texts", {}) | kept))


def hint(name: str, number: int | None = None) -> feedback.Page:
    """Shows the next hint of an exercise, one more with each call.

    Args:
        name: Name of the exercise.
        number: Which hint to show; by default the next one.

    Raises:
        ValueError: There is no such exercise or hint.
    """
    exercise = registry.get(name)
    seen = records.load().get(name, {}).get("hints", 0)
    if number is None:
        number = min(seen + 1, len(exercise.hints))
    if number not in range(1, len(exercise.hints) + 1):
        raise ValueError(f"there is no hint {number}; {name} has hints 1 to {len(exercise.hints)}")
    records.update(name, lambda record: record.update(hints=max(seen, number)))
    title = f"{exercise.title}: hint {number} of {len(exercise.hints)}"
    return feedback.Page(title, exercise.hints[number - 1])


def solution(name: str, insist: bool = False) -> feedback.Page:
    """Shows a solution, once you have checked an attempt.

    Args:
        name: Name of the exercise.
        insist: Show it without an attempt.
    """
    exercise = registry.get(name)
    record = records.load().get(name, {})
    if not insist and not record.get("attempts"):
        return feedback.Page(
            f"{exercise.title}: try first",
            f"Write something and check it first; then you can see the solution. A hint may be enough: "
            f'hint("{name}").\n'
            f'To see it anyway: solution("{name}", insist=True)',
        )
    records.update(name, lambda record: record.update(solution_seen=True))
    return solution_page(exercise, _student(name))


# -- for the questions of the chapter ------------------------------------------------------------------------


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
    student = (student or _student(name)).strip()
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
    return answer_form(question, answers, _student(name))


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
        observed = question.prediction.experiment(question.numbers(_student(name) or "nobody"))
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


def _student(name: str) -> str:
    """The student's name as given for this question, else for another one; empty if none was given."""
    kept = records.load()
    names = [kept.get(name, {}).get("student", ""), *(record.get("student", "") for record in kept.values())]
    return next((student for student in names if student), "")


# -- progress ------------------------------------------------------------------------------------------------


def progress() -> feedback.Page:
    """Shows all exercises: what is done, how many attempts it took, and what is next.

    Texts are those that you have written, and of these how many you have rated.
    """
    kept = records.load()
    rows = [["", "exercise", "points", "attempts", "texts"]]
    for exercise in registry.EXERCISES:
        record = kept.get(exercise.name, {})
        rows.append(
            [
                _sign(exercise, record),
                f"{exercise.title} ({exercise.name})",
                f"{record.get('earned', 0)} of {exercise.points}",
                str(record.get("attempts", 0)),
                _texts(exercise, record),
            ]
        )
    earned = sum(kept.get(exercise.name, {}).get("earned", 0) for exercise in registry.EXERCISES)
    points = sum(exercise.points for exercise in registry.EXERCISES)
    open_ones = [e for e in registry.EXERCISES if not kept.get(e.name, {}).get("solved")]
    coming = f"Next: {open_ones[0].title} ({open_ones[0].name})" if open_ones else "All done."
    return feedback.Page(f"Your progress: {earned} of {points} points", coming, table=rows)


def _sign(exercise: Any, record: records.Record) -> str:
    if record.get("solved"):
        return feedback.SIGNS[CORRECT] + " done"
    if record.get("earned", 0) == exercise.points:
        return feedback.SIGNS[CORRECT] + " all points; texts missing"
    if record.get("outcome") in (INCORRECT, CRASHED):
        return feedback.SIGNS[INCORRECT] + " not right yet"
    if record.get("outcome") == UNFINISHED:
        return feedback.SIGNS[UNFINISHED] + " begun"
    return feedback.SIGNS[NOT_ATTEMPTED] + " open"


def _texts(exercise: Any, record: records.Record) -> str:
    if not isinstance(exercise, Question):
        return ""
    rated = record.get("ratings", {})
    return f"{len(record.get('texts', {}))} of {len(exercise.prose)}" + (
        f", {len(rated)} rated" if rated else ""
    )
