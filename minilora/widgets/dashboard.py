"""Explorable: a training run, drawn while it runs.

Not here: the loop, its history and the way to stop it (minilora/training/trainer.py).
"""

from __future__ import annotations

import time
from typing import Any

from ipywidgets import Button, Label

from minilora.figures.dashboard import draw
from minilora.training import Trainer
from minilora.widgets.explorer import Explorer, control_row

DRAW_EVERY = 0.2  # seconds: smooth enough for the eye, and about one percent of the loop's time
SAMPLE_EVERY = 5.0  # seconds
SAMPLE_TOKENS = 30


class TrainingDashboard(Explorer):
    """Show it, then call `trainer.train()` in the same or a later cell; the picture follows.

    A function that `trainer.on_step` held before is still called. ■ in the toolbar always stops a run after its
    step; the button here does so wherever the kernel listens to buttons while a cell runs.

    Args:
        trainer: The run to show; its `on_step` is set.
        prompt: What the samples continue, by default the beginning of the first training text; "" takes no samples.
    """

    def __init__(self, trainer: Trainer, prompt: str | None = None):
        self.trainer, self.on_step_before = trainer, trainer.on_step
        tokenizer = getattr(trainer.model, "tokenizer", None)
        if prompt is None and tokenizer is not None:
            prompt = tokenizer.decode(trainer.train_data.input_ids[0, :10].tolist())
        self.prompt = prompt if tokenizer is not None else ""
        self.sample, self.drawn_at, self.sampled_at = "", 0.0, 0.0
        self.stop = Button(description="Stop", icon="stop", tooltip="Stop after the running step")
        self.stop.on_click(lambda button: trainer.stop())
        _answer_beside_a_cell(self.stop)
        super().__init__()
        hint = Label("or ■ in the toolbar; what was learned is kept")
        self.children = (control_row([self.stop, hint]), *self.children)  # type: ignore[has-type]  # a trait
        trainer.on_step = self.follow

    def follow(self, trainer: Trainer) -> None:
        """Called by the trainer after each step; draws at most five times a second, and at the end."""
        if self.on_step_before is not None:
            self.on_step_before(trainer)
        now, over = time.monotonic(), self.state() != "training"
        if self.prompt and (over or now - self.sampled_at > SAMPLE_EVERY):
            text = trainer.model.generate(self.prompt, SAMPLE_TOKENS, seed=0)
            self.sample, self.sampled_at = f"Sample: {self.prompt}{text}", time.monotonic()
        if over or now - self.drawn_at > DRAW_EVERY:
            self.redraw()
            self.drawn_at = time.monotonic()

    def state(self) -> str:
        """ "training", "stopped" or "done"."""
        if self.trainer.step == self.trainer.max_steps:
            return "done"
        return "stopped" if self.trainer.stop_requested else "training"

    def draw(self) -> tuple[str, str]:
        trainer, history = self.trainer, self.trainer.history
        recent = history.seconds[-20:]
        left = (trainer.max_steps - trainer.step) * sum(recent) / max(1, len(recent))
        validation = list(zip(history.validation_steps, history.validation_losses, strict=True))
        speed = history.tokens_per_second
        return draw(trainer.max_steps, history.losses, validation, speed, left, self.sample, self.state())


def _answer_beside_a_cell(control: Any) -> None:
    """Lets a click arrive while a cell runs.

    JupyterLab sends it to a second thread beside the cell's. From version 7.4 on, ipykernel moves it to the thread that
    made the control, which is the cell's and busy; this private hook keeps the thread that JupyterLab chose.
    """
    if hasattr(control.comm, "_reply_subshell_for"):
        control.comm._reply_subshell_for = lambda data, chosen: chosen
