"""A block's two halves for very long rows: what checkpointing keeps waits in main memory, and the MLP runs in pieces.

With gradient checkpointing each block keeps its input, 8 KB a token for a model 4,096 wide: 32 blocks of a row of
60,000 tokens keep 16 GB on the GPU. In its backward pass a block is computed again as a whole, and the MLP's tensors,
3.5 times as wide as a token, take as much once more. Here

- what is kept is copied to main memory in the forward pass, and back in the backward pass;
- the MLP, which handles each token alone, is checkpointed by itself in pieces of TOKENS_AT_ONCE tokens. Attention needs
  the whole row, but its tensors are narrow.

Nothing is computed more often than with gradient checkpointing. The copies cost time: two of each token's state for a
block, each way. Main memory must hold them.

Not here: attention in pieces, several GPUs that share a row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint

from minilora.limits import TOKENS_AT_ONCE


def offloaded_block(block: Any, x: Tensor, cos: Tensor, sin: Tensor, preserve_rng_state: bool) -> Tensor:
    """What `block(x, cos, sin)` computes, keeping nothing on the GPU for the backward pass.

    Args:
        block: With the halves `add_attention(x, cos, sin)` and `add_feed_forward(x)`.
        x: (batch, tokens, hidden).
        cos: As for the block; a tensor that all blocks share stays where it is.
        sin: Like cos.
        preserve_rng_state: As in `torch.utils.checkpoint`.

    Returns:
        (batch, tokens, hidden).
    """
    how: Any = {"use_reentrant": False, "preserve_rng_state": preserve_rng_state}
    with save_on_cpu(pin_memory=x.is_cuda):  # what `checkpoint` saves, which is each function's argument
        x = checkpoint(lambda x: block.add_attention(x, cos, sin), x, **how)
        pieces = x.split(TOKENS_AT_ONCE, dim=1)
        return torch.cat([checkpoint(block.add_feed_forward, piece, **how) for piece in pieces], dim=1)
