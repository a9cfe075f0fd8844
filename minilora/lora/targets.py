"""Which layers of a model LoRA adapts: those that `target_modules` names, of all that it can.

Not here: the words themselves and how they match a path (layer_names.py).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from minilora.layer_names import bypassed, expert_layers, named_layers, output_layers
from minilora.lora.config import LoraConfig, pattern_for
from minilora.lora.layer import LoraLinear, is_transposed, layer_shape
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
    """The paths of the layers that `config` adapts.

    Raises:
        ValueError: It names no layer, or one that cannot be adapted; a pattern fits none of the layers.
    """
    if "" in linear_layers(model):
        raise ValueError(
            f"the model is one {type(model).__name__} itself, which cannot be replaced inside a model; wrap it first: "
            "nn.Sequential(layer), with target_modules=['0']"
        )
    found = find_targets(model, config.target_modules)
    paths = [path for path in found if not _is_excluded(path, config) and _is_in_blocks(path, config)]
    if not paths:
        raise ValueError(
            f"exclude_modules={config.exclude_modules!r} and layers_to_transform={config.layers_to_transform!r} leave "
            f"none of {', '.join(found[:4])} ..."
        )
    skipped = [path for path in paths if bypassed(model, path)]
    if skipped:
        raise ValueError(
            f"{skipped[0]} cannot be adapted: {type(model.get_submodule(skipped[0].rpartition('.')[0])).__name__} uses "
            "its weight without calling the layer, so an adapter would have no effect. Leave it out: "
            f"exclude_modules={skipped!r}"
        )
    for pattern in {*config.rank_pattern, *config.alpha_pattern}:
        if not any(pattern_for(path, [pattern]) == pattern for path in paths):
            raise ValueError(
                f"rank_pattern or alpha_pattern names '{pattern}', but no adapted layer's path ends so"
            )
    experts = expert_layers(model) if config.target_modules == "all-linear" else []
    if experts:
        warnings.warn(
            f"'all-linear' leaves out {len(experts)} layers of the mixture of experts, which are no linear layers "
            f"here ({', '.join(experts[:3])} ...); only the others are adapted",
            stacklevel=2,
        )
    return paths


def _is_excluded(path: str, config: LoraConfig) -> bool:
    names = config.exclude_modules or []
    if isinstance(names, str):
        return re.fullmatch(names, path) is not None
    return any(path == name or path.endswith("." + name) for name in names)


def _is_in_blocks(path: str, config: LoraConfig) -> bool:
    """Whether layers_to_transform names the block of this layer, or is not set; the rules are PEFT's."""
    numbers, lists = config.layers_to_transform, config.layers_pattern or []
    if numbers is None or numbers == []:
        return True
    patterns = [
        rf"(?:^|.*?\.){name}\.(\d+)\." for name in ([lists] if isinstance(lists, str) else lists)
    ] or [r".*?\.[^.]*\.(\d+)\."]
    match = next((match for pattern in patterns if (match := re.match(pattern, path))), None)
    return match is not None and int(match[1]) in ([numbers] if isinstance(numbers, int) else numbers)


def warn_about_rank(model: nn.Module, paths: Sequence[str], config: LoraConfig) -> None:
    """Warns about a rank above a layer's smaller side: allowed, as in PEFT, but it buys nothing."""
    for path in paths:
        r, shape = config.for_layer(path).r, layer_shape(model.get_submodule(path))
        if r > min(shape):
            warnings.warn(
                f"r={r} is larger than layer {path} ({shape[0]} in, {shape[1]} out): no matrix of that shape has a "
                f"rank above {min(shape)}, so r={min(shape)} can express as much",
                stacklevel=3,
            )
            return


def count_weights(model: nn.Module) -> int:
    """The number of weights of a model: shared tensors once, packed layers with all the weights they stand for."""
    count = sum(p.numel() for p in model.parameters())
    for layer in linear_layers(model).values():
        base: Any = layer.base_layer if isinstance(layer, LoraLinear) else layer
        if isinstance(base, Linear4bit):
            count += base.in_features * base.out_features  # its bytes are a buffer
        elif not base.weight.is_floating_point():  # bitsandbytes': its bytes are a parameter
            count += base.in_features * base.out_features - base.weight.numel()
    return count


class ParameterCount(int):
    """The number of trainable weights: an integer that also knows the total.

    >>> print(ParameterCount(98_304, 5_341_440))
    98,304 trainable of 5,341,440 (1.84%)
    """

    total: int

    def __new__(cls, trainable: int, total: int) -> ParameterCount:
        count = super().__new__(cls, trainable)
        count.total = total
        return count

    def __str__(self) -> str:
        return f"{int(self):,} trainable of {self.total:,} ({self / self.total:.2%})"

    __repr__ = __str__
