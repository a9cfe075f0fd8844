"""What is shown of a run while it trains: a bar, validation and samples, history.jsonl, TensorBoard where installed.

Not here: the loop (training/trainer.py), which calls `Watch` after each step.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from minilora.finetune.folder import HistoryFile
from minilora.finetune.models import context_of
from minilora.finetune.settings import FinetuneSettings
from minilora.training.trainer import Trainer

SAMPLE_TOKENS = 40
TIMED_STEPS = 3  # after so many, the time that is left can be estimated


class Watch:
    """Called by the trainer after each step.

    Args:
        trainer: Before its first step, or resumed.
        settings: The run's settings.
        prompt: What samples continue.
        say: Prints a line.
        bar: Whether to show a bar.
    """

    def __init__(self, trainer: Trainer, settings: FinetuneSettings, prompt: str, say: Any, bar: bool):
        self.every = settings.eval_steps or trainer.max_steps
        self.prompt, self.samples, self.say = prompt, not settings.no_samples, say
        self.begun = trainer.step
        self.history = HistoryFile(Path(settings.out), trainer.step)
        self.board: Any = None
        if settings.tensorboard:
            self.board = import_summary_writer()(
                str(Path(settings.out, "tensorboard")), purge_step=trainer.step
            )
        self.before = self.history.sample_before()
        if trainer.step == 0 and self.samples:
            self.before = sample(trainer.model, prompt)
        self.bar = tqdm(total=trainer.max_steps, initial=trainer.step, unit="step", disable=not bar)

    def __call__(self, trainer: Trainer) -> None:
        """Shows and logs the step that was just made."""
        history, step = trainer.history, trainer.step
        if step == 1:
            first = {"sample": self.before} if self.before is not None else {}
            self.history.add(step=0, validation_loss=history.validation_losses[0], **first)
        line: dict[str, Any] = {
            "step": step,
            "loss": history.losses[-1],
            "learning_rate": history.learning_rates[-1],
        }
        line |= {"tokens": history.tokens[-1], "seconds": round(history.seconds[-1], 4)}
        if history.validation_steps[-1] == step:
            line["validation_loss"] = history.validation_losses[-1]
        if (
            self.samples and step % self.every == 0 and step < trainer.max_steps
        ):  # the last one is in the report
            line["sample"] = sample(trainer.model, self.prompt)
        self.history.add(**line)
        self._show(trainer, line)
        self._log(line)

    def _show(self, trainer: Trainer, line: dict[str, Any]) -> None:
        done = trainer.step - self.begun
        self.bar.update()
        self.bar.set_postfix_str(
            f"loss {line['loss']:.3f}, validation {trainer.history.validation_losses[-1]:.3f}, "
            f"{trainer.history.tokens_per_second:,.0f} tokens/s"
        )
        if done == TIMED_STEPS and trainer.max_steps > trainer.step:
            left = trainer.max_steps - trainer.step
            seconds = sum(trainer.history.seconds[-2:]) / 2 * left  # the first step of a process is slower
            self._write(f"about {duration(seconds)} for the {left} steps left")
        if "validation_loss" in line:
            self._write(
                f"step {trainer.step}: loss {line['loss']:.3f}, validation {line['validation_loss']:.3f}"
            )
        if "sample" in line:
            self._write(f"  {' '.join(self.prompt.split())[-60:]} [{' '.join(line['sample'].split())}]")

    def _write(self, text: str) -> None:
        with tqdm.external_write_mode(file=sys.stdout):
            self.say(text)

    def _log(self, line: dict[str, Any]) -> None:
        for key in ("loss", "learning_rate", "validation_loss") if self.board else ():
            if key in line:
                self.board.add_scalar(key, line[key], line["step"])

    def close(self) -> None:
        """Ends the bar and the logs."""
        self.bar.close()
        self.history.file.close()
        if self.board:
            self.board.close()


def import_summary_writer() -> Any:
    """TensorBoard's writer; an ImportError where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError(
            "--tensorboard needs the package tensorboard; history.jsonl has the same numbers"
        ) from None
    return SummaryWriter


def sample(model: Any, prompt: str) -> str:
    """The likeliest continuation of a prompt, some words long."""
    room = context_of(model) - len(model.tokenizer.encode(prompt).ids)
    return "".join(model.stream(prompt, min(SAMPLE_TOKENS, room), temperature=0)) if room > 0 else ""


def duration(seconds: float) -> str:
    """Writes a time as one says it.

    >>> duration(42), duration(150), duration(4020)
    ('42 s', '2 min 30 s', '1 h 7 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
