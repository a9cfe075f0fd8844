"""The words that name a model's layers: "q_proj", "attention", "all-linear", and what counts as its output layer.

It works on names, and on any model's modules without importing torch, so that the memory planner can use it in a
browser. Not here: which kinds of layers can be adapted or quantized (lora/targets.py, quantization/model.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

# The words, and the names that model families give to that part of a block.
GROUPS = {
    "attention": {
        *(
            "self_attn",
            "attn",
            "attention",
            "self_attention",
            "encoder_attn",
            "cross_attn",
            "cross_attention",
        ),
        *("crossattention", "SelfAttention", "EncDecAttention"),
    },
    "mlp": {"mlp", "feed_forward", "ffn"},
}


def named_layers(
    target_modules: str | Sequence[str] | None, paths: Sequence[str], output: Collection[str] = ()
) -> list[str]:
    """Those of `paths`, all linear layers, that `target_modules` names; an unknown name lists the names that exist.

    A list holds layer names ("q_proj"), whole paths, or the words "attention" and "mlp". A single string is a word,
    "all-linear" (all but `output`), a name, or a regular expression for whole paths, as in PEFT.

    >>> named_layers(["attention", "up_proj"], ["self_attn.q_proj", "mlp.up_proj", "mlp.down_proj"])
    ['self_attn.q_proj', 'mlp.up_proj']
    """
    words = ["q_proj", "v_proj"] if target_modules is None else target_modules
    found: set[str] = set()
    for word in [words] if isinstance(words, str) else words:
        hits = {path for path in paths if _names(word, path, output, pattern=isinstance(words, str))}
        if not hits:
            kinds = dict.fromkeys(path.split(".")[-1] for path in paths)
            raise ValueError(
                f"target_modules: no linear layer is called '{word}'; this model has {', '.join(kinds) or 'none'} "
                "(or say 'attention', 'mlp' or 'all-linear')"
            )
        found |= hits
    if not found:
        raise ValueError("target_modules is empty; name at least one layer, or say 'attention'")
    return [path for path in paths if path in found]


def _names(word: str, path: str, output: Collection[str], pattern: bool) -> bool:
    *groups, name = path.split(".")
    if word == "all-linear":
        return path not in output
    if word in GROUPS and name != word:
        return not GROUPS[word].isdisjoint(groups)
    if path == word or path.endswith("." + word):
        return True
    try:
        return pattern and re.fullmatch(word, path) is not None
    except (re.error, RecursionError, OverflowError):
        return False  # no pattern either


def output_layers(model: Any) -> dict[str, bool]:
    """The paths of what counts as output layer, and whether it shares its weight with a token embedding.

    It is called lm_head, shares its weight with an embedding, or is what `get_output_embeddings()` returns.
    """
    embeddings = [module for module in model.modules() if hasattr(module, "num_embeddings")]
    declared = getattr(model, "get_output_embeddings", lambda: None)()
    found = {}
    for path, module in model.named_modules():
        weight = None if hasattr(module, "base_layer") else getattr(module, "weight", None)
        tied = module not in embeddings and any(weight is embedding.weight for embedding in embeddings)
        if tied or module is declared or path.split(".")[-1] == "lm_head":
            found[path] = tied
    return found


def bypassed(model: Any, path: str) -> bool:
    """Whether the code around a layer may use its weight without calling it, so that LoRA there would do nothing.

    So do torch's own attention and encoder layers (their fast path, in evaluation mode) and Mamba's fused kernels.

    >>> bypassed(object(), "")
    False
    """
    parent_path, _, name = path.rpartition(".")
    kinds = type(model.get_submodule(parent_path)).__mro__ if path else ()
    fused = {kind.__name__ for kind in kinds if kind.__module__.startswith("torch.nn")}
    if fused & {"MultiheadAttention", "TransformerEncoderLayer"}:
        return True
    mamba = any(re.search("Mamba.*Mixer", kind.__name__) for kind in kinds)
    return mamba and name in ("x_proj", "dt_proj", "out_proj")


def expert_layers(model: Any) -> list[str]:
    """The paths of what is no linear layer in a mixture of experts: experts in one stacked tensor, and routers.

    LoRA and 4-bit packing leave them as they are, and say so.
    """
    found = []
    for path, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        stacked = any(p.ndim == 3 for p in own.values()) and re.search("expert|moe", path)
        router = "Router" in type(module).__name__ and "weight" in own
        if stacked or router:
            found.append(path)
    return found
