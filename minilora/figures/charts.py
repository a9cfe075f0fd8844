"""Charts for the prose of the chapters, drawn by Matplotlib: numbers in, a `Chart` with its sentence out.

    chart = loss_curves({"full": [...], "LoRA": [...]})
    chart.sentence  # what it shows, in words

As the last line of a cell a chart shows itself. All are built without pyplot, so nothing stays open behind them, and
they draw on a white card of their own, alike in a light and a dark notebook.
Not here: pictures that follow controls (the explorables).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from minilora.figures.colors import COLORS
from minilora.figures.svg import bytes_in_words, percent

TEXT = "#1a1a1a"
METHOD_COLORS = {
    "base": COLORS["neutral"],
    "full": TEXT,
    "LoRA": COLORS["trainable"],
    "QLoRA": COLORS["quantized"],
}


class Chart(Figure):
    """A Matplotlib figure that knows in words what it shows, and shows itself at the end of a cell."""

    sentence = ""

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, str], dict[str, Any]]:
        image = io.BytesIO()
        self.savefig(image, format="png", dpi=2 * self.dpi)  # twice as fine, for sharp screens
        width = round(self.get_figwidth() * self.dpi)
        data = {"image/png": base64.b64encode(image.getvalue()).decode("ascii"), "text/plain": self.sentence}
        return data, {"image/png": {"width": width, "alt": self.sentence}}


def losses_by_task(
    losses: Mapping[str, Mapping[str, Sequence[float]]],
    base: Mapping[str, float],
    *,
    title: str | None = None,
) -> Chart:
    """Loss of each method on each task, a dot for each seed, on the way down from the base's: {task: {method: [loss]}}.

    >>> losses_by_task({"legal": {"full": [1.0, 1.2], "LoRA": [1.3, 1.5]}}, {"legal": 3.0}).sentence
    'Validation loss (mean of 2 seeds): legal: base 3.00, full 1.10, LoRA 1.40.'
    """
    methods = list(next(iter(losses.values())))
    means = {t: {m: sum(v) / len(v) for m, v in row.items()} for t, row in losses.items()}
    seeds = len(losses[next(iter(losses))][methods[0]])
    listed = "; ".join(
        f"{task}: base {base[task]:.2f}, " + ", ".join(f"{m} {v:.2f}" for m, v in row.items())
        for task, row in means.items()
    )
    sentence = f"Validation loss (mean of {seeds} seeds): {listed}."
    heading = title or "How far each method comes down from the base, task by task"
    chart, axes = _chart(heading, sentence, "validation loss (nats per token), a dot for each seed", "")
    for i, (task, row) in enumerate(losses.items()):
        for j, (method, values) in enumerate(row.items()):
            place, color = i + (j - (len(methods) - 1) / 2) * 0.8 / len(methods), _color(method)
            axes.plot([base[task], means[task][method]], [place] * 2, color=color, linewidth=2, alpha=0.5)
            axes.plot(values, [place] * len(values), "o", color=color, markersize=6)
            axes.plot(base[task], place, "|", color=METHOD_COLORS["base"], markersize=9)
            words = f"{method} {means[task][method]:.2f}"
            _write(axes, min(values), place, words, color, (-9, -4), "right")
    axes.set_yticks(range(len(losses)), list(losses))
    axes.invert_yaxis()
    axes.set_xlim(left=min(min(v) for row in losses.values() for v in row.values()) - 0.9)
    return chart


def storage(base_bytes: int, adapter_bytes: int, tasks: int = 20, *, title: str | None = None) -> Chart:
    """Bytes on disk over the number of tasks: one base with an adapter each, against a full copy each."""
    numbers = range(1, tasks + 1)
    shared, copies = [base_bytes + n * adapter_bytes for n in numbers], [n * base_bytes for n in numbers]
    sentence = (
        f"{tasks} tasks: one base and {tasks} adapters take {bytes_in_words(shared[-1])}, {tasks} full copies "
        f"{bytes_in_words(copies[-1])}, {copies[-1] / shared[-1]:.1f} times as much."
    )
    heading = (
        title
        or f"{tasks} tasks on one base: {bytes_in_words(shared[-1])} instead of {bytes_in_words(copies[-1])}"
    )
    chart, axes = _chart(heading, sentence, "number of tasks", "bytes on disk")
    axes.plot(numbers, copies, color=METHOD_COLORS["full"], linewidth=2)
    axes.plot(numbers, shared, color=METHOD_COLORS["LoRA"], linewidth=2)
    axes.set_ylim(0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: bytes_in_words(v) if v else "0"))
    ends = [
        (copies[-1], "full copies", METHOD_COLORS["full"]),
        (shared[-1], "base + adapters", METHOD_COLORS["LoRA"]),
    ]
    _label_ends(axes, ends)
    return chart


def family(points: Mapping[str, tuple[float, float]], *, title: str | None = None) -> Chart:
    """Members of the PEFT family: {name: (share of weights trained, share of full fine-tuning's gain reached)}."""
    sentence = "; ".join(
        f"{n} trains {percent(share)} and reaches {gain:.0%}" for n, (share, gain) in points.items()
    )
    heading = title or "How much of the gain, for what share of the weights"
    chart, axes = _chart(
        heading,
        f"Share of full fine-tuning's gain: {sentence}.",
        "share of weights trained",
        "share of the gain reached",
    )
    axes.set_xscale("log")
    for name, (share, gain) in points.items():
        color = _color(name)
        axes.plot(share, gain, "o", color=color, markersize=9)
        right = share > 0.2  # names of points at the right edge stand on their left
        crowded = any(share < s < 10 * share and abs(g - gain) < 0.1 for s, g in points.values())
        height = -16 if crowded else 8  # under the point where another one's name would run into this
        _write(axes, share, gain, name, color, (-9 if right else 9, height), "right" if right else "left")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g}%"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.0%}"))
    axes.margins(0.12, 0.16)
    return chart


def _chart(title: str, sentence: str, x: str, y: str) -> tuple[Chart, Axes]:
    spaced = ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1)  # inches
    chart = Chart(figsize=(7.2, 3.6), dpi=100, layout=spaced, facecolor="white")
    chart.sentence = sentence
    axes = chart.subplots()
    axes.set_title(title, loc="left", weight="bold", fontsize=12, color=TEXT)
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y" if y else "x", color="#e4e4e4")
    axes.set_axisbelow(True)
    return chart, axes


def _color(method: str) -> str:
    """The color of the method that a name begins with or holds: "LoRA, r = 8" is LoRA's."""
    for known in ("QLoRA", "LoRA", "full", "base"):
        if known.lower() in method.lower():
            return METHOD_COLORS[known]
    return COLORS["neutral"]


def _write(
    axes: Axes, x: float, y: float, words: str, color: str, offset: tuple[int, int], side: str = "left"
) -> None:
    axes.annotate(
        words, (x, y), offset, textcoords="offset points", color=color, ha=side, weight="bold", fontsize=10,
        path_effects=[withStroke(linewidth=3, foreground="white")],  # readable where a line passes below
    )  # fmt: skip


def _label_ends(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Writes (y, words, color) at the right edge, pushed apart where lines end close together."""
    low, high = axes.get_ylim()
    last = -1.0
    for y, words, color in sorted(labels):
        last = max((y - low) / (high - low), last + 0.075)
        axes.text(1.01, last, words, color=color, va="center", weight="bold", transform=axes.transAxes)
