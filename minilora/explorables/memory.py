"""Explorable: what full fine-tuning, LoRA and QLoRA take in memory, against the size of a card.

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
NUMBERS = {"16 bits each": "bf16", "32 bits each": "fp32"}
NOTE = "Adapters (on attention) and their optimizer are in 32 bits, QLoRA's base is in NF4."
RANKS = [2**i for i in range(9)]  # 1 … 256


def controls(model: str = "llama-3.1-8b", dtype: str = "bf16") -> dict[str, Control]:
    """The controls, with the model and the way of storing weights to begin with."""
    if model not in MODELS:
        raise ValueError(f"there is no model {model!r} in the catalog; choose one of {', '.join(MODELS)}")
    return {
        "model": choice("Model", list(MODELS), model),
        "card": choice("Card", list(CARDS.items()), CARDS["24 GB"]),
        "dtype": choice("Numbers", list(NUMBERS.items()), dtype),
        "batch_size": slider("Batch size", BATCHES, 4),
        "sequence_length": slider("Tokens in a row", LENGTHS, 512),
        "rank": slider("Rank r", RANKS, 8),
        "gradient_checkpointing": switch("Checkpointing: compute again instead of keeping", False),
    }


def draw(card: float, **chosen: Any) -> tuple[str, str]:
    """The picture and its sentence for one value of each control."""
    return memory_figure.draw(plans(**chosen), card, CARDS, NOTE)


def plans(model: str, rank: int, **training: Any) -> dict[str, MemoryPlan]:
    """The plan of each method, with AdamW, adapters on attention and double quantization."""
    return {method: plan_memory(model, method, r=rank, double_quant=True, **training) for method in METHODS}
