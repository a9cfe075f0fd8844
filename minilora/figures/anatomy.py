"""Draws one LoRA layer while it learns: the update to learn, B times A beside it, and what is still missing.

Not here: the training whose matrices are shown.
"""

from __future__ import annotations

from minilora.figures.cells import Matrix, largest, share_bar, table
from minilora.figures.svg import WIDTH, svg, text, title

CELL = 13


def draw(
    W: Matrix,
    A: Matrix,
    B: Matrix,
    delta: Matrix,
    target: Matrix,
    moved: dict[str, float],
    missing: float,
    step: int,
) -> tuple[str, str]:
    """Draws the layer after `step` steps.

    Args:
        W: The frozen weight (out, in).
        A: (r, in).
        B: (out, r).
        delta: What the layer adds to W (out, in): scaling · B·A.
        target: What it should add (out, in).
        moved: How far each matrix ("W", "A", "B") has moved since the start, as a norm.
        missing: Share of the target's energy that is not learned yet, 0 … 1.
        step: How many steps were taken.
    """
    rank, rows, columns = len(A), len(W), len(W[0])
    wide, high = columns * CELL, rows * CELL
    gap = (WIDTH - 3 * wide) / 2
    sentence = _sentence(rank, rows, columns, moved, missing, step)
    rest = [[t - d for t, d in zip(*pair, strict=True)] for pair in zip(target, delta, strict=True)]
    size = largest(target)
    top, low = 66, 66 + high + 82
    second, third = wide + gap, 2 * (wide + gap)
    parts = [title(f"Step {step}: B·A closes in on the update" if step else "Before the first step")]
    parts += table(0, top, target, CELL, size, "neutral", "update to learn", f"{rows} × {columns}")
    parts += table(second, top, delta, CELL, size, "trainable", "learned: B·A", f"rank at most {rank}")
    parts += table(third, top, rest, CELL, size, "neutral", "still missing")
    for x, sign in ((wide, "\u2212"), (second + wide, "=")):
        parts += [text(x + gap / 2, top + high / 2 + 9, sign, size=28, anchor="middle")]
    parts += table(0, low, W, CELL, largest(W), "frozen", "W, frozen", _moved("W", moved))
    parts += table(second, low, B, CELL, largest(B), "trainable", "B", _moved("B", moved))
    at_a = second + 104
    parts += [
        text((second + rank * CELL + at_a) / 2, low + rank * CELL / 2 + 12, "·", size=36, anchor="middle")
    ]
    parts += table(at_a, low, A, CELL, largest(A), "trainable", "A", _moved("A", moved))
    bar = low + high + 66
    parts += share_bar(bar, missing, f"still missing: {missing:.0%} of the update")
    return svg(bar + 24, parts, sentence), sentence


def _sentence(rank: int, rows: int, columns: int, moved: dict[str, float], missing: float, step: int) -> str:
    counted = f"Rank {rank}: A and B hold {rank * (rows + columns)} numbers, W holds {rows * columns}"
    if not step:
        return f"Nothing is learned yet; move the step slider. {counted}."
    names: dict[bool, list[str]] = {True: [], False: []}
    for name in ("W", "A", "B"):
        names[moved[name] > 0].append(name)
    changed = f"{' and '.join(names[True]) or 'nothing'} moved, {' and '.join(names[False])} did not"
    return f"By step {step}, {changed}; {missing:.0%} of the update is still missing. {counted}."


def _moved(name: str, moved: dict[str, float]) -> str:
    distance = moved[name]
    return f"moved by {distance:.2g}" if distance else "has not moved"
