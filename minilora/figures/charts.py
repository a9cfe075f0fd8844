"""Charts for the prose of the pages: numbers in, (svg, sentence) out, as for every other picture.

>>> svg, sentence = family({"LoRA": (0.01, 0.9), "full": (1.0, 1.0)})
>>> sentence
"Share of full fine-tuning's gain: LoRA trains 1.00% and reaches 90%; full trains 100.0% and reaches 100%."

Not here: what moves (minilora/widgets), and showing a chart in a cell (minilora/lesson/charts.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minilora.figures.colors import COLORS
from minilora.figures.svg import (
    WIDTH,
    bytes_in_words,
    curve,
    dot,
    line,
    percent,
    rect,
    scale,
    svg,
    text,
    title,
)

# "full" has the color of text: black on a light page, white on a dark one.
METHOD_COLORS = {
    "QLoRA": COLORS["quantized"],
    "LoRA": COLORS["trainable"],
    "full": "currentColor",
    "base": COLORS["neutral"],
}
SIZE = 17  # of the words: still legible where the page is narrow


def losses_by_task(
    losses: Mapping[str, Mapping[str, Sequence[float]]], base: Mapping[str, float], heading: str
) -> tuple[str, str]:
    """How far each method comes down from the base's loss, task by task, with a dot for each seed.

    Args:
        losses: Task -> method -> one loss per seed.
        base: Task -> loss before training.
        heading: What to see in it.

    >>> losses_by_task({"legal": {"full": [1.0, 1.2], "LoRA": [1.3, 1.5]}}, {"legal": 3.0}, "Close")[1]
    'Validation loss (mean of 2 seeds): legal: base 3.00, full 1.10, LoRA 1.40.'
    """
    means = {t: {m: sum(v) / len(v) for m, v in row.items()} for t, row in losses.items()}
    seeds = len(next(iter(next(iter(losses.values())).values())))
    listed = "; ".join(
        f"{task}: base {base[task]:.2f}, " + ", ".join(f"{m} {v:.2f}" for m, v in row.items())
        for task, row in means.items()
    )
    sentence = f"Validation loss (mean of {seeds} seeds): {listed}."
    x = scale(0, max(base.values()), 130, WIDTH - 10)
    parts, y = [title(heading)], 54.0
    for task, row in losses.items():
        parts += [text(0, y, f"{task}: {base[task]:.2f} before training", size=SIZE, bold=True)]
        for method, values in row.items():
            y += 26
            color, mean = METHOD_COLORS[method], means[task][method]
            parts += [
                text(0, y + 6, method, size=SIZE),
                text(122, y + 6, f"{mean:.2f}", size=SIZE, anchor="end"),
            ]
            parts += [line(x(mean), y, x(base[task]), y, color, thick=2)]
            parts += [line(x(base[task]), y - 8, x(base[task]), y + 8, COLORS["neutral"], thick=2)]
            parts += [dot(x(value), y, 5, color) for value in values]
        y += 42
    parts += [line(x(0), y - 14, WIDTH - 10, y - 14, COLORS["neutral"])]
    ticks = range(int(max(base.values())) + 1)
    parts += [text(x(tick), y + 8, str(tick), size=SIZE, anchor="middle") for tick in ticks]
    about = f"validation loss in nats per token; a dot for each of {seeds} seeds"
    return svg(y + 44, [*parts, text(WIDTH - 10, y + 34, about, size=SIZE, anchor="end")], sentence), sentence


def storage(base_bytes: int, adapter_bytes: int, tasks: int) -> tuple[str, str]:
    """Bytes on disk for a growing number of tasks: one base with an adapter each, against a full copy each.

    >>> storage(23_000_000, 400_000, 20)[1]
    '20 tasks: one base and 20 adapters take 31 MB, 20 full copies 460 MB, 14.8 times as much.'
    """
    numbers = range(1, tasks + 1)
    shared, copies = [base_bytes + n * adapter_bytes for n in numbers], [n * base_bytes for n in numbers]
    sentence = (
        f"{tasks} tasks: one base and {tasks} adapters take {bytes_in_words(shared[-1])}, {tasks} full copies "
        f"{bytes_in_words(copies[-1])}, {copies[-1] / shared[-1]:.1f} times as much."
    )
    top, bottom, right = 50.0, 270.0, 440.0
    x, y = scale(1, tasks, 20, right), scale(0, max(copies[-1], shared[-1]), bottom, top)
    parts = [title(f"{tasks} tasks: {bytes_in_words(shared[-1])} instead of {bytes_in_words(copies[-1])}")]
    parts += [line(0, bottom, right + 8, bottom, COLORS["neutral"])]
    for sizes, words, color in (
        (copies, f"{tasks} full copies", METHOD_COLORS["full"]),
        (shared, f"1 base, {tasks} adapters", METHOD_COLORS["LoRA"]),
    ):
        parts += [curve([(x(n), y(size)) for n, size in zip(numbers, sizes, strict=True)], color, thick=3)]
        parts += [dot(x(tasks), y(sizes[-1]), 5, color)]
        parts += [text(right + 14, y(sizes[-1]) - 5, bytes_in_words(sizes[-1]), size=SIZE, bold=True)]
        parts += [text(right + 14, y(sizes[-1]) + 17, words, size=SIZE)]
    for n in (1, tasks // 2, tasks):
        parts += [text(x(n), bottom + 24, f"{n}", size=SIZE, anchor="middle")]
    parts += [text(0, bottom + 50, "number of tasks; the height is what they take on disk", size=SIZE)]
    return svg(bottom + 60, parts, sentence), sentence


def family(points: Mapping[str, tuple[float, float]]) -> tuple[str, str]:
    """Members of the PEFT family, sorted by how much they train.

    Args:
        points: Name -> (share of the weights that are trained, share of full fine-tuning's gain that is reached).
    """
    ordered = sorted(points.items(), key=lambda item: item[1])
    listed = "; ".join(f"{n} trains {percent(share)} and reaches {gain:.0%}" for n, (share, gain) in ordered)
    sentence = f"Share of full fine-tuning's gain: {listed}."
    # Whoever trains worse than not at all gets no bar, and whoever is better than full fine-tuning a longer one.
    x = scale(0, max(1.0, *(gain for _, gain in points.values())), 0, WIDTH - 66)
    parts, y = [title("How much of the gain, for what share of the weights")], 50.0
    for name, (share, gain) in ordered:
        known = next((method for method in METHOD_COLORS if method in name), "base")
        parts += [text(0, y, name, size=SIZE, bold=True)]
        parts += [text(WIDTH - 66, y, f"trains {percent(share)} of the weights", size=SIZE, anchor="end")]
        parts += [rect(0, y + 8, max(0.0, x(gain)), 16, METHOD_COLORS[known])]
        parts += [text(max(0.0, x(gain)) + 8, y + 22, f"{gain:.0%}", size=SIZE, bold=True)]
        y += 54
    about = "The bars: fall of the held-out loss, as a share of its fall with full fine-tuning"
    return svg(y + 2, [*parts, text(0, y - 6, about, size=15)], sentence), sentence
