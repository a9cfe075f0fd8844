"""Explorable: what full fine-tuning, LoRA and QLoRA take in memory, against the memory of a GPU.

Not here: any formula for bytes (minilora/memory), and speed.
"""

from __future__ import annotations

from typing import Any

from minilora.explorables.controls import Control, choice, slider, switch
from minilora.figures import memory as memory_figure
from minilora.memory import METHODS, MemoryPlan, plan_memory
from minilora.memory.catalog import DEVICES, MODELS

CARDS = {device.name: device.gigabytes for device in DEVICES.values() if device.has_gpu}
BATCHES = [2**i for i in range(7)]  # 1 … 64
LENGTHS = [2**i for i in range(7, 14)]  # 128 … 8192
RANKS = [2**i for i in range(9)]  # 1 … 256
OPTIMIZERS = {  # in words, and as `plan_memory` takes it: dtype, optimizer
    "AdamW, mixed precision": ("bf16", "adamw-master"),
    "AdamW, all in 32 bits": ("fp32", "adamw"),
    "AdamW, all in 16 bits": ("bf16", "adamw"),
    "8-bit AdamW": ("bf16", "adamw-8bit"),
    "SGD, all in 16 bits": ("bf16", "sgd"),
}
TARGETS = ("all-linear", "attention", "mlp")
NOTE = "Adapters are in 32 bits. QLoRA's base is in NF4 with double quantization."


def controls(model: str = "llama-3.1-8b", optimizer: str = "AdamW, mixed precision") -> dict[str, Control]:
    """The controls, with the model and the optimizer to begin with; an optimizer includes how weights are stored."""
    if model not in MODELS:
        raise ValueError(f"there is no model {model!r} in the catalog; choose one of {', '.join(MODELS)}")
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"there is no optimizer {optimizer!r}; choose one of {'; '.join(OPTIMIZERS)}")
    return {
        "model": choice("Model", list(MODELS), model),
        "card": choice("GPU", list(CARDS.items()), CARDS["24 GB"]),
        "optimizer": choice("Optimizer", list(OPTIMIZERS), optimizer),
        "target_modules": choice("Adapters on", list(TARGETS), "all-linear"),
        "batch_size": slider("Batch size", BATCHES, 1),
        "sequence_length": slider("Tokens per row", LENGTHS, 512),
        "rank": slider("Rank r", RANKS, 8),
        "gradient_checkpointing": switch("Gradient checkpointing", False),
    }


def draw(card: float, **chosen: Any) -> tuple[str, str]:
    """The picture and its sentence for one value of each control."""
    return memory_figure.draw(plans(**chosen), card, CARDS, NOTE)


def plans(model: str, rank: int, optimizer: str, **training: Any) -> dict[str, MemoryPlan]:
    """The plan of each method, with double quantization."""
    dtype, state = OPTIMIZERS[optimizer]
    training |= {"dtype": dtype, "optimizer": state, "double_quant": True}
    return {method: plan_memory(model, method, r=rank, **training) for method in METHODS}
