"""An adapter on disk, in PEFT's format: a folder with adapter_config.json and adapter_model.safetensors.

This module knows names and tensors only, no model. Where PEFT fills gaps silently (a missing lora_alpha becomes 8, a
wrong prefix loads nothing), reading fails here with an error that says what is missing.

Not here: adapter types other than plain LoRA. Their files are refused, not partly read.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from minilora.files import ASSETS
from minilora.files.safe_files import json_writer, read_json, read_tensors, replace_files

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# The adapters in this package, made for tiny-gpt.
EMBEDDED = {path.parent.name: path.parent for path in sorted(ASSETS.glob("adapters/*/" + CONFIG))}
PREFIX = "base_model.model."  # PEFT's path from its own wrapper to the model inside
LORA_FIELDS = ("r", "lora_alpha", "target_modules", "lora_dropout", "use_rslora")

# Fields of PEFT's configuration that change what is computed, with the values that mean "plain LoRA".
REQUIRED_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "use_dora": (False, None),
    "bias": ("none", None),
    "modules_to_save": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "layers_to_transform": (None, []),
    "exclude_modules": (None, []),
    "trainable_token_indices": (None, []),
    "lora_bias": (False, None),
}


Matrices = dict[str, tuple[Tensor, Tensor]]  # layer path -> (A (r, in), B (out, r))


@dataclasses.dataclass
class AdapterFile:
    """What a folder holds.

    Attributes:
        settings: The fields of `LoraConfig`.
        tensors: Layer path -> (A (r, in), B (out, r)).
        fingerprint: Of the base model that it was trained on, if known.
    """

    settings: dict[str, Any]
    tensors: Matrices
    fingerprint: str | None


def write_adapter(
    folder: str | os.PathLike[str], settings: dict[str, Any], tensors: Matrices, fingerprint: str
) -> None:
    """Writes an adapter folder, atomically.

    The weights file repeats the settings in its metadata and is replaced last. It alone decides, so an interruption
    between the two files can never pair new settings with old weights.

    Args:
        folder: Where to; created if missing.
        settings: The fields of `LoraConfig`, and others that PEFT should find.
        tensors: Layer path -> (A, B); stored as float32.
        fingerprint: Of the base model.

    Raises:
        OSError: If the files cannot be written; the old ones are then unchanged.
    """
    config = settings | {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "bias": "none",
        "use_dora": False,
        "modules_to_save": None,
        "init_lora_weights": True,
        "inference_mode": True,
    }
    flat = {}
    for path, (a, b) in tensors.items():
        flat[f"{PREFIX}{path}.lora_A.weight"] = a.detach().float().cpu().contiguous()
        flat[f"{PREFIX}{path}.lora_B.weight"] = b.detach().float().cpu().contiguous()
    metadata = {
        "format": "pt",
        "minilora_base": fingerprint,
        "minilora_settings": json.dumps({key: settings[key] for key in LORA_FIELDS}, sort_keys=True),
    }
    writers = {CONFIG: json_writer(config), WEIGHTS: lambda path: save_file(flat, path, metadata=metadata)}
    replace_files(folder, writers)


def read_adapter(folder: str | os.PathLike[str]) -> AdapterFile:
    """Reads an adapter that we or PEFT wrote; incomplete folders are refused.

    Args:
        folder: The folder, or the name of an embedded adapter.

    Returns:
        Its content, checked.

    Raises:
        FileNotFoundError: If it is missing, or holds several adapters.
        ValueError: If it is damaged or incomplete, or not plain LoRA.
    """
    name = os.fspath(folder)
    folder = EMBEDDED[name] if name in EMBEDDED and not Path(name).is_dir() else Path(name)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no adapter folder {folder}; it should hold {CONFIG} and {WEIGHTS}. Adapters for tiny-gpt in "
            f"this package: {', '.join(EMBEDDED)}"
        )
    if not (folder / CONFIG).exists():  # PEFT saves each of several adapters in a subfolder
        inside = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
        if inside:
            raise FileNotFoundError(
                f"{folder} holds several adapters, {', '.join(inside)}; give one of these folders"
            )
    settings = _read_settings(folder / CONFIG)
    flat, metadata = read_tensors(folder / WEIGHTS)
    if "minilora_settings" in metadata:
        saved = _settings_in(metadata["minilora_settings"], folder / WEIGHTS)
        differs = [key for key in LORA_FIELDS if saved[key] != settings[key]]
        if differs:
            warnings.warn(
                f"{folder}: {CONFIG} and the weights were not saved together ({', '.join(differs)} differ); the "
                "settings in the weights' file are used",
                stacklevel=2,
            )
        settings = saved
    return AdapterFile(settings, _pair_up(folder / WEIGHTS, flat), metadata.get("minilora_base"))


def _read_settings(path: Path) -> dict[str, Any]:
    config = {"lora_dropout": 0.0, "use_rslora": False} | read_json(path)
    if config.get("peft_type") != "LORA":
        kind = config.get("peft_type")
        raise ValueError(f"{path}: peft_type is {kind!r}; only 'LORA' adapters can be read")
    for key in ("r", "lora_alpha", "target_modules"):
        if config.get(key) is None:
            raise ValueError(f"{path} has no {key}; without it the effect is unknown. Save it again")
    for key, plain in REQUIRED_DEFAULTS.items():
        if config.get(key) not in plain:
            raise ValueError(f"{path}: {key} is {config[key]!r}; only plain LoRA is supported")
    return _checked({key: config[key] for key in LORA_FIELDS}, path)


def _settings_in(text: str, path: Path) -> dict[str, Any]:
    """The settings that the weights file repeats in its metadata."""
    try:
        saved = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: the settings in its metadata are not JSON ({error}); save it again"
        ) from None
    if not isinstance(saved, dict) or set(saved) != set(LORA_FIELDS):
        raise ValueError(
            f"{path}: the settings in its metadata are not {', '.join(LORA_FIELDS)}; save it again"
        )
    return _checked(saved, path)


def _checked(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    """The same settings, if types and ranges are right; `LoraConfig` checks most of it, but can't name the file."""
    targets, numbers = settings["target_modules"], (int, float)
    names = targets if isinstance(targets, list) else [targets]
    fine = {
        "r": type(settings["r"]) is int and settings["r"] > 0,
        "lora_alpha": type(settings["lora_alpha"]) in numbers and 0 < settings["lora_alpha"] < math.inf,
        "target_modules": targets is None or all(isinstance(name, str) for name in names),
        "lora_dropout": type(settings["lora_dropout"]) in numbers and 0 <= settings["lora_dropout"] < 1,
        "use_rslora": isinstance(settings["use_rslora"], bool),
    }
    for key in LORA_FIELDS:
        if not fine[key]:
            raise ValueError(
                f"{path}: {key} is {settings[key]!r:.80}, which no adapter can have; save it again"
            )
    return settings


def _pair_up(path: Path, flat: dict[str, Tensor]) -> Matrices:
    """Flat names to layer path -> (A, B); every tensor must have a known name and its counterpart."""
    sides: dict[str, dict[str, Tensor]] = {}
    for name, tensor in flat.items():
        layer, dot, side = name.removesuffix(".weight").rpartition(".lora_")
        if not (name.startswith(PREFIX) and name.endswith(".weight") and dot and side in ("A", "B")):
            raise ValueError(
                f"{path}: tensor '{name}' is not of the form {PREFIX}<layer>.lora_A.weight; did another tool save it?"
            )
        if not tensor.is_floating_point() or not tensor.to(torch.float32).isfinite().all():
            raise ValueError(
                f"{path}: tensor '{name}' is {tensor.dtype} or holds values that are not finite; save it again"
            )
        sides.setdefault(layer.removeprefix(PREFIX), {})[side] = tensor
    alone = [f"{layer} has only lora_{min(found)}" for layer, found in sides.items() if len(found) == 1]
    if alone or not sides:
        raise ValueError(f"{path} is incomplete: {'; '.join(alone) or 'it holds no LoRA tensors'}")
    return {layer: (found["A"], found["B"]) for layer, found in sides.items()}
