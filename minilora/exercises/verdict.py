"""The verdict on an answer, in the learner's own process: for the notebook and the web page, not for marks.

Not here: deciding (judging.py, question.py), and what a verdict is counted for (notebook.py).
"""

from __future__ import annotations

from typing import Any

from minilora.exercises import judging
from minilora.exercises.exercise import Exercise
from minilora.exercises.judging import CORRECT, NOT_ATTEMPTED, UNCHECKABLE, Result
from minilora.exercises.question import Question, judge_answers
from minilora.exercises.unfilled import is_unfilled

SEEDS = (0, 1)  # the inputs that everyone sees; a grader draws others


def verdict_on(exercise: Question | Exercise, answer: Any) -> Result:
    """Judges a function, or the dict of answers to a question."""
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
        sentence = f"A `...` is still in {exercise.function_name}: replace it with your own line."
        return Result(exercise.name, exercise.title, NOT_ATTEMPTED, sentence, points=exercise.points)
    try:
        return _judge_all_seeds(exercise, answer)
    except KeyboardInterrupt:
        return Result(
            exercise.name,
            exercise.title,
            UNCHECKABLE,
            f"You stopped the check. If {exercise.function_name} never finishes, look at its loops.",
            points=exercise.points,
        )


def _judge_all_seeds(exercise: Exercise, function: Any) -> Result:
    results = []
    for seed in SEEDS:
        results.append(judging.judge_locally(exercise, function, seed))
        if results[-1].outcome != CORRECT:
            break
    return results[-1]
