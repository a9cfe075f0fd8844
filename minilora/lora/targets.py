"""Which layers of a model LoRA adapts: those that `target_modules` names, of all that it can.

Not here: the words themselves and how they match a path (layer_names.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from minilora.layer_names import named_layers, output_layers
from minilora.lora.layer import LoraConfig, LoraLinear, is_transposed, layer_shape
from minilora.quantization.linear4bit import Linear4bit


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every layer that LoRA can adapt, by path. A LoraLinear counts once, not also as the layer inside it."""
    return {
        path: module
        for path, module in model.named_modules()
        if (isinstance(module, nn.Linear | Linear4bit | LoraLinear) or is_transposed(module))
        and not path.endswith("base_layer")
    }


def find_targets(model: nn.Module, target_modules: str | Sequence[str] | None) -> list[str]:
    """The paths of the layers that `target_modules` names (see `layer_names.named_layers`).

    Raises:
        ValueError: A name fits no layer, or an output layer that shares its weight with the token embedding.
    """
    output = output_layers(model)
    found = named_layers(target_modules, list(linear_layers(model)), output)
    for path in found:
        if output.get(path):
            raise ValueError(
                f"{path} shares its weight with the token embedding: an update there would change the "
                "embedding when it is merged. Leave it out of target_modules"
            )
    return found


def targets_for(model: nn.Module, config: LoraConfig) -> list[str]:
    """The paths of the layers that `config` adapts; a ValueError if the rank exceeds one of them."""
    paths = find_targets(model, config.target_modules)
    for path in paths:
        shape = layer_shape(model.get_submodule(path))
        if config.r > min(shape):
            raise ValueError(
                f"r={config.r} is larger than layer {path} ({shape[0]} in, {shape[1]} out): "
                f"no matrix of that shape has a rank above {min(shape)}; choose r ≤ {min(shape)}"
            )
    return paths


def count_weights(model: nn.Module) -> int:
    """The number of weights of a model: shared tensors once, a 4-bit layer with all the weights it stands for."""
    packed = sum(m.in_features * m.out_features for m in model.modules() if isinstance(m, Linear4bit))
    return packed + sum(p.numel() for p in model.parameters())
