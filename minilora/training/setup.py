"""What a Trainer prepares before its first step: checked settings, the parameters to train, the optimizer.

Not here: the steps themselves (trainer.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from minilora.lora import LoraModel
from minilora.lora.layer import LoraLinear


def set_gradient_checkpointing(model: Any, on: bool, offload: bool = False) -> None:
    """Sets whether blocks are recomputed in the backward pass, and whether their inputs wait in main memory.

    Raises:
        ValueError: Offloading without recomputing, or for a model other than our GPT.
    """
    if offload and not on:
        raise ValueError("activation_offloading needs gradient_checkpointing=True")
    if hasattr(model, "hidden_states"):
        model.model.gradient_checkpointing, model.model.activation_offloading = on, offload
        model.model.preserve_rng_state = has_dropout(model)
    elif offload:
        raise ValueError(f"activation_offloading is for minilora.GPT, not for {type(model).__name__}")
    elif on:
        model.gradient_checkpointing_enable({"use_reentrant": False})


def has_dropout(model: nn.Module) -> bool:
    """Returns whether anything in the model draws random numbers in training."""
    dropouts = [m.p for m in model.modules() if isinstance(m, nn.Dropout)]
    layers = [m for m in model.modules() if isinstance(m, LoraLinear)]
    return any(dropouts) or any(c.lora_dropout for layer in layers for c in layer.configs.values())


def check_cuda_graph(model: nn.Module, device: torch.device, offload: bool) -> None:
    if device.type != "cuda":
        raise ValueError(f"cuda_graph needs a CUDA GPU, but the training device is {device}")
    if offload or has_dropout(model):
        raise ValueError(
            f"cuda_graph cannot record {'copies to main memory' if offload else 'dropout'}; turn one of them off"
        )


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the parameters that a Trainer would change, by name.

    Raises:
        ValueError: If there are none.
    """
    if isinstance(model, LoraModel):
        found = model.trainable_parameters()
        advice = "its active adapter was loaded frozen: load_adapter(..., is_trainable=True), or set_adapter another"
    else:
        found = {name: p for name, p in model.named_parameters() if p.requires_grad}
        advice = (
            "every parameter is frozen: add_lora(model, config) adds some, requires_grad_(True) unfreezes"
        )
    if not found:
        raise ValueError(f"nothing in this model is trainable; {advice}")
    return found


def make_optimizer(
    parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """Makes AdamW, in one kernel for all tensors, with weight decay on matrices alone."""
    parameters = list(parameters)
    matrices = [p for p in parameters if p.ndim >= 2]
    others = [p for p in parameters if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def check_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and (type(count) is not int or count < 1):
            raise ValueError(f"{name} is {count!r}; it must be a whole number of at least 1")


def check_range(name: str, value: float, most: float) -> None:
    if not 0 <= value <= most or value == math.inf:
        raise ValueError(f"{name} is {value!r}; it must be a number from 0 to {most}")
