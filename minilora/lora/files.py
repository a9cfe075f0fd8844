"""Between a model and an adapter's files: what to save, whether a file fits, and how to tell one base from another.

Not here: the files themselves, with their names, bytes and metadata (adapter_files.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minilora.files import adapter_files
from minilora.lora.config import LoraConfig
from minilora.lora.layer import LoraLinear, is_transposed, layer_shape
from minilora.lora.targets import linear_layers, targets_for


def write_adapter(
    folder: str | os.PathLike,
    model: nn.Module,
    layers: dict[str, LoraLinear],
    name: str,
    config: LoraConfig,
) -> None:
    """Writes the adapter `name` of `model`, whose adapted layers are `layers`, in PEFT's format."""
    layers = {path: layer for path, layer in layers.items() if name in layer.configs}
    settings = dataclasses.asdict(config) | {
        "target_modules": shortest_names(model, list(layers)),
        "exclude_modules": None,  # the names above are what these three left
        "layers_to_transform": None,
        "layers_pattern": None,
    }
    about = {
        "fan_in_fan_out": any(is_transposed(layer.base_layer) for layer in layers.values()),
        "task_type": task_type(model),
        "base_model_name_or_path": base_name(model),
    }
    tensors = {path: (layer.lora_A[name], layer.lora_B[name]) for path, layer in layers.items()}
    adapter_files.write_adapter(folder, settings, about, tensors, _fingerprints(model))


def task_type(model: Any) -> str | None:
    """PEFT's word for the kind of model: it decides which methods peft asks of the base. None suits any module."""
    encoder_decoder = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
    return "CAUSAL_LM" if hasattr(model, "generate") and not encoder_decoder else None


def base_name(model: Any) -> str | None:
    """What the base is called: its name here or on the hub; of a folder only the last part, no path of this machine."""
    name = getattr(model, "name_or_path", None) or None
    return Path(name).name if name and Path(name).is_dir() else name


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
    problems = []
    for path in dict.fromkeys([*wanted, *tensors]):
        if path not in tensors:
            problems.append(f"{path}: named by target_modules, but the file has no matrices for it")
        elif path not in wanted:
            problems.append(f"{path}: in the file, but not a target in this model")
        else:
            r = config.for_layer(path).r
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


def shortest_names(model: nn.Module, paths: list[str]) -> list[str] | str:
    """What selects exactly these paths in PEFT: last parts of paths if these are enough, else whole paths.

    Where the end of another module's path is the same ("0" and "1.0"), only a regular expression tells them apart.
    """
    for names in (sorted({path.split(".")[-1] for path in paths}), sorted(paths)):
        ends = tuple("." + name for name in names)
        if {path for path, _ in model.named_modules() if ("." + path).endswith(ends)} == {*paths}:
            return names
    return "|".join(re.escape(path) for path in sorted(paths))


def some_values(tensor: Tensor) -> Tensor:
    """Up to 1,024 evenly spaced values of a tensor, (≤ 1024,): enough to tell it from another."""
    flat = tensor.detach().flatten()
    return flat[:: max(1, flat.numel() // 1024)][:1024].cpu().contiguous()


def same_base(fingerprints: str | None, model: nn.Module) -> bool:
    """Whether an adapter with these fingerprints, or with none, was trained on this base or a copy of it."""
    return fingerprints is None or not {*fingerprints.split()}.isdisjoint(_fingerprints(model).split())


def _fingerprints(model: nn.Module) -> str:
    """Two fingerprints. A float16 copy has the second one of the original as its first: rounding twice, over float16
    to bfloat16, does not always end where rounding once does."""
    return f"{base_fingerprint(model)} {base_fingerprint(model, through=torch.float16)}"


def base_fingerprint(model: nn.Module, through: torch.dtype | None = None) -> str:
    """A short digest that tells one base from another, and is the same for its bfloat16 and its 4-bit copy.

    It covers the names and shapes of all layers, and 1,024 values of each tensor that quantization leaves alone
    (embeddings, norms, biases), rounded to bfloat16. Linear layers count by shape only, so a base that an adapter was
    merged into has the same fingerprint as before.

    Args:
        model: The base, adapted or not.
        through: Round to this type first.

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
            some = some_values(value)
            some = (some if through is None else some.to(through)).to(torch.bfloat16)
            digest.update(f"{name} {tuple(value.shape)}".encode() + some.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:32]
