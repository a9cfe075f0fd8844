"""Explorable: what full fine-tuning, LoRA and QLoRA take in memory, against the size of a card.

Not here: its controls and its picture (minilora/explorables/memory.py).
"""

from __future__ import annotations

from minilora.explorables import memory
from minilora.memory import MemoryPlan
from minilora.widgets.explorer import Explorer


class MemoryExplorer(Explorer):
    """Every number is `plan_memory`'s, with AdamW, adapters on attention, double quantization.

    Args:
        model: The model to begin with, from the catalog.
        dtype: How weights are stored to begin with, "bf16" or "fp32"; in full fine-tuning gradients and the optimizer's
            averages are stored alike.
    """

    draw = staticmethod(memory.draw)

    def __init__(self, model: str = "llama-3.1-8b", dtype: str = "bf16"):
        super().__init__(**memory.controls(model, dtype))

    def plans(self) -> dict[str, MemoryPlan]:
        """The plan of each method for what is chosen now."""
        return memory.plans(**{name: value for name, value in self.chosen().items() if name != "card"})
