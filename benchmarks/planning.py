"""How long a plan takes: well below a millisecond, so that a slider can ask for three at each step.

python benchmarks/planning.py
"""

from __future__ import annotations

import statistics
import time

from minilora.memory import METHODS, plan_memory

ROUNDS = 200


def microseconds(model: str, method: str) -> list[float]:
    """One plan at a time, each with another length, as a slider would ask."""
    times = []
    for i in range(ROUNDS):
        start = time.perf_counter()
        plan = plan_memory(model, method, target_modules="all-linear", sequence_length=128 + i)
        assert plan.total
        times.append((time.perf_counter() - start) * 1e6)
    return times


def main() -> None:
    print(f"{'':24}{'median':>12}{'95 %':>12}")
    for model in ("tiny-gpt", "llama-3.1-8b", "llama-3.1-405b"):
        for method in METHODS:
            times = sorted(microseconds(model, method))
            slow = times[int(0.95 * len(times))]
            print(f"{model + ', ' + method:24}{statistics.median(times):9.0f} µs{slow:9.0f} µs")


if __name__ == "__main__":
    main()
