"""One batch, many adapters: row i of the batch gets the correction of its own adapter.

For inference alone: it does not train, and it has no dropout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from minilora.lora.combining import concatenated
from minilora.lora.layer import LoraLinear


@dataclasses.dataclass
class MixedBatch:
    """The adapters of one layer, for a batch whose rows do not share one.

    All A lie under each other (width, in), all scaled B side by side (out, width), where width is the sum of the
    ranks; the mask (batch, width) keeps of each row only the ranks of its own adapter.
    """

    a: Tensor
    b: Tensor
    mask: Tensor

    @classmethod
    @torch.no_grad()
    def prepare(cls, layer: LoraLinear, names: Sequence[str], rows: Tensor) -> MixedBatch:
        """Row i uses names[rows[i] - 1], or none where rows[i] is 0."""
        a, b = concatenated(layer, dict.fromkeys(names, 1.0))
        owners = [
            i for i, n in enumerate(names, start=1) if n in layer.configs for _ in range(layer.configs[n].r)
        ]
        mask = rows[:, None] == torch.tensor(owners)
        return cls(a, b, mask.to(a))

    def add_corrections(self, out: Tensor, x: Tensor) -> Tensor:
        """x (batch, ..., in) -> (batch, ..., out)."""
        if len(self.mask) != len(x):
            raise ValueError(
                f"the batch has {len(x)} rows but rows(...) named {len(self.mask)}; name one for each row"
            )
        low = F.linear(
            x.to(self.a.dtype), self.a
        )  # (batch, ..., width): every adapter for every row, at once
        low = low * self.mask.view(len(x), *[1] * (x.dim() - 2), -1)
        return (out + F.linear(low, self.b)).to(out.dtype)
