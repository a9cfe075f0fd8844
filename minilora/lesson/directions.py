"""A weight change taken apart into patterns (singular value decomposition), and what a model does with some of them.

Not here: the pictures (minilora/figures/patterns.py, ranks.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from minilora.figures.ranks import captured_energy
from minilora.training.datasets import TokenData
from minilora.training.loss import evaluate

LINEAR = ".layers."  # in the names of the weights that LoRA could adapt, as far as they are matrices


def weight_changes(before: nn.Module, after: nn.Module) -> dict[str, Tensor]:
    """What training added to each matrix of the blocks, by name: new weights minus old ones."""
    old, new = before.state_dict(), after.state_dict()
    return {name: new[name] - old[name] for name in old if LINEAR in name and old[name].ndim == 2}


def share_held(matrix: Tensor, r: int) -> float:
    """Share (0 … 1) of the energy that the r strongest patterns hold; energy is the sum of all squared numbers.

    >>> share_held(torch.diag(torch.tensor([2.0, 1.0, 1.0])), r=1)  # 4 of 6
    0.6666666666666666
    """
    return captured_energy(torch.linalg.svdvals(matrix).tolist(), r)


def random_like(matrix: Tensor, seed: int = 0) -> Tensor:
    """Random numbers in the matrix's shape, with the same energy."""
    numbers = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(seed))
    return numbers * (matrix.norm() / numbers.norm())


class Kept(NamedTuple):
    """What is left when each change is cut to rank r: shares of its energy, and of the gain in loss."""

    energy: float
    gain: float
    by_chance: float  # the gain left with r random directions instead


def keep_strongest(
    before: nn.Module, after: nn.Module, validation_data: TokenData, ranks: Sequence[int]
) -> dict[int, Kept]:
    """Cuts every matrix's change to a few patterns, and measures what the model still gained, rank by rank.

    All other changes (embeddings, norms) stay whole. `after` has its own weights back when this returns.
    """
    changes = weight_changes(before, after)
    old, new = before.state_dict(), {name: weight.clone() for name, weight in after.state_dict().items()}

    def loss(cut: Mapping[str, Tensor]) -> float:
        after.load_state_dict(new | {name: old[name] + part for name, part in cut.items()})
        return evaluate(after, validation_data)

    try:
        nothing, everything = loss({name: torch.zeros(()) for name in changes}), loss({})
        parts = {name: torch.linalg.svd(change, full_matrices=False) for name, change in changes.items()}
        kept = {}
        for r in ranks:
            strongest = {name: u[:, :r] * s[:r] @ v[:r] for name, (u, s, v) in parts.items()}
            random = {name: in_random_directions(change, r) for name, change in changes.items()}
            gains = [(nothing - loss(cut)) / (nothing - everything) for cut in (strongest, random)]
            kept[r] = Kept(_energy(strongest.values()) / _energy(changes.values()), *gains)
            print(f"rank {r} measured", flush=True)
        return kept
    finally:
        after.load_state_dict(new)


def in_random_directions(change: Tensor, r: int, seed: int = 0) -> Tensor:
    """The part of a change (out, in) that reacts to r input directions drawn at random."""
    drawn = torch.randn(change.shape[1], r, generator=torch.Generator().manual_seed(seed))
    directions = torch.linalg.qr(drawn).Q  # (in, r), orthonormal
    return change @ directions @ directions.T


def _energy(matrices: Iterable[Tensor]) -> float:
    return float(sum(matrix.square().sum() for matrix in matrices))
