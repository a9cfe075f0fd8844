"""From replies to a verdict: right, wrong and why, crashed, or not attempted.

The notebook's check and a grader share `judge`; each passes its own way to call the learner's function. `judge` runs
the solution and the known wrong answers itself, and compares plain data only, so none of the learner's code runs here.

Not here: calling (learner_side.py), the kinds of results (compare.py), names for mistakes (naming.py), how a verdict
looks (feedback.py).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from minilora.exercises import feedback
from minilora.exercises.compare import Problem
from minilora.exercises.exercise import Case, Exercise
from minilora.exercises.learner_side import (
    NOT_PLAIN,
    RAISED,
    RETURNED,
    SIGNATURE,
    STOPPED,
    UNTOUCHED,
    Reply,
    call,
    copy_plain,
)
from minilora.exercises.naming import name_mistake, run_ours

CORRECT = "correct"
INCORRECT = "incorrect"
NOT_ATTEMPTED = "not attempted"
CRASHED = "crashed"
UNCHECKABLE = "can't be checked"
UNFINISHED = "unfinished"  # a question with parts still to answer, and none wrong
KEPT = "kept"  # a text, which a person judges

Run = Callable[[dict[str, Any]], Reply]


@dataclasses.dataclass
class Item:
    """The verdict on one of several questions."""

    key: str
    outcome: str
    sentence: str
    points: int
    mistake: str | None = None


@dataclasses.dataclass
class Result:
    """A verdict; a notebook shows it as a panel, anything else as text.

    Attributes:
        name: The exercise.
        title: Its title.
        outcome: One of the words above, such as CORRECT.
        sentence: What is wrong.
        points: What the exercise is worth.
        earned: How many of these points the answer earned.
        mistake: Key of a known mistake, or None.
        case: The call that is shown, or None.
        received: What that call returned.
        expected: What it should have returned.
        shows_values: Whether `received` is a returned value.
        parts: Names of the results, if a call returns several.
        lines: (line number, code) of the learner's own code on the way to an error.
        passed: How many cases are right.
        total: How many cases there are.
        items: The verdicts on the parts of a question.
        after: What to read next: an explanation, or a model answer.
        note: A second sentence about the same answer.
        hints: For a learner; empty in a grader's report.
    """

    name: str
    title: str
    outcome: str
    sentence: str = ""
    points: int = 0
    earned: int = 0
    mistake: str | None = None
    case: Case | None = None
    received: Any = None
    expected: Any = None
    shows_values: bool = False
    parts: list[str] = dataclasses.field(default_factory=list)
    lines: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    passed: int = 0
    total: int = 0
    items: list[Item] = dataclasses.field(default_factory=list)
    after: str = ""
    note: str = ""
    hints: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return feedback.as_text(self)

    def _repr_html_(self) -> str:
        return feedback.as_html(self)


def judge(exercise: Exercise, run: Run, seed: int = 0) -> Result:
    """Calls the learner's function on the cases of a seed, and decides.

    Args:
        exercise: What was to be written.
        run: Calls the learner's function: arguments as plain data -> Reply. It must not change the arguments.
        seed: Which cases to draw.
    """
    cases = exercise.cases(seed)
    replies: list[Reply] = []
    for case in cases:
        replies.append(run(copy_plain(case.arguments)))
        if replies[-1].status == STOPPED:
            break  # what never ends once costs its deadline once
    return decide(exercise, cases, replies)


def decide(exercise: Exercise, cases: list[Case], replies: list[Reply]) -> Result:
    """The verdict on replies that were collected for the first of these cases."""
    result = Result(exercise.name, exercise.title, CORRECT, points=exercise.points, total=len(cases))
    if all(reply.status == UNTOUCHED for reply in replies):
        result.outcome = NOT_ATTEMPTED
        result.sentence = f"Nothing is written in {exercise.function_name} yet."
        return result
    expected = [run_ours(exercise, exercise.solution, case.arguments) for case in cases]
    problems = find_problems(exercise, cases, replies, expected)
    result.passed = problems.count(None)
    if not any(problems) and len(replies) == len(cases):
        result.earned, result.after = exercise.points, exercise.explanation
        return result
    mistake = name_mistake(exercise, cases, replies, expected, problems)
    crashes = [place for place, reply in enumerate(replies) if reply.status in (RAISED, STOPPED)]
    shown = crashes[0] if crashes else next(place for place, problem in enumerate(problems) if problem)
    reply, problem = replies[shown], problems[shown] or ""
    result.case = None if reply.status == SIGNATURE else cases[shown]
    result.outcome = CRASHED if crashes else INCORRECT  # also where other calls returned
    result.mistake = mistake.key if mistake else None
    result.sentence = mistake.sentence if mistake else problem
    result.note = problem if problem != result.sentence else ""
    result.lines = reply.lines if reply.status == RAISED else []
    result.shows_values = reply.status == RETURNED
    result.parts = [part.name for part in getattr(exercise.result, "parts", ())]
    result.received = reply.value
    if not getattr(exercise.result, "many_answers", False):
        result.expected = expected[shown].value
    return result


def find_problems(
    exercise: Exercise, cases: list[Case], replies: list[Reply], expected: list[Reply]
) -> list[Problem | None]:
    """What is wrong with each reply; where each by itself is right, with all of them together."""
    problems = [
        find_problem(exercise, case, reply, right)
        for case, reply, right in zip(cases, replies, expected, strict=False)
    ]
    if exercise.across and not any(problems) and len(replies) == len(cases):
        found = exercise.across(cases, [reply.value for reply in replies])
        if found:
            problems[found[0]] = Problem(found[1], found[2])
    return problems


def find_problem(exercise: Exercise, case: Case, reply: Reply, expected: Reply) -> Problem | None:
    """What is wrong with one reply, in words; None if nothing is."""
    if reply.status != RETURNED:
        return Problem(_no_value(exercise, reply), reply.status)
    if reply.value is None and expected.value is not None:
        return Problem(f"{exercise.function_name} returned None: did you forget a return?", "no return")
    problem = exercise.result.problem(reply.value, expected.value, case.arguments)
    if problem is None and set(reply.changed) - set(expected.changed):
        names = ", ".join(sorted(set(reply.changed) - set(expected.changed)))
        return Problem(
            f"the result is right, but {exercise.function_name} wrote into its argument {names}; make a "
            f"new array",
            "writes into its argument",
        )
    return problem


def _no_value(exercise: Exercise, reply: Reply) -> str:
    name = exercise.function_name
    if reply.status == RAISED:
        return f"{name} stopped with {reply.error_type}: {reply.message}"
    if reply.status == SIGNATURE:
        return f"{name} does not take these arguments: {reply.message}"
    if reply.status == NOT_PLAIN:
        return f"{name} returned {reply.message}; expected plain numbers, text, lists, dicts or arrays of numbers"
    if reply.status == UNTOUCHED:
        return f"{name} is not finished: in this case it raises NotImplementedError"
    return f"{name} did not finish: {reply.message}"


def judge_locally(exercise: Exercise, function: Callable, seed: int = 0) -> Result:
    """Judges a function by calling it in this process: for the notebook and the tests, not for grading."""
    return judge(
        exercise,
        functools.partial(call, function, takes=exercise.takes, gives=exercise.gives),
        seed,
    )
