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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minilora.files import ASSETS
from minilora.files.safe_files import json_writer, read_json, read_tensors, replace_files, save_tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# The adapters in this package, made for tiny-gpt.
EMBEDDED = {path.parent.name: path.parent for path in sorted(ASSETS.glob("adapters/*/" + CONFIG))}
PREFIX = "base_model.model."  # the path from PEFT's wrapper to the base model
REQUIRED = ("r", "lora_alpha", "target_modules")
OPTIONAL: dict[str, Any] = {
    "lora_dropout": 0.0,
    "use_rslora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "exclude_modules": None,
    "layers_to_transform": None,
    "layers_pattern": None,
}
LORA_FIELDS = (*REQUIRED, *OPTIONAL)  # those of LoraConfig

# Keys of PEFT's config that change nothing about what a trained adapter computes.
HARMLESS = {
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "fan_in_fan_out", "runtime_config", "megatron_core", "merge_weights"),
    *("eva_config", "corda_config", "lora_ga_config", "loftq_config"),  # settings of init_lora_weights
    "qalora_group_size",  # of use_qalora
}
# Values that mean "plain LoRA" in every other key: PEFT has over forty, and gets new ones with each release.
PLAIN: tuple[Any, ...] = (None, False, "none", {}, [])
# Ways to fill A and B before training. All others (PiSSA, OLoRA, LoftQ, CorDA, LoRA-GA) change the base as well.
INITS = (None, True, False, "gaussian", "eva", "orthogonal", "mica")

Matrices = dict[str, tuple[Tensor, Tensor]]  # layer path -> (A (r, in), B (out, r))


@dataclasses.dataclass
class AdapterFile:
    """What a folder holds.

    Attributes:
        settings: The fields of LoraConfig.
        tensors: Layer path -> A (r, in) and B (out, r).
        fingerprint: Those of the base it was trained on, in one text; None if another tool saved it.
    """

    settings: dict[str, Any]
    tensors: Matrices
    fingerprint: str | None


def write_adapter(
    folder: str | os.PathLike[str],
    settings: dict[str, Any],
    about: dict[str, Any],
    tensors: Matrices,
    fingerprint: str,
) -> None:
    """Writes an adapter folder, atomically.

    The weights file repeats the settings in its metadata and is replaced last. It alone decides, so an interruption
    between the two files can never pair new settings with old weights.

    Args:
        folder: Where to write; it is created if needed.
        settings: The fields of LoraConfig.
        about: What other tools ask about the base: task_type, base_model_name_or_path, fan_in_fan_out.
        tensors: Layer path -> A (r, in) and B (out, r).
        fingerprint: Those of the base, in one text.

    Raises:
        OSError: If the files cannot be written; the old ones are then unchanged.
    """
    config = (
        settings
        | about
        | {
            "peft_type": "LORA",
            "bias": "none",
            "use_dora": False,
            "modules_to_save": None,
            "init_lora_weights": True,
            "inference_mode": True,
        }
    )
    flat = {}
    for path, (a, b) in tensors.items():
        flat[f"{PREFIX}{path}.lora_A.weight"] = a.detach().float().cpu().contiguous()
        flat[f"{PREFIX}{path}.lora_B.weight"] = b.detach().float().cpu().contiguous()
    metadata = {
        "format": "pt",
        "minilora_base": fingerprint,
        "minilora_settings": json.dumps({key: settings[key] for key in LORA_FIELDS}, sort_keys=True),
    }
    writers = {CONFIG: json_writer(config), WEIGHTS: lambda path: save_tensors(flat, path, metadata)}
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
    _check_format(folder)
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
    config = read_json(path)
    if config.get("peft_type") != "LORA":
        kind = config.get("peft_type")
        raise ValueError(f"{path}: peft_type is {kind!r}; only 'LORA' adapters can be read")
    for key in REQUIRED:
        if config.get(key) is None:
            raise ValueError(
                f"{path} has no {key}; without it the adapter's effect is unknown. Save it again"
            )
    init = config.pop("init_lora_weights", None)
    if init not in INITS:
        raise ValueError(
            f"{path}: init_lora_weights is {init!r:.80}; this way to start changes the base as well, and PEFT repeats "
            "that when it loads the adapter. Let PEFT turn it into plain LoRA first: save_pretrained(..., "
            "path_initial_model_for_weight_conversion=...), or load it there and merge it"
        )
    for key in config.keys() - HARMLESS - {*LORA_FIELDS}:
        if config[key] not in PLAIN:
            raise ValueError(f"{path}: {key} is {config[key]!r:.80}; only plain LoRA is supported")
    given = {key: value for key, value in config.items() if key in LORA_FIELDS and value is not None}
    return _checked(OPTIONAL | given, path)


def _check_format(folder: Path) -> None:
    """Says what older and other files are, where the one that is read is missing."""
    pickled = next((p.name for p in folder.glob("adapter_model*.bin")), None)
    if not (folder / WEIGHTS).exists() and pickled is not None:
        raise FileNotFoundError(
            f"{folder} has no {WEIGHTS}, only {pickled}, an older format of PEFT's (pickle, which can run code when it "
            "is opened, and is not read here). If you trust it, open it in PEFT once and save it again: "
            "PeftModel.from_pretrained(base, folder).save_pretrained(new_folder)"
        )
    shards = sorted(p.name for p in folder.glob("adapter_model-*-of-*.safetensors"))
    if not (folder / WEIGHTS).exists() and shards:
        raise FileNotFoundError(
            f"{folder} has no {WEIGHTS}, only {len(shards)} shards ({shards[0]} ...); open it in PEFT once and save it "
            "again, into one file"
        )


def _settings_in(text: str, path: Path) -> dict[str, Any]:
    """The settings that the weights file repeats in its metadata."""
    try:
        saved = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: the settings in its metadata are not JSON ({error}); save it again"
        ) from None
    if not isinstance(saved, dict) or not {*REQUIRED} <= {*saved} <= {*LORA_FIELDS}:
        raise ValueError(
            f"{path}: the settings in its metadata are not {', '.join(LORA_FIELDS)}; save it again"
        )
    return _checked(OPTIONAL | saved, path)


def _checked(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    """The same settings, if their types and ranges are right. LoraConfig checks most of this too, but names no file."""
    numbers, blocks = (int, float), settings["layers_to_transform"]
    fine = {
        "r": _is_rank(settings["r"]),
        "lora_alpha": _is_alpha(settings["lora_alpha"]),
        "target_modules": _are_names(settings["target_modules"]),
        "rank_pattern": _is_pattern(settings["rank_pattern"], _is_rank),
        "alpha_pattern": _is_pattern(settings["alpha_pattern"], _is_alpha),
        "exclude_modules": _are_names(settings["exclude_modules"]),
        "layers_to_transform": blocks is None
        or all(type(block) is int for block in (blocks if isinstance(blocks, list) else [blocks])),
        "layers_pattern": _are_names(settings["layers_pattern"]),
        "lora_dropout": type(settings["lora_dropout"]) in numbers and 0 <= settings["lora_dropout"] < 1,
        "use_rslora": isinstance(settings["use_rslora"], bool),
    }
    for key in LORA_FIELDS:
        if not fine[key]:
            raise ValueError(
                f"{path}: {key} is {settings[key]!r:.80}, which no adapter can have; save it again"
            )
    return settings


def _is_rank(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_alpha(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _are_names(value: Any) -> bool:
    return value is None or all(
        isinstance(name, str) for name in (value if isinstance(value, list) else [value])
    )


def _is_pattern(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(fits, value.values()))


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
