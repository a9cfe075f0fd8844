"""Explorable: one LoRA layer while it learns an update, with its real numbers.

Not here: LoRA itself (lora/layer.py); the layer is small only so that every number of it can be seen.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from minilora.explorables.controls import slider
from minilora.figures.anatomy import draw
from minilora.lora import LoraConfig, LoraLinear, LoraModel, add_lora
from minilora.widgets.explorer import Explorer

IN, OUT, TRUE_RANK = 14, 10, 3
STEPS = (0, 1, 2, 3, 5, 10, 20, 50, 100)
RANKS = (1, 2, 3, 4)


class LoraAnatomy(Explorer):
    """A layer of 14 inputs and 10 outputs learns an update of rank 3: ranks 1 and 2 fall short, 3 and 4 suffice."""

    def __init__(self) -> None:
        for rank in RANKS:
            train(rank)  # now, so that no key press waits for it
        super().__init__(rank=slider("Rank r", RANKS, 1), step=slider("Step", STEPS, 0))

    def draw(self, rank: int, step: int) -> tuple[str, str]:
        return draw(**train(rank)[step], step=step)


@functools.cache
def train(rank: int) -> dict[int, dict[str, Any]]:
    """What `draw` needs after each of STEPS steps, but for the step."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, IN, generator=generator)
    tall = torch.randn(OUT, TRUE_RANK, generator=generator)
    target = 0.1 * tall @ torch.randn(TRUE_RANK, IN, generator=generator)  # (OUT, IN)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = nn.Sequential(nn.Linear(IN, OUT, bias=False))
        model = add_lora(base, LoraConfig(r=rank, lora_alpha=rank, target_modules=["0"]))
    start = matrices(model)
    wanted = x @ (start["W"] + target).T  # (64, OUT)
    optimizer = torch.optim.AdamW(model.trainable_parameters().values(), lr=0.03, weight_decay=0)
    states: dict[int, dict[str, Any]] = {}
    for step in range(max(STEPS) + 1):
        if step:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), wanted).backward()
            optimizer.step()
        if step in STEPS:
            states[step] = state(matrices(model), start, target)
    return states


def state(
    now: dict[str, torch.Tensor], start: dict[str, torch.Tensor], target: torch.Tensor
) -> dict[str, Any]:
    """What `draw` shows of one moment: the matrices, how far each has moved, and the share still missing."""
    missing = (target - now["delta"]).square().sum() / target.square().sum()
    return {name: matrix.tolist() for name, matrix in now.items()} | {
        "target": target.tolist(),
        "moved": {name: float((now[name] - start[name]).norm()) for name in "WAB"},
        "missing": float(missing),
    }


def matrices(model: LoraModel) -> dict[str, torch.Tensor]:
    """Copies of W (out, in), A (r, in), B (out, r) and the update "delta" (out, in)."""
    layer: LoraLinear = model.lora_layers()["0"]
    now = {"W": layer.base_layer.weight, "A": layer.lora_A["default"], "B": layer.lora_B["default"]}
    return {name: m.detach().clone() for name, m in now.items()} | {
        "delta": layer.get_delta_weight("default").detach()
    }
