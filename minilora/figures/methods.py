"""Draws advice on how to fine-tune: the four ways with what each takes, the advised one framed, and why.

Not here: the advice, its reasons and their numbers (minilora/explorables/methods.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from minilora.figures.colors import COLORS
from minilora.figures.svg import WIDTH, bytes_in_words, frame, rect, svg, text, title
from minilora.memory import MemoryPlan, gigabytes

GAP = 10.0
BOX, TOP, HIGH = (WIDTH - 3 * GAP) / 4, 56.0, 96.0
LINE = 19.0
LETTERS = 82
WAYS = {  # name, and the colors of its weights: most of them, and those that train
    "none": ("No fine-tuning", COLORS["frozen"], COLORS["frozen"]),
    "qlora": ("QLoRA", COLORS["quantized"], COLORS["trainable"]),
    "lora": ("LoRA", COLORS["frozen"], COLORS["trainable"]),
    "full": ("Full", COLORS["trainable"], COLORS["trainable"]),
}


def draw(
    method: str,
    heading: str,
    reasons: Sequence[tuple[str, str]],
    plans: Mapping[str, MemoryPlan],
    card: float,
    code: str = "",
    situation: str = "",
) -> tuple[str, str]:
    """Draws the advice.

    Args:
        method: The advice, a key of WAYS.
        heading: The advice in words.
        reasons: (words, where the number comes from), the most important first.
        plans: By method, without "none".
        card: Memory of the GPU in GB.
        code: The lines that do it.
        situation: What was asked.

    Returns:
        The picture and its sentence.
    """
    sentence = f"{heading}. {reasons[0][0]}"
    parts = [title(heading), text(0, 40, situation)]
    for i, way in enumerate(WAYS):
        parts += _box(i * (BOX + GAP), way, plans.get(way), card, chosen=way == method)
    y = TOP + HIGH + 30
    parts.append(text(0, y, "Why", bold=True))
    for words, source in reasons:
        y += 5
        for i, row in enumerate(textwrap.wrap(f"{words} ({source})", LETTERS)):
            y += LINE
            parts += [] if i else [text(2, y, "•")]
            parts.append(text(16, y, row))
    if code:
        y += 32
        parts.append(text(0, y, "In code", bold=True))
        for row in code.splitlines():
            y += LINE
            parts.append(_code(16, y, row))
    whole = " ".join(
        [f"{heading}.", *(words for words, _ in reasons)]
    )  # the picture says more than its sentence
    return svg(y + 14, parts, whole), sentence


def _box(x: float, way: str, plan: MemoryPlan | None, card: float, chosen: bool) -> list[str]:
    name, most, training = WAYS[way]
    if plan is None:
        lines = ["a prompt alone:", "no training, no file"]
    else:
        fits = plan.headroom(card) >= 0
        lines = [
            f"trains in {gigabytes(plan.total)}",
            f"{'fits in' if fits else 'too large for'} {card:g} GB",
            f"file: {bytes_in_words(plan.file_bytes)}",
        ]
    parts = [rect(x, TOP, BOX, 8, most), rect(x + BOX * 0.85, TOP, BOX * 0.15, 8, training)]
    parts += [text(x + 10, TOP + 30, name, bold=True)]
    parts += [text(x + 10, TOP + 51 + i * 18, words, size=13) for i, words in enumerate(lines)]
    if chosen:
        parts += [text(x + BOX - 10, TOP + 30, "✓", bold=True, anchor="end")]
    outline = ("currentColor", 3) if chosen else (COLORS["neutral"], 1)
    return [*parts, frame(x + 1, TOP, BOX - 2, HIGH, *outline)]


def _code(x: float, y: float, words: str) -> str:
    return text(x, y, words, size=13).replace(
        "<text ", '<text style="white-space:pre" font-family="monospace" ', 1
    )
