"""Cross entropy over the target tokens, in pieces that bound its memory; and `evaluate`, the mean held-out loss.

Not here: other losses, and masks besides IGNORE.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from minilora.limits import LOGITS_AT_ONCE
from minilora.training.datasets import IGNORE, TokenData, check_data


class SummedLoss(nn.Module):
    """A model and its loss as one module."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model: Any = model
        self.in_pieces = hasattr(model, "hidden_states")  # our GPT; other models return all logits at once

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        """Returns the summed cross entropy, a scalar; input_ids and targets are (batch, tokens)."""
        if self.in_pieces:
            return cross_entropy_in_pieces(self.model.hidden_states(input_ids), self.model.lm_head, targets)
        output = self.model(input_ids)
        logits = output if isinstance(output, Tensor) else output.logits  # (batch, tokens, vocab)
        return summed_cross_entropy(logits.flatten(0, 1), targets.flatten())


def summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns a float32 scalar, in nats; logits is (tokens, vocab), targets (tokens,)."""
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORE, reduction="sum")


def cross_entropy_in_pieces(hidden: Tensor, output_layer: Any, targets: Tensor) -> Tensor:
    """Summed cross entropy of output_layer(hidden), never holding more than LOGITS_AT_ONCE logits.

    The logits of a long text would be the largest tensor of all. In pieces, each recomputed in the backward pass,
    that tensor never exists as a whole.

    Args:
        hidden: (batch, tokens, hidden_size).
        output_layer: From hidden states to logits, a linear layer.
        targets: (batch, tokens).

    Returns:
        A float32 scalar, in nats.
    """

    hidden, targets = (
        hidden.flatten(0, 1),
        targets.flatten(),
    )  # (batch · tokens, hidden_size), (batch · tokens,)
    size = max(1, LOGITS_AT_ONCE // output_layer.out_features)
    if len(targets) <= size:
        return summed_cross_entropy(output_layer(hidden), targets)
    if type(output_layer) is nn.Linear and hidden.requires_grad and not _trains(output_layer):
        # 8 bytes a logit instead of 12, so half as many again have room
        total: Tensor = _LossOfFrozenLayer.apply(hidden, output_layer, targets, size + size // 2)
        return total
    random = type(output_layer) is not nn.Linear  # an adapter on it may have dropout
    total = hidden.new_zeros((), dtype=torch.float32)
    for h, t in zip(hidden.split(size), targets.split(size), strict=True):
        piece = checkpoint(_piece, h, t, output_layer, use_reentrant=False, preserve_rng_state=random)
        total = total + piece
    return total


def _piece(hidden: Tensor, targets: Tensor, output_layer: Any) -> Tensor:
    return summed_cross_entropy(output_layer(hidden), targets)


def _trains(layer: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters())


class _LossOfFrozenLayer(torch.autograd.Function):
    """Cross entropy in pieces. Each piece's gradient is computed with its loss, so no logits are computed twice.

    The gradient of a token's loss by its logits is softmax(logits) less 1 at the target. It is multiplied by the
    weight at once; what waits for the backward pass is only as wide as a hidden state.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, output_layer: nn.Linear, targets: Tensor, size: int) -> Tensor:
        gradient, total = torch.empty_like(hidden), hidden.new_zeros((), dtype=torch.float32)
        pieces = zip(hidden.split(size), targets.split(size), gradient.split(size), strict=True)
        for h, t, into in pieces:
            total += _loss_and_gradient(h, t, output_layer, into)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        # in float32: the scale, usually 1 / tokens, would be rounded to bfloat16 first
        return (gradient.float() * grad).to(gradient.dtype), None, None, None


def _loss_and_gradient(hidden: Tensor, targets: Tensor, output_layer: nn.Linear, gradient: Tensor) -> Tensor:
    """The summed loss of one piece; writes its gradient by hidden (tokens, hidden_size)."""
    log_p = F.log_softmax(output_layer(hidden).float(), dim=1)  # (tokens, vocab)
    loss = F.nll_loss(log_p, targets, ignore_index=IGNORE, reduction="sum")
    counts = (targets != IGNORE)[:, None]
    by_logits = log_p.exp_()  # in place: now it is softmax(logits)
    by_logits.scatter_add_(1, targets.clamp(min=0)[:, None], -counts.to(log_p.dtype))
    torch.mul(by_logits.to(hidden.dtype) @ output_layer.weight, counts, out=gradient)
    return loss


@torch.no_grad()
def evaluate(model: nn.Module, data: TokenData, batch_size: int = 16) -> float:
    """Measures a model's mean loss, on the device that it is on.

    Args:
        model: As for `Trainer`.
        data: Rows that the model should not have been trained on.
        batch_size: Rows per forward pass.

    Returns:
        The mean over all target tokens, in nats; e to that power is the perplexity.

    Raises:
        TypeError: If data is not a `TokenData`.
        ValueError: If it has no target token.
    """
    check_data(data, "data")
    was_training = model.training
    model.eval()
    loss, device = SummedLoss(model), next(model.parameters()).device
    batches = zip(data.input_ids.split(batch_size), data.targets.split(batch_size), strict=True)
    total = sum(float(loss(input_ids.to(device), targets.to(device))) for input_ids, targets in batches)
    model.train(was_training)
    return total / int((data.targets != IGNORE).sum())
