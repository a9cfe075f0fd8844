"""The lines that the learner writes on a page, and what the page uses until they are right.

Not here: the exercises (minilora/exercises), which hold the checks, hints and solutions.
"""

from __future__ import annotations

from collections.abc import Callable

from minilora.exercises import registry
from minilora.exercises.exercise import Exercise
from minilora.exercises.judging import CORRECT, NOT_ATTEMPTED
from minilora.exercises.notebook import verdict


def mine_or(name: str, function: Callable) -> Callable:
    """The learner's function if it passes its check, else the course's own, with a line that says so.

    So a page runs to its end with `...` still in place: `forward = mine_or("lora-forward", lora_forward)`.

    Args:
        name: Name of the exercise.
        function: What the learner wrote.

    Returns:
        The function to continue with.

    Raises:
        ValueError: There is no such exercise, or it is a question.
    """
    exercise = registry.get(name)
    if not isinstance(exercise, Exercise):
        raise ValueError(f"{name} is a question; only a function can be replaced by ours")
    outcome = verdict(name, function).outcome
    if outcome == CORRECT:
        print(f"The rest of this page uses your {exercise.function_name}.")
        return function
    why = "is not written yet" if outcome == NOT_ATTEMPTED else "is not right yet"
    print(f"Your {exercise.function_name} {why}, so the rest of this page uses ours.")
    return exercise.solution
