"""What page 06 compares: plans with recorded runs, models with GPUs, and a step with and without checkpointing.

Not here: planning and measuring (minilora/memory), and the drawings (minilora/figures).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from minilora.figures import gpu_ladder as gpu_ladder_figure
from minilora.lesson.pictures import Picture
from minilora.lesson.showing import show_table
from minilora.memory import gigabytes, measure_memory
from minilora.memory.recorded import RecordedRun
from minilora.training import TokenData, Trainer

ROUNDS = 4


def show_recorded(runs: Iterable[RecordedRun]) -> list[float]:
    """Shows the plan and the measured peak of each run, and returns how far each plan is off (0 … 1)."""
    rows, errors = [], []
    for run in runs:
        planned, measured, off = run.plan.total, f"out of memory at {run.limit} GB", ""
        if run.peak is not None:
            errors.append(planned / run.peak - 1)
            measured, off = (
                gigabytes(run.peak),
                f"{errors[-1]:+.1%}".replace("-0.0%", "0.0%").replace("+0.0%", "0.0%"),
            )
        rows.append([run.name, gigabytes(planned), measured, off])
    show_table(["", "planned", "measured", "plan is off by"], rows)
    return errors


def gpu_ladder(gpus: Mapping[str, Mapping[str, int]], size: int) -> Picture:
    """Draws how many GPUs with `size` GB each model takes with each method."""
    return Picture(*gpu_ladder_figure.draw(gpus, size))


def with_and_without_checkpointing(
    model: Any, train_data: TokenData, batch_size: int, sequence_length: int
) -> tuple[float, float]:
    """Measures a training step with and without gradient checkpointing.

    The two take turns, and only this process's own CPU time counts, so that other programs disturb little. The learning
    rate is nearly zero, so the weights barely move.

    Args:
        model: A GPT, with or without adapters.
        train_data: Rows to train on.
        batch_size: Rows per step.
        sequence_length: Tokens per row.

    Returns:
        The share of the activations' memory that checkpointing saves (0 … 1), and how many times as long a step takes.
    """
    kept: dict[bool, int] = {}
    seconds: dict[bool, float] = {}
    for on in (False, True):
        kept[on] = measure_memory(
            model, batch_size, sequence_length, gradient_checkpointing=on
        ).kept_by_forward
    for _ in range(ROUNDS):
        for on in (False, True):
            trainer = Trainer(
                model, train_data, max_steps=1, batch_size=batch_size, learning_rate=1e-9, progress=False,
                gradient_checkpointing=on,
            )  # fmt: skip
            start = time.process_time()
            trainer.train()
            seconds[on] = min(seconds.get(on, float("inf")), time.process_time() - start)
    return 1 - kept[True] / kept[False], seconds[True] / seconds[False]
