"""The recorded comparison of full fine-tuning, LoRA and QLoRA on three styles: the one source for how close they are.

Not here: measuring it anew (benchmarks/three_tasks.py, half an hour).
"""

from __future__ import annotations

import dataclasses
import json
import statistics

from minilora.files import ASSETS

FILE = ASSETS / "three_tasks.json"


@dataclasses.dataclass(frozen=True)
class ThreeTasks:
    """Held-out losses.

    Attributes:
        about: The settings, in words.
        steps: Training steps of each run.
        before: Style -> loss of the base.
        after: Style -> method -> losses after training, one for each seed.
    """

    about: str
    steps: int
    before: dict[str, float]
    after: dict[str, dict[str, list[float]]]

    def share(self, method: str, style: str | None = None) -> float:
        """How much of full fine-tuning's gain a method reached; averaged over the styles if none is named."""
        if style is None:
            return statistics.mean(self.share(method, each) for each in self.before)
        gain = {
            name: self.before[style] - statistics.mean(losses) for name, losses in self.after[style].items()
        }
        return gain[method] / gain["full"]

    def lead(self, style: str) -> float:
        """How much lower full fine-tuning's loss is than LoRA's, in nats per token."""
        return statistics.mean(self.after[style]["LoRA"]) - statistics.mean(self.after[style]["full"])

    def spread(self, style: str) -> float:
        """How far two seeds of one method lie apart at most."""
        return max(max(losses) - min(losses) for losses in self.after[style].values())


def three_tasks() -> ThreeTasks:
    """Reads the record."""
    recorded = json.loads(FILE.read_text(encoding="utf-8"))
    losses = recorded["losses"]
    return ThreeTasks(
        recorded["about"],
        recorded["steps"][-1],
        {style: runs["full"][0][0] for style, runs in losses.items()},
        {
            style: {name: [run[-1] for run in seeds] for name, seeds in runs.items()}
            for style, runs in losses.items()
        },
    )
