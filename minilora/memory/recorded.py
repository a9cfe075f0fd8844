"""Training steps whose peak was measured on a GPU, to compare plans with.

Ours ran on an H200, limited to `limit` GB; benchmarks/memory_gpu.py and benchmarks/seven_billion.py are the programs,
and benchmarks/results holds all figures. Those of others are published. Not here: planning (plan.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from minilora.memory.plan import MemoryPlan, plan_memory


@dataclasses.dataclass(frozen=True)
class RecordedRun:
    """One run.

    Attributes:
        name: Model and method, in words.
        settings: Arguments of `plan_memory`.
        peak: Measured bytes; None if the GPU ran out of memory.
        limit: GB that the run was allowed to use.
        source: Who measured.
    """

    name: str
    settings: Mapping[str, Any]
    peak: int | None
    limit: int = 80
    source: str = "ours"

    @property
    def plan(self) -> MemoryPlan:
        """The plan for the same settings."""
        return plan_memory(**self.settings)


_8B = {"shape": "llama-3.1-8b", "r": 16, "target_modules": "all-linear", "gradient_checkpointing": True}
_SHORT = _8B | {"r": 8, "double_quant": True}
RECORDED = (
    RecordedRun(
        "Llama-3.1-8B, QLoRA",
        _8B | {"method": "qlora", "double_quant": True, "batch_size": 2, "sequence_length": 1024},
        7_500_282_880,
        limit=24,
    ),
    RecordedRun("Llama-3.1-8B, LoRA", _8B | {"method": "lora"}, 17_345_653_760, limit=24),
    RecordedRun("Llama-3.1-8B, full, all in 16 bits", _8B | {"method": "full"}, 64_318_906_368),
    RecordedRun("Llama-3.1-8B, full, all in 32 bits", _8B | {"method": "full", "dtype": "fp32"}, None),
    RecordedRun(
        "Llama-3.2-3B, full, all in 16 bits",
        {"shape": "llama-3.2-3b", "method": "full", "batch_size": 4, "sequence_length": 768},
        30_918_201_344,
    ),
    RecordedRun(
        "Llama-2-7B, QLoRA",
        _8B | {"shape": "llama-2-7b", "r": 8, "method": "qlora", "double_quant": True, "batch_size": 4,
               "sequence_length": 1024},
        6_138_224_128,
    ),
    # GiB in torchtune's README, for its memory-saving recipes on a 24 GB GPU; batch and length are not stated
    RecordedRun("Llama-3.1-8B, LoRA", _SHORT | {"method": "lora"}, int(16.2 * 2**30), 24, "torchtune"),
    RecordedRun("Llama-3.1-8B, QLoRA", _SHORT | {"method": "qlora"}, int(7.4 * 2**30), 24, "torchtune"),
)  # fmt: skip
