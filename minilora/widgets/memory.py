"""Explorable: what full fine-tuning, LoRA and QLoRA take in memory, against the size of a card.

Not here: any formula for bytes (memory.py), and speed.
"""

from __future__ import annotations

from typing import Any

from minilora.figures.memory import draw
from minilora.memory import METHODS, MemoryPlan, plan_memory
from minilora.memory.catalog import DEVICES, MODELS
from minilora.widgets.explorer import Explorer, choice, slider, switch

CARDS = {device.name: device.gigabytes for device in DEVICES.values() if device.has_gpu}
BATCHES = [2**i for i in range(7)]  # 1 … 64
LENGTHS = [2**i for i in range(7, 14)]  # 128 … 8192
NUMBERS = {"16 bits each": "bf16", "32 bits each": "fp32"}
NOTE = "Adapters (on attention) and their optimizer are in 32 bits, QLoRA's base is in NF4."
RANKS = [2**i for i in range(9)]  # 1 … 256


class MemoryExplorer(Explorer):
    """Every number is `plan_memory`'s, with AdamW, adapters on attention, double quantization.

    Args:
        model: The model to begin with, from the catalog.
        dtype: How weights are stored to begin with, "bf16" or "fp32"; in full fine-tuning gradients and the optimizer's
            averages are stored alike.
    """

    def __init__(self, model: str = "llama-3.1-8b", dtype: str = "bf16"):
        if model not in MODELS:
            raise ValueError(f"there is no model {model!r} in the catalog; choose one of {', '.join(MODELS)}")
        super().__init__(
            model=choice("Model", list(MODELS), model),
            card=choice("Card", list(CARDS.items()), CARDS["24 GB"]),
            dtype=choice("Numbers", list(NUMBERS.items()), dtype),
            batch_size=slider("Batch size", BATCHES, 4),
            sequence_length=slider("Tokens in a row", LENGTHS, 512),
            rank=slider("Rank r", RANKS, 8),
            gradient_checkpointing=switch("Checkpointing: compute again instead of keeping", False),
        )

    def plans(self) -> dict[str, MemoryPlan]:
        """The plan of each method for what is chosen now."""
        chosen = {name: control.value for name, control in self.controls.items() if name != "card"}
        return _plans(**chosen)

    def draw(self, card: float, **chosen: Any) -> tuple[str, str]:
        return draw(_plans(**chosen), card, CARDS, NOTE)


def _plans(model: str, rank: int, **training: Any) -> dict[str, MemoryPlan]:
    return {method: plan_memory(model, method, r=rank, double_quant=True, **training) for method in METHODS}
