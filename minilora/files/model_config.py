"""config.json of a base model: the settings that gpt.py computes, and a refusal of all others.

Not here: weights and tokenizer (checkpoints.py), and adapters' settings (adapter_files.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minilora.files.safe_files import read_json

# What each kind of model computes beyond its config.json. "mistral" is Llama's layout, with a window that must be off.
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {},
    "qwen2": {"attention_bias": True},
    "qwen3": {"qk_norm": True},
}
# Settings of config.json that change what the model computes, with the only values that gpt.py computes.
ONLY_SUPPORTED = {
    "model_type": (*KINDS,),
    "hidden_act": ("silu", "swish", None),  # two names of one function
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "use_sliding_window": (False, None),
    "partial_rotary_factor": (1.0, None),
    "quantization_config": (None,),
}
ROPE_KEYS = (
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
)  # of "llama3"


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= 2**24  # a larger model would take hours to build


def _is_factor(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


# The fields of GPTConfig, and whether a value of each is plausible.
FIELDS: dict[str, Callable[[Any], bool]] = {
    "vocab_size": _is_size,
    "hidden_size": _is_size,
    "intermediate_size": _is_size,
    "num_hidden_layers": lambda value: _is_size(value) and value <= 1000,
    "num_attention_heads": _is_size,
    "num_key_value_heads": _is_size,
    "max_position_embeddings": _is_size,
    "rms_norm_eps": _is_factor,
    "rope_theta": _is_factor,
    "tie_word_embeddings": lambda value: isinstance(value, bool),
    "head_dim": _is_size,
}


def read_config(folder: Path) -> dict[str, Any]:
    """Reads the fields of `GPTConfig` from config.json.

    Raises:
        FileNotFoundError: If there is no config.json.
        ValueError: If it is damaged, or has a setting that gpt.py does not support.
    """
    path = folder / "config.json"
    raw = read_json(path)
    for key, allowed in ONLY_SUPPORTED.items():
        if raw.get(key, allowed[0]) not in allowed:
            raise ValueError(f"{path}: {key} is {raw[key]!r}; this model computes only {allowed}")
    if raw.get("sliding_window") is not None and raw.get("use_sliding_window") is None:
        raise ValueError(
            f"{path}: sliding_window is {raw['sliding_window']!r:.80}; this model sees the whole text"
        )
    layers = raw.get("layer_types") or []
    if any(kind != "full_attention" for kind in layers):
        raise ValueError(f"{path}: layer_types is {layers!r:.80}; this model computes full attention only")
    rope = _rope(raw, path)
    # What a file may leave out, or leave empty.
    heads = raw.get("num_attention_heads")
    raw["num_key_value_heads"] = raw.get("num_key_value_heads") or heads
    raw["rope_theta"] = rope.pop("rope_theta") or 10000.0
    raw.setdefault("tie_word_embeddings", False)
    if raw.get("model_type", "llama") == "llama":  # Llama 1 left it out
        raw.setdefault("max_position_embeddings", 2048)
    raw["head_dim"] = raw.get("head_dim") or (128 if raw.get("model_type") == "qwen3" else None)
    if raw["head_dim"] is None and _is_size(heads) and _is_size(raw.get("hidden_size")):
        raw["head_dim"] = max(1, raw["hidden_size"] // heads)
    fields: dict[str, Any] = {}
    for key, plausible in FIELDS.items():
        if raw.get(key) is None:
            raise ValueError(f"{path} has no '{key}'; it does not describe a Llama-layout model")
        if not plausible(raw[key]):
            raise ValueError(f"{path}: {key} is {raw[key]!r:.80}; no model can have such a value")
        fields[key] = raw[key]
    return fields | KINDS[raw.get("model_type", "llama")] | rope


def _rope(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    """rope_theta, and rope_scaling as four numbers if there is one; from either of two places, in either spelling."""
    places = [raw.get("rope_parameters") or {}, raw.get("rope_scaling") or {}]
    for place in places:
        if not isinstance(place, dict):
            raise ValueError(
                f"{path}: rope_parameters or rope_scaling is {place!r:.80}, not settings in braces"
            )
    given: dict[str, Any] = {}
    for place in [*places, {"rope_theta": raw.get("rope_theta")}]:
        for key, value in place.items():
            key = "rope_type" if key == "type" else key
            if value is not None and given.setdefault(key, value) != value:
                raise ValueError(
                    f"{path}: {key} is {given[key]!r:.80} in one place and {value!r:.80} in another"
                )
    kind, theta = given.pop("rope_type", "default"), given.pop("rope_theta", None)
    if kind == "llama3":
        given.setdefault("original_max_position_embeddings", raw.get("max_position_embeddings"))
        values = [given.pop(key, None) for key in ROPE_KEYS]
        if not all(map(_is_factor, values)) or not values[1] < values[2]:
            raise ValueError(f"{path}: {', '.join(ROPE_KEYS)} are {values!r:.120}; llama3 needs all four")
        scaling = {"rope_scaling": tuple(values)}
    elif kind == "default":
        scaling = {}
    else:
        raise ValueError(f"{path}: rotary positions of type {kind!r:.80} (rope_scaling) are not computed")
    given = {key: value for key, value in given.items() if (key, value) != ("partial_rotary_factor", 1.0)}
    if given:
        raise ValueError(f"{path}: rotary settings {given!r:.80} are not computed")
    return {"rope_theta": theta} | scaling
