"""Explorable: weights of the model snap to the sixteen levels of a 4-bit code, and one of them can be made an outlier.

Not here: the drawing (minilora/figures/quantization.py), and what four bits do to a model's loss.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from importlib import resources
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from minilora.explorables.controls import choice, slider
from minilora.figures.quantization import OUTLIERS, Scheme, draw
from minilora.quantization import BLOCK_SIZES, CODES, quantize_4bit
from minilora.reference.quantization import round_affine
from minilora.widgets.explorer import Explorer

LAYER = "model.layers.4.mlp.gate_proj.weight"
VALUES = BLOCK_SIZES[-1]  # how many weights are quantized
PLACE = VALUES // 2 + 5  # where the outlier sits
DRAWN = 64  # at most, of the block with the outlier


class QuantizationExplorer(Explorer):
    """Scheme, block size, and one outlier that can be dragged; the errors of all blocks and of other schemes.

    Args:
        weights: A tensor of a model; its first 4,096 numbers are quantized. None takes a layer of tiny-gpt.
        quantize: Your own function instead of ours, for NumPy arrays or torch tensors. It may take `x`, `quant_type`,
            `block_size`, `code` (the sixteen levels), or `packed`, `absmax` and `shape`, by these names, and returns
            the rounded values, or codes and their scale (as the exercises do), or an object with `.dequantize()`.
    """

    def __init__(self, weights: Tensor | None = None, quantize: Callable[..., Any] | None = None):
        self.quantize = quantize
        self.source = "your weights" if weights is not None else f"{VALUES:,} weights of gate_proj"
        flat = (first_weights() if weights is None else weights).detach().float().flatten()
        if len(flat) < VALUES:
            raise ValueError(f"the explorable needs {VALUES:,} weights; these are {len(flat):,}")
        self.values = flat[:VALUES].clone()
        self.usual = float(self.values.std())
        names = ["none", *(f"{size} times" for size in OUTLIERS[1:])]
        super().__init__(
            quant_type=choice("Scheme", list(CODES), "nf4"),
            block_size=slider("Block size", BLOCK_SIZES, 64),
            outlier=slider("Outlier", list(zip(names, OUTLIERS, strict=True)), 0),
        )

    def draw(self, quant_type: str, block_size: int, outlier: int) -> tuple[str, str]:
        x = self.values.clone()
        if outlier:
            x[PLACE] = outlier * self.usual
        rounded = {name: quantize_4bit(x, name, block_size) for name in CODES}
        results = [result.dequantize() for result in rounded.values()]
        schemes = [
            Scheme(f"{name}, blocks of {block_size:,}", error(x, y), result.bits_per_weight, name)
            for (name, result), y in zip(rounded.items(), results, strict=True)
        ]
        if 2 * block_size <= VALUES:  # two constants per block, so twice the block size takes the same bits
            y = torch.from_numpy(round_affine(x.numpy(), 2 * block_size))
            schemes.append(Scheme(f"min-max, blocks of {2 * block_size:,}", error(x, y), 4 + 32 / block_size))
            results.append(y)
        chosen = list(CODES).index(quant_type)
        levels = [] if self.quantize else block_levels(rounded[quant_type])
        if self.quantize is not None:
            y, bits = rounded_by(self.quantize, x, quant_type, block_size)
            schemes.append(Scheme("yours", error(x, y), bits))
            results.append(y)
            chosen = len(schemes) - 1
        first = PLACE // block_size * block_size
        shown = [PLACE, *(i for i in range(first, first + min(DRAWN, block_size)) if i != PLACE)]
        errors = block_errors(x, results[chosen], block_size)
        before, after = ((t[shown] / self.usual).tolist() for t in (x, results[chosen]))
        levels = [level / self.usual for level in levels]
        return draw(before, after, levels, outlier, block_size, errors, schemes, chosen, self.source)


def first_weights() -> Tensor:
    """Reads one layer of tiny-gpt without loading the rest."""
    shipped = resources.files("minilora") / "assets/tiny-gpt/model.safetensors"
    with resources.as_file(shipped) as path, safe_open(path, "pt") as file:
        return file.get_tensor(LAYER).float()


def error(x: Tensor, rounded: Tensor) -> float:
    """Relative error of all weights but the outlier."""
    off, size = (rounded - x).square(), x.square()
    off[PLACE] = size[PLACE] = 0
    return float((off.sum() / size.sum()).sqrt())


def block_errors(x: Tensor, rounded: Tensor, block_size: int) -> list[float]:
    """The same for each block."""
    off, size = (rounded - x).square(), x.square()
    off[PLACE] = size[PLACE] = 0
    return (off.view(-1, block_size).sum(1) / size.view(-1, block_size).sum(1)).sqrt().tolist()


def block_levels(result: Any) -> list[float]:
    """What the sixteen codes stand for in the block with the outlier."""
    absmax = float(result.block_absmax()[PLACE // result.block_size])
    return [
        absmax * share for share in CODES[result.quant_type] if abs(share) <= 1
    ]  # int4 leaves -8/7 unused


def rounded_by(
    quantize: Callable[..., Any], x: Tensor, quant_type: str, block_size: int
) -> tuple[Tensor, float | None]:
    """Rounds x with the learner's function; also returns the bits per weight, or None where they are unknown.

    It is called with NumPy arrays, as the exercises are, and if it fails, with torch tensors.

    Raises:
        ValueError: It fails with both, or returns another number of values than it was given.
    """
    ours = quantize_4bit(x, quant_type, block_size)
    offered = {
        "x": x, "code": torch.tensor(sorted(CODES[quant_type])), "packed": ours.packed.flatten(),
        "absmax": ours.block_absmax(),
    }  # fmt: skip
    if "packed" in inspect.signature(quantize).parameters:
        offered["code"] = torch.tensor(CODES[quant_type])  # the order that the packed codes refer to
    other = {"quant_type": quant_type, "block_size": block_size, "shape": list(x.shape)}
    failures = []
    for convert in (lambda tensor: tensor.numpy().copy(), lambda tensor: tensor.clone()):
        arguments = other | {name: convert(tensor) for name, tensor in offered.items()}
        try:
            return decoded(_call(quantize, arguments), arguments, x)
        except _WrongShape:
            raise
        except Exception as failure:  # the learner's own code may raise anything
            failures.append(f"{type(failure).__name__}: {failure}")
    tries = (
        failures[0] if failures[0] == failures[1] else f"{failures[0]} (with a torch tensor {failures[1]})"
    )
    raise ValueError(f"your function raised {tries}")


def _call(quantize: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Passes the arguments that the function names; a first parameter of any other name gets x."""
    names = list(inspect.signature(quantize).parameters)
    by_name = {name: arguments[name] for name in names if name in arguments}
    if not names or names[0] not in arguments:
        return quantize(arguments["x"], **by_name)
    return quantize(**by_name)


class _WrongShape(ValueError):
    pass


def decoded(result: Any, arguments: dict[str, Any], x: Tensor) -> tuple[Tensor, float | None]:
    """Rounded values from what a function returned, and bits per weight."""
    bits = getattr(result, "bits_per_weight", None)
    if hasattr(result, "dequantize"):
        result = result.dequantize()
    elif isinstance(result, tuple) and len(result) == 2:  # codes and one scale, or one for each block
        codes, scales = (torch.as_tensor(part) for part in result)
        if scales.ndim == 0:
            result, bits = codes.float() * scales, 8 + 32 / len(x)
        else:
            levels = torch.as_tensor(arguments["code"])[codes.long()]
            result = levels * scales.repeat_interleave(arguments["block_size"])[: len(levels)]
            bits = 4 + 32 * len(scales) / len(x)
    rounded = torch.as_tensor(result).float()
    if rounded.shape != x.shape:
        raise _WrongShape(
            f"expected rounded values of shape {tuple(x.shape)}, or codes and their scale, or an object with "
            f".dequantize(); received {tuple(rounded.shape)}. Did you forget a return?"
        )
    return rounded, None if bits is None or math.isnan(bits) else float(bits)
