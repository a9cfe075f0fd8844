"""The shape of a GPT: how many blocks and heads, how wide, and how positions are encoded.

Not here: reading config.json (files/model_config.py), and the model (gpt.py).
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

from torch import Tensor

from minilora.memory.catalog import ModelShape


class RopeScaling(NamedTuple):
    """Llama 3.1's rotary positions for long texts: fast pairs stay, slow ones turn `factor` times slower."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int

    def slow_down(self, speed: Tensor) -> Tensor:
        """The stretched speeds, (head_dim / 2,), in radians per position; in between, a linear blend."""
        turns = self.original_max_position_embeddings * speed / (2 * math.pi)  # within the original context
        kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        kept = kept.clamp(0, 1)
        return (1 - kept) * speed / self.factor + kept * speed


@dataclasses.dataclass(frozen=True)
class GPTConfig:
    """The shape of a model, with the names of Hugging Face's `config.json`.

    Args:
        vocab_size: Number of tokens that the tokenizer knows.
        hidden_size: Width of a token's vector.
        intermediate_size: Width inside the feed-forward layers.
        num_hidden_layers: Number of blocks.
        num_attention_heads: Number of query heads.
        num_key_value_heads: Number of key/value heads; fewer than query heads is grouped-query attention.
        max_position_embeddings: Longest context, in tokens.
        rms_norm_eps: Added to the mean square in RMSNorm.
        rope_theta: Base of the rotary angles.
        tie_word_embeddings: Use the embedding's weight as the output layer's, too.
        head_dim: Width of a head; by default hidden_size / num_attention_heads.
        attention_bias: Biases on q, k and v, as in Qwen2.5.
        qk_norm: RMSNorm on each head's query and key, as in Qwen3.
        rope_scaling: Llama 3.1's, or None.

    Raises:
        ValueError: A value is not positive, or the heads do not divide evenly.

    >>> GPTConfig(hidden_size=256, num_attention_heads=8).head_dim
    32
    """

    vocab_size: int = 2048
    hidden_size: int = 256
    intermediate_size: int = 704
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    num_key_value_heads: int = 8
    max_position_embeddings: int = 256
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    tie_word_embeddings: bool = True
    head_dim: int = 0
    attention_bias: bool = False
    qk_norm: bool = False
    rope_scaling: RopeScaling | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) in (int, float) and value <= 0 and name != "head_dim":
                raise ValueError(f"{name} is {value}; it must be above zero")
        derived, rest = divmod(self.hidden_size, self.num_attention_heads)
        if (self.head_dim or derived) % 2 or (rest and not self.head_dim):
            raise ValueError(
                f"hidden_size {self.hidden_size} does not divide into {self.num_attention_heads} heads of even width "
                "(rotary positions turn pairs); choose a multiple of twice num_attention_heads"
            )
        object.__setattr__(self, "head_dim", self.head_dim or derived)
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"{self.num_attention_heads} query heads cannot share {self.num_key_value_heads} key/value heads "
                "evenly; num_key_value_heads must divide num_attention_heads"
            )

    @classmethod
    def from_shape(cls, shape: ModelShape) -> GPTConfig:
        """The config of a published model; a ValueError for the layout of GPT-2 and GPT-3, which is another one.

        >>> from minilora.memory.catalog import MODELS
        >>> GPTConfig.from_shape(MODELS["smollm2-135m"]).num_hidden_layers
        30
        """
        if shape.gpt2_layout:
            raise ValueError(f"{shape.name} has GPT-2's layout; choose a model of the Llama layout")
        return cls(
            **{f.name: getattr(shape, f.name) for f in dataclasses.fields(cls) if hasattr(shape, f.name)}
        )
