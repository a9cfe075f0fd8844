"""How much memory training takes, with each method."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from minilora.options import Options, option

if TYPE_CHECKING:
    from minilora.memory import MemoryPlan

EXAMPLES = ("minilora plan --model llama-3.1-8b --gpu 24",)


@dataclasses.dataclass(kw_only=True)
class Settings(Options):
    model: str = option("llama-3.1-8b", "model and GPU", "a name from the catalog; a wrong one lists all")
    gpu: float = option(24.0, "model and GPU", "memory of your GPU in GB")
    dtype: str = option("bf16", "model and GPU", "of the base model: bf16, fp16 or fp32")
    r: int = option(8, "adapter", "rank of the adapter")
    target_modules: list[str] = option(
        ["attention"], "adapter", "attention, mlp, all-linear, or names of layers"
    )
    double_quant: bool = option(False, "adapter", "QLoRA's constants in 8 bits too")
    batch_size: int = option(1, "training", "rows per step")
    sequence_length: int = option(512, "training", "tokens per row of data")
    optimizer: str = option(
        "adamw-master",
        "training",
        "adamw-master (with 32-bit copies of 16-bit weights), adamw, adamw-8bit, sgd; a wrong one lists all",
    )
    gradient_checkpointing: bool = option(False, "training", "recompute activations instead of keeping them")
    activation_offloading: bool = option(
        False,
        "training",
        "with --gradient-checkpointing: keep what it saves in main memory, for very long rows",
    )
    format: str = option("text", "output", "of the plans", choices=("text", "json"))


def run(settings: Settings) -> int:
    """Prints the plans of the three methods side by side."""
    from minilora.memory import METHODS, plan_memory

    if not 0 < settings.gpu < float("inf"):
        raise ValueError(f"gpu is {settings.gpu:g}; give the GPU's memory in GB, for example 24")
    plans = {
        method: plan_memory(
            settings.model,
            method,
            r=settings.r,
            target_modules=settings.target_modules,
            dtype=settings.dtype,
            optimizer=settings.optimizer,
            batch_size=settings.batch_size,
            sequence_length=settings.sequence_length,
            gradient_checkpointing=settings.gradient_checkpointing,
            double_quant=settings.double_quant,
            activation_offloading=settings.activation_offloading,
        )
        for method in METHODS
    }
    print(_as_json(plans, settings.gpu) if settings.format == "json" else _as_table(plans, settings.gpu))
    return 0


def _as_table(plans: dict[str, MemoryPlan], gpu: float) -> str:
    from minilora.figures.memory import NAMES, verdict
    from minilora.memory import gigabytes

    def row(name: str, cells: Iterable[str]) -> str:
        return f"{name:<26}" + "".join(f"{cell:>14}" for cell in cells)

    each = list(plans.values())
    lines = [
        f"{each[0].shape.name} on a GPU of {gpu:g} GB",
        "",
        row("", (NAMES[method] for method in plans)),
    ]
    for part in each[0].parts:
        sizes = [plan.parts[part].bytes for plan in each]
        if any(sizes):
            lines.append(row(part, (gigabytes(size) if size else "-" for size in sizes)))
    lines.append(row("at the peak", (gigabytes(plan.total) for plan in each)))
    lines.append(row("file with what is learned", (gigabytes(plan.file_bytes) for plan in each)))
    lines.append("")
    lines += [
        f"{NAMES[method]:<6} {verdict(plan, gpu)}; the peak is {plan.peak_moment}"
        for method, plan in plans.items()
    ]
    lines += ["", "A GPU's driver takes about half a GB more."]
    return "\n".join(lines)


def _as_json(plans: dict[str, MemoryPlan], gpu: float) -> str:
    """In bytes, except headroom in GB, which is negative if the plan does not fit."""
    return json.dumps(
        {
            method: {
                "parts": {
                    name: {"bytes": part.bytes, "formula": part.formula} for name, part in plan.parts.items()
                },
                "total": plan.total,
                "fits": plan.headroom(gpu) >= 0,
                "headroom_gb": plan.headroom(gpu),
                "cards": plan.cards(gpu),
                "trained": plan.trained,
                "file_bytes": plan.file_bytes,
            }
            for method, plan in plans.items()
        },
        indent=2,
    )
