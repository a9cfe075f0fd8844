"""Published shapes of language models, from 5 million weights to 405 billion, and the memory of common devices.

Numbers, each with its source: enough to count weights and to plan memory (plan.py). Nothing is downloaded. Not here:
speeds, prices, mixtures of experts, encoders.
"""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class ModelShape:
    """The numbers that determine how many weights a model has, under Hugging Face's names, as in `GPTConfig`.

    Attributes:
        name: Name of the model.
        vocab_size: Number of tokens in the vocabulary.
        hidden_size: Width of a token's hidden state.
        intermediate_size: Width inside the feed-forward part.
        num_hidden_layers: Number of blocks.
        num_attention_heads: Query heads.
        num_key_value_heads: Key/value heads, each shared by several query heads if fewer.
        max_position_embeddings: The longest text, in tokens. It counts as weights only in GPT-2's layout, where
            positions are learned.
        tie_word_embeddings: Whether the output layer is the token embedding.
        attention_bias: Whether q, k and v have biases (Qwen).
        gpt2_layout: GPT-2's and GPT-3's blocks: biases everywhere, LayerNorm, two feed-forward matrices instead of
            three.
        source: Where these numbers were published.

    >>> MODELS["llama-3.1-8b"].parameter_count
    8030261248
    """

    name: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    tie_word_embeddings: bool
    attention_bias: bool = False
    gpt2_layout: bool = False
    source: str = ""

    @classmethod
    def from_config(cls, config: Any, name: str = "your model") -> ModelShape:
        """Returns the shape of an existing model: `ModelShape.from_config(model.config)`, for our `GPTConfig`.

        Raises:
            ValueError: The model has a part that is not counted here.
        """
        if config.qk_norm or config.head_dim * config.num_attention_heads != config.hidden_size:
            raise ValueError(
                f"{name} has norms of queries and keys, or a head_dim of its own; that is not counted"
            )
        own = {"name", "source", "gpt2_layout"}
        shared = {f.name: getattr(config, f.name) for f in dataclasses.fields(cls) if f.name not in own}
        return cls(name=name, source="its configuration", **shared)

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def key_value_size(self) -> int:
        """Width of all keys of a token together; below hidden_size if query heads share a key/value head."""
        return self.num_key_value_heads * self.head_dim

    @property
    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """The (in, out) of each linear layer of one block, by name.

        >>> MODELS["tiny-gpt"].linear_layers["gate_proj"]
        (256, 640)
        """
        d, kv, ff = self.hidden_size, self.key_value_size, self.intermediate_size
        if self.gpt2_layout:
            return {"c_attn": (d, 3 * d), "c_proj": (d, d), "c_fc": (d, ff), "mlp.c_proj": (ff, d)}
        attention = {"q_proj": (d, d), "k_proj": (d, kv), "v_proj": (d, kv), "o_proj": (d, d)}
        return attention | {"gate_proj": (d, ff), "up_proj": (d, ff), "down_proj": (ff, d)}

    @property
    def linear_weights(self) -> int:
        """Weights in the linear layers of all blocks: what 4-bit quantization packs."""
        return self.num_hidden_layers * sum(i * o for i, o in self.linear_layers.values())

    @property
    def embedding_weights(self) -> int:
        """Token embedding, output layer unless it is the same tensor, and learned positions."""
        tokens = self.vocab_size * self.hidden_size
        positions = self.max_position_embeddings * self.hidden_size if self.gpt2_layout else 0
        return tokens * (1 if self.tie_word_embeddings else 2) + positions

    @property
    def small_weights(self) -> int:
        """Norms and biases."""
        d, layers = self.hidden_size, self.num_hidden_layers
        norms = (2 * layers + 1) * d
        if self.gpt2_layout:  # LayerNorm has a bias too, and so has each linear layer
            return 2 * norms + layers * sum(out for _, out in self.linear_layers.values())
        return norms + layers * (d + 2 * self.key_value_size if self.attention_bias else 0)

    @property
    def parameter_count(self) -> int:
        """All weights, a shared tensor once."""
        return self.linear_weights + self.embedding_weights + self.small_weights


@dataclasses.dataclass(frozen=True)
class Device:
    """A common device.

    Manufacturers mean 2^30 bytes by a gigabyte, 7 % more than the 10^9 used here; the driver, the CUDA context and the
    display use about that much.

    Attributes:
        name: How it is usually called.
        gigabytes: Its memory as advertised, taken as 10^9 bytes each.
        has_gpu: Whether that is a GPU's memory.
        source: Where this number was published.
    """

    name: str
    gigabytes: int
    has_gpu: bool
    source: str


def _llama(name: str, source: str, vocab: int, d: int, ff: int, layers: int, heads: int, kv: int, context: int,
           tied: bool = False, bias: bool = False) -> ModelShape:  # fmt: skip
    return ModelShape(name, vocab, d, ff, layers, heads, kv, context, tied, bias, source=source)


def _gpt2(name: str, source: str, d: int, layers: int, heads: int, context: int = 1024) -> ModelShape:
    return ModelShape(
        name, 50257, d, 4 * d, layers, heads, heads, context, True, gpt2_layout=True, source=source
    )


_SMOLLM2 = "SmolLM2 (arXiv 2502.02737) and the config.json of "
_LLAMA1 = "LLaMA (arXiv 2302.13971), table 2; feed-forward width from the released params.json"
_LLAMA2 = "Llama 2 (arXiv 2307.09288) and the config.json of "
_LLAMA3 = "The Llama 3 Herd of Models (arXiv 2407.21783), table 3, and the config.json of "
_QWEN = "Qwen2.5 (arXiv 2412.15115) and the config.json of "
_GPT2 = "Language Models are Unsupervised Multitask Learners (2019), table 2, and the config.json of "

