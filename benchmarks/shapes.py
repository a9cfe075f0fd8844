"""Our models in published shapes, for benchmarks whose weights may be random."""

from __future__ import annotations

import dataclasses

from minilora import GPTConfig
from minilora.catalog import ModelShape


def gpt_config(shape: ModelShape) -> GPTConfig:
    """The configuration of our GPT in that shape: all fields that the two have in common.

    >>> from minilora.catalog import MODELS
    >>> gpt_config(MODELS["tiny-gpt"]).num_hidden_layers
    8
    """
    names = {field.name for field in dataclasses.fields(GPTConfig)} & set(vars(shape))
    return GPTConfig(**{name: getattr(shape, name) for name in names})
