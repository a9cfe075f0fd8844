"""Draws a training run while it runs: the loss so far, validation, speed, and a sample of what the model writes.

Not here: when to draw, and how to stop (widgets/dashboard.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from minilora.figures.colors import COLORS
from minilora.figures.svg import WIDTH, curve, dot, line, scale, svg, text, title

TOP, BOTTOM, LEFT, RIGHT = 52.0, 190.0, 44.0, WIDTH - 12.0
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
    """losses: of each step so far; validation: (steps done, loss); state: "ready", "training", "stopped" or "done"."""
    if not losses:
        sentence = f"Ready for {steps:,} steps: nothing has been trained yet."
        return svg(
            60, [title("Ready: the loss will be drawn here"), text(0, 44, f"{steps:,} steps to go")], sentence
        ), sentence
    done, last = len(losses), smooth(losses)[-1]
    sentence = (
        f"{state.capitalize()}: step {done} of {steps}, loss {losses[0]:.2f} at first and {last:.2f} now"
    )
    sentence += f", validation {validation[-1][1]:.2f}" if validation else ""
    sentence += f", {tokens_per_second:,.0f} tokens per second"
    sentence += f", about {seconds_left:.0f} s to go." if state == "training" else "."
    parts = [title(f"Loss {losses[0]:.2f} → {last:.2f}, step {done} of {steps} ({state})")]
    parts += [
        text(
            0,
            38,
            "nats per token, amber: smoothed"
            + (", green dots: kept-back text" if validation else "")
            + f" · {tokens_per_second:,.0f} tokens/s"
            + (f" · about {seconds_left:.0f} s to go" if state == "training" else ""),
        )
    ]
    parts += _curves(steps, losses, validation)
    lines = textwrap.wrap(sample, 84)[:3]
    parts += [text(0, BOTTOM + 52 + i * 19, words) for i, words in enumerate(lines)]
    return svg(BOTTOM + 44 + 19 * max(1, len(lines)), parts, sentence), sentence


def smooth(losses: Sequence[float], share: float = 0.9) -> list[float]:
    """Running mean that forgets: each step weighs `share` of the one after it; unbiased from the first step on.

    >>> smooth([2.0, 2.0, 1.0], share=0.5)  # the last: (1/2 + 2/4 + 2/8) / (1/2 + 1/4 + 1/8)
    [2.0, 2.0, 1.4285714285714286]
    """
    means, total, weight = [], 0.0, 0.0
    for loss in losses:
        total, weight = share * total + (1 - share) * loss, share * weight + (1 - share)
        means.append(total / weight)
    return means


def _curves(steps: int, losses: Sequence[float], validation: Sequence[tuple[int, float]]) -> list[str]:
    every = max(1, len(losses) // SHOWN)
    values = [*losses, *(loss for _, loss in validation)]
    low, high = min(values), max(values)
    x, y = scale(0, steps, LEFT, RIGHT), scale(low, high, BOTTOM, TOP)
    parts = [
        line(LEFT, BOTTOM, RIGHT, BOTTOM),
        text((LEFT + RIGHT) / 2, BOTTOM + 18, "step", size=13, anchor="middle"),
    ]
    parts += [text(LEFT - 6, y(v) + 5, f"{v:.2f}", size=13, anchor="end") for v in {low, high}]
    parts += [
        text(x(v), BOTTOM + 18, str(v), size=13, anchor="middle" if v == 0 else "end") for v in (0, steps)
    ]
    points = list(enumerate(losses, start=1))[::every]
    parts += [curve([(x(i), y(loss)) for i, loss in points], COLORS["neutral"], thick=1)]
    smoothed = list(enumerate(smooth(losses), start=1))[::every]
    parts += [curve([(x(i), y(loss)) for i, loss in smoothed], COLORS["trainable"], thick=3)]
    parts += [dot(x(i), y(loss), 5, COLORS["activations"]) for i, loss in validation]
    return parts
