"""The learning rate over a run: a linear warmup, then a fall.

Not here: the rate itself, which belongs to the method (trainer.py).
"""

from __future__ import annotations

import math

SCHEDULES = ("cosine", "linear", "constant")


def schedule(step: int, max_steps: int, warmup_ratio: float, kind: str = "cosine") -> float:
    """Returns the factor on the learning rate: a linear warmup, then a fall to zero, or none.

    >>> [round(schedule(step, 8, warmup_ratio=0.25), 3) for step in range(8)]
    [0.5, 1.0, 1.0, 0.933, 0.75, 0.5, 0.25, 0.067]
    """
    warmup_steps = max(1, round(max_steps * warmup_ratio))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, max_steps - warmup_steps)  # of the fall, 0 to 1
    if kind == "constant":
        return 1.0
    return 1 - done if kind == "linear" else 0.5 * (1 + math.cos(math.pi * done))
