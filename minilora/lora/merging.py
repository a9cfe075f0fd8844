"""Merging: W + correction computed once, so that inference pays nothing for the adapter.

The base's tensors are never written to. On a 4-bit base the merged weights stay unquantized.
Not here: merging back into 4 bits, where rounding would move the weights further than a small adapter does.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from minilora.linear4bit import Linear4bit
from minilora.lora.combining import delta_weight
from minilora.lora.layer import LoraLinear, is_transposed
from minilora.quantization import quantize_4bit


@torch.no_grad()
def merged_weight(layer: LoraLinear) -> Tensor:
    """W + correction (out, in) in the type that the base computes in; the base itself stays as it is."""
    base = _dequantized(layer.base_layer)
    weight = base.weight.T if is_transposed(base) else base.weight
    return (weight + delta_weight(layer, layer.selection.strengths)).to(weight.dtype)


def merge_layers(layers: dict[str, LoraLinear], dequantize: bool) -> None:
    """Gives each layer its merged weight; on a 4-bit base `dequantize` must say that it is kept in full precision."""
    quantized = [path for path, layer in layers.items() if isinstance(layer.base_layer, Linear4bit)]
    if quantized and not dequantize:
        path = quantized[0]
        raise ValueError(
            f"{len(quantized)} adapted layers are stored in 4 bits. In {path}, for one, rounding W + B·A back to 4 "
            f"bits would move the weights {_rounding_of_merged(layers[path]):.1f} times as far as B·A does, and a "
            "small adapter would drown in that. Keep the adapter separate, or call merge(dequantize=True) to keep "
            "the merged weights unquantized"
        )
    for layer in layers.values():
        layer.merged_weight = merged_weight(layer)


def plain_layer(layer: LoraLinear) -> nn.Module:
    """A plain linear layer that holds the merged weight."""
    base = _dequantized(layer.base_layer)
    plain = copy.copy(base)
    plain._parameters = dict(base._parameters)  # the copy shares this table with the untouched base layer
    weight: Any = layer.merged_weight
    plain.weight = nn.Parameter(weight.T.contiguous() if is_transposed(base) else weight, requires_grad=False)
    return plain


def _dequantized(base_layer: Any) -> Any:
    return base_layer.dequantize() if isinstance(base_layer, Linear4bit) else base_layer


@torch.no_grad()
def _rounding_of_merged(layer: LoraLinear) -> float:
    """‖what 4 bits would make of W + correction, less that‖ / ‖correction‖; infinite for a correction of zero."""
    packed, merged = layer.base_layer.quantized, merged_weight(layer)
    again = quantize_4bit(merged, packed.code, packed.block_size).dequantize()
    return float((again - merged).norm() / delta_weight(layer, layer.selection.strengths).norm())
