"""Cross entropy over the tokens to learn, without ever holding the scores of a long text at once; and `evaluate`.

Not here: other losses, masks besides IGNORE.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from minilora.training.datasets import IGNORE, TokenData, check_data

LOGITS_AT_ONCE = 2**25  # scores that the loss holds; a long text with a large vocabulary goes in pieces


class SummedLoss(nn.Module):
    """Cross entropy summed over all targets; one module, so that DistributedDataParallel can wrap the whole step."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model: Any = model
        self.by_pieces = hasattr(model, "hidden_states")  # our GPT; other models return all scores at once

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        """input_ids, targets (batch, tokens) -> a single number."""
        if self.by_pieces:
            return cross_entropy_in_pieces(self.model.hidden_states(input_ids), self.model.lm_head, targets)
        output = self.model(input_ids)
        logits = output if isinstance(output, Tensor) else output.logits  # (batch, tokens, vocab)
        return summed_cross_entropy(logits.flatten(0, 1), targets.flatten())


def summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """logits (tokens, vocab), targets (tokens,) -> a single number in float32."""
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORE, reduction="sum")


def cross_entropy_in_pieces(hidden: Tensor, output_layer: Any, targets: Tensor) -> Tensor:
    """Summed cross entropy of output_layer(hidden), never holding more than LOGITS_AT_ONCE scores.

    hidden (batch, tokens, hidden), targets (batch, tokens). A score per token and word of the vocabulary would be the
    largest tensor of all; in pieces, each computed again in the backward pass, it never exists whole.
    """

    def piece(h: Tensor, t: Tensor) -> Tensor:
        return summed_cross_entropy(output_layer(h), t)

    hidden, targets = hidden.flatten(0, 1), targets.flatten()  # (batch · tokens, hidden), (batch · tokens)
    size = max(1, LOGITS_AT_ONCE // output_layer.weight.shape[0])
    if len(targets) <= size:
        return piece(hidden, targets)
    total = hidden.new_zeros((), dtype=torch.float32)
    for h, t in zip(hidden.split(size), targets.split(size), strict=True):
        total = total + checkpoint(piece, h, t, use_reentrant=False)
    return total


@torch.no_grad()
def evaluate(model: nn.Module, data: TokenData, batch_size: int = 16) -> float:
    """Mean loss in nats per target token, on the device that the model is on; e to that power is the perplexity."""
    check_data(data, "data")
    was_training = model.training
    model.eval()
    loss, device = SummedLoss(model), next(model.parameters()).device
    batches = zip(data.input_ids.split(batch_size), data.targets.split(batch_size), strict=True)
    total = sum(float(loss(input_ids.to(device), targets.to(device))) for input_ids, targets in batches)
    model.train(was_training)
    return total / int((data.targets != IGNORE).sum())
