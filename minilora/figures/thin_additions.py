"""Draws a linear layer and the two thin matrices that LoRA adds to it, all to one scale.

Not here: what the two matrices do (anatomy.py), and counting a whole model (parameters.py).
"""

from __future__ import annotations

from minilora.figures.colors import COLORS, ink
from minilora.figures.svg import percent, rect, svg, text, title

SIDE = 210.0  # of the longer side of the layer
LEFT, TOP, GAP = 8.0, 64.0, 10.0


def draw(name: str, out_features: int, in_features: int, r: int) -> tuple[str, str]:
    """Draws a layer and its two matrices.

    Args:
        name: Name of the layer.
        out_features: Rows of its weight.
        in_features: Columns of its weight.
        r: Rank of the adapter.

    Returns:
        The picture and its sentence.

    >>> draw("q_proj", 256, 256, 8)[1]
    'q_proj has 256 · 256 = 65,536 frozen weights. LoRA adds 8 · (256 + 256) = 4,096 new ones, 6.25% as many.'
    """
    frozen, added = out_features * in_features, r * (in_features + out_features)
    sentence = (
        f"{name} has {out_features:,} · {in_features:,} = {frozen:,} frozen weights. LoRA adds "
        f"{r} · ({in_features:,} + {out_features:,}) = {added:,} new ones, {percent(added / frozen)} as many."
    )
    unit = SIDE / max(out_features, in_features)
    wide, high, thin = in_features * unit, out_features * unit, max(1.5, r * unit)
    below = TOP + thin + GAP  # where the layer begins
    trainable, still = COLORS["trainable"], COLORS["frozen"]
    parts = [
        title("Nothing is selected, something is added"),
        text(LEFT, TOP - 10, f"A: {r} × {in_features}", size=17, bold=True),
        rect(LEFT, TOP, wide, thin, trainable),
        rect(LEFT, below, wide, high, still),
        text(LEFT + wide / 2, below + high / 2, "W, frozen", size=18, anchor="middle", fill=ink(still)),
        rect(LEFT + wide + GAP, below, thin, high, trainable),
        text(LEFT + wide + 2 * GAP + thin, below + 18, f"B: {out_features} × {r}", size=17, bold=True),
    ]
    x, y = 320.0, below + 62
    for words, color in (
        (f"W has {out_features} · {in_features} = {frozen:,}", still),
        (f"A has {r} · {in_features} = {r * in_features:,}", trainable),
        (f"B has {out_features} · {r} = {out_features * r:,}", trainable),
        (f"added: {added:,}, {percent(added / frozen)} of W", trainable),
    ):
        parts += [rect(x, y - 13, 14, 14, color), text(x + 22, y, words, size=18)]
        y += 32
    return svg(max(below + high, y) + 12, parts, sentence), sentence
