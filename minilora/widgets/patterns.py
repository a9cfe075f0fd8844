"""Explorable: a real weight change rebuilt from patterns, each of them one row stretched over the table.

Not here: the drawing (minilora/figures/patterns.py), and training.
"""

from __future__ import annotations

import torch

from minilora.explorables.controls import slider
from minilora.figures.patterns import draw
from minilora.figures.ranks import captured_energy
from minilora.widgets.explorer import Explorer

WINDOW = 24  # rows and columns that are shown, so that each number can be seen
RANKS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512)


class PatternBuilder(Explorer):
    """Adds up the patterns of a change, rank by rank, beside the change itself.

    Of a large matrix, the rows and columns that changed most are shown, sorted by the first pattern so that its shape
    can be seen. The shares are those of the whole matrix.

    Args:
        change: A weight change (out, in).
    """

    def __init__(self, change: torch.Tensor):
        self.change = change.detach().float()
        self.u, self.s, self.v = torch.linalg.svd(self.change, full_matrices=False)
        self.rows = _most_changed(self.change.norm(dim=1), self.u[:, 0])
        self.columns = _most_changed(self.change.norm(dim=0), self.v[0])
        ranks = [r for r in RANKS if r < len(self.s)] + [len(self.s)]
        super().__init__(rank=slider("Rank r", ranks, 0))

    def draw(self, rank: int) -> tuple[str, str]:
        tall, wide = (self.u * self.s)[self.rows], self.v[:, self.columns]  # (window, k), (k, window)
        column, row = (tall[:, rank - 1].tolist(), wide[rank - 1].tolist()) if rank else ([], [])
        return draw(
            self.change[self.rows][:, self.columns].tolist(),
            (tall[:, :rank] @ wide[:rank]).tolist(),
            column,
            row,
            rank,
            (self.change.shape[0], self.change.shape[1]),
            captured_energy(self.s.tolist(), rank),
        )


def _most_changed(sizes: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
    """The places with the largest sizes, in the order of their part in the pattern."""
    chosen = sizes.topk(min(WINDOW, len(sizes))).indices
    return chosen[pattern[chosen].argsort()]
