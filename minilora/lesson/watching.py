"""What a page watches while a model trains: the text that it writes, the numbers that change, the files it leaves.

Not here: training itself (minilora/training), and memory (minilora/memory).
"""

from __future__ import annotations

import dataclasses
import html
import os
from pathlib import Path
from typing import Any

import torch
from IPython.display import display

from minilora.figures.passage import EDGE, Passage
from minilora.figures.svg import MOST, bytes_in_words
from minilora.lesson.showing import show_table
from minilora.training import Trainer
from minilora.widgets.voices import whole_sentences


def write(model: Any, opening: str, max_new_tokens: int = 60, seed: int = 1) -> str:
    """Continues an opening and ends at the last whole sentence.

    Args:
        model: A GPT or a LoraModel around one.
        opening: The first words.
        max_new_tokens: Upper limit of what the model adds.
        seed: The same seed gives the same text.

    Returns:
        The opening and its continuation.
    """
    return whole_sentences(opening + model.generate(opening, max_new_tokens=max_new_tokens, seed=seed))


def watch(trainer: Trainer, opening: str, every: int = 10, max_new_tokens: int = 40) -> None:
    """Shows what the model makes of an opening: now, and every few steps of the training that follows.

    Args:
        trainer: Its `on_step` is set.
        opening: The first words of each sample.
        every: Steps from one sample to the next.
        max_new_tokens: Upper limit of each sample.
    """
    samples = Samples()
    shown = display(samples, display_id=True)

    def sample(trainer: Trainer) -> None:
        if trainer.step % every == 0:
            samples.add(trainer.step, write(trainer.model, opening, max_new_tokens))
            if shown is not None:  # None where nothing can be shown, as in a plain program
                shown.update(samples)

    sample(trainer)
    trainer.on_step = sample


class Samples:
    """Texts by the step at which they were written, the newest in bold.

    >>> samples = Samples()
    >>> samples.add(0, "The fox ran.")
    >>> samples.add(10, "The fox shall run.")
    >>> samples
    step 0: The fox ran.
    step 10: The fox shall run.
    """

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}

    def add(self, step: int, text: str) -> None:
        self.texts[step] = text

    def __repr__(self) -> str:
        return "\n".join(repr(Passage(text, f"step {step}")) for step, text in self.texts.items())

    def _repr_html_(self) -> str:
        rows = []
        for step, text in self.texts.items():
            weight = "bold" if step == max(self.texts) else "normal"
            words = html.escape(" ".join(text.split()))
            rows.append(
                f'<p style="margin: 0 0 6px"><b>step {step}</b> <span style="font-weight: {weight}">{words}</span></p>'
            )
        return f'<div style="{EDGE}; max-width: {MOST}px; line-height: 1.4">{"".join(rows)}</div>'


@dataclasses.dataclass(frozen=True)
class Changes:
    """How much of a model has changed since its snapshot.

    Attributes:
        tensors: Tensors in which any number differs.
        all_tensors: Tensors in the model.
        numbers: Numbers that differ.
        all_numbers: Numbers in the model.
        size: Length of the whole change, relative to the length of all weights.
    """

    tensors: int
    all_tensors: int
    numbers: int
    all_numbers: int
    size: float


class Snapshot:
    """A copy of all weights of a model, to see later what has changed.

    It holds on to the weights themselves, not to their names, so it still finds them after `add_lora`.

    >>> layer = torch.nn.Linear(2, 3)
    >>> snapshot = Snapshot(layer)
    >>> _ = layer.bias.data.add_(1)
    >>> snapshot.changes().tensors, snapshot.changes().numbers
    (1, 3)
    """

    def __init__(self, model: torch.nn.Module):
        self.pairs = [(weight, weight.detach().clone()) for weight in model.parameters()]

    def changes(self) -> Changes:
        moves = [weight.detach().to(old.device) - old for weight, old in self.pairs]
        differing = [int(move.count_nonzero()) for move in moves]
        moved = sum(float(move.square().sum()) for move in moves)
        size = sum(float(old.square().sum()) for _, old in self.pairs)
        total = sum(old.numel() for _, old in self.pairs)
        return Changes(
            sum(count > 0 for count in differing), len(moves), sum(differing), total, (moved / size) ** 0.5
        )


def show_files(folder: str | os.PathLike[str]) -> None:
    """Shows the files in a folder with their sizes."""
    files = sorted(Path(folder).iterdir())
    show_table(["file", "size"], [[file.name, bytes_in_words(file.stat().st_size)] for file in files])
