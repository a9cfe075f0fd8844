"""The mark of one submission: runs it in a sandbox, and decides outside.

Inputs are drawn from a seed that follows from the course's secret, the student and the exercise, and in a second draw
from what was handed in as well: no file holds them, no one sees them before, and grading the same submission again
gives the same result. Handing in again does not draw the first inputs anew, so nobody can wait for easy ones; and what
the feedback showed of them does not help with the second.

Not here: one notebook (judge.py), many submissions (batch.py), and files for other systems (formats.py).
"""

from __future__ import annotations

import contextlib
import time
import warnings

import numpy as np

from minilora.exercises.exercise import Exercise
from minilora.exercises.judging import NOT_ATTEMPTED
from minilora.exercises.question import Question
from minilora.grading import choosing
from minilora.grading.judge import Judge, not_attempted
from minilora.grading.marks import FAILED, GRADED, UNDECIDED, UNREADABLE, Course, Grade, QuestionGrade
from minilora.grading.sandbox import Sandbox
from minilora.grading.session import GraderFailure
from minilora.grading.submission import Submission


def grade(submission: Submission, course: Course, sandbox: Sandbox) -> Grade:
    """Grades one submission; whatever it does, it gets a result."""
    result = Grade(
        submission.student,
        GRADED,
        0,
        course.max_score,
        [],
        list(submission.problems),
        submission.digest,
        course.key(submission),
        sandbox.name,
        sandbox.note,
        submission.content,
    )
    if not submission.notebooks:
        result.status = UNREADABLE
        return result
    try:
        with contextlib.ExitStack() as stack, warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            end = time.monotonic() + course.deadlines.submission
            judges = [
                stack.enter_context(Judge(name, cells, submission, course, sandbox, end))
                for name, cells in submission.notebooks.items()
            ]
            result.questions = [_question(exercise, judges, course, result) for exercise in course.exercises]
            for judge in judges:
                result.remarks += judge.remarks()
    except (GraderFailure, OSError) as error:
        result.status, result.score, result.questions = FAILED, None, []
        result.remarks.append(f"grading did not work: {error}")
        return result
    outcomes = {question.outcome for question in result.questions}
    if FAILED in outcomes or UNDECIDED in outcomes:
        result.status, result.score = FAILED if FAILED in outcomes else UNDECIDED, None
    else:
        result.score = sum(question.earned or 0 for question in result.questions)
    return result


def _question(
    exercise: Question | Exercise, judges: list[Judge], course: Course, result: Grade
) -> QuestionGrade:
    """What the notebook that counts earns; who must decide is told which ones there are."""
    try:
        found = [
            choosing.Attempt(judge.name, judge.question(exercise))
            for judge in judges
            if judge.mentions(exercise)
        ]
    except (GraderFailure, OSError):
        raise
    except Exception as error:  # ours, whatever it is: it must not become a zero
        result.remarks.append(
            f"{exercise.name}: the grader could not decide ({type(error).__name__}: {error})"[:500]
        )
        return QuestionGrade(exercise.name, exercise.title, exercise.points, None, FAILED)
    attempts = [attempt for attempt in found if attempt.grade.outcome != NOT_ATTEMPTED]
    if not attempts:
        return found[-1].grade if found else not_attempted(exercise)
    chosen, remark = choosing.choose(attempts, course.notebooks)
    if remark:
        result.remarks.append(f"{exercise.name}: {remark}")
    if chosen:
        return chosen.grade
    return QuestionGrade(exercise.name, exercise.title, exercise.points, None, UNDECIDED, sentence=remark)
