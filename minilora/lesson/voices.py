"""Several adapters answer at once, in one batch: each row of it has an adapter of its own.

Not here: the arithmetic of such a batch (minilora/lora/mixed_batch.py), and how the texts are drawn
(minilora/figures/voices.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from IPython.display import display

from minilora.figures.voices import Voice, draw
from minilora.generation import KeyValueCache, choose_token
from minilora.lesson.pictures import Picture
from minilora.lesson.showing import show_table
from minilora.lora import LoraModel
from minilora.lora.mixed_batch import BASE, mixing
from minilora.training import TokenData, evaluate
from minilora.widgets.adapters import using
from minilora.widgets.voices import LIKELIER, voice, whole_sentences

HEADING = "One model, one opening, all voices at once"
NOTE = f"Underlined: words that the adapter made at least {LIKELIER} times as likely as the base does."
DRAW_EVERY = 0.2  # seconds


def write_together(
    model: LoraModel, opening: str, names: Sequence[str], max_new_tokens: int = 60, seed: int = 3
) -> dict[str, str]:
    """Continues one opening with several adapters in one batch, and shows the texts while they grow.

    Args:
        model: A model with these adapters.
        opening: The first words.
        names: One adapter for each row of the batch; "__base__" is the base without any.
        max_new_tokens: Upper limit of each text.
        seed: The random seed of every row: apart from rounding, each row gets the text that its adapter writes alone.

    Returns:
        What each wrote after the opening, by name.
    """
    labels = ["base" if name == BASE else name for name in names]
    shown, drawn = display(_Growing(opening, labels, ["▌"] * len(names)), display_id=True), time.monotonic()
    texts = [""] * len(names)
    for texts in texts_together(model, opening, names, max_new_tokens, seed):
        if shown is not None and time.monotonic() - drawn > DRAW_EVERY:
            shown.update(_Growing(opening, labels, [f"{text} ▌" for text in texts]))
            drawn = time.monotonic()
    texts = [whole_sentences(text) for text in texts]
    voices = []
    for name, label, text in zip(names, labels, texts, strict=True):
        with using(model, {} if name == BASE else {name: 1.0}):
            voices.append(voice(model, opening, text, label))
    if shown is not None:
        shown.update(Picture(*draw(opening, voices, HEADING, NOTE)))
    return dict(zip(labels, texts, strict=True))


@torch.no_grad()
def texts_together(
    model: LoraModel, opening: str, names: Sequence[str], max_new_tokens: int, seed: int
) -> Iterator[list[str]]:
    """All texts, after each new token; a row that has reached a stop token no longer grows."""
    ids, stop = model.tokenizer.encode(opening).ids, model.stop_tokens()
    dice = [torch.Generator().manual_seed(seed) for _ in names]
    written: list[list[int]] = [[] for _ in names]
    done = [False] * len(names)
    new = torch.tensor([ids] * len(names))  # (rows, prompt tokens), then (rows, 1)
    cache = KeyValueCache(
        model.config, len(names), len(ids) + max_new_tokens, model.model.embed_tokens.weight
    )
    with evaluating(model), mixing(model.lora_layers().values(), names):
        while not all(done) and len(written[0]) < max_new_tokens:
            scores = model.lm_head(model.hidden_states(new, cache)[:, -1]).float()  # (rows, vocabulary)
            new = torch.stack(
                [choose_token(row, 0.7, 50, die) for row, die in zip(scores, dice, strict=True)]
            )
            new = new.view(-1, 1)
            for row, token in enumerate(new[:, 0].tolist()):
                done[row] = done[row] or token in stop
                written[row].append(token)
            ends = [next((i for i, t in enumerate(tokens) if t in stop), None) for tokens in written]
            yield [model.tokenizer.decode(tokens[:end]) for tokens, end in zip(written, ends, strict=True)]


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode inside, so that dropout is off."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def layer_adapters(model: LoraModel, layer: str) -> dict[str, dict]:
    """The adapters of one layer as NumPy arrays: name -> {"A": (r, in), "B": (out, r), "alpha": a number}.

    The update is alpha / r · B A, for rsLoRA too.
    """
    found = model.lora_layers()[layer]
    return {
        name: {
            "A": found.lora_A[name].detach().numpy().astype(np.float64),
            "B": found.lora_B[name].detach().numpy().astype(np.float64),
            "alpha": config.scaling * config.r,
        }
        for name, config in found.configs.items()
    }


def model_change(model: LoraModel, layer: str) -> np.ndarray:
    """What the active adapters add to a layer's weight, taken from what the layer computes (out, in)."""
    found = model.lora_layers()[layer]
    ones = torch.eye(found.base_layer.in_features)  # row i of the result is column i of the weight
    with torch.no_grad():
        return (found(ones) - found.base_layer(ones)).T.numpy()


def losses_by_adapter(model: LoraModel, held_out: Mapping[str, TokenData]) -> dict[str, dict[str, float]]:
    """The loss of each adapter, and of the base, on text of each style; also shown as a table.

    Args:
        model: Its adapters are tried one by one.
        held_out: Text by the name of its style.

    Returns:
        Name of the adapter, or "no adapter" -> style -> loss.
    """
    losses = {}
    for name in ("no adapter", *model.peft_config):
        with using(model, {name: 1.0} if name in model.peft_config else {}):
            losses[name] = {style: evaluate(model, data) for style, data in held_out.items()}
    rows = [[name, *(f"{loss:.2f}" for loss in row.values())] for name, row in losses.items()]
    show_table(["adapter", *(f"{style} text" for style in held_out)], rows)
    return losses


class _Growing:
    """The picture while the texts grow: no widget, so that each update replaces the one before."""

    def __init__(self, opening: str, labels: Sequence[str], texts: Sequence[str]):
        voices = [
            Voice(label, [(word, False) for word in text.split()], label != "base")
            for label, text in zip(labels, texts, strict=True)
        ]
        self.svg, self.sentence = draw(opening, voices, HEADING, NOTE, least_lines=2)

    def __repr__(self) -> str:
        return self.sentence

    def _repr_html_(self) -> str:
        return self.svg
