"""Text from a model, token by token: sampling with a key/value cache.

`GPT` inherits `generate`, `stream` and `generate_tokens` from here. Not here: beam search, several prompts in one
batch, a cache that drops its oldest tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from minilora.gpt_config import GPTConfig


# Where a checkpoint names none: GPT-2's and Qwen's, ChatML's, Llama 2's, Llama 3's.
USUAL_STOP_TOKENS = ("<|endoftext|>", "<|im_end|>", "</s>", "<|eot_id|>", "<|end_of_text|>")


class KeyValueCache:
    """Keys and values of the tokens so far, so that each new token costs one step instead of a pass over all of them.

    Args:
        config: The model's shape.
        batch: Number of rows.
        length: Number of tokens to make room for; the memory is allocated once.
        like: A tensor with the dtype and device to use.
    """

    def __init__(self, config: GPTConfig, batch: int, length: int, like: Tensor):
        shape = (config.num_hidden_layers, 2, batch, config.num_key_value_heads, length, config.head_dim)
        self.store = like.new_zeros(shape)
        self.length = 0  # tokens in the cache so far

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Adds k and v (batch, kv_heads, new, head_dim) of one layer; returns all so far, old and new."""
        end = self.length + k.shape[2]
        self.store[layer, 0, :, :, self.length : end] = k
        self.store[layer, 1, :, :, self.length : end] = v
        return self.store[layer, 0, :, :, :end], self.store[layer, 1, :, :, :end]


class GenerationMixin(nn.Module):
    """The methods of a language model that generate text. The model itself (gpt.py) has these attributes."""

    config: Any
    tokenizer: Any
    stop_token_ids: tuple[int, ...]
    model: Any
    hidden_states: Any
    lm_head: Any

    def generate(
        self, prompt: str, max_new_tokens: int = 100, temperature: float = 0.7, top_k: int | None = 50,
        seed: int | None = None,
    ) -> str:  # fmt: skip
        """Continues `prompt`, and returns only the new text. The arguments are those of `stream`."""
        return "".join(self.stream(prompt, max_new_tokens, temperature, top_k, seed))

    def stream(
        self, prompt: str, max_new_tokens: int = 100, temperature: float = 0.7, top_k: int | None = 50,
        seed: int | None = None,
    ) -> Iterator[str]:  # fmt: skip
        """Yields the continuation of `prompt` piece by piece, as it is generated.

        Args:
            prompt: The text to continue.
            max_new_tokens: Upper limit; a stop token ends the text earlier.
            temperature: 0 always takes the most likely token; higher is more varied.
            top_k: Sample from the k most likely tokens only; None means from all.
            seed: The same seed gives the same text; None means another text each time.

        Raises:
            ValueError: The model has no tokenizer, or the request does not fit its context.
        """
        if self.tokenizer is None:
            raise ValueError("this model has no tokenizer; set model.tokenizer, or use generate_tokens")
        ids = self.tokenizer.encode(prompt).ids
        stop = self.stop_tokens()
        new_ids: list[int] = []
        shown = ""
        for token in self.generate_tokens(ids, max_new_tokens, temperature, top_k, seed):
            if token in stop:
                break
            new_ids.append(token)
            # subtle: one token may be half a character, so decode all new tokens and hold back an incomplete end.
            text = self.tokenizer.decode(new_ids)
            if not text.endswith("�"):
                yield text[len(shown) :]
                shown = text

    def stop_tokens(self) -> tuple[int, ...]:
        """The tokens that end a text: the checkpoint's own, or else the usual ones that the tokenizer has."""
        if self.stop_token_ids or self.tokenizer is None:
            return self.stop_token_ids
        ids = [self.tokenizer.token_to_id(token) for token in USUAL_STOP_TOKENS]
        return tuple(token for token in ids if token is not None)

    @torch.no_grad()
    def generate_tokens(
        self, prompt_ids: list[int], max_new_tokens: int = 100, temperature: float = 0.7, top_k: int | None = 50,
        seed: int | None = None,
    ) -> Iterator[int]:  # fmt: skip
        """Yields one new token number at a time. It does not stop at stop tokens; otherwise the same as `stream`.

        Raises:
            ValueError: The request does not fit the model's context, or a setting is out of range.

        >>> from minilora.gpt import GPT, GPTConfig
        >>> model = GPT(GPTConfig(vocab_size=10, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        ...                       num_key_value_heads=2))
        >>> len(list(model.generate_tokens([1, 2, 3], max_new_tokens=4, temperature=0)))
        4
        """
        self._check_request(prompt_ids, max_new_tokens, temperature, top_k)
        was_training = self.training
        self.eval()  # dropout must be off while we generate
        try:
            weight = self.model.embed_tokens.weight
            generator = torch.Generator(device=weight.device)
            if seed is None:
                generator.seed()
            else:
                generator.manual_seed(seed)
            cache = KeyValueCache(self.config, 1, len(prompt_ids) + max_new_tokens, like=weight)
            new = torch.tensor([list(prompt_ids)], device=weight.device)  # (1, prompt tokens), then (1, 1)
            for _ in range(max_new_tokens):
                hidden = self.hidden_states(new, cache)[:, -1]  # (1, hidden): only the last token predicts
                new = choose_token(self.lm_head(hidden)[0].float(), temperature, top_k, generator).view(1, 1)
                yield int(new)
        finally:
            self.train(was_training)

    def _check_request(self, prompt_ids: list[int], new: int, temperature: float, top_k: int | None) -> None:
        context = self.config.max_position_embeddings
        if not prompt_ids:
            raise ValueError("the prompt is empty; give at least one token to continue from")
        if new < 1 or not 0 <= temperature < math.inf or (top_k is not None and top_k < 1):
            raise ValueError(
                f"max_new_tokens={new}, temperature={temperature}, top_k={top_k}: "
                "max_new_tokens and top_k must be at least 1 (top_k may be None), temperature at least 0"
            )
        if len(prompt_ids) + new > context:
            raise ValueError(
                f"a prompt of {len(prompt_ids)} tokens and {new} new ones do not fit the model's context of {context}; "
                f"shorten the prompt or lower max_new_tokens"
            )


def choose_token(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> Tensor:
    """Picks one token number, (), from logits (vocab,)."""
    if temperature == 0:
        return logits.argmax()
    if top_k is not None and top_k < logits.numel():
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
    return torch.multinomial(torch.softmax(logits / temperature, dim=-1), 1, generator=generator)
