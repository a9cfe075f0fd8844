"""Merging: W + update computed once, so that inference with the adapter is as fast as without it.

The base's tensors are never written to. On a 4-bit base the merged weights stay unquantized.
Not here: merging back into 4 bits, where rounding would move the weights further than a small adapter does.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from minilora.lora.combining import delta_weight
from minilora.lora.layer import LoraLinear, is_transposed
from minilora.quantization import quantize_4bit
from minilora.quantization.linear4bit import Linear4bit


@torch.no_grad()
def merged_weight(layer: LoraLinear) -> Tensor:
    """W plus the update of the active adapters, (out, in), in the dtype that the base computes in."""
    base = _dequantized(layer.base_layer)
    weight = base.weight.T if is_transposed(base) else base.weight  # (out, in)
    return (weight + delta_weight(layer, layer.active.scales)).to(weight.dtype)


def merge_layers(layers: dict[str, LoraLinear], dequantize: bool) -> None:
    """Gives each layer its merged weight.

    Raises:
        ValueError: A layer is stored in 4 bits, and `dequantize` does not allow full precision.
    """
    quantized = [path for path, layer in layers.items() if isinstance(layer.base_layer, Linear4bit)]
    if quantized and not dequantize:
        path = quantized[0]
        raise ValueError(
            f"{len(quantized)} adapted layers are stored in 4 bits. In {path}, for example, rounding W + B·A back to "
            f"4 bits would move the weights {_rounding_of_merged(layers[path]):.1f} times as far as B·A does, and a "
            "small adapter would be lost in the rounding error. Keep the adapter separate, or pass dequantize=True "
            "to keep the merged weights unquantized"
        )
    foreign = [
        path
        for path, layer in layers.items()
        if not _dequantized(layer.base_layer).weight.is_floating_point()
    ]
    if foreign:
        kind = type(layers[foreign[0]].base_layer).__name__
        raise ValueError(
            f"{foreign[0]} is packed by another library ({kind}), and only that library can merge into it; load the "
            "base in full precision, or quantize it with quantize_model"
        )
    for layer in layers.values():
        layer.merged_weight = merged_weight(layer)


def plain_layer(layer: LoraLinear) -> nn.Module:
    """A plain linear layer that holds the merged weight."""
    base = _dequantized(layer.base_layer)
    plain = copy.copy(base)
    plain._parameters = dict(base._parameters)  # subtle: the copy shares this table with the base layer
    weight: Any = layer.merged_weight
    plain.weight = nn.Parameter(weight.T.contiguous() if is_transposed(base) else weight, requires_grad=False)
    return plain


def _dequantized(base_layer: Any) -> Any:
    return base_layer.dequantize() if isinstance(base_layer, Linear4bit) else base_layer


@torch.no_grad()
def _rounding_of_merged(layer: LoraLinear) -> float:
    """‖rounding error of W + update in 4 bits‖ / ‖update‖; infinite for an update of zero."""
    packed, merged = layer.base_layer.quantized, merged_weight(layer)
    again = quantize_4bit(merged, packed.quant_type, packed.block_size).dequantize()
    return float((again - merged).norm() / delta_weight(layer, layer.active.scales).norm())
