"""One batch, many adapters: each row of the batch gets the update of its own adapter.

Not here: training. Nothing is trained through a mixed batch, it has no dropout, and it does not change which adapters
are active.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from minilora.lora.combining import concatenated
from minilora.lora.layer import LoraLinear

BASE = "__base__"  # PEFT's name for a row without an adapter


@dataclasses.dataclass
class MixedBatch:
    """The adapters of one layer, prepared for a batch in which each row names its own.

    The A matrices of all adapters are stacked into one, and so are the scaled B; `width` is the sum of their ranks.
    The mask keeps, for each row, only the ranks of its own adapter. So the batch needs two products, not two for each
    adapter.
    """

    a: Tensor  # (width, in)
    b: Tensor  # (out, width)
    mask: Tensor  # (batch, width), 0 or 1

    @classmethod
    @torch.no_grad()
    def prepare(cls, layer: LoraLinear, adapter_names: Sequence[str]) -> MixedBatch:
        """Row i of the batch uses adapter_names[i]; `BASE` stands for no adapter."""
        distinct = [name for name in sorted({*adapter_names}) if name in layer.configs]
        a, b = concatenated(layer, dict.fromkeys(distinct, 1.0))
        owners = [i for i, name in enumerate(distinct) for _ in range(layer.configs[name].r)]  # of each rank
        rows = [distinct.index(name) if name in distinct else -1 for name in adapter_names]
        mask = torch.tensor(rows)[:, None] == torch.tensor(owners)  # (batch, 1) == (width,) -> (batch, width)
        return cls(a, b, mask.to(a))

    def add_updates(self, out: Tensor, x: Tensor) -> Tensor:
        """x (batch, ..., in), out (batch, ..., out) -> (batch, ..., out)."""
        if len(self.mask) != len(x):
            raise ValueError(
                f"the batch has {len(x)} rows, but adapter_names has {len(self.mask)} names; give one for each row"
            )
        low = F.linear(x.to(self.a.dtype), self.a)  # (batch, ..., width): every adapter on every row
        low = low * self.mask.view(
            len(x), *[1] * (x.dim() - 2), -1
        )  # now each row keeps its own adapter only
        return (out + F.linear(low, self.b)).to(out.dtype)


@contextlib.contextmanager
def mixing(layers: Iterable[LoraLinear], adapter_names: Sequence[str]) -> Iterator[None]:
    """Inside the block, `layers` compute a mixed batch."""
    layers = list(layers)
    try:
        for layer in layers:
            layer.mixed_batch = MixedBatch.prepare(layer, adapter_names)
        yield
    finally:
        for layer in layers:
            layer.mixed_batch = None
