"""Draws what training takes: a stacked bar for each method against the GPU's memory, and the parts in a table.

Every number comes from the plans (`plan_memory`); this module only adds up parts that share a color. Each part has the
size of its own peak. Not all parts exist at the same moment, so the peak of the whole, a mark in the bar, may be less
than their sum; whether a plan fits depends on that mark.
Not here: any formula for bytes, and the catalogs of models and GPUs.
"""

from __future__ import annotations

from collections.abc import Mapping

from minilora.figures.colors import COLORS, ink
from minilora.figures.svg import WIDTH, holds, line, rect, scale, svg, text, title
from minilora.memory import MemoryPlan, gigabytes

LEFT = 66.0  # where the bars begin
TOP, ROW, BAR = 74.0, 62.0, 30.0
LINE = 21.0
TIGHT = 1.0  # GB: the CUDA context takes about half of one, which no plan counts
NAMES = {"full": "Full", "lora": "LoRA", "qlora": "QLoRA"}
# Rows of the table: which parts of a plan each adds up, and its color.
ROWS = {
    "base weights": (("weights", "quantization constants"), "frozen"),
    "adapters": (("adapters",), "trainable"),
    "gradients": (("gradients",), "gradients"),
    "optimizer": (("optimizer",), "optimizer"),
    "activations, logits": (("activations", "logits", "working set"), "activations"),
    "workspace, backup": (("workspace", "backup"), "neutral"),
}
WEIGHT_ROLES = {"full": "trainable", "qlora": "quantized"}  # what the base weights are; frozen with LoRA


def draw(
    plans: Mapping[str, MemoryPlan], card: float, cards: Mapping[str, float], note: str = ""
) -> tuple[str, str]:
    """Draws the plans of all methods.

    Args:
        plans: A plan for each method.
        card: Memory of the chosen GPU in GB.
        cards: Memory in GB of all known GPUs, by name.
        note: A sentence below the picture.

    Returns:
        The picture and its sentence.
    """
    model = next(iter(plans.values())).shape.name
    verdicts = {method: verdict(plan, card) for method, plan in plans.items()}
    listed = "; ".join(
        f"{NAMES[method]} takes {gigabytes(plan.total)}: {verdicts[method]}" for method, plan in plans.items()
    )
    sentence = f"Training {model} with {card:g} GB. {listed}."
    parts = [title(_heading(plans, card)), *_bars(plans, verdicts, card, cards)]
    top = TOP + ROW * len(plans) + 32
    below = top + LINE * (len(ROWS) + 2) + 4
    parts += [*_table(plans, top), text(0, below, note, size=13)]
    return svg(below + 8, parts, sentence), sentence


def verdict(plan: MemoryPlan, card: float) -> str:
    """Says in words whether a plan fits on a GPU.

    >>> from minilora.memory import plan_memory
    >>> verdict(plan_memory("llama-3.1-8b", "lora"), 24), verdict(plan_memory("llama-3.1-8b", "full"), 24)
    ('fits, 5.20 GB to spare', '40.31 GB over (needs 3 GPUs)')
    """
    spare = plan.headroom(card)
    if spare < 0:
        return f"{gigabytes(-spare * 1e9)} over (needs {plan.cards(card):,} GPUs)"
    return f"{'only just ' * (spare < TIGHT)}fits, {gigabytes(spare * 1e9)} to spare"


def _heading(plans: Mapping[str, MemoryPlan], card: float) -> str:
    fitting = [NAMES[method] for method, plan in plans.items() if plan.headroom(card) >= 0]
    if not fitting:
        return f"Nothing fits in {card:g} GB"
    if len(fitting) == len(plans):
        return f"All of them fit in {card:g} GB"
    return f"{' and '.join(fitting)} {'fits' if len(fitting) == 1 else 'fit'} in {card:g} GB"


def _bars(
    plans: Mapping[str, MemoryPlan], verdicts: Mapping[str, str], card: float, cards: Mapping[str, float]
) -> list[str]:
    """All bars are whole, on one axis, so that their lengths can be compared; each has a mark at the peak."""
    largest = max(sum(size for _, size, *_ in _shares(method, plan)) for method, plan in plans.items()) / 1e9
    reach = 1.05 * max(largest, card) if largest > card / 10 else 1.05 * largest
    x = scale(0, reach, LEFT, WIDTH)
    parts = _axis(x, reach, card, cards)
    for i, (method, plan) in enumerate(plans.items()):
        y = TOP + i * ROW
        parts += [text(0, y + 20, NAMES[method], bold=True), *_bar(method, plan, x, y, card)]
        peak = x(plan.total / 1e9)
        parts += [
            line(peak, y - 2, peak, y + BAR + 2, "#ffffff", thick=5),
            line(peak, y - 2, peak, y + BAR + 2, "#000000", thick=2),
        ]
        parts += [text(LEFT, y + BAR + 17, f"peak {gigabytes(plan.total)}: {verdicts[method]}")]
        if card <= reach:
            parts += [line(x(card), y - 6, x(card), y + BAR + 3, thick=2.5)]
    return parts


