"""A small GPT in the Llama layout: token numbers in, a score for every possible next token out.

The layout is that of today's open models: a token embedding, blocks of attention and gated feed-forward with RMSNorm
before each, rotary positions, key/value heads that several query heads may share, and an output layer that may share
its weight with the embedding. Every parameter has Hugging Face's name, so checkpoints open in `transformers` and back.

So are Llama 3.1's stretched rotary positions, Qwen2.5's biases, and Qwen3's norms of queries and keys.

Not here: generating text (generation.py); other stretched positions, sliding windows, experts, prompts of unequal
length in one batch. A checkpoint that needs one of them is refused when it is read (files/model_config.py).
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from minilora.files import checkpoints
from minilora.files.model_config import read_config
from minilora.generation import GenerationMixin, KeyValueCache
from minilora.gpt_config import GPTConfig, RopeScaling
from minilora.long_rows import offloaded_block


def rotary_table(start: int, tokens: int, config: GPTConfig, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles, each (tokens, head_dim) (RoFormer, arXiv 2104.09864).

    Pair i of a head turns by position / rope_theta^(2i / head_dim): fast for the first pairs, slowly for the last.
    Computed in float32 and then rounded to the dtype of `like`, as in `transformers`.
    """
    pairs = torch.arange(0, config.head_dim, 2, device=like.device, dtype=torch.float32)
    speed = 1.0 / config.rope_theta ** (pairs / config.head_dim)  # (head_dim / 2,)
    if config.rope_scaling is not None:
        speed = config.rope_scaling.slow_down(speed)
    position = torch.arange(start, start + tokens, device=like.device, dtype=torch.float32)
    angle = torch.outer(position, speed).repeat(1, 2)  # (tokens, head_dim): both halves hold the same angles
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns each pair of x (batch, heads, tokens, head_dim) by its position's angle.

    subtle: the partner of element i is element i + head_dim/2 (Hugging Face's order), not its neighbour i + 1.
    """
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Attention(nn.Module):
    """Each token looks at itself and the tokens before it, and adds a weighted average of what they hold."""

    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.layer, self.head_dim = layer, config.head_dim
        width, kv_width = (
            n * config.head_dim for n in (config.num_attention_heads, config.num_key_value_heads)
        )
        self.q_proj = nn.Linear(config.hidden_size, width, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, kv_width, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_width, bias=config.attention_bias)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)
        if config.qk_norm:
            self.q_norm = nn.RMSNorm(config.head_dim, eps=config.rms_norm_eps)
            self.k_norm = nn.RMSNorm(config.head_dim, eps=config.rms_norm_eps)
        self.qk_norm = config.qk_norm

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        batch, tokens, _ = x.shape
        split = (batch, tokens, -1, self.head_dim)
        q = self.q_proj(x).view(split).transpose(1, 2)  # (batch, heads, tokens, head_dim)
        k = self.k_proj(x).view(split).transpose(1, 2)  # (batch, kv_heads, tokens, head_dim)
        v = self.v_proj(x).view(split).transpose(1, 2)  # (batch, kv_heads, tokens, head_dim)
        if self.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        # A single new token may attend to the whole cache; only a pass over several tokens needs the causal mask.
        y = F.scaled_dot_product_attention(q, k, v, is_causal=tokens > 1, enable_gqa=q.shape[1] != k.shape[1])
        return self.o_proj(y.transpose(1, 2).reshape(batch, tokens, -1))


class FeedForward(nn.Module):
    """SwiGLU (arXiv 2002.05202): one wide projection of the token gates the other, element by element."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Attention, then feed-forward; each reads a normalized copy of x and adds its result to x."""

    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        return self.add_feed_forward(self.add_attention(x, cos, sin, cache))

    def add_attention(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: KeyValueCache | None = None
    ) -> Tensor:
        return x + self.self_attn(self.input_layernorm(x), cos, sin, cache)

    def add_feed_forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embedding, blocks and final norm: everything except the output layer."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        # In training only: recompute each block in the backward pass instead of keeping its activations, with equal
        # random numbers if something in it draws any; and keep the blocks' inputs in main memory (long_rows.py).
        self.gradient_checkpointing = False
        self.preserve_rng_state = True
        self.activation_offloading = False
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, input_ids: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        start, tokens = cache.length if cache else 0, input_ids.shape[1]
        if start + tokens > self.config.max_position_embeddings:
            raise ValueError(
                f"{start + tokens} tokens do not fit the context of {self.config.max_position_embeddings}; "
                "shorten the prompt or ask for fewer new tokens"
            )
        if start and tokens > 1:
            raise ValueError(f"{tokens} tokens on a filled cache; after the prompt, pass one token at a time")
        x = self.embed_tokens(input_ids)  # (batch, tokens, hidden)
        cos, sin = rotary_table(start, tokens, self.config, x)
        for block in self.layers:
            if not (self.gradient_checkpointing and self.training and torch.is_grad_enabled()):
                x = block(x, cos, sin, cache)
            elif self.activation_offloading:
                x = offloaded_block(block, x, cos, sin, self.preserve_rng_state)
            else:
                x = checkpoint(
                    block, x, cos, sin, use_reentrant=False, preserve_rng_state=self.preserve_rng_state
                )
        if cache is not None:
            cache.length += tokens
        return self.norm(x)


class GPT(GenerationMixin):
    """The language model.

    Args:
        config: Its shape. The weights are random; `from_pretrained` reads trained ones.

    Attributes:
        tokenizer: A `tokenizers.Tokenizer`, or None.
        chat_template: Jinja text, or None.
        stop_token_ids: Tokens that end a generated text; empty means the usual ones of the tokenizer.
        bos_token_id: The token that starts a text, or None.
        name_or_path: What it was loaded from, or None.

    >>> model = GPT(GPTConfig(vocab_size=100, hidden_size=32, num_attention_heads=4, num_key_value_heads=2))
    >>> model(torch.tensor([[1, 2, 3]])).shape  # (batch, tokens, vocab)
    torch.Size([1, 3, 100])
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.tokenizer: Any = None
        self.chat_template: str | None = None
        self.stop_token_ids: tuple[int, ...] = ()
        self.bos_token_id: int | None = None
        self.name_or_path: str | None = None
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.apply(_initialize)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Makes embedding and output layer share one tensor, if the config says so."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, input_ids: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """input_ids (batch, tokens) int64 -> logits (batch, tokens, vocab_size)."""
        return self.lm_head(self.hidden_states(input_ids, cache))

    def hidden_states(self, input_ids: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """The output layer's input: (batch, tokens) -> (batch, tokens, hidden_size). A chunked loss starts here."""
        self._check_tokens(input_ids)
        return self.model(input_ids, cache)

    def _check_tokens(self, input_ids: Tensor) -> None:
        if input_ids.ndim != 2 or input_ids.is_floating_point():
            raise ValueError(
                f"input_ids has shape {tuple(input_ids.shape)} and type {input_ids.dtype}; "
                "expected whole numbers in the shape (batch, tokens)"
            )
        # On a GPU this check would wait for the device at every step; there the embedding itself checks.
        if input_ids.device.type == "cpu" and input_ids.numel():
            low, high = int(input_ids.min()), int(input_ids.max())
            if low < 0 or high >= self.config.vocab_size:
                raise ValueError(
                    f"token {low if low < 0 else high} is outside the vocabulary of {self.config.vocab_size} "
                    "tokens; was the text encoded with another model's tokenizer?"
                )

    # -- files -----------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, name_or_folder: str | os.PathLike, dtype: torch.dtype = torch.float32) -> GPT:
        """Loads a checkpoint, in evaluation mode.

        Args:
            name_or_folder: "tiny-gpt", the name of a fetched model, a folder, or "org/name" on the Hugging Face hub.
            dtype: Type of the weights in memory.

        Raises:
            FileNotFoundError: There is no such model, or a file is missing.
            ValueError: The checkpoint is damaged, or needs something that this GPT does not compute.
        """
        folder = checkpoints.find_checkpoint(name_or_folder)
        fields = read_config(folder)
        if "rope_scaling" in fields:
            fields["rope_scaling"] = RopeScaling(*fields["rope_scaling"])
        try:
            config = GPTConfig(**fields)
        except ValueError as error:
            raise ValueError(f"{folder / 'config.json'}: {error}") from None
        with torch.device("meta"):  # no memory or time for random weights that are replaced at once
            model = cls(config)
        tensors = checkpoints.read_weights(folder, dtype)
        if model.config.tie_word_embeddings and "model.embed_tokens.weight" in tensors:
            embedding = tensors["model.embed_tokens.weight"]
            if not torch.equal(tensors.setdefault("lm_head.weight", embedding), embedding):
                raise ValueError(
                    f"{folder}: config.json says tie_word_embeddings, but the file has an lm_head of its own, other "
                    "than the embedding. If it was trained separately, set tie_word_embeddings to false"
                )
        expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        given = {name: tuple(value.shape) for name, value in tensors.items()}
        wrong = [
            f"{name}: {given.get(name, 'missing')} in the file, "
            f"{expected.get(name, 'not part of the model')} by config.json"
            for name in expected | given
            if given.get(name) != expected.get(name)
        ]
        if wrong:
            some = "; ".join(wrong[:5]) + (" ..." if len(wrong) > 5 else "")
            raise ValueError(f"{folder} does not fit together: {some}")
        model.load_state_dict(tensors, assign=True)
        model.tie_weights()
        model.requires_grad_(True)
        model.tokenizer = checkpoints.read_tokenizer(folder)
        model.chat_template = checkpoints.read_chat_template(folder)
        model.stop_token_ids = checkpoints.read_token_ids(folder, "eos_token_id")
        model.bos_token_id = next(iter(checkpoints.read_token_ids(folder, "bos_token_id")), None)
        model.name_or_path = os.fspath(name_or_folder)
        return model.eval()

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Writes config.json, model.safetensors and the tokenizer, a folder that `transformers` opens too.

        Raises:
            ValueError: The model is no plain one: some layers have adapters, or are in 4 bits.
        """
        tensors = {name: value.contiguous() for name, value in self.state_dict().items()}
        if self.config.tie_word_embeddings:
            del tensors["lm_head.weight"]  # it is the embedding
        config = dataclasses.asdict(self.config)
        stop = [*self.stop_tokens()]  # where other tools should stop, and what starts a text in llama.cpp
        if stop:
            config["eos_token_id"] = stop if len(stop) > 1 else stop[0]
            config["bos_token_id"] = stop[0] if self.bos_token_id is None else self.bos_token_id
        checkpoints.write_checkpoint(folder, config, tensors, self.tokenizer, self.chat_template)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
