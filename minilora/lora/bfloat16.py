"""LoRA's update in bfloat16, for training beside a bfloat16 or 4-bit base, with its own backward pass.

Not here: when it is used (layer.py), and the same in float32, which autograd differentiates.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class UpdateInBfloat16(torch.autograd.Function):
    """out + scaling · B (A x), for training beside a bfloat16 or 4-bit base: A and B stay float32, products do not.

    Exact float32 products cannot use a GPU's matrix units, and they need float32 copies of x and of the output, which
    cost more time and memory than the products themselves. Sums still run in float32, inside the products. What is
    lost, below 2⁻⁸ of the update, is less than the output's own rounding to bfloat16. Without gradients the update is
    computed in float32, equal to PEFT's.
    """

    @staticmethod
    def forward(ctx: Any, out: Tensor, x: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
        low = F.linear(x, a.to(x.dtype))  # (..., in) -> (..., r)
        ctx.save_for_backward(x, low, a, b)
        ctx.scaling = scaling
        flat, flat_low = out.reshape(-1, out.shape[-1]), low.reshape(-1, low.shape[-1])
        return torch.addmm(flat, flat_low, b.to(x.dtype).T, alpha=scaling).view(out.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        x, low, a, b = ctx.saved_tensors
        flat, flat_x, flat_low = (t.reshape(-1, t.shape[-1]) for t in (grad, x, low))
        grad_low = flat @ (b * ctx.scaling).to(x.dtype)  # (tokens, out) -> (tokens, r)
        grad_a = (grad_low.T @ flat_x).to(a.dtype)  # (r, in)
        grad_b = (flat.T @ flat_low).to(b.dtype) * ctx.scaling  # (out, r)
        return grad, (grad_low @ a.to(x.dtype)).view(x.shape), grad_a, grad_b, None
