"""Draws one LoRA layer with its real numbers: W frozen, B times A beside it, and what the last step moved.

Not here: the training whose matrices are shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from minilora.figures.colors import COLORS, diverging
from minilora.figures.svg import WIDTH, frame, svg, text, title

CELL = 11
Matrix = Sequence[Sequence[float]]


def draw(
    W: Matrix, A: Matrix, B: Matrix, delta: Matrix, moved: dict[str, float], step: int, loss: float
) -> tuple[str, str]:
    """W (out, in), A (r, in), B (out, r), delta (out, in) = scaling · B·A, all after `step` steps.

    moved: by name ("W", "A", "B"), the norm of what the last step changed. loss: of the task, after the step.
    """
    rank, rows, columns = len(A), len(W), len(W[0])
    trained, full = rank * (rows + columns), rows * columns
    movers = " and ".join(name for name in ("A", "B") if moved[name] > 0)
    event = (
        f"Step {step} moved {movers or 'nothing'}; W did not move"
        if step
        else "Before training, B is zero, so B·A is zero"
    )
    sentence = (
        f"{event}. Rank {rank}: A and B hold {trained} numbers, W holds {full}. The loss is {loss:.3f}"
        + (", that of the base alone." if not step else ".")
    )
    wide, high = columns * CELL, rows * CELL
    gap = (WIDTH - 3 * wide) / 2
    top, low = 64, 64 + high + 74
    summed = [[w + d for w, d in zip(*pair, strict=True)] for pair in zip(W, delta, strict=True)]
    size = max(abs(v) for row in W for v in row) or 1.0
    parts = [title("W stays as it is; only the thin A and B learn")]
    parts += _matrix(
        0, top, W, size, "W, frozen", f"{rows} × {columns}, moved 0" if not moved["W"] else "", "frozen"
    )
    parts += [text(wide + gap / 2, top + high / 2 + 6, "+", size=24, anchor="middle")]
    parts += _matrix(
        wide + gap, top, delta, size, "scaling · B·A", f"{rows} × {columns}, rank ≤ {rank}", "trainable"
    )
    parts += [text(2 * wide + 1.5 * gap, top + high / 2 + 6, "=", size=24, anchor="middle")]
    parts += _matrix(
        2 * (wide + gap), top, summed, size, "their sum, in use", f"{rows} × {columns}", "neutral"
    )
    at_b = wide + gap - 34 - rank * CELL
    parts += _matrix(
        at_b, low, B, _top(B), "B", f"{rows} × {rank}, moved {moved['B']:.2f}", "trainable", "end"
    )
    parts += [text(wide + gap - 17, low + high / 2 + 6, "·", size=28, anchor="middle")]
    parts += _matrix(
        wide + gap, low, A, _top(A), "A", f"{rank} × {columns}, moved {moved['A']:.2f}", "trainable"
    )
    parts += _legend(2 * (wide + gap), low, wide)
    return svg(low + high + 24, parts, sentence), sentence


def _matrix(
    x: float, y: float, values: Matrix, size: float, name: str, note: str, role: str, anchor: str = "start"
) -> list[str]:
    """Cells coloured from -size to size, framed in the colour of their role, with a name above and a note below."""
    wide, high = len(values[0]) * CELL, len(values) * CELL
    cells: dict[str, list[str]] = {}  # one path for all cells of a colour keeps the picture small
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            color = diverging(round(8 * value / size) / 8)
            cells.setdefault(color, []).append(
                f"M{x + j * CELL:.0f} {y + i * CELL:.0f}h{CELL}v{CELL}h-{CELL}z"
            )
    parts = [f'<path fill="{color}" d="{"".join(paths)}"/>' for color, paths in cells.items()]
    at = x if anchor == "start" else x + wide
    return [
        *parts,
        frame(round(x), round(y), wide, high, COLORS[role], thick=3),
        text(at, y - 9, name, bold=True, anchor=anchor),
        text(at, y + high + 18, note, size=13, anchor=anchor),
    ]


def _legend(x: float, y: float, width: float) -> list[str]:
    shades = [diverging(i / 8) for i in range(-8, 9)]
    step = width / len(shades)
    strip = [
        f'<path fill="{c}" d="M{x + i * step:.1f} {y:.0f}h{step + 0.5:.1f}v12h-{step + 0.5:.1f}z"/>'
        for i, c in enumerate(shades)
    ]
    labels = zip(
        (x, x + width / 2, x + width), ("start", "middle", "end"), ("below", "0", "above"), strict=True
    )
    parts = [text(at, y + 28, words, size=13, anchor=anchor) for at, anchor, words in labels]
    notes = ("A and B have scales of", "their own, the rest W's")
    return [*strip, *parts, *(text(x, y + 56 + i * 18, words, size=13) for i, words in enumerate(notes))]


def _top(values: Matrix) -> float:
    return max(abs(v) for row in values for v in row) or 1.0
