"""The report on a class as one picture: marks, hardest exercises, most frequent named mistakes. Needs Matplotlib.

Not here: the numbers (report.py).
"""

from __future__ import annotations

import io
import textwrap

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from minilora.figures.colors import COLORS
from minilora.grading.report import Report

SHOWN = 8  # bars in a panel
INCHES_PER_BAR = 0.55


def as_svg(report: Report) -> dict[str, str]:
    """The picture as text for a page, always the same for the same numbers."""
    data = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "minilora", "svg.fonttype": "none"}):
        draw(report).savefig(data, format="svg", metadata={"Date": None})
    return {"marks": data.getvalue()[data.getvalue().index("<svg") :]}


def draw(report: Report) -> Figure:
    """Three panels from top to bottom; one that would be empty says so."""
    hardest = report.exercises[:SHOWN]
    mistakes = report.mistakes[:SHOWN]
    heights = [3.0, *(1.2 + INCHES_PER_BAR * max(len(bars), 1) for bars in (hardest, mistakes))]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    marks, exercises, named = figure.subplots(3, 1, height_ratios=heights)
    _marks(marks, report)
    _bars(
        exercises,
        [f"{e.title} ({e.tried} tried)" for e in hardest],
        [100 * e.full for e in hardest],
        "%.0f %%",
    )
    exercises.set_title("The hardest exercises: how many earned all points", loc="left")
    exercises.set_xlim(0, 110)
    exercises.set_xlabel("percent of those who tried")
    _bars(
        named,
        [f"{m.exercise}: {m.sentence}" for m in mistakes],
        [m.count for m in mistakes],
        "%.0f",
    )
    named.set_title("The most frequent mistakes that have a name", loc="left")
    named.set_xlabel("submissions")
    named.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _marks(axes: Axes, report: Report) -> None:
    bars = axes.bar([10 * tenth + 5 for tenth in range(10)], report.tenths, width=9, color=COLORS["neutral"])
    axes.bar_label(bars, [str(count) if count else "" for count in report.tenths])
    axes.set_title(f"{len(report.scores)} marks: {report.summary}", loc="left")
    axes.set_xlabel("share of the points, in percent")
    axes.set_ylabel("submissions")
    axes.set_xticks(range(0, 101, 10))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(y=0.15)


def _bars(axes: Axes, names: list[str], values: list[float] | list[int], label: str) -> None:
    """Horizontal bars, the first one on top."""
    if not names:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center")
        axes.set_yticks([])
        return
    bars = axes.barh(range(len(names)), values, color=COLORS["neutral"])
    axes.bar_label(bars, fmt=label, padding=3)
    # subtle: a dollar sign would begin a formula, and text of a course may hold one
    shown = ["\n".join(textwrap.wrap(name, 60, max_lines=2)).replace("$", r"\$") for name in names]
    axes.set_yticks(range(len(names)), shown, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.1)
