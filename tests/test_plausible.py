"""The checks against wrong answers that were not written for them (plausible/)."""

import functools

import numpy as np
import pytest

from minilora.exercises.judging import CORRECT, CRASHED, INCORRECT, judge_locally
from minilora.exercises.question_parts import Number
from minilora.exercises.registry import HANDS_ON, QUESTIONS
from tests.plausible import FUNCTIONS, NUMBERS

NAMED = 0.9  # the share that must be told what is wrong, and not only which numbers differ

each = pytest.mark.parametrize("exercise", HANDS_ON, ids=lambda e: e.name)
quiet = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@functools.cache
def verdicts(exercise_name):
    """Computed once for the tests below, as judging hundreds of functions takes a while."""
    exercise = next(exercise for exercise in HANDS_ON if exercise.name == exercise_name)
    with np.errstate(all="ignore"):
        return [
            (key, judge_locally(exercise, function, seed))
            for key, function in FUNCTIONS[exercise.name].items()
            for seed in (0, 7)
        ]


@quiet
@each
def test_each_is_refused(exercise):
    assert len(FUNCTIONS[exercise.name]) >= 10
    for key, result in verdicts(exercise.name):
        assert result.outcome != CORRECT, key
        assert result.earned == 0


@quiet
def test_nine_in_ten_are_told_what_is_wrong():
    """A name for the mistake, or the error where the call raised one; in every exercise eight in ten."""
    told, tried = 0, 0
    for exercise in HANDS_ON:
        found = [bool(r.mistake) or r.outcome == CRASHED for _, r in verdicts(exercise.name)]
        assert sum(found) >= 0.8 * len(found), exercise.name
        told, tried = told + sum(found), tried + len(found)
    assert tried >= 400
    assert told >= NAMED * tried


# -- numbers of the questions --------------------------------------------------------------------------------------

STUDENTS = [f"student {number}" for number in range(400)]
NUMBER_PARTS = [
    (question, part) for question in QUESTIONS for part in question.parts if isinstance(part, Number)
]
each_number = pytest.mark.parametrize(
    ("question", "part"), NUMBER_PARTS, ids=[f"{question.name}-{part.key}" for question, part in NUMBER_PARTS]
)


def wrong_numbers(question, part, mine):
    plausible = NUMBERS.get(question.name, {}).get(part.key, {})
    yield from ((slip.mistake, slip.value(mine)) for slip in part.slips)
    yield from ((key, wrong(mine)) for key, wrong in plausible.items())


@each_number
def test_no_wrong_number_is_right_for_any_student(question, part):
    """Not even rounded to the digits that are asked for: it is off by more than the two roundings together."""
    for mine in map(question.numbers, STUDENTS):
        right = part.right(mine)
        rounding = 2 * 0.5 * 10.0 ** (1 - part.digits) if part.digits else 0.0
        for key, value in wrong_numbers(question, part, mine):
            assert abs(value - right) > rounding * abs(right), (key, mine)
            assert part.judge(value, mine).outcome == INCORRECT, (key, mine)


@each_number
def test_every_slip_has_its_own_sentence_for_every_student(question, part):
    for mine in map(question.numbers, STUDENTS):
        for slip in part.slips:
            assert part.judge(slip.value(mine), mine).mistake == slip.mistake, mine


def test_nine_in_ten_plausible_numbers_are_told_what_is_wrong():
    found = [
        bool(part.judge(wrong(mine), mine).mistake)
        for question, part in NUMBER_PARTS
        for wrong in NUMBERS.get(question.name, {}).get(part.key, {}).values()
        for mine in map(question.numbers, STUDENTS[:40])
    ]
    assert len(found) >= 1500
    assert sum(found) >= NAMED * len(found)
