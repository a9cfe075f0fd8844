"""Explorable: what one has and needs on one side, the advice and its reasons on the other.

Not here: advice on speed or price, several cards, or methods that are no LoRA; which model to take is the reader's.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

import torch

from minilora.figures.memory import NAMES, TIGHT
from minilora.figures.methods import draw
from minilora.figures.svg import bytes_in_words, percent
from minilora.files import ASSETS
from minilora.memory import METHODS, MemoryPlan, gigabytes, plan_memory
from minilora.memory.catalog import MODELS, model_shape
from minilora.quantization import quantize_4bit
from minilora.widgets.explorer import Explorer, choice, slider, switch
from minilora.widgets.memory import CARDS
from minilora.widgets.ranks import RECORDED, read_recorded

DISTANCES = {
    "prompt": "what the base does when asked well",
    "style": "another style, tone or format",
    "skill": "a new domain or skill",
    "far": "much new knowledge, a new language",
}
SHORT = {"prompt": "as the base", "style": "style", "skill": "skill", "far": "much new"}
RANKS = {
    "prompt": 8,
    "style": 8,
    "skill": 16,
    "far": 64,
}  # where to begin; a wall shows in the validation loss
EXAMPLES = [0, *(10**i for i in range(1, 7))]
ENOUGH = 100  # examples from which on an adapter learns what holds beyond them; see few_examples.py
MANY = 100_000  # examples from which on a large change is worth training all weights
TASKS = [1, 2, 5, 10, 50, 100]
LENGTH = 512  # tokens of an example; the plans take one example at a time
PLANNED = "plan_memory"
FEW_EXAMPLES = ASSETS / "few_examples.json"  # made by benchmarks/few_examples.py

Reason = tuple[str, str]  # words with their number, and where the number comes from


@dataclasses.dataclass(frozen=True)
class Advice:
    """method: "none", "lora", "qlora" or "full". plans: of the three that train, with checkpointing if they need it."""

    method: str
    heading: str
    reasons: tuple[Reason, ...]
    plans: dict[str, MemoryPlan]
    code: str


def advise(
    model: str,
    card: float,
    tasks: int = 1,
    distance: str = "style",
    examples: int = 1000,
    serve_together: bool = False,
) -> Advice:
    """How to fine-tune a model of the catalog on one card of so many GB, and why.

    tasks: how many results are wanted. distance: between what the base does and what it shall do, a key of DISTANCES.
    examples: how many there are for each task. serve_together: all results answer at the same time.

    >>> advise("llama-3.1-8b", 24).method, advise("llama-3.1-8b", 12).method, advise("llama-3.1-8b", 4).method
    ('lora', 'qlora', 'none')
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance is {distance!r}; choose one of {', '.join(DISTANCES)}")
    rank = RANKS[distance]
    plans, checkpointing = {}, {}
    for name in METHODS:
        plans[name], checkpointing[name] = _plan_on(card, model, name, rank)
    if distance == "prompt" or examples < ENOUGH:
        reason = _few(examples) if examples and distance != "prompt" else _no_need(plans["lora"], distance)
        instead = "a good prompt will do" if distance == "prompt" else "find more examples first"
        return Advice("none", f"No fine-tuning, {instead}", (reason,), plans, "")
    fitting = [name for name in METHODS if plans[name].headroom(card) >= TIGHT]
    large = distance == "far" and examples >= MANY and not (tasks > 1 and serve_together)
    method = next((name for name in METHODS if name in fitting and (large or name != "full")), "none")
    if method == "none":
        return Advice("none", "Not this model on this card", tuple(_no_room(plans["qlora"], card)), plans, "")
    plan = plans[method]
    reasons = [
        _memory(method, plans, card, checkpointing[method]),
        *([_rounding()] if method == "qlora" else []),
        _full_is_due(plan, examples) if method == "full" else _rank_will_do(plan, rank, distance, examples),
        *([_few(examples)] if examples <= ENOUGH else []),
        _results(plans, method, tasks, serve_together),
    ]
    heading = (
        "Full fine-tuning, if LoRA falls short"
        if method == "full"
        else f"{NAMES[method]}, to begin with at rank {rank}"
    )
    return Advice(method, heading, tuple(reasons), plans, _code(method, rank, checkpointing[method]))


