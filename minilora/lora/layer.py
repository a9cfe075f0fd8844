"""LoRA's layer: a frozen linear layer W beside a small trained update B·A (Hu et al., arXiv 2106.09685).

    y = W x  +  scaling · B (A x)          A is (r, in), B is (out, r), scaling = lora_alpha / r

Not here: the other methods of the family (DoRA, biases, prompts), adapters on embeddings or convolutions. Which layers
a config names is decided in targets.py; what is done with a whole model is in model.py.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minilora.lora.bfloat16 import UpdateInBfloat16
from minilora.lora.config import LoraConfig


@dataclasses.dataclass
class ActiveAdapters:
    """The adapters that compute now. All layers of a model share this one object, so switching is one assignment."""

    scales: dict[str, float] = dataclasses.field(default_factory=dict)  # adapter name -> factor, usually 1
    merged: bool = False


class LoraLinear(nn.Module):
    """A frozen linear layer with a LoRA update for each adapter.

    Args:
        base_layer: An `nn.Linear`, a `Linear4bit`, or the Conv1D of `transformers`, whose weight is transposed.
        active: The active adapters of the whole model.
    """

    def __init__(self, base_layer: nn.Module, active: ActiveAdapters):
        super().__init__()
        self.base_layer: Any = base_layer
        self.in_features, self.out_features = layer_shape(base_layer)
        self.active = active
        self.lora_A, self.lora_B = nn.ParameterDict(), nn.ParameterDict()  # adapter name -> (r, in), (out, r)
        self.configs: dict[str, LoraConfig] = {}
        self.merged_weight: Tensor | None
        self.register_buffer(
            "merged_weight", None, persistent=False
        )  # (out, in), while merged: see merging.py
        self.mixed_batch: Any = None  # while each row has its own adapter: see mixed_batch.py

    def add_adapter(self, adapter_name: str, config: LoraConfig) -> None:
        # A is random and B is zero, so a new adapter changes nothing. If both were zero, neither would get a gradient.
        # Both are float32, even beside a bfloat16 or 4-bit base: training needs the precision.
        device = self.base_layer.weight.device
        a = torch.empty(config.r, self.in_features, device=device)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5))  # uniform within ±1/√in, as nn.Linear and PEFT do
        self.lora_A[adapter_name] = nn.Parameter(a)
        self.lora_B[adapter_name] = nn.Parameter(torch.zeros(self.out_features, config.r, device=device))
        self.configs[adapter_name] = config

    def delete_adapter(self, adapter_name: str) -> None:
        if adapter_name in self.configs:
            del self.lora_A[adapter_name], self.lora_B[adapter_name], self.configs[adapter_name]

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> y (..., out)."""
        if self.merged_weight is not None:  # W + scaling · B A, computed once
            return F.linear(x, self.merged_weight, self.base_layer.bias)
        out = self.base_layer(x)  # W x: what the base computes, never changed
        if self.mixed_batch is not None:
            return self.mixed_batch.add_updates(out, x)
        for adapter_name, scale in self.active.scales.items():
            if adapter_name in self.configs:  # an adapter may leave this layer alone
                out = self._add_update(out, x, adapter_name, scale)
        return out

    def _add_update(self, out: Tensor, x: Tensor, adapter_name: str, scale: float) -> Tensor:
        config = self.configs[adapter_name]
        a, b = self.lora_A[adapter_name], self.lora_B[adapter_name]
        in_bfloat16 = torch.is_grad_enabled() and x.dtype == out.dtype == torch.bfloat16 != a.dtype
        if not in_bfloat16:
            x = x.to(a.dtype)
        if config.lora_dropout:
            x = F.dropout(x, config.lora_dropout, self.training)
        if in_bfloat16:  # a base in bfloat16 or 4 bits is being trained on
            return UpdateInBfloat16.apply(out, x, a, b, config.scaling * scale)  # type: ignore[no-any-return]
        # Two narrow products, A x and then B (A x). The full matrix B A (out, in) is never built.
        low = F.linear(x, a)  # (..., in) -> (..., r)
        update = F.linear(low, b)  # (..., r) -> (..., out)
        return (out + update * (config.scaling * scale)).to(out.dtype)

    @property
    def weight(self) -> Tensor:
        """W plus the active updates, for code that reads a layer's weight instead of calling it (T5, TRL's loss).

        Recomputed each time, with gradients for A and B. Dropout, and the rows of a mixed batch, are not in it.
        """
        base = self.base_layer.dequantize() if hasattr(self.base_layer, "quantized") else self.base_layer
        weight = base.weight
        if self.merged_weight is not None:
            return self.merged_weight.T if is_transposed(base) else self.merged_weight
        if not weight.is_floating_point():  # packed by another library, which must unpack it
            return weight
        for name, scale in self.active.scales.items():
            if name in self.configs:
                delta = self.get_delta_weight(name) * scale  # (out, in)
                weight = (weight + (delta.T if is_transposed(base) else delta)).to(weight.dtype)
        return weight

    def get_delta_weight(self, adapter: str) -> Tensor:
        """The whole update of one adapter as a matrix: scaling · B A, (out, in)."""
        return self.lora_B[adapter] @ self.lora_A[adapter] * self.configs[adapter].scaling


def is_transposed(layer: nn.Module) -> bool:
    """True for the Conv1D of `transformers` (GPT-2), a linear layer whose weight is (in, out)."""
    return type(layer).__name__ == "Conv1D"


def layer_shape(layer: Any) -> tuple[int, int]:
    """(in_features, out_features) of a layer that LoRA can adapt."""
    return tuple(layer.weight.shape) if is_transposed(layer) else (layer.in_features, layer.out_features)
