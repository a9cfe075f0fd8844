"""Draws how far adapters of several ranks get with several tasks, as a table of bars.

Not here: the tasks (minilora/lesson/walls.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from minilora.figures.colors import COLORS
from minilora.figures.svg import WIDTH, frame, rect, svg, text, title

LEFT, TOP = 196.0, 44.0  # where the bars begin
ROW, BAR, GAP = 54.0, 16.0, 14.0
DONE = 0.995  # from here on a task counts as learned


def draw(learned: Mapping[str, Mapping[int | str, float]]) -> tuple[str, str]:
    """Draws one row for each task, and one bar for each rank in it.

    Args:
        learned: Task -> rank, or "full" for full fine-tuning -> the share learned, 0 ... 1.

    Returns:
        The picture, and a sentence that names the lowest rank which learned each task.

    >>> draw({"a change of rank 4": {1: 0.25, 4: 1.0, "full": 1.0}, "of rank 64": {1: 0.02, 4: 0.06, "full": 1.0}})[1]
    'Learned completely: a change of rank 4 from rank 4 on; of rank 64 only by full fine-tuning.'
    """
    ranks = list(next(iter(learned.values())))
    wide = (WIDTH - LEFT - GAP * (len(ranks) - 1)) / len(ranks)
    sentence = f"Learned completely: {'; '.join(_reached(*task) for task in learned.items())}."
    parts = [title("How much of each task does an adapter learn?")]
    for i, r in enumerate(ranks):
        name = f"rank {r}" if isinstance(r, int) else r
        parts.append(text(LEFT + i * (wide + GAP), TOP, name, size=17, bold=True))
    y = TOP + 18
    for task, shares in learned.items():
        parts.append(text(0, y + ROW / 2 + 4, task, size=17))
        for i, share in enumerate(shares.values()):
            x = LEFT + i * (wide + GAP)
            color = COLORS["trainable" if share >= DONE else "neutral"]
            parts.append(text(x, y + 20, f"{share:.0%}", size=17, bold=share >= DONE))
            parts.append(rect(x, y + 27, wide * min(1.0, max(0.0, share)), BAR, color))
            parts.append(frame(x, y + 27, wide, BAR, color))
        y += ROW
    return svg(y + 8, parts, sentence), sentence


def _reached(task: str, shares: Mapping[int | str, float]) -> str:
    done = [r for r, share in shares.items() if share >= DONE]
    if not done:
        return f"{task} by none"
    return (
        f"{task} from rank {done[0]} on" if isinstance(done[0], int) else f"{task} only by full fine-tuning"
    )
