"""Folders that hold a base model, in Hugging Face's layout: config.json, model.safetensors, tokenizer.json.

A checkpoint is read as plain values, a dictionary of settings and a dictionary of tensors; gpt.py builds the model
from them. Every write is atomic: the new files are complete on disk before the first old one is replaced. Never
pickle.

Not here: what config.json may say (model_config.py), adapters (adapter_files.py), and formats other than safetensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from minilora.files import ASSETS
from minilora.files.model_config import ROPE_KEYS
from minilora.files.safe_files import json_writer, read_json, read_tensors, replace_files

EMBEDDED = {"tiny-gpt": ASSETS / "tiny-gpt"}


def cache_folder() -> Path:
    """Returns where fetched models are kept: $MINILORA_CACHE, or .cache/minilora in the home folder."""
    return Path(os.environ.get("MINILORA_CACHE") or Path.home() / ".cache" / "minilora")


def find_checkpoint(name_or_folder: str | os.PathLike[str]) -> Path:
    """Finds a checkpoint.

    Args:
        name_or_folder: A folder, the embedded "tiny-gpt", a fetched model, or "org/name" on the Hugging Face hub.

    Returns:
        Its folder.

    Raises:
        FileNotFoundError: If there is none; the message lists the names.
    """
    name = os.fspath(name_or_folder)
    for folder in (Path(name), EMBEDDED.get(name), cache_folder() / name):
        if folder is not None and folder.is_dir():
            return folder
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return _from_hub(name)
    known = ", ".join([*EMBEDDED, *sorted(p.name for p in cache_folder().glob("*") if p.is_dir())])
    raise FileNotFoundError(
        f"there is no model or folder '{name}'; available: {known}. "
        "'minilora fetch smollm2-135m-instruct' gets a real small model"
    )


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=["*.json", "model*.safetensors", "*.jinja"]))
    except ImportError as error:
        raise FileNotFoundError(
            f"there is no folder '{name}', and huggingface_hub, which would download it, is not installed"
        ) from error
    except Exception as error:  # the library raises many kinds: no network, no such name, no permission
        raise FileNotFoundError(
            f"there is no folder '{name}', and it could not be downloaded from the hub ({type(error).__name__}); "
            "check the name and the network, or give the path of a downloaded folder"
        ) from error


def read_weights(folder: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """Reads all tensors of a checkpoint: one file, or the shards that an index lists.

    Args:
        folder: The checkpoint.
        dtype: Type of the result.

    Returns:
        The tensors, by Hugging Face's names.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, or a tensor is not floating point.
    """
    index = folder / "model.safetensors.index.json"
    names = _shards(index) if index.exists() else ["model.safetensors"]
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= read_tensors(folder / name, dtype)[0]
    # Older checkpoints store the rotary angles, which gpt.py computes.
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("rotary_emb.inv_freq")}
    for name, tensor in tensors.items():
        if tensor.dtype != dtype:
            raise ValueError(
                f"{folder}: tensor '{name}' is {tensor.dtype}, which no weight of this model can be"
            )
    return tensors


def _shards(index: Path) -> list[str]:
    """The files that an index lists; they are in its folder."""
    weight_map = read_json(index).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not names or not all(isinstance(name, str) and name == Path(name).name for name in names):
        raise ValueError(f"{index} has no weight_map from tensors to files of this folder; copy it again")
    return sorted(set(names))


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """Reads tokenizer.json; None if there is none, ValueError if it is damaged."""
    path = folder / "tokenizer.json"
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8")) if path.exists() else None
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f"{path} is not a tokenizer: {error}") from None


def read_token_ids(folder: Path, key: str) -> tuple[int, ...]:
    """The token numbers under a key, from generation_config.json or else config.json; empty if neither has any."""
    for path in (folder / "generation_config.json", folder / "config.json"):
        value = read_json(path).get(key) if path.exists() else None
        if value is not None:
            tokens = value if isinstance(value, list) else [value]
            if not all(type(token) is int for token in tokens):
                raise ValueError(
                    f"{path}: {key} is {value!r:.80}; it must be a token number, or a list of them"
                )
            return tuple(tokens)
    return ()


def read_chat_template(folder: Path) -> str | None:
    """Reads the Jinja template of a chat model, from either of the two files that may hold it; None if neither does."""
    settings_path, path = folder / "tokenizer_config.json", folder / "chat_template.jinja"
    settings = read_json(settings_path) if settings_path.exists() else {}
    try:
        template = path.read_text(encoding="utf-8") if path.exists() else settings.get("chat_template")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); copy it again") from None
    if not isinstance(template, str | None):
        kind = type(template).__name__
        raise ValueError(
            f"{settings_path}: chat_template is a {kind}; only a single template, as text, is supported"
        )
    for name in ("bos_token", "eos_token"):  # what a template may refer to is put before it, as Jinja
        token = settings.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if template and name in template and isinstance(token, str) and f"set {name} =" not in template:
            template = f"{{%- set {name} = {json.dumps(token)} -%}}\n{template}"
    return template


def write_checkpoint(
    folder: str | os.PathLike[str],
    config: dict[str, Any],
    tensors: dict[str, Tensor],
    tokenizer: Tokenizer | None,
    chat_template: str | None = None,
) -> None:
    """Writes a folder that `transformers.AutoModelForCausalLM.from_pretrained` opens."""
    own = dict(config)
    bias, norm, scaling = (own.pop(key, None) for key in ("attention_bias", "qk_norm", "rope_scaling"))
    if bias and norm:
        raise ValueError(
            "attention_bias together with qk_norm is the layout of no published model; choose one"
        )
    kind, name = ("qwen3", "Qwen3") if norm else ("qwen2", "Qwen2") if bias else ("llama", "Llama")
    rope = {"rope_theta": own["rope_theta"], "rope_type": "llama3" if scaling else "default"}
    full = own | {
        "architectures": [f"{name}ForCausalLM"],
        "model_type": kind,
        "hidden_act": "silu",
        "dtype": str(next(iter(tensors.values())).dtype).removeprefix("torch."),
        "rope_parameters": rope | dict(zip(ROPE_KEYS, scaling or (), strict=bool(scaling))),
    }
    writers: dict[str, Callable[[Path], object]] = {"config.json": json_writer(full)}
    if tokenizer is not None:
        text = tokenizer.to_str()
        writers["tokenizer.json"] = lambda path: path.write_text(text, encoding="utf-8", newline="\n")
    settings = _tokenizer_settings(config, tokenizer, chat_template)
    if settings:
        writers["tokenizer_config.json"] = json_writer(settings)
    writers["model.safetensors"] = lambda path: save_file(tensors, path, metadata={"format": "pt"})
    replace_files(folder, writers)


def _tokenizer_settings(
    config: dict[str, Any], tokenizer: Tokenizer | None, chat_template: str | None
) -> dict[str, Any]:
    """What tokenizer_config.json says: the class that reads tokenizer.json as it is, special tokens, the template."""
    settings: dict[str, Any] = {} if chat_template is None else {"chat_template": chat_template}
    if tokenizer is None:
        return settings
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    for name in ("bos_token", "eos_token"):
        ids = config.get(name + "_id")
        token = None if ids is None else tokenizer.id_to_token(ids[0] if isinstance(ids, list) else ids)
        if token is not None:
            settings[name] = token
    return settings
