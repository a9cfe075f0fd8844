"""Draws how few weights LoRA trains: the sliver at its true size, the same enlarged, and the arithmetic beside it.

Not here: counting a model's weights and planning its file; only r · (in + out) is written out, to be read.
"""

from __future__ import annotations

from collections.abc import Sequence

from minilora.figures.colors import COLORS, ink
from minilora.figures.svg import (
    WIDTH,
    bytes_in_words,
    count_in_words,
    frame,
    percent,
    polygon,
    rect,
    svg,
    text,
    title,
)

LINE = 21


def draw(
    name: str,
    rank: int,
    groups: Sequence[tuple[str, int, int, int]],
    trainable: int,
    total: int,
    file_bytes: int,
    model_bytes: int,
) -> tuple[str, str]:
    """Draws how many weights LoRA trains.

    Args:
        name: The model.
        rank: Rank of the adapter.
        groups: (layer name, in, out, how many layers of that name) for each kind of adapted layer.
        trainable: Number of trainable weights.
        total: Number of all weights.
        file_bytes: Size of the adapter's file.
        model_bytes: Size of the whole model's file, in the same dtype.

    Returns:
        The picture and its sentence.
    """
    frozen = total - trainable
    share = trainable / total
    kinds = ", ".join(group[0] for group in groups)
    sentence = (
        f"{name} with rank {rank} on {kinds}: {trainable:,} of {total:,} weights train ({percent(share)}). "
        f"The adapter's file takes {bytes_in_words(file_bytes)}, the whole model {bytes_in_words(model_bytes)}."
    )
    parts = [title(f"{percent(share)} of all weights train; the rest stays frozen")]
    sliver = max(1.0, share * WIDTH)
    parts += [
        rect(0, 32, WIDTH, 32, COLORS["frozen"]),
        rect(WIDTH - sliver, 32, sliver, 32, COLORS["trainable"]),
        text(10, 53, f"{count_in_words(frozen)} frozen", fill=ink(COLORS["frozen"])),
        polygon([(WIDTH - sliver, 64), (WIDTH, 64), (WIDTH, 96), (0, 96)], COLORS["trainable"], opacity=0.25),
        text(0, 88, f"{count_in_words(trainable)} trainable, enlarged:"),
    ]
    parts += _enlarged(rank, groups, 96)
    parts += _arithmetic(rank, groups, trainable, 158)
    height = 158 + LINE * (len(groups) + 2)
    saved = (
        f"Saved: an adapter of {bytes_in_words(file_bytes)} beside a model of {bytes_in_words(model_bytes)}"
    )
    return svg(height + 12, [*parts, text(0, height, saved)], sentence), sentence


def _enlarged(rank: int, groups: Sequence[tuple[str, int, int, int]], y: float) -> list[str]:
    """The trainable weights alone, cut by layer name."""
    sizes = [rank * (inside + outside) * layers for _, inside, outside, layers in groups]
    parts, x = [], 0.0
    for (name, *_), size in zip(groups, sizes, strict=True):
        width = WIDTH * size / sum(sizes)
        parts += [
            rect(x, y, width, 32, COLORS["trainable"], hint=f"{name}: {size:,}"),
            frame(x, y, width, 32),
        ]
        if width > 8 * len(name):
            parts += [text(x + width / 2, y + 21, name, anchor="middle", fill=ink(COLORS["trainable"]))]
        x += width
    return parts


def _arithmetic(
    rank: int, groups: Sequence[tuple[str, int, int, int]], trainable: int, y: float
) -> list[str]:
    columns = (0, 110, 330, 420, WIDTH)
    parts = [
        text(x, y, words, bold=True, anchor=anchor)
        for x, words, anchor in (
            (columns[0], "layer", "start"),
            (columns[1], "r · (in + out)", "start"),
            (columns[3], "× layers", "start"),
            (columns[4], "weights", "end"),
        )
    ]
    for i, (name, inside, outside, layers) in enumerate(groups, start=1):
        one = rank * (inside + outside)
        parts += [
            text(columns[0], y + i * LINE, name),
            text(columns[1], y + i * LINE, f"{rank} · ({inside:,} + {outside:,}) = {one:,}"),
            text(columns[3], y + i * LINE, f"× {layers}"),
            text(columns[4], y + i * LINE, f"{one * layers:,}", anchor="end"),
        ]
    below = y + (len(groups) + 1) * LINE
    return [*parts, text(columns[4], below, f"{trainable:,}", bold=True, anchor="end")]