class MethodChooser(Explorer):
    """Six questions. What `advise` answers stays readable as `explorer.advice`."""

    def __init__(self, model: str = "llama-3.1-8b"):
        if model not in MODELS:
            raise ValueError(f"there is no model {model!r} in the catalog; choose one of {', '.join(MODELS)}")
        super().__init__(
            model=choice("Model", list(MODELS), model),
            card=choice("Card", list(CARDS.items()), CARDS["24 GB"]),
            distance=choice("It shall learn", [(words, key) for key, words in DISTANCES.items()], "style"),
            examples=slider("Examples", [(f"{n:,}", n) for n in EXAMPLES], 1000),
            tasks=slider("Tasks", TASKS, 1),
            serve_together=switch("All tasks answer at the same time", False),
        )

    def draw(self, card: float, **answers: Any) -> tuple[str, str]:
        self.advice = advise(card=card, **answers)
        return draw(**vars(self.advice), card=card, situation=_in_words(card=card, **answers))


def _in_words(model: str, card: float, distance: str, examples: int, tasks: int, serve_together: bool) -> str:
    together = ", at the same time" if serve_together else ""
    wanted = f"{tasks} task{'s' * (tasks > 1)}{together}"
    return f"{model}, {card:g} GB, {wanted}, {examples:,} examples ({SHORT[distance]})"


# -- the reasons -------------------------------------------------------------------------------------------------------


def _plan_on(card: float, model: str, method: str, rank: int) -> tuple[MemoryPlan, bool]:
    """The plan, and whether it takes checkpointing to fit."""
    length = min(LENGTH, model_shape(model).max_position_embeddings)
    plain, thrifty = (
        plan_memory(
            model,
            method,
            rank,
            "all-linear",
            sequence_length=length,
            double_quant=True,
            gradient_checkpointing=again,
            optimizer="adamw-master",  # full fine-tuning in mixed precision, as on every page
        )
        for again in (False, True)
    )
    needed = plain.headroom(card) < TIGHT <= thrifty.headroom(card)
    return (thrifty, True) if needed else (plain, False)


def _no_need(lora: MemoryPlan, distance: str) -> Reason:
    if distance == "prompt":
        words = "What the base does already needs a good prompt and no training"
    else:
        words = "Without examples there is nothing to learn from: write some, or ask in the prompt"
    return (
        f"{words}. Even LoRA would take {gigabytes(lora.total)} to train, and leave a file of "
        f"{bytes_in_words(lora.file_bytes)} for each task to keep.",
        PLANNED,
    )


def _no_room(qlora: MemoryPlan, card: float) -> list[Reason]:
    reasons = [
        (
            f"Even QLoRA takes {gigabytes(qlora.total)}, and {card:g} GB must leave {TIGHT:g} GB to the CUDA context: "
            f"it takes {qlora.cards(card)} such cards or a larger one.",
            PLANNED,
        )
    ]
    fitting = [plan for plan in _all_qlora_plans() if plan.headroom(card) >= TIGHT]
    if fitting:
        largest = max(fitting, key=lambda plan: plan.shape.parameter_count)
        reasons.append(
            (
                f"The largest model of the catalog that QLoRA trains in {card:g} GB is {largest.shape.name}: "
                f"{gigabytes(largest.total)}.",
                PLANNED,
            )
        )
    return reasons


@functools.cache
def _all_qlora_plans() -> list[MemoryPlan]:
    return [_plan_on(0, name, "qlora", RANKS["style"])[0] for name in MODELS]


def _memory(method: str, plans: dict[str, MemoryPlan], card: float, checkpointing: bool) -> Reason:
    def takes(name: str) -> str:
        spare = plans[name].headroom(card)
        fate = (
            "too much"
            if spare < 0
            else "too tight"
            if spare < TIGHT
            else f"{gigabytes(spare * 1e9)} to spare"
        )
        return f"{NAMES[name]} takes {gigabytes(plans[name].total)}, {fate}"

    upto = METHODS[: METHODS.index(method) + 1]
    how = (
        "; with checkpointing, which computes activations again instead of keeping them"
        if checkpointing
        else ""
    )
    return f"Of {card:g} GB: {'; '.join(takes(name) for name in upto)}{how}.", PLANNED


