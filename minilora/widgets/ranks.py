"""Explorable: how many patterns a weight change has, and the loss that a LoRA of each rank reaches.

Not here: the runs that are shown (benchmarks/rank_spectrum.py), and any decomposition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minilora.explorables.controls import slider
from minilora.explorables.ranks import read_recorded
from minilora.figures.ranks import draw
from minilora.widgets.explorer import Explorer


class RankExplorer(Explorer):
    """The singular values of a weight change, and the loss that LoRA reaches with each rank.

    Without arguments it shows a recorded run: the tiny GPT fully fine-tuned on a style, one layer's change, and LoRA of
    several ranks on the same data.

    Args:
        spectra: Singular values by name, the change of interest first, then references such as a random matrix.
        losses: Validation loss by rank, with "base" and "full" where known.
    """

    def __init__(
        self,
        spectra: Mapping[str, Sequence[float]] | None = None,
        losses: Mapping[int | str, float] | None = None,
    ):
        if spectra is None:
            spectra, recorded = read_recorded()
            losses = recorded if losses is None else losses
        self.spectra = {name: [float(value) for value in values] for name, values in spectra.items()}
        self.losses = losses
        longest = len(next(iter(self.spectra.values())))
        ranks = [2**i for i in range(20) if 2**i <= longest]
        super().__init__(rank=slider("Rank r", ranks, 1))

    def draw(self, rank: int) -> tuple[str, str]:
        return draw(rank, self.spectra, self.losses)
