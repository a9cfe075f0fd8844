"""The training loop: the same for full fine-tuning, LoRA and QLoRA, on a CPU, one GPU or several.

To read: `Trainer._train_step` is one step (forward, loss, backward, clip, update), `Trainer.train` repeats it. The
loss is always the mean over all target tokens of the whole batch, so computing a batch in parts, or on several
processes, gives the same gradient. Everything random follows from the seed and the step number alone, which is why a
resumed run is bit-identical to an uninterrupted one.

Beside it: the loss (loss.py), the learning rate over time (schedule.py), checks and the optimizer (setup.py), saving
and resuming (run_state.py), several processes (distributed.py).

Not here: mixed-precision scaling, splitting one model over several devices, hyperparameter search, plots.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from minilora.lora import LoraModel
from minilora.training.cuda_graph import GraphedPasses
from minilora.training.datasets import IGNORE, TokenData, check_data
from minilora.training.distributed import (
    choose_device,
    join_processes,
    peak_memory,
    share_weights,
    sum_gradients,
    sum_over_processes,
)
from minilora.training.interrupts import on_first_interrupt
from minilora.training.loss import SummedLoss, evaluate
from minilora.training.run_state import STATE_FILE, History, load_state, save_state
from minilora.training.schedule import SCHEDULES, schedule
from minilora.training.setup import (
    check_counts,
    check_cuda_graph,
    check_range,
    make_optimizer,
    set_gradient_checkpointing,
    trainable_parameters,
)


class TrainingDiverged(ArithmeticError):
    """The loss or the gradient was no longer a finite number."""


class Trainer:
    """Trains what is trainable in a model: the active adapter of a `LoraModel`, or all of a plain model.

    Under `torchrun` the same script runs as several processes; each takes its share of every batch.

    Args:
        model: Called with input_ids (batch, tokens), returns logits (batch, tokens, vocab) or an object with `.logits`.
        train_data: Rows of tokens to learn from.
        epochs: How often to go through the data; give this or `max_steps`.
        max_steps: How many optimizer steps to take.
        validation_data: Held-out rows, evaluated before the first step and after the last.
        batch_size: Rows per step, over all processes.
        gradient_accumulation_steps: Parts that each batch is computed in, to need less memory. Unlike in Transformers,
            `batch_size` counts all parts together.
        learning_rate: By default 5e-3 for LoRA and 5e-4 for full fine-tuning: LoRA's best rate is about ten times
            higher.
        warmup_ratio: Fraction of the steps over which the rate rises, before it falls.
        lr_scheduler_type: How it falls: to zero along a "cosine" or a "linear" line, or not at all, "constant".
        weight_decay: AdamW's, on matrices alone.
        max_grad_norm: Longer gradients are scaled down to this norm.
        seed: Determines the order of the rows, and dropout.
        eval_steps: Also evaluate `validation_data` every `eval_steps` steps.
        save_steps: Save the state in `output_dir` every `save_steps` steps, for `resume`.
        output_dir: Where `save` writes and `resume` reads.
        gradient_checkpointing: Recompute activations in the backward pass instead of keeping them.
        activation_offloading: With gradient checkpointing, keep the blocks' inputs in main memory instead of on the
            GPU, and compute the MLPs in pieces: for rows of tens of thousands of tokens. Only for our GPT.
        cuda_graph: Record a step's passes at the first batch and replay them as a CUDA graph, without the cost of
            starting thousands of kernels. Batches of another shape run as usual. Not with dropout or offloading.
        device: Where to train, by default on a GPU if there is one; afterwards the model is moved back.
        progress: Whether to show a progress bar.

    Attributes:
        step: Steps done so far.
        history: What happened so far.
        on_step: If set, called with the trainer after each step and its evaluation, for example to print a sample.

    Raises:
        TypeError: If the data is not `TokenData`.
        ValueError: If a setting is out of range, or nothing in the model is trainable.
    """

    def __init__(
        self,
        model: nn.Module,
        train_data: TokenData,
        *,
        epochs: int | None = None,
        max_steps: int | None = None,
        validation_data: TokenData | None = None,
        batch_size: int = 4,
        gradient_accumulation_steps: int = 1,
        learning_rate: float | None = None,
        warmup_ratio: float = 0.05,
        lr_scheduler_type: str = "cosine",
        weight_decay: float = 0.0,
        max_grad_norm: float = 1.0,
        seed: int = 0,
        eval_steps: int | None = None,
        save_steps: int | None = None,
        output_dir: str | os.PathLike[str] | None = None,
        gradient_checkpointing: bool = False,
        activation_offloading: bool = False,
        cuda_graph: bool = False,
        device: str | torch.device | None = None,
        progress: bool = True,
    ):
        check_data(train_data, "train_data")
        if validation_data is not None:
            check_data(validation_data, "validation_data")
        if (epochs is None) == (max_steps is None):
            raise ValueError(f"epochs={epochs}, max_steps={max_steps}: give one of the two")
        check_counts(
            epochs=epochs,
            max_steps=max_steps,
            batch_size=batch_size,
            gradient_accumulation_steps=gradient_accumulation_steps,
            eval_steps=eval_steps,
            save_steps=save_steps,
        )
        check_range("learning_rate", learning_rate or 0.0, math.inf)
        check_range("weight_decay", weight_decay, math.inf)
        check_range("warmup_ratio", warmup_ratio, 1)
        if lr_scheduler_type not in SCHEDULES:
            raise ValueError(
                f"lr_scheduler_type is {lr_scheduler_type!r}; choose from {', '.join(SCHEDULES)}"
            )
        if not max_grad_norm > 0:
            raise ValueError(
                f"max_grad_norm is {max_grad_norm!r}; it must be above 0, or nothing would be learned"
            )
        if save_steps is not None and output_dir is None:
            raise ValueError("save_steps needs a folder to save in; pass output_dir=...")
        self.model: Any = model
        self.train_data, self.validation_data = train_data, validation_data
        self.batch_size, self.gradient_accumulation_steps = batch_size, gradient_accumulation_steps
        self.steps_per_epoch = math.ceil(len(train_data) / batch_size)
        self.max_steps = max_steps if max_steps is not None else (epochs or 0) * self.steps_per_epoch
        default_rate = 5e-3 if isinstance(model, LoraModel) else 5e-4
        self.learning_rate = default_rate if learning_rate is None else learning_rate
        self.warmup_ratio, self.weight_decay, self.max_grad_norm = warmup_ratio, weight_decay, max_grad_norm
        self.lr_scheduler_type = lr_scheduler_type
        self.seed, self.eval_steps = seed, eval_steps
        self.save_steps, self.output_dir = save_steps, output_dir
        self.device = choose_device(model) if device is None else torch.device(device)
        self.process_rank, self.world_size = join_processes(self.device)
        self.progress = progress and self.process_rank == 0
        self.parameters = trainable_parameters(model)
        set_gradient_checkpointing(model, gradient_checkpointing, activation_offloading)
        self.cuda_graph = cuda_graph
        self.graph: GraphedPasses | None = None
        if cuda_graph:
            check_cuda_graph(model, self.device, activation_offloading)
        self.loss = SummedLoss(model)
        if self.world_size > 1:
            share_weights(model.to(self.device))
        self.optimizer = make_optimizer(self.parameters.values(), self.learning_rate, weight_decay)
        self.step = 0
        self.history = History()
        self.on_step: Callable[[Trainer], None] | None = None
        self.last_good: dict[str, Tensor] = {}  # the adapter as of its last finite loss
        self.stop_requested = False

    # -- the loop --------------------------------------------------------------------------------------------

    def train(self) -> History:
        """Trains to the end.

        An interrupt (the notebook's ■, Ctrl-C) or `stop()` ends it after the current step: the model keeps what it
        has learned, and calling `train()` again continues.

        Returns:
            The history so far.

        Raises:
            TrainingDiverged: If the loss or gradient is not finite; that step is not taken.
        """
        self.stop_requested = False
        was_training, home = self.model.training, next(self.model.parameters()).device
        devices = [self.device] if self.device.type == "cuda" else []
        bar = tqdm(total=self.max_steps, initial=self.step, unit="step", disable=not self.progress)
        with bar, torch.random.fork_rng(devices), on_first_interrupt(self.stop):
            try:
                self.model.to(self.device)
                if self.step == 0:
                    self._evaluate()
                while self.step < self.max_steps and not self._any_process_stopped():
                    loss = self._train_step()
                    speed = f"{self.history.tokens_per_second:,.0f} tokens/s"
                    bar.set_postfix_str(f"loss {loss:.3f}, {speed}", refresh=False)
                    bar.update()  # draws, at most ten times a second
                    at_end = self.step == self.max_steps
                    if at_end or (self.eval_steps and self.step % self.eval_steps == 0):
                        self._evaluate()
                    if self.on_step is not None:
                        self.on_step(self)
                    if self.save_steps and (at_end or self.step % self.save_steps == 0):
                        self.save()
            finally:
                self.graph = None  # its addresses hold no longer
                self.optimizer.zero_grad(set_to_none=True)
                self.model.train(was_training).to(home)
                self.history.peak_memory = peak_memory(self.device)
        if self.progress and self.step < self.max_steps:
            print(
                f"Stopped after step {self.step} of {self.max_steps}. The model keeps what it has learned so far;"
            )
            print("call train() again to continue from there.")
        return self.history

    def _train_step(self) -> float:
        """One update from one batch; returns the batch's mean loss."""
        start = time.perf_counter()
        self.model.train()
        # subtle: seeded in each step, so that dropout is the same after a resume
        torch.manual_seed(self.seed * 1_000_003 + self.step * self.world_size + self.process_rank)
        kind = self.lr_scheduler_type
        rate = self.learning_rate * schedule(self.step, self.max_steps, self.warmup_ratio, kind)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rows = self._rows_of_step(self.step)
        tokens = int((self.train_data.targets[rows] != IGNORE).sum())  # to learn, in the whole batch
        total = torch.zeros((), device=self.device)
        scale = torch.tensor(1 / max(tokens, 1), device=self.device)
        parts = rows[self.process_rank :: self.world_size].chunk(self.gradient_accumulation_steps)
        for part in parts:
            total += self._passes(*self._batch(part), scale)
        if self.world_size > 1:
            sum_gradients(self.parameters.values())
        mean_loss = float(sum_over_processes(total, self.world_size)) / max(tokens, 1)
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.max_grad_norm)
        self._check_finite(mean_loss, float(norm))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=self.graph is None)

        self.history.add_step(mean_loss, rate, tokens, time.perf_counter() - start)
        self.step += 1
        return mean_loss

    def _passes(self, input_ids: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
        """The loss, summed over the tokens of a part (rows, tokens); adds its gradients, times scale."""
        inputs = (input_ids, targets, scale)
        if self.cuda_graph and self.graph is None:
            self.graph = GraphedPasses(self._forward_and_backward, self.parameters.values(), *inputs)
        if self.graph is not None and self.graph.fits(input_ids):
            return self.graph(*inputs)
        return self._forward_and_backward(*inputs)

    def _forward_and_backward(self, input_ids: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
        loss: Tensor = self.loss(input_ids, targets)
        (loss * scale).backward()
        return loss.detach()

    def _rows_of_step(self, step: int) -> Tensor:
        """The rows of the data that make up a step: reshuffled each epoch, a function of seed and epoch alone."""
        epoch, place = divmod(step, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.train_data), generator=generator)
        return order[place * self.batch_size : (place + 1) * self.batch_size]

    def _batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """input_ids and targets, (rows, tokens) each, on the training device."""
        input_ids, targets = self.train_data.input_ids[rows], self.train_data.targets[rows]
        if len(rows) == 0:  # a last batch with fewer rows than processes: take part, contribute nothing
            input_ids = self.train_data.input_ids[:1]
            targets = torch.full_like(input_ids, IGNORE)
        return input_ids.to(self.device), targets.to(self.device)

    def _check_finite(self, loss: float, norm: float) -> None:
        """Raises on a loss or gradient that is not finite, with the weights as they were when it last was."""
        if math.isfinite(loss) and math.isfinite(norm):
            if isinstance(self.model, LoraModel):  # an adapter is small enough to keep a copy
                if not self.last_good:
                    self.last_good = {name: torch.empty_like(p) for name, p in self.parameters.items()}
                # one launch on a GPU, where a copy for each tensor would take longer than the update itself
                torch._foreach_copy_(
                    [*self.last_good.values()], [p.detach() for p in self.parameters.values()]
                )
            return
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, good in self.last_good.items():
                self.parameters[name].copy_(good)
        kept = (
            "the adapter keeps its last good weights"
            if isinstance(self.model, LoraModel)
            else "there is no earlier copy of a whole model: load it again, or resume from the last save"
        )
        raise TrainingDiverged(
            f"step {self.step + 1}: the loss is {loss} and the gradient norm {norm}. The step was not taken, and "
            f"{kept}. Try a learning_rate below {self.learning_rate:g}"
        )

    def _evaluate(self) -> None:
        if self.validation_data is not None:
            loss = evaluate(self.model, self.validation_data, self.batch_size)
            self.history.validation_steps.append(self.step)
            self.history.validation_losses.append(loss)

    # -- stop, save, resume ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Asks a running `train()` to end after its current step; may be called from another thread."""
        self.stop_requested = True

    def _any_process_stopped(self) -> bool:
        """All processes must leave the loop at the same step, or those that stay would wait forever."""
        requested = torch.tensor(float(self.stop_requested), device=self.device)
        return bool(sum_over_processes(requested, self.world_size) > 0)

    def save(self, folder: str | os.PathLike[str] | None = None) -> None:
        """Writes everything that `resume` needs, as one file, atomically: trained weights, optimizer, history.

        Args:
            folder: Where to; by default `output_dir`.
        """
        if self.process_rank == 0:
            save_state(self, self._state_file(folder))

    def resume(self, folder: str | os.PathLike[str] | None = None, *, extend: bool = False) -> None:
        """Loads a saved state; `train()` then continues as if there had been no interruption.

        Args:
            folder: Where from; by default `output_dir`.
            extend: Allow that `max_steps` is larger than in the saved run; the rate then follows the longer schedule.

        Raises:
            FileNotFoundError: If there is no saved state.
            ValueError: If it is damaged, or belongs to another run; then nothing has changed.
        """
        load_state(self, self._state_file(folder), extend)

    def _state_file(self, folder: str | os.PathLike[str] | None) -> Path:
        folder = self.output_dir if folder is None else folder
        if folder is None:
            raise ValueError("save and resume need a folder; pass one here or to Trainer(output_dir=...)")
        return Path(folder) / STATE_FILE
