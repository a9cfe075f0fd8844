"""A whole model with its linear layers in 4 bits, the base of QLoRA.

Embeddings, norms and the output layer stay as they are. Not here: the layer itself (linear4bit.py).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from minilora.layer_names import bypassed, expert_layers, output_layers
from minilora.quantization.linear4bit import Linear4bit


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
