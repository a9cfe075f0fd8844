"""The checks against wrong answers that were not written for them (plausible/)."""

import numpy as np
import pytest

from minilora.exercises.judging import CORRECT, CRASHED, judge_locally
from minilora.exercises.registry import HANDS_ON
from tests.plausible import FUNCTIONS

NAMED = 0.9  # the share that must be told what is wrong, and not only which numbers differ

each = pytest.mark.parametrize("exercise", HANDS_ON, ids=lambda e: e.name)
quiet = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def verdicts(exercise, seeds):
    with np.errstate(all="ignore"):
        return [
            (key, judge_locally(exercise, function, seed))
            for key, function in FUNCTIONS[exercise.name].items()
            for seed in seeds
        ]


@quiet
@each
def test_each_is_refused(exercise):
    assert len(FUNCTIONS[exercise.name]) >= 10
    for key, result in verdicts(exercise, (5, 6)):
        assert result.outcome != CORRECT, key
        assert result.earned == 0


@quiet
def test_nine_in_ten_are_told_what_is_wrong():
    """A name for the mistake, or the error where the call raised one; in every exercise eight in ten."""
    told, tried = 0, 0
    for exercise in HANDS_ON:
        found = [bool(r.mistake) or r.outcome == CRASHED for _, r in verdicts(exercise, (0, 7))]
        assert sum(found) >= 0.8 * len(found), exercise.name
        told, tried = told + sum(found), tried + len(found)
    assert tried >= 400
    assert told >= NAMED * tried
