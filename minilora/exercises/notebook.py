"""What the learner calls: `check`, `hint`, `solution`, `progress`. They show words, never a traceback of ours.

Not here: deciding (judging.py) and looks (feedback.py). This check is for learning; it runs the learner's code in the
learner's own process, so whoever wants to fool it can. Marks come from a grader.
"""

from __future__ import annotations

import os
from typing import Any

from minilora.exercises import feedback, judging, registry
from minilora.exercises import progress as records
from minilora.exercises.exercise import Exercise
from minilora.exercises.judging import CORRECT, CRASHED, INCORRECT, UNCHECKABLE, Result

SEEDS = (0, 1)  # the inputs that everyone sees; a grader draws others


def check(name: str, answer: Any) -> Any:
    """Checks an answer and returns the verdict, which shows itself; under nbgrader, prints it and returns the points.

    name: of the exercise. answer: the function itself, `check("merge", merge)`, not what a call of it returns.
    """
    result = _verdict(name, answer)
    if result.outcome != UNCHECKABLE:
        mistakes = [m for m in (result.mistake, *(item.mistake for item in result.items)) if m]
        records.attempt(result.name, result.outcome, result.earned, mistakes)
    if os.environ.get("NBGRADER_EXECUTION"):  # nbgrader takes a cell's last value as its points
        print(result)
        return result.earned
    return result


def _verdict(name: str, answer: Any) -> Result:
    try:
        exercise = registry.get(name)
    except ValueError as error:
        return Result(str(name), str(name), UNCHECKABLE, str(error))
    if not callable(answer):
        return Result(
            exercise.name,
            exercise.title,
            UNCHECKABLE,
            f"You handed in an object of type {type(answer).__name__}. Hand in the function itself, without brackets: "
            f'check("{exercise.name}", {exercise.function_name})',
            points=exercise.points,
        )
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
    return feedback.Page(
        f"{exercise.title}: one solution",
        exercise.solution_source() + "\n\n" + feedback.wrap(exercise.explanation),
    )


def progress() -> feedback.Page:
    """A page of all exercises: what is done, how many attempts and hints it took, and what is next."""
    kept = records.load()
    rows = [["", "exercise", "points", "attempts", "hints"]]
    for exercise in registry.EXERCISES:
        record = kept.get(exercise.name, {})
        rows.append(
            [
                _sign(record),
                f"{exercise.title} ({exercise.name})",
                f"{record.get('earned', 0)} of {exercise.points}",
                str(record.get("attempts", 0)),
                str(record.get("hints", 0)),
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
    if record.get("outcome") in (INCORRECT, CRASHED):
        return feedback.SIGNS[INCORRECT] + " begun"
    return feedback.SIGNS["not attempted"] + " open"
