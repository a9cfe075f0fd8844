"""All exercises by name, in the order in which the pages show them.

A new exercise is one file, and one line here.
"""

from __future__ import annotations

import difflib

from minilora.exercises.exercise import Exercise
from minilora.exercises.hands_on import lora_forward, merge, quantize_blockwise

HANDS_ON: tuple[Exercise, ...] = (
    lora_forward.EXERCISE,
    merge.EXERCISE,
    quantize_blockwise.EXERCISE,
)
EXERCISES = HANDS_ON
BY_NAME = {exercise.name: exercise for exercise in EXERCISES}


def get(name: str) -> Exercise:
    """The exercise of that name; ValueError lists the nearest names.

    >>> get("merge").function_name
    'merge'
    """
    if name not in BY_NAME:
        near = difflib.get_close_matches(str(name), BY_NAME, n=3) or list(BY_NAME)
        raise ValueError(f"there is no exercise {name!r}; did you mean {' or '.join(map(repr, near))}?")
    return BY_NAME[name]
