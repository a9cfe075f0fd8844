"""Two ways to do one thing, timed in turns: ours, theirs, ours, theirs. A machine that gets busier slows both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def seconds(action: Callable[[], object], repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        action()
    return (time.perf_counter() - start) / repeat


def compare(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    rounds: int = 9,
    repeat: int = 1,
    theirs_repeat: int | None = None,
) -> tuple[float, float, list[float]]:
    """(our median seconds, their median seconds, ratios theirs / ours round by round)."""
    ours(), theirs()  # the first call pays for allocations
    pairs = [(seconds(ours, repeat), seconds(theirs, theirs_repeat or repeat)) for _ in range(rounds)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        [b / a for a, b in pairs],
    )
