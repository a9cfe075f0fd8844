"""From replies to a verdict: right, wrong and why, crashed, or not attempted.

`judge` is one for all: the notebook's check and a grader hand it their own way to call the learner's function. It runs
the solution and the known wrong answers itself, and compares plain data only, so nothing of the learner's runs here.

Not here: calling (learner_side.py), the kinds of results (compare.py), how a verdict looks (feedback.py).
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minilora.exercises import feedback
from minilora.exercises.exercise import Case, Exercise, Wrong
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
    same,
)

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

    sentence says what is wrong, mistake is the key of a known wrong answer, or None. case, received and expected belong
    to the call that is shown. earned is out of points.
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
    shows_values: bool = False  # whether received and expected mean anything
    parts: list[str] = dataclasses.field(default_factory=list)  # their names, where several things came back
    lines: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    passed: int = 0
    total: int = 0
    items: list[Item] = dataclasses.field(default_factory=list)
    after: str = ""  # what to read now: an explanation, or a model answer
    note: str = ""

    def __repr__(self) -> str:
        return feedback.as_text(self)

    def _repr_html_(self) -> str:
        return feedback.as_html(self)


def judge(exercise: Exercise, run: Run, seed: int = 0) -> Result:
    """Draws the cases of `seed`, has `run` call the learner's function on each, and decides.

    run: arguments as plain data -> Reply. It must not change the arguments.
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
    expected = [run_ours(exercise, exercise.solution, case) for case in cases]
    problems = [
        find_problem(exercise, case, reply, right)
        for case, reply, right in zip(cases, replies, expected, strict=False)
    ]
    result.passed = problems.count(None)
    if not any(problems) and len(replies) == len(cases):
        result.earned, result.after = exercise.points, exercise.explanation
        return result
    wrong = recognize(exercise, cases, replies, expected)
    shown = _worth_showing(replies, problems, wrong)
    reply = replies[shown]
    result.case = None if reply.status == SIGNATURE else cases[shown]
    crashed = reply.status in (RAISED, STOPPED) and wrong is None
    result.outcome = CRASHED if crashed else INCORRECT
    result.mistake = wrong.key if wrong else None
    result.sentence = wrong.sentence if wrong else problems[shown] or ""
    result.note = (problems[shown] or "") if wrong and reply.status == RETURNED else ""
    result.lines = reply.lines if reply.status == RAISED else []
    result.shows_values = reply.status == RETURNED
    result.parts = [part.name for part in getattr(exercise.result, "parts", ())]
    result.received = reply.value
    if not getattr(exercise.result, "many_answers", False):
        result.expected = expected[shown].value
    return result


def run_ours(exercise: Exercise, function: Callable, case: Case) -> Reply:
    """A solution, variant or known wrong answer on one case, without its warnings."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return call(function, case.arguments, exercise.takes, exercise.gives)


def find_problem(exercise: Exercise, case: Case, reply: Reply, expected: Reply) -> str | None:
    """What is wrong with one reply, in words; None if nothing is."""
    if reply.status != RETURNED:
        return _no_value(exercise, reply)
    if reply.value is None and expected.value is not None:
        return f"{exercise.function_name} returned None: did you forget a return?"
    problem = exercise.result.problem(reply.value, expected.value, case.arguments)
    if problem is None and set(reply.changed) - set(expected.changed):
        names = ", ".join(sorted(set(reply.changed) - set(expected.changed)))
        problem = f"the result is right, but {exercise.function_name} wrote into its argument {names}; make a new array"
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
        return f"{name} has nothing to say in this case: a NotImplementedError is still in it"
    return f"{name} did not finish: {reply.message}"


def recognize(
    exercise: Exercise, cases: list[Case], replies: list[Reply], expected: list[Reply]
) -> Wrong | None:
    """The first known wrong answer that behaves as the learner's does, or None."""
    if not any(reply.status == RETURNED for reply in replies):
        return None  # errors alone say too little
    for wrong in exercise.wrong:
        if wrong.recognize is not None:
            if _recognized(wrong, cases, replies):
                return wrong
        elif _behaves_alike(exercise, wrong, cases, replies):
            return wrong
    return None


def _recognized(wrong: Wrong, cases: list[Case], replies: list[Reply]) -> bool:
    pairs = [(c, r) for c, r in zip(cases, replies, strict=False) if r.status == RETURNED]
    try:
        return bool(pairs) and all(wrong.recognize(c.arguments, r.value) for c, r in pairs)  # type: ignore[misc]
    except (TypeError, ValueError, IndexError, KeyError, AttributeError):
        return False  # the value is of another kind than the predicate expects


def _behaves_alike(exercise: Exercise, wrong: Wrong, cases: list[Case], replies: list[Reply]) -> bool:
    return all(
        _alike(exercise, case, reply, run_ours(exercise, wrong.function, case))
        for case, reply in zip(cases, replies, strict=False)
    ) and len(replies) == len(cases)


def _alike(exercise: Exercise, case: Case, reply: Reply, known: Reply) -> bool:
    if reply.status != known.status:
        return False
    if reply.status == RAISED:
        return reply.error_type == known.error_type
    if reply.status != RETURNED:
        return True
    if not same(reply.changed, known.changed):
        return False
    if (reply.value is None) != (known.value is None):
        return False
    if known.value is None:
        return True
    return _same_answer(exercise, reply.value, known.value, case.arguments)


def _same_answer(exercise: Exercise, value: Any, known: Any, arguments: dict[str, Any]) -> bool:
    if same(value, known):
        return True
    try:
        return exercise.result.problem(value, known, arguments) is None
    except (TypeError, ValueError, AttributeError, KeyError):
        return False  # a spec may lean on the right answer's kind, which a wrong answer need not have


def _worth_showing(replies: list[Reply], problems: list[str | None], wrong: Wrong | None) -> int:
    """The place of the first bad call; for a named mistake rather one that returned something to look at."""
    bad = [place for place, problem in enumerate(problems) if problem]
    returned = [place for place in bad if replies[place].status == RETURNED]
    return returned[0] if wrong and returned else bad[0]


def judge_locally(exercise: Exercise, function: Callable, seed: int = 0) -> Result:
    """`judge` with the function called in this very process: for the notebook and the tests, not for grading."""
    return judge(
        exercise,
        functools.partial(call, function, takes=exercise.takes, gives=exercise.gives),
        seed,
    )