MODELS: dict[str, ModelShape] = {
    shape.name: shape
    for shape in (
        # name, source, vocabulary, hidden, feed-forward, layers, heads, key/value heads, context
        _llama("tiny-gpt", "minilora/assets/tiny-gpt/config.json", 3072, 256, 640, 8, 8, 2, 1024, tied=True),
        _llama("smollm2-135m", _SMOLLM2 + "SmolLM2-135M", 49152, 576, 1536, 30, 9, 3, 8192, tied=True),
        _llama("smollm2-360m", _SMOLLM2 + "SmolLM2-360M", 49152, 960, 2560, 32, 15, 5, 8192, tied=True),
        _llama("smollm2-1.7b", _SMOLLM2 + "SmolLM2-1.7B", 49152, 2048, 8192, 24, 32, 32, 8192, tied=True),
        _gpt2("gpt2", _GPT2 + "gpt2", 768, 12, 12),
        _gpt2("gpt2-medium", _GPT2 + "gpt2-medium", 1024, 24, 16),
        _gpt2("gpt2-large", _GPT2 + "gpt2-large", 1280, 36, 20),
        _gpt2("gpt2-xl", _GPT2 + "gpt2-xl", 1600, 48, 25),
        _llama("qwen2.5-0.5b", _QWEN + "Qwen2.5-0.5B", 151936, 896, 4864, 24, 14, 2, 32768, tied=True, bias=True),
        _llama("qwen2.5-1.5b", _QWEN + "Qwen2.5-1.5B", 151936, 1536, 8960, 28, 12, 2, 131072, tied=True, bias=True),
        _llama("qwen2.5-7b", _QWEN + "Qwen2.5-7B", 152064, 3584, 18944, 28, 28, 4, 131072, bias=True),
        _llama("tinyllama-1.1b", "TinyLlama (arXiv 2401.02385), table 1", 32000, 2048, 5632, 22, 32, 4, 2048),
        _llama("llama-3.2-1b", _LLAMA3 + "Llama-3.2-1B", 128256, 2048, 8192, 16, 32, 8, 131072, tied=True),
        _llama("llama-3.2-3b", _LLAMA3 + "Llama-3.2-3B", 128256, 3072, 8192, 28, 24, 8, 131072, tied=True),
        _llama("llama-2-7b", _LLAMA2 + "Llama-2-7b-hf", 32000, 4096, 11008, 32, 32, 32, 4096),
        _llama("mistral-7b", "Mistral 7B (arXiv 2310.06825), table 1", 32000, 4096, 14336, 32, 32, 8, 32768),
        _llama("llama-3.1-8b", _LLAMA3 + "Llama-3.1-8B", 128256, 4096, 14336, 32, 32, 8, 131072),
        _llama("llama-2-13b", _LLAMA2 + "Llama-2-13b-hf", 32000, 5120, 13824, 40, 40, 40, 4096),
        _llama("llama-33b", _LLAMA1, 32000, 6656, 17920, 60, 52, 52, 2048),
        _llama("qwen2.5-32b", _QWEN + "Qwen2.5-32B", 152064, 5120, 27648, 64, 40, 8, 131072, bias=True),
        _llama("llama-65b", _LLAMA1, 32000, 8192, 22016, 80, 64, 64, 2048),
        _llama("llama-2-70b", _LLAMA2 + "Llama-2-70b-hf", 32000, 8192, 28672, 80, 64, 8, 4096),
        _llama("llama-3.1-70b", _LLAMA3 + "Llama-3.1-70B", 128256, 8192, 28672, 80, 64, 8, 131072),
        _gpt2("gpt3-175b", "Language Models are Few-Shot Learners (arXiv 2005.14165), table 2.1", 12288, 96, 96, 2048),
        _llama("llama-3.1-405b", _LLAMA3 + "Llama-3.1-405B", 128256, 16384, 53248, 126, 128, 8, 131072),
    )
}  # fmt: skip

_NVIDIA = "NVIDIA's data sheet of the "
DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        Device("laptop", 16, False, "a common amount of main memory in a laptop without a GPU"),
        Device("8 GB", 8, True, _NVIDIA + "GeForce RTX 4060"),
        Device("12 GB", 12, True, _NVIDIA + "GeForce RTX 4070"),
        Device("16 GB", 16, True, _NVIDIA + "T4, the GPU of many free notebook services"),
        Device("24 GB", 24, True, _NVIDIA + "GeForce RTX 4090"),
        Device("40 GB", 40, True, _NVIDIA + "A100 40GB"),
        Device("48 GB", 48, True, _NVIDIA + "L40S"),
        Device("80 GB", 80, True, _NVIDIA + "H100 SXM"),
        Device("141 GB", 141, True, _NVIDIA + "H200"),
    )
}


def model_shape(name: str) -> ModelShape:
    """Returns the shape of that name, in upper or lower case.

    Raises:
        ValueError: If there is none; the message lists the names.

    >>> model_shape("Llama-3.1-8B").num_hidden_layers
    32
    """
    if name.lower() not in MODELS:
        raise ValueError(f"there is no model '{name}' in the catalog; it has {', '.join(MODELS)}")
    return MODELS[name.lower()]
