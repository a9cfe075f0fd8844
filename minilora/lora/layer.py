"""LoRA's layer: a frozen linear layer W beside a small trained update B·A (Hu et al., arXiv 2106.09685).

    y = W x  +  scaling · B (A x)          A is (r, in), B is (out, r), scaling = lora_alpha / r

Not here: the other methods of the family (DoRA, biases, prompts), adapters on embeddings or convolutions, a
different rank for each layer. What is done with a whole model is in model.py.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from minilora.lora.mixed_batch import MixedBatch


@dataclasses.dataclass
class LoraConfig:
    """What to adapt and how strongly; names, defaults and meanings are PEFT's.

    r: rank, the width of the bottleneck. lora_alpha: the correction is multiplied by lora_alpha / r, or by
    lora_alpha / sqrt(r) with `use_rslora` (arXiv 2312.03732). target_modules: names of linear layers ("q_proj"), one
    of the words "attention", "mlp", "all-linear", or None for q_proj and v_proj. lora_dropout: share of the
    correction's inputs that training drops at random.

    >>> LoraConfig(r=16, lora_alpha=32).scaling
    2.0
    """

    r: int = 8
    lora_alpha: float = 8
    target_modules: str | Sequence[str] | None = None
    lora_dropout: float = 0.0
    use_rslora: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.r, int) or self.r < 1:
            raise ValueError(f"r is {self.r!r}; it is a whole number from 1 on (0 leaves nothing to train)")
        if not self.lora_alpha > 0:
            raise ValueError(f"lora_alpha is {self.lora_alpha!r}; it must be above zero, or has no effect")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout is {self.lora_dropout!r}; it is a share from 0 up to, but not, 1")

    @property
    def scaling(self) -> float:
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)


@dataclasses.dataclass
class Selection:
    """Which adapters speak: one object that all layers of a model share, so that switching is one assignment."""

    strengths: dict[str, float] = dataclasses.field(default_factory=dict)  # adapter name -> factor, usually 1
    mixed: bool = False  # inside rows(...): each row of a batch has its own
    merged: bool = False


class LoraLinear(nn.Module):
    """A frozen linear layer and its corrections, by adapter name.

    `base_layer` is an `nn.Linear`, a `Linear4bit`, or `transformers`' Conv1D, whose weight lies transposed.
    `lora_A[name]` is (r, in), random; `lora_B[name]` is (out, r), zero: a fresh adapter changes nothing.
    """

    def __init__(self, base_layer: nn.Module, selection: Selection):
        super().__init__()
        self.base_layer: Any = base_layer
        self.in_features, self.out_features = layer_shape(base_layer)
        self.selection = selection
        self.lora_A, self.lora_B = nn.ParameterDict(), nn.ParameterDict()
        self.configs: dict[str, LoraConfig] = {}
        self.mixed_batch: MixedBatch | None = None  # set while each row of a batch has its own adapter
        self.merged_weight: Tensor | None = None  # (out, in); set while merged

    def add_adapter(self, name: str, config: LoraConfig) -> None:
        device = self.base_layer.weight.device
        a = torch.empty(config.r, self.in_features, device=device)  # fp32, also beside a bf16 or 4-bit base
        nn.init.kaiming_uniform_(a, a=math.sqrt(5))
        self.lora_A[name] = nn.Parameter(a)
        self.lora_B[name] = nn.Parameter(torch.zeros(self.out_features, config.r, device=device))
        self.configs[name] = config

    def remove_adapter(self, name: str) -> None:
        if name in self.configs:
            del self.lora_A[name], self.lora_B[name], self.configs[name]

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        if self.merged_weight is not None:
            return F.linear(x, self.merged_weight, self.base_layer.bias)
        out = self.base_layer(x)
        if self.mixed_batch is not None:
            return self.mixed_batch.add_corrections(out, x)
        for name, strength in self.selection.strengths.items():
            if name in self.configs:
                out = self._add_correction(out, x, name, strength)
        return out

    def _add_correction(self, out: Tensor, x: Tensor, name: str, strength: float) -> Tensor:
        config = self.configs[name]
        a, b = self.lora_A[name], self.lora_B[name]
        x = x.to(a.dtype)
        if config.lora_dropout:
            x = F.dropout(x, config.lora_dropout, self.training)
        low = F.linear(x, a)  # (..., in) -> (..., r)
        return (out + F.linear(low, b) * (config.scaling * strength)).to(out.dtype)  # (..., r) -> (..., out)

    def get_delta_weight(self, adapter: str) -> Tensor:
        """scaling · B A as one full matrix (out, in)."""
        return self.lora_B[adapter] @ self.lora_A[adapter] * self.configs[adapter].scaling


def is_transposed(layer: nn.Module) -> bool:
    """True for `transformers`' Conv1D (GPT-2), a linear layer whose weight lies (in, out)."""
    return type(layer).__name__ == "Conv1D"


def layer_shape(layer: Any) -> tuple[int, int]:
    """(in_features, out_features) of an adaptable layer."""
    return tuple(layer.weight.shape) if is_transposed(layer) else (layer.in_features, layer.out_features)
