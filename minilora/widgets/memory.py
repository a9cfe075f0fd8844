"""Explorable: what full fine-tuning, LoRA and QLoRA take in memory, against the memory of a GPU.

Not here: its controls and its picture (minilora/explorables/memory.py).
"""

from __future__ import annotations

from minilora.explorables import memory
from minilora.memory import MemoryPlan
from minilora.widgets.explorer import Explorer


class MemoryExplorer(Explorer):
    """Every number is `plan_memory`'s, with double quantization.

    Args:
        model: The model to begin with, from the catalog.
        optimizer: The optimizer to begin with, one of `OPTIMIZERS`. It includes how weights are stored.
    """

    draw = staticmethod(memory.draw)

    def __init__(self, model: str = "llama-3.1-8b", optimizer: str = "AdamW, mixed precision"):
        super().__init__(**memory.controls(model, optimizer))

    def plans(self) -> dict[str, MemoryPlan]:
        """The plan of each method for what is chosen now."""
        return memory.plans(**{name: value for name, value in self.chosen().items() if name != "card"})
