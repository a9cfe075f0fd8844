"""One adapted layer of a model while it reads, as NumPy arrays and as a picture; and fingerprints of its tensors.

Not here: the arithmetic of LoRA (minilora/reference/lora.py), and the drawing (minilora/figures/flow.py).
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib

import numpy as np
import torch

from minilora.figures import flow
from minilora.lesson.pictures import Picture
from minilora.lora import LoraModel
from minilora.quantization import Linear4bit


@dataclasses.dataclass(frozen=True)
class AdaptedLayer:
    """One layer and what went through it, in double precision.

    Attributes:
        W: The frozen weight (out, in).
        A: (r, in).
        B: (out, r).
        alpha: The update is multiplied by alpha / r. This is lora_alpha; for rsLoRA, lora_alpha · √r.
        x: What came in (tokens, in).
        y: What PyTorch computed from it (tokens, out).
        word: The last token.
        packed: The bytes of a W in 4 bits, two weights in each (out · in / 2,); None if W is not packed.
        absmax: Largest magnitude in each block of a packed W (blocks,), else None.
        bits: Bits per weight of a packed W, with all constants, else None.
    """

    W: np.ndarray
    A: np.ndarray
    B: np.ndarray
    alpha: float
    x: np.ndarray
    y: np.ndarray
    word: str
    packed: np.ndarray | None = None
    absmax: np.ndarray | None = None
    bits: float | None = None


def look_into(model: LoraModel, name: str, words: str) -> AdaptedLayer:
    """Runs the model on some words and records what goes through one of its adapted layers.

    Args:
        model: A model with one active adapter.
        name: Name of the layer, as in `model.lora_layers()`.
        words: What the model reads.

    Returns:
        The layer's weights with its inputs and outputs.
    """
    layer = model.lora_layers()[name]
    (adapter,) = layer.active.scales
    ids = model.tokenizer.encode(words).ids
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        with torch.no_grad():
            model(torch.tensor([ids]))
    finally:
        hook.remove()
    x = seen[0][0].double()  # (tokens, in)
    with torch.no_grad():
        y = copy.deepcopy(layer).double()(x)
    packed: tuple = (None, None, None)
    W = layer.base_layer.weight
    if isinstance(layer.base_layer, Linear4bit):
        stored = layer.base_layer.quantized
        W = stored.dequantize()
        packed = (stored.packed.flatten().numpy(), stored.block_absmax().numpy(), stored.bits_per_weight)
    w, a, b = (t.detach().double().numpy() for t in (W, layer.lora_A[adapter], layer.lora_B[adapter]))
    config, word = layer.configs[adapter], model.tokenizer.decode(ids[-1:]).strip()
    alpha = config.scaling * config.r
    return AdaptedLayer(w, a, b, alpha, x.numpy(), y.numpy(), word, *packed)


def layer_flow(layer: AdaptedLayer) -> Picture:
    """The two paths of the last token through the layer, as a picture for the end of a cell."""
    x, scaling = layer.x[-1], layer.alpha / len(layer.A)
    low = layer.A @ x  # (r,)
    frozen, update = layer.W @ x, layer.B @ low
    drawing = flow.draw(
        x.tolist(), frozen.tolist(), low.tolist(), update.tolist(), scaling, f"“{layer.word}”", layer.bits
    )
    return Picture(*drawing)


def fingerprints(model: torch.nn.Module) -> dict[str, str]:
    """A checksum (SHA-256) of all bits of each of the model's tensors, by name."""
    return {
        name: hashlib.sha256(weight.detach().cpu().numpy().tobytes()).hexdigest()
        for name, weight in model.named_parameters()
    }


def changed_tensors(before: dict[str, str], model: torch.nn.Module) -> list[str]:
    """The names of the tensors in which any bit has changed since these fingerprints were taken."""
    return [name for name, print_now in fingerprints(model).items() if before.get(name) != print_now]
