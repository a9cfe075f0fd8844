"""Draws a training run while it runs: the loss so far, validation, speed, and a sample of what the model writes.

Not here: when to draw, and how to stop (widgets/dashboard.py).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence

from minilora.figures.colors import COLORS
from minilora.figures.svg import WIDTH, curve, dot, line, scale, svg, text, title

TOP, BOTTOM, LEFT, RIGHT = 60.0, 230.0, 44.0, WIDTH - 8.0
SHOWN = 300  # points of the curve: more would be drawn on top of each other


def draw(
    steps: int,
    losses: Sequence[float],
    validation: Sequence[tuple[int, float]],
    tokens_per_second: float,
    seconds_left: float,
    sample: str,
    state: str,
) -> tuple[str, str]:
    """Draws the run so far.

    Args:
        steps: How many steps the run has.
        losses: Loss of each step so far, in nats per token.
        validation: (steps done, loss) of each evaluation.
        tokens_per_second: Speed so far.
        seconds_left: Estimate of the time to the end.
        sample: What the model writes now, or "".
        state: "ready", "training", "stopped" or "done".

    Returns:
        The picture and its sentence.
    """
    if not losses:
        sentence = f"Ready for {steps:,} steps: nothing has been trained yet."
        return svg(
            60, [title("Ready: the loss will be drawn here"), text(0, 44, f"{steps:,} steps to go")], sentence
        ), sentence
    done, last = len(losses), smooth(losses)[-1]
    sentence = (
        f"{state.capitalize()}: step {done} of {steps}, loss {losses[0]:.2f} at first and {last:.2f} now"
    )
    sentence += f", held-out text {validation[-1][1]:.2f}" if validation else ""
    sentence += f", {tokens_per_second:,.0f} tokens per second"
    sentence += f", about {seconds_left:.0f} s to go." if state == "training" else "."
    parts = [title(f"Loss {losses[0]:.2f} → {last:.2f}, step {done} of {steps} ({state})")]
    pace = f"{tokens_per_second:,.0f} tokens/s"
    pace += f", about {seconds_left:.0f} s to go" if state == "training" else ""
    parts += [text(0, 42, "loss (nats per token)", size=15), text(WIDTH, 42, pace, size=15, anchor="end")]
    parts += _axes(steps, losses, validation) + _curves(steps, losses, validation)
    lines = textwrap.wrap(sample, 70)[:4]
    parts += [text(0, BOTTOM + 92 + i * 22, words, size=16) for i, words in enumerate(lines)]
    return svg(BOTTOM + 74 + 22 * len(lines), parts, sentence), sentence


def smooth(losses: Sequence[float], share: float = 0.9) -> list[float]:
    """Exponential moving average: each step weighs `share` of the one after it; unbiased from the first step on.

    >>> smooth([2.0, 2.0, 1.0], share=0.5)  # the last: (1/2 + 2/4 + 2/8) / (1/2 + 1/4 + 1/8)
    [2.0, 2.0, 1.4285714285714286]
    """
    means, total, weight = [], 0.0, 0.0
    for loss in losses:
        total, weight = share * total + (1 - share) * loss, share * weight + (1 - share)
        means.append(total / weight)
    return means


def _scales(
    steps: int, losses: Sequence[float], validation: Sequence[tuple[int, float]]
) -> tuple[Callable[[float], float], Callable[[float], float], list[float]]:
    """The scales of steps and of losses, and the round losses at which the axis is labeled."""
    values = [*losses, *(loss for _, loss in validation)]
    low, high = min(values), max(values)
    units = (factor * 10**power for power in range(-1, 9) for factor in (1, 2, 5))
    unit = next(unit for unit in units if (high - low) / unit <= 5)
    bottom, top = math.floor(low / unit), math.ceil(high / unit) or 1
    ticks = [unit * i for i in range(bottom, top + 1)] if top > bottom else [low, low + 1]
    return scale(0, steps, LEFT, RIGHT), scale(ticks[0], ticks[-1], BOTTOM, TOP), ticks


def _axes(steps: int, losses: Sequence[float], validation: Sequence[tuple[int, float]]) -> list[str]:
    x, y, ticks = _scales(steps, losses, validation)
    parts = [line(LEFT, y(tick), RIGHT, y(tick), COLORS["neutral"], dash="2 4") for tick in ticks[1:]]
    parts += [text(LEFT - 8, y(tick) + 5, f"{tick:g}", size=15, anchor="end") for tick in ticks]
    parts += [line(LEFT, BOTTOM, RIGHT, BOTTOM)]
    for step in (0, steps // 2, steps):
        parts += [
            text(x(step), BOTTOM + 20, f"{step:,}", size=15, anchor="end" if step == steps else "middle")
        ]
    parts += [text((LEFT + RIGHT) / 2, BOTTOM + 40, "step", size=15, anchor="middle")]
    place = LEFT
    for name, color in (
        ("each step", "neutral"),
        ("running average", "trainable"),
        ("held-out text", "activations"),
    ):
        if name == "held-out text" and not validation:
            continue
        mark = (
            dot(place + 12, BOTTOM + 58, 6, COLORS[color])
            if name == "held-out text"
            else line(
                place,
                BOTTOM + 58,
                place + 24,
                BOTTOM + 58,
                COLORS[color],
                thick=1 if color == "neutral" else 4,
            )
        )
        parts += [mark, text(place + 30, BOTTOM + 63, name, size=15)]
        place += 52 + 9 * len(name)
    return parts


def _curves(steps: int, losses: Sequence[float], validation: Sequence[tuple[int, float]]) -> list[str]:
    every = max(1, len(losses) // SHOWN)
    x, y, _ = _scales(steps, losses, validation)
    points = list(enumerate(losses, start=1))[::every]
    parts = [curve([(x(i), y(loss)) for i, loss in points], COLORS["neutral"], thick=1)]
    smoothed = list(enumerate(smooth(losses), start=1))[::every]
    parts += [curve([(x(i), y(loss)) for i, loss in smoothed], COLORS["trainable"], thick=3)]
    parts += [dot(x(i), y(loss), 6, COLORS["activations"]) for i, loss in validation]
    return parts
