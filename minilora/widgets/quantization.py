"""Explorable: numbers on a line snap to the sixteen levels of a 4-bit code.

Not here: codes and blocks (quantization.py), and what four bits do to a model's loss.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minilora.explorables.controls import choice, slider
from minilora.figures.quantization import draw
from minilora.quantization import BLOCK_SIZES, CODES, quantize_4bit
from minilora.widgets.explorer import Explorer

VALUES = BLOCK_SIZES[-1]  # how many numbers are quantized; one block of them is drawn
DRAWN = 64
PLACE = 5  # where the outlier sits


class QuantizationExplorer(Explorer):
    """Scheme, block size and one outlier; the error of all schemes that cost about as many bits stands below.

    quantize: your own function instead of ours. It takes x, and quant_type and block_size if it has such parameters,
    and returns either the rounded values in x's shape, or an object with `.dequantize()` (and `.bits_per_weight`).
    """

    def __init__(self, quantize: Callable[..., Any] | None = None):
        self.quantize = quantize
        self.values = torch.randn(VALUES, generator=torch.Generator().manual_seed(0))
        super().__init__(
            quant_type=choice("Scheme", list(CODES), "nf4"),
            block_size=slider("Block size", BLOCK_SIZES, 64),
            outlier=slider("Outlier", [("none", 0), *((f"{size}σ", size) for size in (4, 8, 16, 32, 64))], 0),
        )

    def draw(self, quant_type: str, block_size: int, outlier: int) -> tuple[str, str]:
        x = self.values.clone()
        if outlier:
            x[PLACE] = outlier
        schemes = [measure(quantize_4bit, x, other, block_size) for other in CODES]
        chosen = list(CODES).index(quant_type)
        if self.quantize is not None:
            try:
                schemes.append(measure(self.quantize, x, quant_type, block_size, "yours: "))
            except Exception as error:  # the learner's own code may raise anything
                raise ValueError(f"your function raised {type(error).__name__}: {error}") from error
            chosen = len(schemes) - 1
        rounded, *_ = schemes[chosen]
        size = min(DRAWN, block_size)
        levels = block_levels(x, quant_type, block_size)
        bars = [(name, error, bits) for _, name, error, bits in schemes]
        return draw(x[:size].tolist(), rounded[:size].tolist(), levels, bars, chosen)


def measure(
    quantize: Callable[..., Any], x: Tensor, quant_type: str, block_size: int, prefix: str = ""
) -> tuple[Tensor, str, float, float]:
    """(rounded values, name, relative error of all but the outlier, bits per weight) of one scheme."""
    known = inspect.signature(quantize).parameters
    wanted = {"quant_type": quant_type, "block_size": block_size}
    result = quantize(x.clone(), **{name: value for name, value in wanted.items() if name in known})
    rounded = torch.as_tensor(result.dequantize() if hasattr(result, "dequantize") else result)
    if rounded.shape != x.shape:
        raise ValueError(
            f"expected rounded values of shape {tuple(x.shape)}, or an object with .dequantize() that returns them; "
            f"received {tuple(rounded.shape)}. Did you forget a return, or return the codes?"
        )
    others = torch.cat([torch.arange(PLACE), torch.arange(PLACE + 1, len(x))])
    error = float(((rounded - x)[others].square().sum() / x[others].square().sum()).sqrt())
    bits = float(getattr(result, "bits_per_weight", float("nan")))
    return rounded, f"{prefix}{quant_type}, blocks of {block_size}", error, bits


def block_levels(x: Tensor, quant_type: str, block_size: int) -> list[float]:
    """What the sixteen patterns stand for in the first block: decoded by the engine, from every pattern in turn."""
    result = quantize_4bit(x, quant_type, block_size)
    result.packed[:8, 0] = torch.arange(0, 16, 2, dtype=torch.uint8) * 17 + 1  # 0x01, 0x23, … 0xEF
    return result.dequantize()[:16].tolist()
