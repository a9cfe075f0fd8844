"""Pictures of this model's own numbers, one call each, for the last line of a cell.

Not here: how they are drawn (minilora/figures), and pictures with controls (minilora/widgets).
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import torch
from ipywidgets import HTML, VBox

from minilora.figures import one_weight as one_weight_figure
from minilora.figures import thin_additions, walls
from minilora.figures.svg import still_html


class Picture(VBox):
    """`svg`, and below it `sentence`, which says the same in words."""

    def __init__(self, svg: str, sentence: str):
        self.svg, self.sentence = svg, sentence
        super().__init__([HTML(f'{svg}<p aria-hidden="true">{escape(sentence)}</p>')])
        self.add_class("minilora")

    def __repr__(self) -> str:
        return self.sentence

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        return bundle | {"text/plain": repr(self), "text/html": still_html(self.svg, self.sentence)}


def one_weight(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> Picture:
    """Draws the first number of a weight tensor, with its gradient and the two averages that Adam keeps.

    Args:
        weight: A trained tensor that still has its gradient.
        optimizer: Adam or AdamW, after a step.
    """
    state = optimizer.state[weight]
    tensors = [weight.detach(), weight.grad, state["exp_avg"], state["exp_avg_sq"]]
    numbers = [float(tensor.flatten()[0]) for tensor in tensors]
    return Picture(*one_weight_figure.draw(numbers, [tensor.element_size() for tensor in tensors]))


def layer_and_additions(name: str, layer: torch.nn.Linear, r: int) -> Picture:
    """Draws a linear layer and the two matrices that LoRA would add to it, to scale.

    Args:
        name: Name of the layer.
        layer: The layer itself.
        r: The rank.
    """
    return Picture(*thin_additions.draw(name, layer.out_features, layer.in_features, r))


def learned_by_rank(learned: Mapping[str, Mapping[int | str, float]]) -> Picture:
    """Draws how much of each task adapters of several ranks have learned.

    Args:
        learned: Task -> rank, or "full" -> the share learned, 0 ... 1.
    """
    return Picture(*walls.draw(learned))
