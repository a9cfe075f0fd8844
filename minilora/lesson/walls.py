"""Two tasks that are built so that rank is what an adapter lacks: a change of known rank, and pairs to memorize.

Both have one linear layer of random weights, which LoRA or full fine-tuning must change. There is no language in them,
so nothing but the rank decides, and one run takes a fraction of a second. Not here: language models, whose tasks have
no rank that is known beforehand (directions.py looks for it), and the picture (minilora/figures/walls.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minilora.lora import LoraConfig, add_lora

WIDTH = 64  # numbers that go into the layer, and that come out
ROWS = 256  # random inputs in one step
RATE, WARMUP = 2e-2, 20  # of AdamW; the rate rises over WARMUP steps, then falls to zero
FULL_RATE = 1e-2


def learn_change(change_rank: int, r: int | str, steps: int = 200, seed: int = 0) -> float:
    """Lets an adapter learn a change of known rank, whose patterns are random and equally strong.

    Args:
        change_rank: Rank of the change that is to be learned, 1 ... 64.
        r: Rank of the adapter, or "full" to train the layer's own weights.
        steps: Training steps.
        seed: Seed of the layer, the change, and the inputs.

    Returns:
        How much of the change has been learned, 0 ... 1: one minus the energy of what is still missing.
    """
    torch.manual_seed(seed)
    out, into = (torch.linalg.qr(torch.randn(WIDTH, change_rank)).Q for _ in range(2))
    change = out @ into.T  # (out, in)
    layer, model = _layer_and_model(r)
    target = layer.weight.detach() + change

    def missing() -> Tensor:
        x = torch.randn(ROWS, WIDTH)
        return (model(x) - x @ target.T).square().mean()

    _train(model, missing, steps, r)
    with torch.no_grad():
        left = model(torch.eye(WIDTH)) - target.T
    return 1 - float(left.square().sum() / change.square().sum())


def memorize_pairs(pairs: int, r: int | str, steps: int = 200, seed: int = 0) -> float:
    """Lets an adapter memorize which name goes with which number, where nothing but memory helps.

    Names and numbers are random lists of 64 numbers each. The layer's answer to a name counts as right if it is more
    like the name's own number than like any other (the largest of the scalar products, as for a model's next token).

    Args:
        pairs: How many pairs there are.
        r: Rank of the adapter, or "full" to train the layer's own weights.
        steps: Training steps; each uses all pairs.
        seed: Seed of the layer and of the pairs.

    Returns:
        The share of the pairs that are known, 0 ... 1.
    """
    torch.manual_seed(seed)
    names, numbers = torch.randn(2, pairs, WIDTH)
    _, model = _layer_and_model(r)
    right = torch.arange(pairs)
    _train(model, lambda: F.cross_entropy(model(names) @ numbers.T, right), steps, r)
    with torch.no_grad():
        return float(((model(names) @ numbers.T).argmax(-1) == right).float().mean())


def _layer_and_model(r: int | str) -> tuple[nn.Linear, nn.Module]:
    layer = nn.Linear(WIDTH, WIDTH, bias=False)
    model = nn.Sequential(layer)
    if r == "full":
        return layer, model
    return layer, add_lora(model, LoraConfig(r=int(r), lora_alpha=int(r), target_modules=["0"]))


def _train(model: nn.Module, loss: Callable[[], Tensor], steps: int, r: int | str) -> None:
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=FULL_RATE if r == "full" else RATE, weight_decay=0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = (
                (FULL_RATE if r == "full" else RATE) * min(1, (step + 1) / WARMUP) * (1 - step / steps)
            )
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
