"""Draws how few patterns a weight change has: its singular values, the energy that a rank captures, the loss reached.

The energy of a matrix is the sum of its squared singular values; a rank r can hold that of the r largest at most
(Eckart and Young). Not here: decomposing a matrix, and training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from minilora.figures.colors import COLORS
from minilora.figures.svg import WIDTH, curve, dot, holds, line, percent, rect, scale, svg, text, title

BARS = (60.0, 168.0)  # top and bottom of the bars
LOWER = (250.0, 370.0)  # top and bottom of the two small charts


def captured_energy(singular_values: Sequence[float], rank: int) -> float:
    """Share (0 … 1) of the squared singular values, largest first, that the first `rank` hold.

    >>> captured_energy([2.0, 1.0, 1.0], rank=1)  # 4 of 6
    0.6666666666666666
    """
    squares = sorted((float(value) ** 2 for value in singular_values), reverse=True)
    return sum(squares[:rank]) / (sum(squares) or 1.0)


def draw(
    rank: int,
    spectra: Mapping[str, Sequence[float]],
    losses: Mapping[int | str, float] | None = None,
) -> tuple[str, str]:
    """Draws the singular values, the energy that a rank captures, and the losses.

    Args:
        rank: The rank that is chosen.
        spectra: Singular values by name, the change of interest first, then references such as a random matrix.
        losses: Validation loss by rank; the keys "base" and "full", if present, draw the baseline and the target.

    Returns:
        The picture and its sentence.
    """
    (name, change), *references = ((n, sorted(map(float, s), reverse=True)) for n, s in spectra.items())
    energy = captured_energy(change, rank)
    strongest, hold = ("strongest", "holds") if rank == 1 else (f"{rank} strongest", "hold")
    sentence = f"The {strongest} of {len(change)} patterns {hold} {percent(energy)} of the energy of {name}"
    sentence += "".join(f" ({percent(captured_energy(s, rank))} of {n})" for n, s in references) + "."
    if losses and rank in losses:
        sentence += f" LoRA of rank {rank} reaches a validation loss of {losses[rank]:.3f}"
        sentence += f"; full fine-tuning {losses['full']:.3f}." if "full" in losses else "."
    parts = [title(f"{rank} of {len(change)} patterns {hold} {percent(energy)} of the change")]
    parts += _bars(rank, change, references)
    parts += _energy(rank, name, change, references, 0, 290 if losses else WIDTH - 60)
    if losses:
        parts += _losses(rank, losses, 350, WIDTH - 10)
    return svg(LOWER[1] + 42, parts, sentence), sentence


def _bars(rank: int, change: Sequence[float], references: Sequence[tuple[str, Sequence[float]]]) -> list[str]:
    shown = min(len(change), 64)
    x, y = scale(0, shown, 0, WIDTH), scale(0, change[0], BARS[1], BARS[0])
    width = WIDTH / shown
    parts = [text(0, BARS[0] - 14, f"Singular values, the largest {shown} of {len(change)}", bold=True)]
    for i, value in enumerate(change[:shown]):
        color = COLORS["trainable" if i < rank else "neutral"]
        parts += [rect(x(i) + width * 0.1, y(value), width * 0.8, BARS[1] - y(value), color)]
    for name, values in references:  # drawn with the same energy in all, so that only the shape differs
        size = math.sqrt(sum(v * v for v in change) / (sum(v * v for v in values) or 1))
        points = [(x(i + 0.5), y(min(v * size, change[0]))) for i, v in enumerate(values[:shown])]
        parts += [curve(points, "currentColor", thick=1.5, dash="5 4")]
        parts += [text(WIDTH, points[-1][1] - 8, f"{name} with the same energy", size=13, anchor="end")]
    parts += [line(0, BARS[1], WIDTH, BARS[1])]
    if rank < shown:
        parts += [line(x(rank), BARS[0], x(rank), BARS[1] + 8, COLORS["trainable"], thick=2)]
        inside = rank < 0.7 * shown
        parts += [
            text(
                x(rank) + (6 if inside else -6),
                BARS[1] + 20,
                f"rank {rank} ends here",
                size=13,
                anchor="start" if inside else "end",
            )
        ]
    return parts


def _energy(
    rank: int,
    name: str,
    change: Sequence[float],
    references: Sequence[tuple[str, Sequence[float]]],
    left: float,
    right: float,
) -> list[str]:
    x, y = _rank_axis(len(change), left + 46, right), scale(0, 1, LOWER[1], LOWER[0])
    parts = [
        text(left, LOWER[0] - 18, "Energy that a rank captures", bold=True),
        *_frame(x, left + 46, right, len(change)),
    ]
    parts += [text(left + 40, y(share) + 5, f"{share:.0%}", size=13, anchor="end") for share in (0, 0.5, 1)]
    ranks = [r for r in range(1, len(change) + 1) if r < 16 or r % 8 == 0 or r == len(change)]
    for _, values in references:
        parts += [
            curve(
                [(x(r), y(captured_energy(values, r))) for r in ranks if r <= len(values)],
                "currentColor",
                thick=1.5,
                dash="5 4",
            )
        ]
    parts += [curve([(x(r), y(captured_energy(change, r))) for r in ranks], COLORS["trainable"])]
    return [*parts, dot(x(min(rank, len(change))), y(captured_energy(change, rank)), 7, COLORS["trainable"])]


def _losses(rank: int, losses: Mapping[int | str, float], left: float, right: float) -> list[str]:
    ranks = sorted(key for key in losses if isinstance(key, int))
    low, high = min(losses.values()), max(losses.values())
    room = (high - low or 1) * 0.12
    x, y = _rank_axis(max(ranks), left + 46, right), scale(low - 2 * room, high + room, LOWER[1], LOWER[0])
    parts = [
        text(left, LOWER[0] - 18, "Validation loss that a rank reaches", bold=True),
        *_frame(x, left + 46, right, max(ranks)),
    ]
    for key, role, words in (("full", "frozen", "full fine-tuning"), ("base", "neutral", "base, untrained")):
        if key in losses:
            parts += [
                line(left + 46, y(losses[key]), right, y(losses[key]), COLORS[role], thick=2, dash="6 4")
            ]
            parts += [text(right, y(losses[key]) + 15, words, size=13, anchor="end")]
    parts += [text(left + 40, y(value) + 5, f"{value:.2f}", size=13, anchor="end") for value in (low, high)]
    parts += [curve([(x(r), y(losses[r])) for r in ranks], COLORS["trainable"])]
    for r in ranks:  # a click on a dot moves the slider there; the clear one around it is easier to hit
        dots = [
            dot(x(r), y(losses[r]), size, COLORS["trainable"], opacity=o) for size, o in ((10, 0), (3, 1))
        ]
        parts.append(holds(dots, "rank", r))
    parts += [dot(x(rank), y(losses[rank]), 7, COLORS["trainable"])] if rank in losses else []
    return parts


def _rank_axis(largest: int, left: float, right: float):
    place = scale(0, math.log2(max(2, largest)), left, right)
    return lambda rank: place(math.log2(rank))


def _frame(x, left: float, right: float, largest: int) -> list[str]:
    ticks = [2**i for i in range(0, 20, 2) if 2**i <= largest]
    parts = [line(left, LOWER[1], right, LOWER[1])]
    parts += [text(x(tick), LOWER[1] + 17, str(tick), size=13, anchor="middle") for tick in ticks]
    return [*parts, text((left + right) / 2, LOWER[1] + 35, "rank", size=13, anchor="middle")]