def _bar(method: str, plan: MemoryPlan, x, y: float, card: float) -> list[str]:
    parts, so_far = [], 0.0
    for name, size, color, formula in _shares(method, plan):
        start, so_far = so_far, so_far + size / 1e9
        left, right = x(start), x(so_far)
        if right - left < 0.3:  # less than the eye can see
            continue
        parts.append(rect(left, y, right - left, BAR, color, hint=f"{name}, {gigabytes(size)}: {formula}"))
        word = name.split(",")[0]
        wide = 7.4 * len(word) + 8
        at = x(card) if left < x(card) < left + wide else left  # beside the GPU's line, not under it
        if right - at > wide:
            parts.append(text(at + 7, y + 20, word, size=13, fill=ink(color)))
    return parts


def _axis(x, reach: float, card: float, cards: Mapping[str, float]) -> list[str]:
    """The sizes of GPUs along the top, the chosen one in bold; sizes that would overlap are left out."""
    y = TOP - 14
    parts = [line(LEFT, y, WIDTH, y, COLORS["neutral"]), text(0, y - 7, "GPUs, GB", size=13)]
    written = [x(card), WIDTH + 24]
    for size in sorted(cards.values()):
        if size <= reach and all(abs(x(size) - other) > 36 for other in written):
            written.append(x(size))
            tick = line(x(size), y - 4, x(size), y + 4, COLORS["neutral"])
            words = text(x(size), y - 7, f"{size:g}", size=13, anchor="middle")
            parts.append(holds([tick, words], "card", size))
    if card <= reach:
        parts += [line(x(card), y - 4, x(card), y + 8, thick=2.5)]
        middle = x(card) > LEFT + 30  # else it would run into the name of the axis
        at, anchor = (x(card), "middle") if middle else (LEFT, "start")
        parts += [text(at, y - 7, f"{card:g} GB", bold=True, anchor=anchor)]
    else:
        parts += [text(WIDTH, y - 7, f"{card:g} GB lies far to the right →", anchor="end")]
    return parts


def _shares(method: str, plan: MemoryPlan) -> list[tuple[str, int, str, str]]:
    """(name, bytes at its own peak, color, the arithmetic) for each row of the table."""
    shares = []
    for name, (together, role) in ROWS.items():
        parts = [plan.parts[part] for part in together if plan.parts[part].largest]
        role = WEIGHT_ROLES.get(method, role) if name == "base weights" else role
        formula = "; ".join(part.formula for part in parts)
        shares.append((name, sum(part.largest for part in parts), COLORS[role], formula))
    return shares


def _table(plans: Mapping[str, MemoryPlan], y: float) -> list[str]:
    """The parts in numbers; the chip before each is the color that it has in that bar."""
    right = [300 + i * (WIDTH - 300) / (len(plans) - 1 or 1) for i in range(len(plans))]
    parts = [text(0, y, "Each part at its own peak", bold=True)]
    parts += [text(at, y, NAMES[m], bold=True, anchor="end") for at, m in zip(right, plans, strict=True)]
    for at, (method, plan) in zip(right, plans.items(), strict=True):
        for i, (name, size, color, _) in enumerate(_shares(method, plan), start=1):
            if at == right[0]:
                parts.append(text(0, y + i * LINE, name))
            parts.append(text(at, y + i * LINE, gigabytes(size) if size else "0", anchor="end"))
            if size:
                parts.append(rect(at - 96, y + i * LINE - 10, 11, 11, color))
    below = y + (len(ROWS) + 1) * LINE
    parts += [
        line(0, below - 15, WIDTH, below - 15, COLORS["neutral"]),
        text(0, below, "peak of the whole", bold=True),
    ]
    return parts + [
        text(at, below, gigabytes(plan.total), bold=True, anchor="end")
        for at, plan in zip(right, plans.values(), strict=True)
    ]
