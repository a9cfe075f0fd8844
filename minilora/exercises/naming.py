"""Why an answer is wrong: the exercise's own list of wrong answers first, then mistakes that look alike everywhere.

`name_mistake` gives a key and a sentence, or None. A wrong answer is looked at with more tolerance than a right one:
the same mistake in float32 and in float64, or summed in another order, is one mistake.

Not here: whether an answer is right (judging.py), and differences in numbers (compare.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minilora.exercises import repairs
from minilora.exercises.compare import Problem
from minilora.exercises.exercise import Case, Exercise, Wrong
from minilora.exercises.learner_side import RAISED, RETURNED, STOPPED, Reply, call, same

CLOSE = 1e-5  # of the largest magnitude: far more than float32 loses, far less than two mistakes differ by


class Mistake(NamedTuple):
    """A mistake with a name.

    Attributes:
        key: Short name, to count it in a class.
        sentence: The feedback for the learner.
    """

    key: str
    sentence: str


def name_mistake(
    exercise: Exercise,
    cases: list[Case],
    replies: list[Reply],
    expected: list[Reply],
    problems: list[Problem | None],
) -> Mistake | None:
    """The first explanation that fits every call."""
    states = {reply.status for reply in replies}
    known = recognize(exercise, cases, replies) if RETURNED in states else None  # errors alone say too little
    if known is not None:
        return Mistake(known.key, known.sentence)
    if states == {RETURNED}:
        for explain in (_ignored_argument, _repaired, _plain_problem):
            mistake = explain(exercise, cases, replies, expected, problems)
            if mistake is not None:
                return mistake
    if states & {RAISED, STOPPED}:
        return _only_there(cases, problems)  # the error says it all
    return _only_there(cases, problems) or _plain_problem(exercise, cases, replies, expected, problems)


def run_ours(exercise: Exercise, function: Callable, arguments: dict[str, Any]) -> Reply:
    """A solution, variant or known wrong answer on one case, without its warnings."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return call(function, arguments, exercise.takes, exercise.gives)


# -- the exercise's own list -------------------------------------------------------------------------------------------


def recognize(exercise: Exercise, cases: list[Case], replies: list[Reply]) -> Wrong | None:
    """The first known wrong answer that behaves as the learner's does, or None."""
    for wrong in exercise.wrong:
        if wrong.recognize is not None:
            if _recognized(wrong, cases, replies):
                return wrong
        elif _behaves_alike(exercise, wrong.function, cases, replies):
            return wrong
    return None


def _recognized(wrong: Wrong, cases: list[Case], replies: list[Reply]) -> bool:
    assert wrong.recognize is not None
    pairs = [(c, r) for c, r in zip(cases, replies, strict=False) if r.status == RETURNED]
    try:
        return bool(pairs) and all(wrong.recognize(c.arguments, r.value) for c, r in pairs)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
        return False  # the value is of another kind than the predicate expects


def _behaves_alike(exercise: Exercise, function: Callable, cases: list[Case], replies: list[Reply]) -> bool:
    """In every case the same, computed as the arguments are or in float64."""
    return len(replies) == len(cases) and all(
        any(
            _alike(reply, run_ours(exercise, function, arguments))
            for arguments in _precisions(case.arguments)
        )
        for case, reply in zip(cases, replies, strict=True)
    )


def _precisions(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    wide = _in_float64(arguments)
    return [arguments] if same(wide, arguments) else [arguments, wide]


def _in_float64(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        return value.astype(np.float64)
    if isinstance(value, dict):
        return {key: _in_float64(item) for key, item in value.items()}
    return value


def _alike(reply: Reply, known: Reply) -> bool:
    if reply.status != known.status:
        return False
    if reply.status == RAISED:
        return reply.error_type == known.error_type
    if reply.status != RETURNED:
        return True
    return alike(reply.changed, known.changed) and alike(reply.value, known.value)


def alike(a: Any, b: Any) -> bool:
    """Whether two plain values come from the same computation, whatever their precision.

    >>> alike(np.array([0.1, 3.0]), np.array([0.1, 3.0], np.float32)), alike(np.zeros(2), np.zeros((1, 2)))
    (True, False)
    """
    if isinstance(a, dict) and isinstance(b, dict):
        return set(a) == set(b) and all(alike(a[key], b[key]) for key in a)
    x, y = repairs.numbers(a), repairs.numbers(b)
    if x is not None and y is not None:
        return _close(x, y, isinstance(a, list) != isinstance(b, list))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    return same(a, b)


def _close(x: np.ndarray, y: np.ndarray, one_is_a_list: bool) -> bool:
    whole = x.dtype.kind in "iu"
    if x.shape != y.shape or whole != (y.dtype.kind in "iu") or (whole and one_is_a_list):
        return False
    if whole:
        return bool((x == y).all())
    finite = np.abs(y[np.isfinite(y)])
    room = CLOSE * float(finite.max()) if finite.size else 0.0
    with np.errstate(all="ignore"):
        return bool(((np.abs(x - y) <= room) | (x == y) | (np.isnan(x) & np.isnan(y))).all())


# -- mistakes of any exercise ------------------------------------------------------------------------------------------


def _ignored_argument(exercise, cases, replies, expected, problems) -> Mistake | None:
    """As the solution would answer if one argument always had the value that it has in one of the cases."""
    for name in (n for n in exercise.example if n not in exercise.takes):
        for fixed in (case.arguments[name] for case in cases):
            if all(
                _alike(reply, run_ours(exercise, exercise.solution, case.arguments | {name: fixed}))
                for case, reply in zip(cases, replies, strict=True)
            ):
                return Mistake(
                    f"ignores {name}",
                    f"Your result does not depend on {name}: it is what one value of {name} gives, in "
                    f"every case. "
                    f"Compute with the argument {name} itself.",
                )
    return None


def _repaired(exercise, cases, replies, expected, problems) -> Mistake | None:
    """One simple repair makes every result right."""
    bad = [
        (case, reply.value, right.value)
        for case, reply, right, problem in zip(cases, replies, expected, problems, strict=True)
        if problem and exercise.result.problem(reply.value, right.value, case.arguments)
    ]
    if not bad or not all(
        reply.changed.keys() <= right.changed.keys() for reply, right in zip(replies, expected, strict=True)
    ):
        return None
    parts = [part.name for part in getattr(exercise.result, "parts", ())]
    for repair in repairs.possible(bad[0][1], bad[0][2], parts):
        if all(_fits(exercise, repair, case, value, right) for case, value, right in bad):
            return Mistake(repair.key, repair.sentence)
    return None


def _fits(exercise: Exercise, repair: repairs.Repair, case: Case, value: Any, right: Any) -> bool:
    try:
        with np.errstate(all="ignore"):
            repaired = repair.apply(value, right)
            return exercise.result.problem(repaired, right, case.arguments) is None
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError):
        return False  # this repair is for other kinds of values


def _plain_problem(exercise, cases, replies, expected, problems) -> Mistake | None:
    """The first difference names the mistake by itself: a shape, a type, missing names."""
    first = next(problem for problem in problems if problem)
    return Mistake(first.key, str(first)) if first.key else None


def _only_there(cases: list[Case], problems: list[Problem | None]) -> Mistake | None:
    """Only cases with one particular fail."""
    failing = [case for case, problem in zip(cases, problems, strict=False) if problem]
    texts = {case.alone for case in failing}
    if len(texts) == 1 and failing[0].alone and None in problems and len(problems) == len(cases):
        return Mistake(f"only: {failing[0].label}", failing[0].alone)
    return None
