"""What a notebook and a web page show: the verdict on an answer, a student's numbers, a solution. Not for marks.

The verdict is made in the learner's own process. Not here: deciding (judging.py, question.py), and what is counted and
kept (notebook.py).
"""

from __future__ import annotations

from typing import Any

from minilora.exercises import feedback, judging
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


def numbers_page(question: Question, student: str) -> feedback.Page:
    """The numbers that were drawn for a student, with what each of them is."""
    mine = question.numbers(student)
    rows = [
        [key, f"{mine[key]:,}" if isinstance(mine[key], int) else str(mine[key]), what]
        for key, what in question.given.items()
    ]
    return feedback.Page(f"{question.title}: the numbers of {student}", "", table=rows)


def solution_page(exercise: Question | Exercise, student: str) -> feedback.Page:
    """A solution with its explanation; that of a question is for the student's numbers, if there is a name."""
    mine = {"student": student} if isinstance(exercise, Question) and student else {}
    code = exercise.solution_source(**mine)
    return feedback.Page(f"{exercise.title}: one solution", exercise.explanation, code=code)
