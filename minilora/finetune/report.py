"""What a run came to: its numbers, the same prompt continued before and after, and the commands that come next."""

from __future__ import annotations

import dataclasses
import itertools
import math
import textwrap

RISEN = 0.02  # nats above its lowest value, from where a rise of the validation loss is worth a word
COLUMN = 46  # characters, of two beside each other


@dataclasses.dataclass
class Report:
    """The numbers of a run; printed, they are what the textbook asks a learner to write down.

    Attributes:
        method: "lora", "qlora" or "full".
        trainable: Number of trained weights.
        total: Number of all weights.
        file_bytes: Size of the saved weights.
        peak_memory: Bytes.
        seconds: Time of all steps together.
        steps: Steps done.
        validation_before: Held-out loss before training, in nats.
        validation_after: The same after training.
        validation_best: The lowest of all that were measured.
        best_step: After which step that was.
        folder: Where the result is.
        prompt: What the samples continue.
        sample_before: The base's continuation, or None if no samples were asked for.
        sample_after: The trained model's.
        commands: What one does next, as lines to type.
    """

    method: str
    trainable: int
    total: int
    file_bytes: int
    peak_memory: int
    seconds: float
    steps: int
    validation_before: float
    validation_after: float
    validation_best: float
    best_step: int
    folder: str
    prompt: str = ""
    sample_before: str | None = None
    sample_after: str | None = None
    commands: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        before, after = self.validation_before, self.validation_after
        rows = {
            "method": self.method,
            "trainable weights": f"{self.trainable:,} of {self.total:,} ({self.trainable / self.total:.2%})",
            "validation loss": f"{before:.3f} before, {after:.3f} after",
            "perplexity": f"{perplexity(before)} before, {perplexity(after)} after",
            "saved file": f"{self.file_bytes / 1e6:.2f} MB",
            "peak memory": f"{self.peak_memory / 1e9:.2f} GB",
            "time": f"{self.seconds:.0f} s for {self.steps} steps ({self.seconds / max(1, self.steps):.2f} s each)",
            "saved in": self.folder,
        }
        lines = [f"{name:18} {value}" for name, value in rows.items()]
        if self.validation_best < after - RISEN:
            lines.append(
                f"{'overfitting':18} validation was lowest after step {self.best_step} ({self.validation_best:.3f}); "
                "fewer steps or more text would do better"
            )
        if self.sample_before is not None and self.sample_after is not None:
            lines += ["", *side_by_side(self.prompt, self.sample_before, self.sample_after)]
        if self.commands:
            lines += ["", "next:", *(f"  {line}" for line in self.commands)]
        return "\n".join(lines)


def perplexity(loss: float) -> str:
    """e to the power of the loss: among how many equally likely tokens the model hesitates.

    >>> perplexity(2.0), perplexity(1000.0)
    ('7.4', 'above 1e+15')
    """
    return f"{math.exp(loss):,.1f}" if loss < math.log(1e15) else "above 1e+15"


def side_by_side(prompt: str, before: str, after: str) -> list[str]:
    """Two continuations in two columns."""
    columns = [textwrap.wrap(" ".join(text.split()), COLUMN) or ["(nothing)"] for text in (before, after)]
    rows = itertools.zip_longest(*columns, fillvalue="")
    return [
        *textwrap.wrap(f"prompt: {' '.join(prompt.split())[-200:]}", 2 * COLUMN),
        f"{'before':{COLUMN}}   after",
        *(f"{left:{COLUMN}}   {right}".rstrip() for left, right in rows),
    ]
