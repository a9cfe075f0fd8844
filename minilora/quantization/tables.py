"""Lookup tables for the 4-bit codes and for the 8-bit code of double quantization, built once per device.

Not here: the code values themselves (codes.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from minilora.quantization.codes import CODES

T = TypeVar("T")

_TABLES: dict[str, Any] = {}


def _built_once(build: Callable[..., T]) -> Callable[..., T]:
    """Caches what `build` returns for each set of arguments.

    In a plain dictionary and not by functools.cache, which torch.compile ignores: the compiled program would rebuild
    the table on every call.
    """

    @functools.wraps(build)
    def table(*key: Any) -> T:
        name = " ".join(map(str, (build.__name__, *key)))
        if name not in _TABLES:
            _TABLES[name] = build(*key)
        return _TABLES[name]  # type: ignore[no-any-return]

    return table


@_built_once
def code_bounds(quant_type: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """The 15 midpoints between neighboring values, float32, and the 16 patterns in order of their values, uint8."""
    values, order = torch.tensor(CODES[quant_type]).sort(stable=True)
    return ((values[:-1] + values[1:]) / 2).to(device), order.to(device, torch.uint8)


@_built_once
def code_pairs(quant_type: str, device: torch.device) -> Tensor:
    """The two values that each byte stands for: float32 (256, 2)."""
    values = torch.tensor(CODES[quant_type])
    return torch.cartesian_prod(values, values).to(device)


@_built_once
def dynamic_map(device: torch.device) -> Tensor:
    """The 256 values of the 8-bit code for absmax: twice as many per power of ten as in the power below.

    From "8-bit Optimizers via Block-wise Quantization" (arXiv 2110.02861), built as bitsandbytes builds it.

    >>> dynamic_map(torch.device("cpu"))[[0, 127, 128, 255]]
    tensor([-9.9297e-01,  0.0000e+00,  5.5000e-07,  1.0000e+00])
    """
    values = [torch.tensor([0.0, 1.0])]
    for power in range(7):
        edges = torch.linspace(0.1, 1, 2**power + 1)
        middles = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (power - 6)
        values += [middles, -middles]
    return torch.cat(values).sort().values.to(device)


@_built_once
def dynamic_table(device: torch.device) -> Tensor:
    """For each of 65,536 intervals of [-1, 1], the index in `dynamic_map` nearest to its center: uint8 (65536,)."""
    values = dynamic_map(torch.device("cpu"))
    centers = torch.arange(65536) / 65535 * 2 - 1
    return torch.bucketize(centers, (values[:-1] + values[1:]) / 2).to(device, torch.uint8)
