"""A frozen linear layer that stores its weight in 4 bits, and gradients that flow through it to what is trained.

Only packed bytes stay in memory: the weight is decoded for one product in the forward pass, and again in the backward
pass. A `state_dict` has bitsandbytes' layout (bnb_format.py), so a checkpoint of either opens in the other.

Not here: packing the layers of a whole model (model.py), and training the packed weight itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minilora.quantization.blockwise import Quantized4bit, quantize_4bit, triton_works
from minilora.quantization.bnb_format import from_state, to_state


class Linear4bit(nn.Module):
    """y = x Wᵀ + bias with W (out, in) in 4 bits. W gets no gradient; x does, and so does a trainable bias.

    Args:
        quantized: The weight, of shape (out, in).
        bias: (out,), or None.
        compute_dtype: Type that W is decoded to and multiplied in; None means the type of x. The output has the type
            of x in any case.

    Raises:
        ValueError: If the weight is not a matrix.

    >>> layer = nn.Linear(64, 32)
    >>> packed = Linear4bit.from_linear(layer)
    >>> packed.weight.shape, packed.weight.dtype  # two of the 2,048 weights in each byte
    (torch.Size([1024, 1]), torch.uint8)
    >>> x = torch.randn(5, 64)
    >>> torch.equal(packed(x), packed.dequantize()(x))
    True
    """

    weight: Tensor
    absmax: Tensor
    nested_absmax: Tensor | None
    nested_offset: Tensor | None
    bias: nn.Parameter | None

    def __init__(
        self,
        quantized: Quantized4bit,
        bias: nn.Parameter | None = None,
        compute_dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if len(quantized.shape) != 2:
            raise ValueError(
                f"a linear layer's weight is (out, in); but this one is {tuple(quantized.shape)}"
            )
        self.out_features, self.in_features = quantized.shape
        self.register_parameter("bias", bias)
        self.compute_dtype = compute_dtype
        self._store(quantized)

    @classmethod
    def from_linear(
        cls,
        layer: nn.Linear,
        quant_type: str = "nf4",
        block_size: int | None = 64,
        double_quant: bool = False,
        compute_dtype: torch.dtype | None = None,
    ) -> Linear4bit:
        """Packs an ordinary layer and keeps its bias; arguments and errors are those of `quantize_4bit`."""
        return cls(
            quantize_4bit(layer.weight, quant_type, block_size, double_quant), layer.bias, compute_dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies: x (..., in) -> (..., out)."""
        if not x.is_floating_point():  # T5 and its kin convert x to the weight's type, which is bytes here
            raise ValueError(
                f"a 4-bit layer got {x.dtype}; its weight is stored as bytes, so do not convert to weight.dtype"
            )
        dtype = self.compute_dtype or x.dtype
        bias = None if self.bias is None else self.bias.to(dtype)
        product: Tensor = _ProductWithPacked.apply(x.to(dtype), bias, self.quantized)
        return product.to(x.dtype)

    @property
    def quantized(self) -> Quantized4bit:
        """The stored weight; its tensors are the layer's own."""
        shape = torch.Size((self.out_features, self.in_features))
        nested = (self.nested_absmax, self.nested_offset)
        return Quantized4bit(
            self.weight, self.absmax, self.quant_type, self.block_size, shape, self.dtype, *nested
        )

    def dequantize(self) -> nn.Linear:
        """Returns an ordinary frozen layer with the decoded weight (out, in), in the weight's original type."""
        weight = self.quantized.dequantize()
        layer = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        layer.weight = nn.Parameter(weight, requires_grad=False)
        layer.register_parameter("bias", self.bias)
        return layer.train(self.training)

    def extra_repr(self) -> str:
        shape = f"in_features={self.in_features}, out_features={self.out_features}"
        bits = f"{self.quantized.bits_per_weight:.3f} bits per weight"
        return f"{shape}, bias={self.bias is not None}, quant_type={self.quant_type!r}, {bits}"

    # -- storage ------------------------------------------------------------------------------------------------

    def _store(self, quantized: Quantized4bit) -> None:
        self.quant_type, self.block_size, self.dtype = (
            quantized.quant_type,
            quantized.block_size,
            quantized.dtype,
        )
        # Buffers, to follow the model to its device; not persistent, because `_save_to_state_dict` saves them.
        self.register_buffer("weight", quantized.packed, persistent=False)
        for name in ("absmax", "nested_absmax", "nested_offset"):
            self.register_buffer(name, getattr(quantized, name), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Linear4bit:
        """Lets `.to(...)` move the stored tensors but never convert them: rounding absmax would change the weight."""
        before = self._buffers.copy()
        super()._apply(fn, recurse)
        for name, buffer in before.items():
            moved = self._buffers[name]
            if buffer is not None and moved is not None and moved.dtype != buffer.dtype:
                self._buffers[name] = buffer.to(moved.device)
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)  # the bias
        destination.update({prefix + name: tensor for name, tensor in to_state(self.quantized).items()})

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, metadata: Any, strict: bool, missing: list[str],
        unexpected: list[str], errors: list[str],
    ) -> None:  # fmt: skip
        """Loads code and block size together with the bytes; a weight of another shape or layout is an error."""
        weight = prefix + "weight"
        mine = {name: value for name, value in state_dict.items() if (name + ".").startswith(weight + ".")}
        rest = {name: value for name, value in state_dict.items() if name not in mine}
        super()._load_from_state_dict(rest, prefix, metadata, strict, missing, unexpected, errors)
        if not mine:
            missing.append(weight)
            return
        try:
            state = {name.removeprefix(prefix): value for name, value in mine.items()}
            self._store(from_state(state, (self.out_features, self.in_features), self.weight.device))
        except ValueError as error:
            errors.append(f"{weight}: {error}")


class _ProductWithPacked(torch.autograd.Function):
    """x Wᵀ + bias. Autograd's own product would keep the decoded W for the backward pass; this keeps the packed W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, quantized: Quantized4bit) -> Tensor:
        ctx.quantized = quantized  # the layer's own tensors: nothing new is held
        if _few_rows(x, quantized):
            fields, block_size, out_features = quantized.fields(), quantized.block_size, quantized.shape[0]
            out: Tensor = torch.ops.minilora.product_4bit(x, *fields, block_size, out_features)
            return out if bias is None else out + bias
        return F.linear(x, quantized.dequantize(x.dtype), bias)  # (..., in) -> (..., out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grad_x = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ ctx.quantized.dequantize(grad.dtype)  # (..., out) -> (..., in)
        if ctx.needs_input_grad[1]:
            grad_bias = grad.reshape(-1, grad.shape[-1]).sum(dim=0)  # (..., out) -> (out,)
        return grad_x, grad_bias, None


def _few_rows(x: Tensor, quantized: Quantized4bit) -> bool:
    """Whether to multiply without storing the decoded weight: text generation, for which the GPU has a kernel."""
    in_features, block_size = quantized.shape[1], quantized.block_size
    return (
        x.is_cuda
        and x.dtype in (torch.bfloat16, torch.float16)
        and 0 < x.numel() <= 4 * in_features
        and block_size % 64 == 0  # a group of 32 bytes lies within a block
        and in_features % 512 == 0  # whole steps
        and triton_works()
    )