def _rounding() -> Reason:
    return (
        f"Four bits move the base's weights by {percent(nf4_error())} (root mean square); the adapter learns on top.",
        "measured by quantize_4bit on normal numbers",
    )


@functools.cache
def nf4_error() -> float:
    """Relative error of NF4 in blocks of 64 with double quantization, on normal numbers."""
    x = torch.randn(2**16, generator=torch.Generator().manual_seed(0))
    return float((quantize_4bit(x, "nf4", double_quant=True).dequantize() - x).norm() / x.norm())


def _rank_will_do(plan: MemoryPlan, rank: int, distance: str, examples: int) -> Reason:
    share = recorded_gain(rank)
    words = (
        f"Rank {rank} trains {percent(plan.trained / plan.shape.parameter_count)} of the weights. On the tiny GPT's "
        f"legal style it reached {percent(share)} of what full fine-tuning gains"
    )
    if distance == "far":
        words += "; knowledge takes more room than style, so watch for a wall, and raise the rank there"
    return words + ".", "plan_memory; measured by rank_spectrum.py"


def recorded_gain(rank: int) -> float:
    """Share of full fine-tuning's gain in validation loss that LoRA of this rank reached in the recorded run."""
    _, losses = read_recorded(RECORDED)
    return (losses["base"] - losses[rank]) / (losses["base"] - losses["full"])


def _full_is_due(plan: MemoryPlan, examples: int) -> Reason:
    return (
        f"{examples:,} examples of much that is new: full fine-tuning's change has 10 to 100 times the rank of a usual "
        "LoRA. Try LoRA first all the same, and keep it if its validation loss is as good.",
        "arXiv 2405.09673",
    )


def _few(examples: int) -> Reason:
    recorded = json.loads(FEW_EXAMPLES.read_text(encoding="utf-8"))["losses"]
    losses = {int(documents): loss for documents, loss in recorded.items()}
    gains = {documents: loss["base"] - loss["best"] for documents, loss in losses.items()}
    known, most = max(n for n in gains if n <= max(examples, min(gains))), max(gains)
    words = (
        f"{examples} examples are few: on the tiny GPT {known} documents brought {percent(gains[known] / gains[most])} "
        f"of what {most} brought, and the validation loss went from {losses[known]['base']:.2f} to "
        f"{losses[known]['last']:.2f}. "
    )
    advice = (
        "Hold some back to see when to stop"
        if examples >= ENOUGH
        else "Show them in the prompt, and collect more"
    )
    return f"{words}{advice}.", "measured by few_examples.py"


def _results(plans: dict[str, MemoryPlan], method: str, tasks: int, serve_together: bool) -> Reason:
    adapter, copy = plans["lora"].file_bytes, plans["full"].file_bytes
    if method == "full":
        return f"Each task is a whole model to keep: {tasks} × {bytes_in_words(copy)}.", PLANNED
    if tasks == 1:
        return (
            f"What it learns is a file of {bytes_in_words(adapter)}; a full copy is {bytes_in_words(copy)}.",
            PLANNED,
        )
    words = f"{tasks} adapters are {bytes_in_words(tasks * adapter)} beside one base; full copies would be "
    words += bytes_in_words(tasks * copy)
    if serve_together:
        words += ". One base in memory serves them all, even in one batch"
    return words + ".", PLANNED


def _code(method: str, rank: int, checkpointing: bool) -> str:
    lines = ["model, report = quantize_model(model, double_quant=True)"] if method == "qlora" else []
    if method != "full":
        lines.append(f'model = add_lora(model, LoraConfig(r={rank}, target_modules="all-linear"))')
    again = ",\n        gradient_checkpointing=True" if checkpointing else ""
    return "\n".join([*lines, f"Trainer(model, train_data, epochs=1, batch_size=1{again}).train()"])
