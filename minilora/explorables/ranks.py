"""The recorded run that the rank explorable shows when it is given no other.

Not here: how it was made (benchmarks/rank_spectrum.py), and its picture (minilora/figures/ranks.py).
"""

from __future__ import annotations

import json

from minilora.files import ASSETS

RECORDED = ASSETS / "rank_spectrum.json"


def read_recorded() -> tuple[dict[str, list[float]], dict[int | str, float]]:
    """Singular values by name, and validation losses by rank, "base" and "full"."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    losses = {int(key) if key.isdigit() else key: value for key, value in recorded["losses"].items()}
    return recorded["spectra"], losses
