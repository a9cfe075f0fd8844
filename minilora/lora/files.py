"""Between a model and an adapter's files: what to save, whether a file fits, and how to tell one base from another.

Not here: the files themselves, with their names, bytes and metadata (adapter_files.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from typing import Any

import torch
from torch import Tensor, nn

from minilora.files import adapter_files
from minilora.lora.layer import LoraConfig, LoraLinear, is_transposed, layer_shape
from minilora.lora.targets import find_targets, linear_layers, targets_for


def write_adapter(
    folder: str | os.PathLike,
    model: nn.Module,
    layers: dict[str, LoraLinear],
    name: str,
    config: LoraConfig,
    fingerprint: str,
) -> None:
    """Writes the adapter `name` of `model`, whose adapted layers are `layers`, in PEFT's format."""
    layers = {path: layer for path, layer in layers.items() if name in layer.configs}
    settings = dataclasses.asdict(config) | {
        "target_modules": shortest_names(model, list(layers)),
        "fan_in_fan_out": any(is_transposed(layer.base_layer) for layer in layers.values()),
    }
    tensors = {path: (layer.lora_A[name], layer.lora_B[name]) for path, layer in layers.items()}
    adapter_files.write_adapter(folder, settings, tensors, fingerprint)


def check_fits(model: nn.Module, folder: Any, config: LoraConfig, tensors: adapter_files.Matrices) -> None:
    """Checks that the matrices in `folder` are exactly those that `config` names in this model.

    Args:
        model: The base model, adapted or not.
        folder: For the message.
        config: The adapter's config.
        tensors: Layer path -> A (r, in) and B (out, r).

    Raises:
        ValueError: They are not; the message lists up to four differences.
    """
    try:
        wanted = targets_for(model, config)
    except ValueError as error:
        raise ValueError(f"the adapter in {folder} does not fit this base: {error}") from None
    problems, r = [], config.r
    for path in dict.fromkeys([*wanted, *tensors]):
        if path not in tensors:
            problems.append(f"{path}: named by target_modules, but the file has no matrices for it")
        elif path not in wanted:
            problems.append(f"{path}: in the file, but not a target in this model")
        else:
            in_features, out_features = layer_shape(model.get_submodule(path))
            expected = ((r, in_features), (out_features, r))
            given = tuple(tuple(matrix.shape) for matrix in tensors[path])
            if given != expected:
                problems.append(f"{path}: A and B are {given}, this base with r={r} needs {expected}")
    if problems:
        some = "; ".join(problems[:4]) + (f" (and {len(problems) - 4} more)" if len(problems) > 4 else "")
        raise ValueError(f"the adapter in {folder} does not fit this base: {some}")


def check_name(model: nn.Module, name: str) -> None:
    """Raises a ValueError if PEFT or torch would lose tensors under this name."""
    taken = {part for path, _ in model.named_modules() for part in path.split(".")}
    taken |= {"lora_A", "lora_B", "base_layer"}
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in taken or hasattr(nn.ParameterDict, name):
        raise ValueError(
            f"'{name}' cannot name an adapter: use letters, digits, _ and -, and no name of a part of the model "
            "(other tools lose tensors under such names)"
        )


def shortest_names(model: nn.Module, paths: list[str]) -> list[str]:
    """Names that select exactly these paths in PEFT: last parts where these are enough, otherwise whole paths."""
    names = sorted({path.split(".")[-1] for path in paths})
    return names if set(find_targets(model, names)) == set(paths) else sorted(paths)


def some_values(tensor: Tensor) -> Tensor:
    """Up to 1,024 evenly spaced values of a tensor, (≤ 1024,): enough to tell it from another."""
    flat = tensor.detach().flatten()
    return flat[:: max(1, flat.numel() // 1024)][:1024].cpu().contiguous()


def base_fingerprint(model: nn.Module) -> str:
    """A short digest that tells one base from another, and is the same for its bfloat16 and its 4-bit copy.

    It covers the names and shapes of all layers, and 1,024 values of each tensor that quantization leaves alone
    (embeddings, norms, biases), rounded to bfloat16. Linear layers count by shape only, so a base that an adapter was
    merged into has the same fingerprint as before.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    layers = linear_layers(model)
    for path, layer in layers.items():
        digest.update(f"{path} {layer_shape(layer)}".encode())
    for full_name, value in model.named_parameters():
        name = full_name.replace(".base_layer.", ".")
        if ".lora_" not in name and name.removesuffix(".weight") not in layers:
            some = some_values(value).to(torch.bfloat16)
            digest.update(f"{name} {tuple(value.shape)}".encode() + some.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:32]
