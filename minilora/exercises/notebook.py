"""What the learner calls. It shows words, never a traceback of ours.

Not here: deciding (judging.py) and looks (feedback.py). This check is for learning; it runs the learner's code in the
learner's own process, so whoever wants to fool it can. Marks come from a grader.
"""

from __future__ import annotations

import os
from typing import Any

from minilora.exercises import feedback, foresee, judging, registry
from minilora.exercises import progress as records
from minilora.exercises.exercise import Exercise
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
from minilora.exercises.question import Question, judge_answers
from minilora.exercises.unfilled import is_unfilled

SEEDS = (0, 1)  # the inputs that everyone sees; a grader draws others


def check(name: str, answer: Any) -> Any:
    """Checks an answer and returns the verdict, which shows itself; under nbgrader, prints it and returns the points.

    name: of the exercise. answer: the function itself, `check("merge", merge)`, not what a call of it returns; for a
    question the dict of answers.
    """
    result = verdict(name, answer)
    result.note = " ".join(filter(None, (result.note, foresee.warning(answer, foresee.history()))))
    if result.outcome != UNCHECKABLE:
        _keep_texts(result, answer)
        mistakes = [m for m in (result.mistake, *(item.mistake for item in result.items)) if m]
        records.attempt(result.name, result.outcome, result.earned, mistakes)
    if os.environ.get("NBGRADER_EXECUTION"):  # nbgrader takes a cell's last value as its points
        print(result)
        return result.earned
    return result


def verdict(name: str, answer: Any) -> Result:
    """What `check` would say, without counting as an attempt."""
    try:
        exercise = registry.get(name)
    except ValueError as error:
        return Result(str(name), str(name), UNCHECKABLE, str(error))
    if isinstance(exercise, Question):
        return judge_answers(exercise, answer)
    if not callable(answer):
        return Result(
            exercise.name,
            exercise.title,
            UNCHECKABLE,
            f"You handed in an object of type {type(answer).__name__}. Hand in the function itself, "
            f"without brackets: "
            f'check("{exercise.name}", {exercise.function_name})',
            points=exercise.points,
        )
    if is_unfilled(answer):
        sentence = f"A `...` is still in {exercise.function_name}: put your own line in its place."
        return Result(exercise.name, exercise.title, NOT_ATTEMPTED, sentence, points=exercise.points)
    try:
        return _judge_all_seeds(exercise, answer)
    except KeyboardInterrupt:
        return Result(
            exercise.name,
            exercise.title,
            UNCHECKABLE,
            f"You stopped the check. If {exercise.function_name} does not end by itself, look at its loops.",
            points=exercise.points,
        )


def _keep_texts(result: Result, answers: Any) -> None:
    kept = {item.key: answers[item.key] for item in result.items if item.outcome == KEPT}
    if kept:
        records.update(result.name, lambda record: record.update(texts=record.get("texts", {}) | kept))


def _judge_all_seeds(exercise: Exercise, function: Any) -> Result:
    results = []
    for seed in SEEDS:
        results.append(judging.judge_locally(exercise, function, seed))
        if results[-1].outcome != CORRECT:
            break
    return results[-1]


def hint(name: str, number: int | None = None) -> feedback.Page:
    """The next hint, one more with each call; hint(name, 1) shows the first again."""
    exercise = registry.get(name)
    seen = records.load().get(name, {}).get("hints", 0)
    if number is None:
        number = min(seen + 1, len(exercise.hints))
    if number not in range(1, len(exercise.hints) + 1):
        raise ValueError(f"there is no hint {number}; {name} has hints 1 to {len(exercise.hints)}")
    records.update(name, lambda record: record.update(hints=max(seen, number)))
    title = f"{exercise.title}: hint {number} of {len(exercise.hints)}"
    return feedback.Page(title, feedback.wrap(exercise.hints[number - 1]))


def solution(name: str, insist: bool = False) -> feedback.Page:
    """The solution, once you have tried; insist=True shows it anyway."""
    exercise = registry.get(name)
    record = records.load().get(name, {})
    if not insist and not record.get("attempts"):
        return feedback.Page(
            f"{exercise.title}: try first",
            f'Write something and check it; then the solution is yours. A hint may do: hint("{name}").\n'
            f'To see it all the same: solution("{name}", insist=True)',
        )
    records.update(name, lambda record: record.update(solution_seen=True))
    mine = {"student": _student(name)} if isinstance(exercise, Question) and _student(name) else {}
    return feedback.Page(
        f"{exercise.title}: one solution",
        exercise.solution_source(**mine) + "\n\n" + feedback.wrap(exercise.explanation),
    )


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
    """Your numbers for a question. student: who you are; remembered, so it need not be said twice."""
    question = _question(name)
    student = (student or _student(name)).strip()
    if not student:
        page = feedback.Page(question.title, f'Say who you are: numbers("{name}", student="your name")')
        return Given(page, {})
    records.update(name, lambda record: record.update(student=student))
    mine = question.numbers(student)
    shown = {key: mine[key] for key in question.given}
    rows = [
        [key, f"{value:,}" if isinstance(value, int) else str(value), question.given[key]]
        for key, value in shown.items()
    ]
    return Given(feedback.Page(f"{question.title}: the numbers of {student}", "", table=rows), shown)


