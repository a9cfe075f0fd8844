"""All exercises by name: the questions of the chapter, then the functions to write.

A new exercise is one file, and one line here. Not here: what an exercise is (exercise.py, question.py), and how it is
judged (judging.py).
"""

from __future__ import annotations

import difflib

from minilora.exercises.exercise import Exercise
from minilora.exercises.hands_on import (
    blend_adapters,
    choose_rank,
    count_trainable,
    dequantize,
    double_quantize,
    freeze,
    init_adapter,
    lora_forward,
    lora_gradients,
    merge,
    mixed_batch,
    pack_nibbles,
    quantize_blockwise,
    quantize_int8,
    save_adapter,
    swap_adapters,
    training_memory,
    unmerge,
)
from minilora.exercises.question import Question
from minilora.exercises.questions import (
    full_against_lora,
    full_or_lora,
    quantization,
    run_a_finetune,
    swappable_adapters,
    what_lora_changes,
)

QUESTIONS: tuple[Question, ...] = (
    what_lora_changes.QUESTION,
    full_against_lora.QUESTION,
    quantization.QUESTION,
    swappable_adapters.QUESTION,
    run_a_finetune.QUESTION,
    full_or_lora.QUESTION,
)
HANDS_ON: tuple[Exercise, ...] = (
    count_trainable.EXERCISE,
    init_adapter.EXERCISE,
    lora_forward.EXERCISE,
    freeze.EXERCISE,
    lora_gradients.EXERCISE,
    merge.EXERCISE,
    unmerge.EXERCISE,
    quantize_int8.EXERCISE,
    quantize_blockwise.EXERCISE,
    pack_nibbles.EXERCISE,
    dequantize.EXERCISE,
    double_quantize.EXERCISE,
    training_memory.EXERCISE,
    save_adapter.EXERCISE,
    swap_adapters.EXERCISE,
    blend_adapters.EXERCISE,
    mixed_batch.EXERCISE,
    choose_rank.EXERCISE,
)
EXERCISES: tuple[Question | Exercise, ...] = (*QUESTIONS, *HANDS_ON)
BY_NAME = {exercise.name: exercise for exercise in EXERCISES}


def get(name: str) -> Question | Exercise:
    """Returns the exercise of that name.

    Raises:
        ValueError: There is none; the message lists the nearest names.

    >>> get("merge").title
    'Merge an adapter into its layer'
    """
    if name not in BY_NAME:
        near = difflib.get_close_matches(str(name), BY_NAME, n=3) or list(BY_NAME)
        raise ValueError(f"there is no exercise {name!r}; did you mean {' or '.join(map(repr, near))}?")
    return BY_NAME[name]
