"""Text from a model, token by token: sampling with a key/value cache.

`GPT` inherits its `generate`, `stream` and `generate_tokens` from here. Not here: beam search, several prompts in one
batch, a cache that forgets its oldest tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from minilora.gpt import GPTConfig


class KeyValueCache:
    """Keys and values of the tokens seen so far, so that each new token costs one step instead of a whole pass.

    Room for `length` tokens is taken once; the blocks write into it as the tokens come.
    """

    def __init__(self, config: GPTConfig, batch: int, length: int, like: Tensor):
        shape = (config.num_hidden_layers, 2, batch, config.num_key_value_heads, length, config.head_dim)
        self.store = like.new_zeros(shape)
        self.length = 0  # tokens that are already in the cache

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Adds k, v (batch, kv_heads, new, head_dim) of one layer; returns all keys and values up to now."""
        end = self.length + k.shape[2]
        self.store[layer, 0, :, :, self.length : end] = k
        self.store[layer, 1, :, :, self.length : end] = v
        return self.store[layer, 0, :, :, :end], self.store[layer, 1, :, :, :end]


class GenerationMixin(nn.Module):
    """The methods of a language model that generate text. The model itself has the attributes below (gpt.py)."""

    config: Any
    tokenizer: Any
    model: Any
    hidden_states: Any
    lm_head: Any

    def generate(
        self, prompt: str, max_new_tokens: int = 100, temperature: float = 0.8, top_k: int | None = 50,
        seed: int | None = None,
    ) -> str:  # fmt: skip
        """Continues `prompt` and returns the new text alone; the arguments are those of `stream`."""
        return "".join(self.stream(prompt, max_new_tokens, temperature, top_k, seed))

    def stream(
        self, prompt: str, max_new_tokens: int = 100, temperature: float = 0.8, top_k: int | None = 50,
        seed: int | None = None,
    ) -> Iterator[str]:  # fmt: skip
        """Yields the continuation of `prompt` piece by piece, as it is made.

        temperature 0 always takes the likeliest token; higher is more varied. `top_k` draws from the k likeliest
        tokens alone. The same seed gives the same text. Ends early at an end-of-text token, if the tokenizer has one.
        """
        if self.tokenizer is None:
            raise ValueError("this model has no tokenizer; set model.tokenizer, or use generate_tokens")
        ids = self.tokenizer.encode(prompt).ids
        stop = {self.tokenizer.token_to_id(token) for token in ("<|endoftext|>", "<|im_end|>", "</s>")}
        new_ids: list[int] = []
        shown = ""
        for token in self.generate_tokens(ids, max_new_tokens, temperature, top_k, seed):
            if token in stop:
                break
            new_ids.append(token)
            # One token may be half a character: decode all new tokens and hold back an unfinished end.
            text = self.tokenizer.decode(new_ids)
            if not text.endswith("�"):
                yield text[len(shown) :]
                shown = text

    @torch.no_grad()
    def generate_tokens(
        self, prompt_ids: list[int], max_new_tokens: int = 100, temperature: float = 0.8, top_k: int | None = 50,
        seed: int | None = None,
    ) -> Iterator[int]:  # fmt: skip
        """Like `stream`, on token numbers: yields one new token number at a time.

        >>> from minilora.gpt import GPT, GPTConfig
        >>> model = GPT(GPTConfig(vocab_size=10, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        ...                       num_key_value_heads=2))
        >>> len(list(model.generate_tokens([1, 2, 3], max_new_tokens=4, temperature=0)))
        4
        """
        self._check_request(prompt_ids, max_new_tokens, temperature, top_k)
        was_training = self.training
        self.eval()  # dropout must not speak while we generate
        try:
            weight = self.model.embed_tokens.weight
            generator = torch.Generator(device=weight.device)
            generator.manual_seed(seed) if seed is not None else generator.seed()
            cache = KeyValueCache(self.config, 1, len(prompt_ids) + max_new_tokens, like=weight)
            new = torch.tensor([list(prompt_ids)], device=weight.device)  # (1, prompt tokens), then (1, 1)
            for _ in range(max_new_tokens):
                hidden = self.hidden_states(new, cache)[:, -1]  # only the last token's scores are needed
                new = _choose(self.lm_head(hidden)[0].float(), temperature, top_k, generator).view(1, 1)
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
                "need max_new_tokens of 1 or more, temperature of 0 or more, and top_k of 1 or more (or None)"
            )
        if len(prompt_ids) + new > context:
            raise ValueError(
                f"the prompt has {len(prompt_ids)} tokens and {new} new ones are asked for, but the model's context "
                f"holds {context}; shorten the prompt or lower max_new_tokens"
            )


def _choose(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> Tensor:
    """Picks one token number from logits (vocab,)."""
    if temperature == 0:
        return logits.argmax()
    if top_k is not None and top_k < logits.numel():
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
    return torch.multinomial(torch.softmax(logits / temperature, dim=-1), 1, generator=generator)
