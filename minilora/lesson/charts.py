"""Charts of what a page has measured, one call each, for the last line of a cell: `charts.family(...)`.

Not here: how they are drawn (minilora/figures/charts.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minilora.figures import charts
from minilora.lesson.pictures import Picture

HEADING = "How far each method comes down from the base, task by task"


def losses_by_task(
    losses: Mapping[str, Mapping[str, Sequence[float]]], base: Mapping[str, float], *, title: str = HEADING
) -> Picture:
    """Draws the validation losses of several methods on several tasks.

    Args:
        losses: Task -> method -> one loss per seed.
        base: Task -> loss before training.
        title: What to see in it.
    """
    return Picture(*charts.losses_by_task(losses, base, title))


def storage(base_bytes: int, adapter_bytes: int, tasks: int = 20) -> Picture:
    """Draws what a growing number of tasks takes on disk, with adapters and with full copies.

    Args:
        base_bytes: Size of the model's file.
        adapter_bytes: Size of one adapter's file.
        tasks: The largest number of tasks.
    """
    return Picture(*charts.storage(base_bytes, adapter_bytes, tasks))


def family(points: Mapping[str, tuple[float, float]]) -> Picture:
    """Draws how much of the gain each method of the PEFT family reaches.

    Args:
        points: Name -> (share of the weights that are trained, share of full fine-tuning's gain that is reached).
    """
    return Picture(*charts.family(points))