def expect(name: str, letter: str | None) -> feedback.Page:
    """Locks what you expect of the experiment. The first prediction counts; it cannot be changed."""
    question = _question(name)
    options = dict(question.prediction.lettered())
    locked: Any = records.load().get(name, {}).get("prediction")
    chosen: Any = letter.strip().lower() if isinstance(letter, str) else None
    if locked is None and chosen not in options:
        lines = [question.prediction.prompt, *(f"  {letter}) {text}" for letter, text in options.items())]
        lines.append(f'Decide, then write the letter: expect("{name}", "a")')
        return feedback.Page(f"{question.title}: what do you expect?", "\n".join(lines))
    if locked is None:
        records.update(name, lambda record: record.update(prediction=chosen))
        text = f'Locked: {options[chosen]}. Now run it: experiment("{name}")'
    elif chosen in (locked, None):
        text = f"Locked: {options[locked]}."
    else:
        text = f"Your prediction stays: {options[locked]}. A wrong one costs nothing, and is the more interesting one."
    return feedback.Page(f"{question.title}: your prediction", text)


def experiment(name: str) -> feedback.Page:
    """Runs the experiment of a question on this machine, and puts the result beside the prediction."""
    question = _question(name)
    locked = records.load().get(name, {}).get("prediction")
    if locked is None:
        return feedback.Page(
            f"{question.title}: predict first", f'Say what you expect: expect("{name}", "a")'
        )
    try:
        observed = question.prediction.experiment(question.numbers(_student(name) or "nobody"))
    except FileNotFoundError as error:
        return feedback.Page(f"{question.title}: nothing to measure yet", str(error))
    records.update(name, lambda record: record.update(observed=observed.letter))
    options = dict(question.prediction.lettered())
    verdict = (
        "As you predicted."
        if observed.letter == locked
        else f"It came out otherwise: {options[observed.letter]}."
    )
    text = f"You expected: {options[locked]}.\n{observed.sentence}\n{verdict}"
    return feedback.Page(f"{question.title}: the experiment", text)


def rate(name: str, part: str, ticks: list[bool]) -> feedback.Page:
    """Keeps how you rate your own text: one True or False for each thing to look for, in order."""
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
    """Who was named for this question, or else for another one; empty if nobody was."""
    kept = records.load()
    names = [kept.get(name, {}).get("student", ""), *(record.get("student", "") for record in kept.values())]
    return next((student for student in names if student), "")


# -- progress ------------------------------------------------------------------------------------------------


def progress() -> feedback.Page:
    """A page of all exercises: what is done, how many attempts and hints it took, and what is next.

    Texts are those kept, and of these how many you have rated.
    """
    kept = records.load()
    rows = [["", "exercise", "points", "attempts", "hints", "texts"]]
    for exercise in registry.EXERCISES:
        record = kept.get(exercise.name, {})
        rows.append(
            [
                _sign(record),
                f"{exercise.title} ({exercise.name})",
                f"{record.get('earned', 0)} of {exercise.points}",
                str(record.get("attempts", 0)),
                str(record.get("hints", 0)),
                _texts(exercise, record),
            ]
        )
    earned = sum(kept.get(exercise.name, {}).get("earned", 0) for exercise in registry.EXERCISES)
    points = sum(exercise.points for exercise in registry.EXERCISES)
    open_ones = [e for e in registry.EXERCISES if not kept.get(e.name, {}).get("solved")]
    coming = f"Next: {open_ones[0].title} ({open_ones[0].name})" if open_ones else "All done."
    return feedback.Page(f"Your progress: {earned} of {points} points", coming, table=rows)


def _sign(record: records.Record) -> str:
    if record.get("solved"):
        return feedback.SIGNS[CORRECT] + " done"
    if record.get("outcome") in (INCORRECT, CRASHED, UNFINISHED):
        return feedback.SIGNS[INCORRECT] + " begun"
    return feedback.SIGNS["not attempted"] + " open"


def _texts(exercise: Any, record: records.Record) -> str:
    if not isinstance(exercise, Question):
        return ""
    rated = record.get("ratings", {})
    return f"{len(record.get('texts', {}))} of {len(exercise.prose)}" + (
        f", {len(rated)} rated" if rated else ""
    )
