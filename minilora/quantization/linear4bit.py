"""A frozen linear layer that holds its weight in 4 bits, and gradients that pass through it to what is trained.

Only packed bytes stay in memory: the weight is decoded for the length of one product in the forward pass, and once
more in the backward pass. A `state_dict` lies as `bitsandbytes` lays it out, so a checkpoint of one opens in the other.

Not here: training the packed weight itself. Embeddings, norms and the output layer stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minilora.layer_names import output_layers
from minilora.quantization.blockwise import Quantized4bit, quantize_4bit
from minilora.quantization.bnb_format import from_state, to_state


class Linear4bit(nn.Module):
    """y = x Wᵀ + bias with W (out, in) in 4 bits. W gets no gradient; x does, and the bias if it wants one.

    compute_dtype: what W is decoded to and multiplied in; None means the type of x. The output has the type of x.

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
    minimum: Tensor | None
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
            raise ValueError(f"a linear layer's weight is (out, in); this one is {tuple(quantized.shape)}")
        self.out_features, self.in_features = quantized.shape
        self.register_parameter("bias", bias)
        self.compute_dtype = compute_dtype
        self._store(quantized)

    @classmethod
    def from_linear(
        cls,
        layer: nn.Linear,
        code: str = "nf4",
        block_size: int | None = 64,
        double_quant: bool = False,
        compute_dtype: torch.dtype | None = None,
    ) -> Linear4bit:
        """Packs an ordinary layer and takes its bias over; arguments and errors are those of `quantize_4bit`."""
        return cls(quantize_4bit(layer.weight, code, block_size, double_quant), layer.bias, compute_dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        dtype = self.compute_dtype or x.dtype
        bias = None if self.bias is None else self.bias.to(dtype)
        return _ProductWithPacked.apply(x.to(dtype), bias, self.quantized).to(x.dtype)

    @property
    def quantized(self) -> Quantized4bit:
        """The stored weight; its tensors are the layer's own."""
        shape = torch.Size((self.out_features, self.in_features))
        rest = (self.minimum, self.nested_absmax, self.nested_offset)
        return Quantized4bit(self.weight, self.absmax, self.code, self.block_size, shape, self.dtype, *rest)

    def dequantize(self) -> nn.Linear:
        """An ordinary frozen layer with the decoded weight (out, in), in the type that the weight once had."""
        weight = self.quantized.dequantize()
        layer = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        layer.weight = nn.Parameter(weight, requires_grad=False)
        layer.register_parameter("bias", self.bias)
        return layer.train(self.training)

    def extra_repr(self) -> str:
        shape = f"in_features={self.in_features}, out_features={self.out_features}"
        bits = f"{self.quantized.bits_per_weight:.3f} bits per weight"
        return f"{shape}, bias={self.bias is not None}, code={self.code!r}, {bits}"

    # -- storage ------------------------------------------------------------------------------------------------

    def _store(self, quantized: Quantized4bit) -> None:
        self.code, self.block_size, self.dtype = quantized.code, quantized.block_size, quantized.dtype
        # Buffers, so that they follow the model to its device; left to `_save_to_state_dict`, so not persistent.
        self.register_buffer("weight", quantized.packed, persistent=False)
        for name in ("absmax", "minimum", "nested_absmax", "nested_offset"):
            self.register_buffer(name, getattr(quantized, name), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Linear4bit:
        """Lets `.to(...)` move the stored tensors but never convert them: a rounded absmax is another weight."""
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
        """Takes over code and block size with the bytes; a weight of another shape or form is an error."""
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
    """x Wᵀ + bias. Autograd's own product would keep the decoded W for the backward pass; this keeps the packed one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, quantized: Quantized4bit) -> Tensor:
        ctx.quantized = quantized  # the layer's own tensors: nothing new is held
        return F.linear(x, quantized.dequantize(x.dtype), bias)  # (..., in) -> (..., out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grad_x = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ ctx.quantized.dequantize(grad.dtype)  # (..., out) -> (..., in)
        if ctx.needs_input_grad[1]:
            grad_bias = grad.reshape(-1, grad.shape[-1]).sum(dim=0)  # (..., out) -> (out,)
        return grad_x, grad_bias, None


# -- whole models ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class QuantizationReport:
    """What `quantize_model` did; sizes in bytes, measured from the tensors. Prints as one sentence."""

    layers: list[str]
    weights: int
    bytes_before: int  # of the packed layers
    bytes_after: int
    model_before: int  # of the whole model, with what was left alone
    model_after: int

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.bytes_after / self.weights

    def __str__(self) -> str:
        sizes = (self.bytes_before, self.bytes_after, self.model_before, self.model_after)
        mb = [f"{size / 1e6:,.2f} MB" for size in sizes]
        return (
            f"{len(self.layers)} linear layers: {mb[0]} -> {mb[1]} ({self.bits_per_weight:.3f} bits per weight); "
            f"the whole model: {mb[2]} -> {mb[3]}"
        )


def quantize_model(
    model: nn.Module,
    code: str = "nf4",
    block_size: int | None = 64,
    double_quant: bool = False,
    compute_dtype: torch.dtype | None = None,
) -> tuple[nn.Module, QuantizationReport]:
    """Packs every linear layer of `model`, in place, except its output layer; returns the model and what it saved.

    Works on any module that holds `nn.Linear` layers, a `transformers` model too. What counts as output layer, says
    `output_layers`. To train afterwards, `add_lora` on the result: that is QLoRA. An error leaves the model as it was.

    >>> model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64))
    >>> model, report = quantize_model(model)
    >>> print(report)
    2 linear layers: 0.33 MB -> 0.05 MB (4.625 bits per weight); the whole model: 0.33 MB -> 0.05 MB
    """
    layers = _layers_to_pack(model)
    packed: dict[str, Linear4bit] = {}
    for path, layer in layers.items():
        try:
            packed[path] = Linear4bit.from_linear(layer, code, block_size, double_quant, compute_dtype)
        except ValueError as error:
            raise ValueError(f"layer {path}: {error}") from None
    before = _stored_bytes(model)
    for path, small in packed.items():
        model.set_submodule(path, small.train(layers[path].training))
    report = QuantizationReport(
        list(layers),
        sum(layer.weight.numel() for layer in layers.values()),
        sum(_stored_bytes(layer) for layer in layers.values()),
        sum(_stored_bytes(layer) for layer in packed.values()),
        before,
        _stored_bytes(model),
    )
    return model, report


def _layers_to_pack(model: nn.Module) -> dict[str, nn.Linear]:
    if any(hasattr(module, "lora_A") for module in model.modules()):
        raise ValueError(
            "this model carries LoRA adapters, which stay in full precision: first quantize_model(base), then add_lora"
        )
    output = output_layers(model)
    # Exactly nn.Linear: its subclasses are read by their owners in ways that a packed layer cannot serve.
    layers = {
        path: module
        for path, module in model.named_modules()
        if type(module) is nn.Linear and path and path not in output
    }
    if not layers:
        packed = any(isinstance(module, Linear4bit) for module in model.modules())
        raise ValueError(
            "its linear layers are in 4 bits already; load the model anew for another code"
            if packed
            else f"{type(model).__name__} holds no nn.Linear besides its output layer, so there is nothing to pack "
            "(for a single layer there is Linear4bit.from_linear)"
        )
    return layers


def _stored_bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()])
