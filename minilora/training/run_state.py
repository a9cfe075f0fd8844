"""What a run has done so far, and how it is told from another run.

Not here: the loop (trainer.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from minilora.lora import some_values

STATE_FILE = "training_state.safetensors"


@dataclasses.dataclass
class History:
    """What happened, step by step; lists have one entry per step unless they say otherwise."""

    losses: list[float] = dataclasses.field(default_factory=list)
    learning_rates: list[float] = dataclasses.field(default_factory=list)
    tokens: list[int] = dataclasses.field(default_factory=list)  # target tokens of the step
    seconds: list[float] = dataclasses.field(default_factory=list)
    validation_steps: list[int] = dataclasses.field(default_factory=list)  # steps done when it was measured
    validation_losses: list[float] = dataclasses.field(default_factory=list)
    peak_memory: int = 0  # bytes: of the GPU's allocator, or of the whole process on a CPU

    @property
    def tokens_per_second(self) -> float:
        return sum(self.tokens) / sum(self.seconds) if self.seconds else 0.0

    def __repr__(self) -> str:
        last = f", last loss {self.losses[-1]:.3f}" if self.losses else ""
        validation = f", validation {self.validation_losses[-1]:.3f}" if self.validation_losses else ""
        return f"History({len(self.losses)} steps in {sum(self.seconds):.1f} s{last}{validation})"


def frozen_digest(model: nn.Module, trained: Iterable[Tensor]) -> str:
    """Tells whether two models agree in all that is not trained: names, types, and 1,024 values of each tensor."""
    digest, own = hashlib.sha256(), {id(parameter) for parameter in trained}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if id(tensor) not in own and ".lora_" not in name:
            some = some_values(tensor).view(torch.uint8).numpy().tobytes()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + some)
    return digest.hexdigest()[:32]
