"""How long something takes, measured so that other programs on the machine disturb little.

Not here: benchmarks, which record their figures (benchmarks/).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from minilora.lora import LoraModel

ROUNDS = 5


def fastest(action: Callable[[], object], times: int = 1) -> float:
    """Measures the seconds of one call: the minimum over five rounds, since other programs can only make it longer.

    Args:
        action: What to measure.
        times: Calls per round, for an action that is too quick to measure alone.
    """
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(times):
            action()
        rounds.append((time.perf_counter() - start) / times)
    return min(rounds)


@torch.no_grad()
def reading_times(model: LoraModel, input_ids: torch.Tensor) -> dict[str, float]:
    """Measures how long a forward pass takes: of the base, with its active adapters, and with these merged.

    Args:
        model: A model with an active adapter; it is left as it was.
        input_ids: (rows, tokens).

    Returns:
        Seconds for "base", "separate adapter" and "merged adapter".
    """
    found: dict[str, list[float]] = {"base": [], "separate adapter": [], "merged adapter": []}
    for _ in range(3):  # in turn, so that a busy moment of the machine hits all three
        with model.disable_adapter():
            found["base"].append(fastest(lambda: model(input_ids)))
        found["separate adapter"].append(fastest(lambda: model(input_ids)))
        model.merge_adapter()
        found["merged adapter"].append(fastest(lambda: model(input_ids)))
        model.unmerge_adapter()
    return {name: min(seconds) for name, seconds in found.items()}
