"""Look-up tables for 4-bit codes and for the 8-bit code of double quantization, each made once per device.

Not here: the codes themselves (codes.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minilora.quantization.codes import CODES

_TABLES: dict[str, Any] = {}


def _made_once(make: Callable[..., Any]) -> Callable[..., Any]:
    """Keeps what `make` returns, for each code and device.

    In a plain dictionary and not by functools.cache, which torch.compile ignores: it would build the table anew in
    every call of the compiled program.
    """

    @functools.wraps(make)
    def table(*key: Any) -> Any:
        name = " ".join(map(str, (make.__name__, *key)))
        if name not in _TABLES:
            _TABLES[name] = make(*key)
        return _TABLES[name]

    return table


@_made_once
def code_bounds(code: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Fifteen midpoints between neighbouring values, float32, and the sixteen patterns by value, uint8."""
    values, order = torch.tensor(CODES[code]).sort(stable=True)
    return ((values[:-1] + values[1:]) / 2).to(device), order.to(device, torch.uint8)


@_made_once
def code_pairs(code: str, device: torch.device) -> Tensor:
    """(256, 2): the two values that each byte stands for."""
    values = torch.tensor(CODES[code])
    return torch.cartesian_prod(values, values).to(device)


@_made_once
def dynamic_map(device: torch.device) -> Tensor:
    """The 256 values of the 8-bit code for absmax: twice as many for each power of ten as for the one below.

    From "8-bit Optimizers via Block-wise Quantization" (arXiv 2110.02861), as bitsandbytes builds it.

    >>> dynamic_map(torch.device("cpu"))[[0, 127, 128, 255]]
    tensor([-9.9297e-01,  0.0000e+00,  5.5000e-07,  1.0000e+00])
    """
    values = [torch.tensor([0.0, 1.0])]
    for power in range(7):
        edges = torch.linspace(0.1, 1, 2**power + 1)
        middles = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (power - 6)
        values += [middles, -middles]
    return torch.cat(values).sort().values.to(device)


@_made_once
def dynamic_table(device: torch.device) -> Tensor:
    """(65536,) uint8: for each interval of -1 … 1 the place in `dynamic_map` nearest to its centre."""
    values = dynamic_map(torch.device("cpu"))
    centres = torch.arange(65536) / 65535 * 2 - 1
    return torch.bucketize(centres, (values[:-1] + values[1:]) / 2).to(device, torch.uint8)
