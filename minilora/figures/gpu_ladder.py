"""Draws how many GPUs each model takes with each method, a box for each GPU.

Not here: planning (minilora/memory).
"""

from __future__ import annotations

from collections.abc import Mapping

from minilora.figures.colors import COLORS
from minilora.figures.svg import WIDTH, rect, svg, text, title

NAMES = {"full": ("Full", "optimizer"), "lora": ("LoRA", "trainable"), "qlora": ("QLoRA", "quantized")}
LEFT, TOP, ROW, GAP, BOX = 196.0, 36.0, 21.0, 14.0, 15.0


def draw(gpus: Mapping[str, Mapping[str, int]], size: int) -> tuple[str, str]:
    """Draws how many GPUs each model takes.

    Args:
        gpus: Model -> method -> number of GPUs.
        size: Memory of each GPU in GB.

    Returns:
        The picture and its sentence.

    >>> draw({"llama-3.1-8b": {"full": 6, "lora": 1, "qlora": 1}}, 24)[1]
    'GPUs with 24 GB: llama-3.1-8b: Full 6, LoRA 1, QLoRA 1.'
    """
    listed = "; ".join(
        f"{model}: " + ", ".join(f"{NAMES[method][0]} {count}" for method, count in counts.items())
        for model, counts in gpus.items()
    )
    sentence = f"GPUs with {size} GB: {listed}."
    most = max(count for counts in gpus.values() for count in counts.values())
    wide = min(BOX, (WIDTH - LEFT - 34) / most)
    parts, y = [title(f"Each box is a GPU with {size} GB")], TOP
    for model, counts in gpus.items():
        parts.append(text(0, y + 15, model, size=16, bold=True))
        for method, count in counts.items():
            name, role = NAMES[method]
            parts.append(text(LEFT - 8, y + 15, name, size=16, anchor="end"))
            parts += [rect(LEFT + i * wide, y + 1, wide - 1.5, BOX, COLORS[role]) for i in range(count)]
            parts.append(text(LEFT + count * wide + 5, y + 15, f"{count}", size=16, bold=True))
            y += ROW
        y += GAP
    return svg(y, parts, sentence), sentence
