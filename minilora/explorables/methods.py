"""Explorable: what the learner has and needs on one side, the advice and its reasons on the other.

Not here: advice on speed or price, several GPUs, or methods other than LoRA; which model to take is the reader's.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

from minilora.explorables.controls import Control, choice, slider, switch
from minilora.explorables.memory import CARDS
from minilora.explorables.three_tasks import three_tasks
from minilora.figures import methods as methods_figure
from minilora.figures.memory import NAMES, TIGHT
from minilora.figures.svg import bytes_in_words, percent
from minilora.files import ASSETS
from minilora.memory import METHODS, MemoryPlan, gigabytes, plan_memory
from minilora.memory.catalog import MODELS, model_shape

DISTANCES = {
    "prompt": "what the model can do if asked well",
    "style": "a different style, tone, or format",
    "skill": "a new domain or skill",
    "far": "much new knowledge, or a new language",
}
SHORT = {"prompt": "nothing new", "style": "style", "skill": "skill", "far": "much new"}
RANKS = {
    "prompt": 8,
    "style": 8,
    "skill": 16,
    "far": 64,
}  # where to start
EXAMPLES = [0, *(10**i for i in range(1, 7))]
ENOUGH = 100  # examples from which on an adapter learns what holds beyond them; see few_examples.py
A_LOT = (
    10_000  # examples below which much new knowledge is out of reach; two papers set the scale, see _too_far
)
MANY = 100_000  # examples from which on a large change is worth training all weights
TASKS = [1, 2, 5, 10, 50, 100]
LENGTH = 512  # tokens of an example; the plans take one example at a time
PLANNED = "plan_memory"
FEW_EXAMPLES = ASSETS / "few_examples.json"  # made by benchmarks/few_examples.py
NF4_ERROR = ASSETS / "nf4_error.json"  # measured by quantize_4bit; a test measures it again

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
    """How to fine-tune a model of the catalog on one GPU, and why.

    Args:
        model: Its name in the catalog.
        card: Memory of the GPU in GB.
        tasks: How many results are wanted.
        distance: Between what the model does and what it should do, a key of DISTANCES.
        examples: How many there are for each task.
        serve_together: Whether all results answer requests at the same time.

    Returns:
        The method, the reasons with their sources, the memory plans, and the lines of code.

    Raises:
        ValueError: The distance is none of DISTANCES.

    >>> advise("llama-3.1-8b", 24).method, advise("llama-3.1-8b", 12).method, advise("llama-3.1-8b", 4).method
    ('lora', 'qlora', 'none')
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance is {distance!r}; choose one of {', '.join(DISTANCES)}")
    rank = RANKS[distance]
    plans, checkpointing = {}, {}
    for name in METHODS:
        plans[name], checkpointing[name] = _plan_on(card, model, name, rank)
    if distance == "prompt":
        return Advice(
            "none", "No fine-tuning: write a good prompt", (_no_need(plans["lora"], distance),), plans, ""
        )
    if examples < ENOUGH:
        reason = _few(examples) if examples else _no_need(plans["lora"], distance)
        return Advice("none", "Not yet: collect more examples first", (reason,), plans, "")
    if distance == "far" and examples < A_LOT:
        heading = "Not yet: too few examples for so much"
        return Advice("none", heading, tuple(_too_far(examples)), plans, "")
    fitting = [name for name in METHODS if plans[name].headroom(card) >= TIGHT]
    large = distance == "far" and examples >= MANY and not (tasks > 1 and serve_together)
    method = next((name for name in METHODS if name in fitting and (large or name != "full")), "none")
    if method == "none":
        return Advice("none", "Not this model on this GPU", tuple(_no_room(plans["qlora"], card)), plans, "")
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
        else f"{NAMES[method]}: start with rank {rank}"
    )
    return Advice(method, heading, tuple(reasons), plans, _code(method, rank, checkpointing[method]))


def controls(model: str = "llama-3.1-8b") -> dict[str, Control]:
    """Six questions, and the model that is chosen at first."""
    if model not in MODELS:
        raise ValueError(f"there is no model {model!r} in the catalog; choose one of {', '.join(MODELS)}")
    return {
        "model": choice("Model", list(MODELS), model),
        "card": choice("GPU", list(CARDS.items()), CARDS["24 GB"]),
        "distance": choice(
            "What should it learn?", [(words, key) for key, words in DISTANCES.items()], "style"
        ),
        "examples": slider("Examples", [(f"{n:,}", n) for n in EXAMPLES], 1000),
        "tasks": slider("Tasks", TASKS, 1),
        "serve_together": switch("Serve all tasks at once", False),
    }


def draw(card: float, **answers: Any) -> tuple[str, str]:
    """The picture of the advice, and its sentence, for one answer to each question."""
    advice = advise(card=card, **answers)
    return methods_figure.draw(**vars(advice), card=card, situation=_in_words(card=card, **answers))


def _in_words(model: str, card: float, distance: str, examples: int, tasks: int, serve_together: bool) -> str:
    together = ", served at once" if serve_together else ""
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
        words = "What the model can already do takes a good prompt and no training"
    else:
        words = (
            "Without examples there is nothing to learn from: write some, or describe the task in the prompt"
        )
    return (
        f"{words}. Even LoRA would take {gigabytes(lora.total)} to train, and each task would add a file of "
        f"{bytes_in_words(lora.file_bytes)}.",
        PLANNED,
    )


