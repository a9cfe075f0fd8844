"""What a model with adapters writes, and which of its words are due to the adapters.

Not here: how it is drawn (minilora/figures/voices.py).
"""

from __future__ import annotations

import math
import re

import torch

from minilora.figures.voices import Voice
from minilora.lora import LoraModel

LIKELIER = 100  # a word counts as the adapter's own if the adapter made it this many times as likely
SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s|$)")


def voice(model: LoraModel, opening: str, text: str, name: str) -> Voice:
    """A continuation as a voice to draw; the words that the active adapters brought in are marked."""
    if not any(model.adapter_scales.values()):
        return Voice(name, [(word, False) for word in text.split()], adapted=False)
    return Voice(
        name, [(word, factor >= math.log(LIKELIER)) for word, factor in word_factors(model, opening, text)]
    )


def word_factors(model: LoraModel, opening: str, text: str) -> list[tuple[str, float]]:
    """Each word of a continuation, and how many times as likely the active adapters made it (natural logarithm).

    A word's probability is the product of those of its tokens, each given all tokens before it.

    Args:
        model: A language model with its tokenizer and active adapters.
        opening: What precedes the text.
        text: The continuation.

    Returns:
        (word, log of the factor) for each word of `text`.
    """
    encoding = model.tokenizer.encode(opening + text)
    adapted = _log_probabilities(model, encoding.ids)
    with model.disable_adapter():
        base = _log_probabilities(model, encoding.ids)
    gains = [a - b for a, b in zip(adapted, base, strict=True)]
    ends = [end for _, end in encoding.offsets[1:]]  # of the tokens that were predicted, in characters
    words = []
    for match in re.finditer(r"\S+", text):
        start, end = match.start() + len(opening), match.end() + len(opening)
        words.append((match.group(), sum(g for g, at in zip(gains, ends, strict=True) if start < at <= end)))
    return words


@torch.no_grad()
def _log_probabilities(model: LoraModel, ids: list[int]) -> list[float]:
    """Log-probability of each token but the first, given those before it."""
    was_training = model.training
    model.eval()
    scores = torch.log_softmax(model(torch.tensor([ids[:-1]]))[0].float(), dim=-1)  # (tokens - 1, vocabulary)
    model.train(was_training)
    return scores.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()


def whole_sentences(text: str) -> str:
    """Cuts a text after its last whole sentence; without one, "…" marks that it breaks off.

    A quotation mark at the end that has no partner goes too.

    >>> whole_sentences('The fox ran. "Stop!" he'), whole_sentences("The fox ran to the")
    ('The fox ran. "Stop!"', 'The fox ran to the…')
    >>> whole_sentences('The fox ran." He')
    'The fox ran.'
    """
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    if not ends:
        return f"{text.rstrip()}…"
    whole = text[: ends[-1]]
    return whole[:-1] if whole.endswith('"') and whole.count('"') % 2 else whole
