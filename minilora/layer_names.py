"""The words that name a model's layers: "q_proj", "attention", "all-linear", and what counts as its output layer.

It works on names, and on any model's modules without importing torch, so that the memory planner can use it in a
browser. Not here: which kinds of layers can be adapted or quantized (lora/targets.py, linear4bit.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

# The words, and the names that model families give to that part of a block.
GROUPS = {"attention": {"self_attn", "attn", "attention"}, "mlp": {"mlp", "feed_forward", "ffn"}}


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
        weight = getattr(module, "weight", None)
        tied = module not in embeddings and any(weight is embedding.weight for embedding in embeddings)
        if tied or module is declared or path.split(".")[-1] == "lm_head":
            found[path] = tied
    return found
