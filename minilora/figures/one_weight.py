"""Draws the four numbers that training keeps for one weight, each in its box of four bytes.

Not here: where the numbers come from (minilora/lesson/pictures.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from minilora.figures.colors import COLORS, ink
from minilora.figures.svg import WIDTH, frame, line, rect, svg, text, title

GAP, TOP, HIGH = 8.0, 34.0, 76.0
BOX = (WIDTH - 3 * GAP) / 4
NAMES = (  # in two lines each, and the color
    ("the weight", "itself", COLORS["trainable"]),
    ("the gradient", "of the loss", COLORS["gradients"]),
    ("Adam's average", "of the gradient", COLORS["optimizer"]),
    ("Adam's average", "of its square", COLORS["optimizer"]),
)


def draw(numbers: Sequence[float], sizes: Sequence[int]) -> tuple[str, str]:
    """Draws one weight and what training keeps for it.

    Args:
        numbers: The weight, its gradient and Adam's two averages.
        sizes: Bytes of each.

    Returns:
        The picture and its sentence.

    >>> draw([0.02, -1e-3, -1e-4, 1e-9], [4, 4, 4, 4])[1]
    'One weight needs four numbers in training, 16 bytes: 4 times its own 4 bytes.'
    """
    total = sum(sizes)
    sentence = (
        f"One weight needs four numbers in training, {total} bytes: {total / sizes[0]:g} times its own "
        f"{sizes[0]} bytes."
    )
    parts = [title(f"One weight, four numbers, {total} bytes")]
    for i, (number, size, (first, second, color)) in enumerate(zip(numbers, sizes, NAMES, strict=True)):
        x = i * (BOX + GAP)
        parts.append(rect(x, TOP, BOX, HIGH, color))
        parts.append(
            text(x + BOX / 2, TOP + 34, f"{number:.3g}", size=21, anchor="middle", fill=ink(color), bold=True)
        )
        for byte in range(size):  # a row of small boxes: the bytes
            parts.append(frame(x + 8 + byte * (BOX - 16) / size, TOP + 50, (BOX - 16) / size, 16, ink(color)))
        parts.append(text(x + BOX / 2, TOP + HIGH + 22, first, size=18, anchor="middle"))
        parts.append(text(x + BOX / 2, TOP + HIGH + 43, second, size=18, anchor="middle"))
    y = TOP + HIGH + 62
    for start, end, words in (
        (0.0, BOX, f"without training: {sizes[0]} bytes"),
        (0.0, WIDTH, f"while training: {total} bytes"),
    ):
        parts += [line(start, y, end, y, thick=3), text(0, y + 22, words, size=18, bold=end == WIDTH)]
        y += 42
    return svg(y - 8, parts, sentence), sentence