def _no_room(qlora: MemoryPlan, card: float) -> list[Reason]:
    reasons = [
        (
            f"Even QLoRA takes {gigabytes(qlora.total)}, and {TIGHT:g} GB of the {card:g} GB are needed for the CUDA "
            f"context. You need {qlora.cards(card)} such GPUs or a larger one.",
            PLANNED,
        )
    ]
    fitting = [plan for plan in _all_qlora_plans() if plan.headroom(card) >= TIGHT]
    if fitting:
        largest = max(fitting, key=lambda plan: plan.shape.parameter_count)
        reasons.append(
            (
                f"The largest model in the list that QLoRA trains in {card:g} GB is {largest.shape.name}: "
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
            f"{gigabytes(-spare * 1e9)} too much"
            if spare < 0
            else "too tight"
            if spare < TIGHT
            else f"{gigabytes(spare * 1e9)} to spare"
        )
        return f"{NAMES[name]} takes {gigabytes(plans[name].total)}, {fate}"

    upto = METHODS[: METHODS.index(method) + 1]
    how = (
        "; with gradient checkpointing, which recomputes activations instead of keeping them"
        if checkpointing
        else ""
    )
    return f"Of {card:g} GB: {'; '.join(takes(name) for name in upto)}{how}.", PLANNED


def _rounding() -> Reason:
    return (
        f"Rounding to 4 bits moves the base's weights by {percent(nf4_error())} (root mean square); the adapter is "
        "trained on top of that.",
        "measured by quantize_4bit on normal numbers",
    )


@functools.cache
def nf4_error() -> float:
    """Relative error of NF4 in blocks of 64 with double quantization, on normal numbers."""
    return json.loads(NF4_ERROR.read_text(encoding="utf-8"))["relative_error"]


def _rank_will_do(plan: MemoryPlan, rank: int, distance: str, examples: int) -> Reason:
    words = f"Rank {rank} trains {percent(plan.trained / plan.shape.parameter_count)} of the weights. "
    if distance == "far":
        words += (
            "Nothing that we measured is as far as this: knowledge takes more rank than style. If the held-out loss "
            "stops falling, double the rank; if that helps, double it again"
        )
        return words + ".", "plan_memory; page 09 shows such a wall"
    recorded = three_tasks()
    words += (
        f"In our own test, rank 8 got {recorded.share('LoRA'):.0%} of full fine-tuning's gain on three styles in "
        f"{recorded.steps} steps"
    )
    if distance == "skill":
        words += "; a skill is a larger change than those, so compare with rank 32"
    return words + ".", "plan_memory; measured by three_tasks.py"


def _too_far(examples: int) -> list[Reason]:
    return [
        (
            f"{examples:,} examples can teach a manner, not a language: 1,000 good ones were enough for a style of "
            "answering, because the knowledge was there from pretraining.",
            "arXiv 2305.11206",
        ),
        (
            "Studies of knowledge fine-tune on 100,000 pairs, or on 20 billion tokens of plain text. With less, put "
            "the facts into the prompt (retrieval), or choose a smaller goal.",
            "arXiv 2405.09673",
        ),
    ]


def _full_is_due(plan: MemoryPlan, examples: int) -> Reason:
    return (
        f"{examples:,} examples of something very new: full fine-tuning's change has 10 to 100 times the rank of a "
        "typical LoRA. Still try LoRA first, and keep it if its held-out loss is as good.",
        "arXiv 2405.09673",
    )


def _few(examples: int) -> Reason:
    recorded = json.loads(FEW_EXAMPLES.read_text(encoding="utf-8"))["losses"]
    losses = {int(documents): loss for documents, loss in recorded.items()}
    gains = {documents: loss["base"] - loss["best"] for documents, loss in losses.items()}
    known, most = max(n for n in gains if n <= max(examples, min(gains))), max(gains)
    words = (
        f"{examples} examples are few: in our own test, {known} documents brought {gains[known] / gains[most]:.0%} of "
        f"the gain of {most}, and the held-out loss went from {losses[known]['base']:.2f} to "
        f"{losses[known]['last']:.2f}. "
    )
    advice = (
        "Hold some out to see when to stop"
        if examples >= ENOUGH
        else "Show them in the prompt, and collect more"
    )
    return f"{words}{advice}.", "measured by few_examples.py"


def _results(plans: dict[str, MemoryPlan], method: str, tasks: int, serve_together: bool) -> Reason:
    adapter, copy = plans["lora"].file_bytes, plans["full"].file_bytes
    if method == "full":
        return f"Each task adds a whole model to store: {tasks} × {bytes_in_words(copy)}.", PLANNED
    if tasks == 1:
        return (
            f"The result is a file of {bytes_in_words(adapter)}; a full copy of the model is {bytes_in_words(copy)}.",
            PLANNED,
        )
    words = (
        f"{tasks} adapters take {bytes_in_words(tasks * adapter)} beside one base; full copies would take "
    )
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
