"""A frozen linear layer that stores its weight in 4 bits, and gradients that flow through it to what is trained.

Only packed bytes stay in memory: the weight is decoded for one product in the forward pass, and again in the backward
pass. A `state_dict` has bitsandbytes' layout (bnb_format.py), so a checkpoint of either opens in the other.

Not here: training the packed weight itself. Embeddings, norms and the output layer stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minilora.layer_names import bypassed, expert_layers, output_layers
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


# -- whole models ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class QuantizationReport:
    """What `quantize_model` did; prints as one sentence.

    Attributes:
        layers: Paths of the packed layers.
        weights: Number of their weights.
        bytes_before: Measured size of these layers before.
        bytes_after: The same after packing.
        model_before: Measured size of the whole model before, in bytes.
        model_after: The same after packing.
        left_out: Paths of layers that hold large weights and stay as they are: experts and routers of a mixture of
            experts, and layers whose weight other code reads (T5's wo, torch's encoder, Mamba's kernels).
    """

    layers: list[str]
    weights: int
    bytes_before: int
    bytes_after: int
    model_before: int
    model_after: int
    left_out: list[str] = dataclasses.field(default_factory=list)

    @property
    def bits_per_weight(self) -> float:
        """Average over the packed layers, with their constants and biases."""
        return 8 * self.bytes_after / self.weights

    def __str__(self) -> str:
        sizes = (self.bytes_before, self.bytes_after, self.model_before, self.model_after)
        mb = [f"{size / 1e6:,.2f} MB" for size in sizes]
        some = ", ".join(self.left_out[:3]) + (" ..." if len(self.left_out) > 3 else "")
        left_out = f"; left out, in full precision: {some}" if self.left_out else ""
        return (
            f"{len(self.layers)} linear layers: {mb[0]} -> {mb[1]} ({self.bits_per_weight:.3f} bits per weight); "
            f"the whole model: {mb[2]} -> {mb[3]}{left_out}"
        )


def quantize_model(
    model: nn.Module,
    quant_type: str = "nf4",
    block_size: int | None = 64,
    double_quant: bool = False,
    compute_dtype: torch.dtype | None = None,
) -> tuple[nn.Module, QuantizationReport]:
    """Packs every linear layer of a model, in place, except its output layer.

    To train afterwards, call `add_lora` on the result: that is QLoRA. An error leaves the model as it was.

    Args:
        model: Any module that holds `nn.Linear` layers, `transformers` models included.
        quant_type: As in `quantize_4bit`.
        block_size: As in `quantize_4bit`.
        double_quant: As in `quantize_4bit`.
        compute_dtype: As in `Linear4bit`.

    Returns:
        The model itself, and a report of what it saved.

    Raises:
        ValueError: If there is nothing to pack, the model carries adapters, or a weight cannot be quantized.

    >>> model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64))
    >>> model, report = quantize_model(model)
    >>> print(report)
    2 linear layers: 0.33 MB -> 0.05 MB (4.625 bits per weight); the whole model: 0.33 MB -> 0.05 MB
    """
    layers, left_out = _layers_to_pack(model)
    packed: dict[str, Linear4bit] = {}
    for path, layer in layers.items():
        try:
            packed[path] = Linear4bit.from_linear(layer, quant_type, block_size, double_quant, compute_dtype)
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
        left_out,
    )
    if hasattr(
        model, "save_pretrained"
    ):  # instead of the class's, which would write the bytes as if they were weights
        model.save_pretrained = _refuse_to_save  # type: ignore[assignment]
    return model, report


def _refuse_to_save(*args: Any, **kwargs: Any) -> None:
    raise ValueError(
        "save_pretrained would write 4-bit bytes as if they were plain weights, and nothing could open the folder. "
        "Save the model before quantize_model; adapters on it are saved by LoraModel.save_pretrained"
    )


def _layers_to_pack(model: Any) -> tuple[dict[str, nn.Linear], list[str]]:
    """The layers to pack, and the paths of those that are left out for a reason."""
    if any(hasattr(module, "lora_A") for module in model.modules()):
        raise ValueError(
            "this model has LoRA adapters, which stay in full precision: call quantize_model(base) first, then add_lora"
        )
    output = output_layers(model)
    # Exactly nn.Linear: code that uses a subclass may rely on what a packed layer does not have.
    layers = {
        path: module
        for path, module in model.named_modules()
        if type(module) is nn.Linear and path and path not in output
    }
    # transformers' list of layers whose weight.dtype their model reads
    kept = {*(getattr(model, "_keep_in_fp32_modules", None) or ())}
    kept |= {*(getattr(model, "_keep_in_fp32_modules_strict", None) or ())}
    left_out = [path for path in layers if path.split(".")[-1] in kept or bypassed(model, path)]
    layers = {path: layer for path, layer in layers.items() if path not in left_out}
    if not layers:
        packed = any(isinstance(module, Linear4bit) for module in model.modules())
        raise ValueError(
            "its linear layers are already in 4 bits; load the model again to use another code"
            if packed
            else f"{type(model).__name__} holds no nn.Linear besides its output layer, so there is nothing to pack "
            "(to pack a single layer, use Linear4bit.from_linear)"
        )
    return layers, left_out + expert_layers(model)


def _stored_bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()])
