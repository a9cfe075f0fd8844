"""What the learner calls. It shows words, never a traceback of ours.

This check is for learning: it runs in the learner's own process, so it can be fooled. Marks come from a grader.

Not here: what questions have besides (notebook_questions.py), deciding (judging.py), and how a verdict looks
(feedback.py).
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
from minilora.exercises.notebook_questions import student_of
from minilora.exercises.question import Question
from minilora.exercises.verdict import solution_page, verdict_on


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
    return solution_page(exercise, student_of(name))


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
