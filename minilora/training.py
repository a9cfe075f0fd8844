"""The training loop: the same for full fine-tuning, LoRA and QLoRA, on one processor, one GPU or several.

One step takes `batch_size` rows of data, whole or in parts, on one process or many: the loss is always the mean over
all target tokens of the whole batch, so the parts add up to the same gradient. Everything random follows from the
seed and the step number alone, which is why a resumed run is bit-equal to one that was never interrupted.

Not here: mixed-precision scaling, splitting one model over several devices, hyper-parameter search, plots.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint
from tqdm.auto import tqdm

from minilora.checkpoints import read_tensors, replace_files
from minilora.datasets import IGNORE, TokenData
from minilora.lora import LoraModel, some_values

STATE_FILE = "training_state.safetensors"
LOGITS_AT_ONCE = 2**25  # scores that the loss holds; a long text with a large vocabulary goes in pieces


@dataclasses.dataclass
class History:
    """What happened, step by step; lists have one entry per step unless they say otherwise."""

    losses: list[float] = dataclasses.field(default_factory=list)
    learning_rates: list[float] = dataclasses.field(default_factory=list)
    tokens: list[int] = dataclasses.field(default_factory=list)  # target tokens of the step
    seconds: list[float] = dataclasses.field(default_factory=list)
    validation_steps: list[int] = dataclasses.field(default_factory=list)  # steps done when it was measured
    validation_losses: list[float] = dataclasses.field(default_factory=list)
    peak_memory: int = 0  # bytes: of the GPU's allocator, or of the whole process on a CPU

    @property
    def tokens_per_second(self) -> float:
        return sum(self.tokens) / sum(self.seconds) if self.seconds else 0.0

    def __repr__(self) -> str:
        last = f", last loss {self.losses[-1]:.3f}" if self.losses else ""
        validation = f", validation {self.validation_losses[-1]:.3f}" if self.validation_losses else ""
        return f"History({len(self.losses)} steps in {sum(self.seconds):.1f} s{last}{validation})"


class TrainingDiverged(ArithmeticError):
    """The loss was no longer a finite number."""


class Trainer:
    """Trains what is trainable in a model: the active adapter of a `LoraModel`, or all of a plain model.

    model: called with input_ids (batch, tokens), returns logits (batch, tokens, vocab) or an object that has them.
    train_data, validation_data: `TokenData`. epochs or steps: how long. batch_size: rows per step, over all processes.
    micro_batches: parts that a step is computed in, to need less memory. learning_rate: by default 3e-3 for LoRA and
    3e-4 for full fine-tuning, since LoRA's best is about ten times higher. warmup: share of the steps over which the
    rate rises, before it falls to zero along a cosine. weight_decay acts on matrices alone. clip: largest norm of the
    gradient. validate_every, save_every: in steps; validation also happens before the first step and after the last.
    folder: where `save_every` keeps the state from which `resume` goes on.
    device: where to train, by default on a GPU if there is one; afterwards the model is put back where it was.

    After each step and its validation the function in `on_step`, if one is set, is called with the trainer: to draw, or
    to print a sample. Under `torchrun` the same script runs on several processes; each takes its share of every batch.
    """

    def __init__(
        self,
        model: nn.Module,
        train_data: TokenData,
        *,
        epochs: int | None = None,
        steps: int | None = None,
        validation_data: TokenData | None = None,
        batch_size: int = 16,
        micro_batches: int = 1,
        learning_rate: float | None = None,
        warmup: float = 0.05,
        weight_decay: float = 0.0,
        clip: float = 1.0,
        seed: int = 0,
        validate_every: int | None = None,
        save_every: int | None = None,
        folder: str | os.PathLike | None = None,
        gradient_checkpointing: bool = False,
        device: str | torch.device | None = None,
        progress: bool = True,
    ):
        _check_data(train_data, "train_data")
        if validation_data is not None:
            _check_data(validation_data, "validation_data")
        if (epochs is None) == (steps is None):
            raise ValueError(f"epochs={epochs}, steps={steps}: give one of the two")
        counts = {"epochs": epochs, "steps": steps, "batch_size": batch_size, "micro_batches": micro_batches}
        for name, count in (counts | {"validate_every": validate_every, "save_every": save_every}).items():
            if count is not None and (type(count) is not int or count < 1):
                raise ValueError(f"{name} is {count!r}; it must be a whole number from 1 on")
        rate = learning_rate or 0.0
        for name, value, most in (
            ("learning_rate", rate, math.inf), ("weight_decay", weight_decay, math.inf), ("warmup", warmup, 1)
        ):  # fmt: skip
            if not 0 <= value <= most or value == math.inf:
                raise ValueError(f"{name} is {value!r}; it must be a number from 0 to {most}")
        if not clip > 0:
            raise ValueError(
                f"clip is {clip!r}; a gradient of that length moves nothing, so give a number above 0"
            )
        if save_every is not None and folder is None:
            raise ValueError("save_every needs a folder to save in; pass folder=...")
        self.model: Any = model
        self.train_data, self.validation_data = train_data, validation_data
        self.batch_size, self.micro_batches = batch_size, micro_batches
        self.steps_per_epoch = math.ceil(len(train_data) / batch_size)
        self.steps: int = steps if steps is not None else epochs * self.steps_per_epoch  # type: ignore[operator]
        if learning_rate is None:
            learning_rate = 3e-3 if isinstance(model, LoraModel) else 3e-4
        self.learning_rate, self.warmup, self.weight_decay = learning_rate, warmup, weight_decay
        self.clip, self.seed = clip, seed
        self.validate_every, self.save_every, self.folder = validate_every, save_every, folder
        self.rank, self.world = _join_processes()
        self.progress = progress and self.rank == 0
        self.device = _choose_device(model) if device is None else torch.device(device)
        if self.world > 1:
            model.to(self.device)  # DistributedDataParallel wants it there from the start
        self.parameters = trainable_parameters(model)
        set_checkpointing(model, gradient_checkpointing)
        self.loss: Any = SummedLoss(model)
        if self.world > 1:
            for parameter in model.parameters():  # an adapter that rests would make the others wait
                parameter.requires_grad_(any(parameter is p for p in self.parameters.values()))
            # no buffer ever changes, and a packed base keeps its weights in buffers: sending them each step costs much
            self.loss = DistributedDataParallel(self.loss, broadcast_buffers=False)
        matrices = [p for p in self.parameters.values() if p.ndim >= 2]
        others = [p for p in self.parameters.values() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)
        self.step = 0
        self.history = History()
        self.last_good: dict[str, Tensor] = {}  # the adapter as it was when its loss last was a number
        self.on_step: Callable[[Trainer], None] | None = None
        self._stop = False

    # -- the loop --------------------------------------------------------------------------------------------

    def train(self) -> History:
        """Trains to the end and returns the history.

        An interrupt (the notebook's ■, Ctrl-C) or `stop()` ends it after the running step: the model keeps what it has
        learned, the history so far is returned, and calling `train()` again goes on.
        """
        self._stop = False
        was_training, home = self.model.training, next(self.model.parameters()).device
        devices = [self.device] if self.device.type == "cuda" else []
        bar = tqdm(total=self.steps, initial=self.step, unit="step", disable=not self.progress)
        with bar, torch.random.fork_rng(devices), self._interrupt_means_stop():
            try:
                self.model.to(self.device)
                if self.step == 0:
                    self._validate()
                while self.step < self.steps and not self._stop_everywhere():
                    loss = self._train_step()
                    bar.update()
                    bar.set_postfix_str(f"loss {loss:.3f}, {self.history.tokens_per_second:,.0f} tokens/s")
                    at_end = self.step == self.steps
                    if at_end or (self.validate_every and self.step % self.validate_every == 0):
                        self._validate()
                    if self.on_step is not None:
                        self.on_step(self)
                    if self.save_every and (at_end or self.step % self.save_every == 0):
                        self.save()
            finally:
                self.model.train(was_training).to(home)
                self.history.peak_memory = peak_memory(self.device)
        if self.progress and self.step < self.steps:
            print(
                f"Stopped after step {self.step} of {self.steps}. The model keeps what it has learned so far;"
            )
            print("call train() again to continue from there.")
        return self.history

    def stop(self) -> None:
        """Asks a running `train()` to end after its step; a Stop button may call it from another thread."""
        self._stop = True

    def _train_step(self) -> float:
        start = time.perf_counter()
        self.model.train()
        # subtle: seeded anew in each step, so that dropout is the same after a resume
        torch.manual_seed(self.seed * 1_000_003 + self.step * self.world + self.rank)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * schedule(self.step, self.steps, self.warmup)
        rows = self._rows_of_step(self.step)
        tokens = int((self.train_data.targets[rows] != IGNORE).sum())
        loss = self._backward(rows, tokens)
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.clip)
        self._check_finite(loss, float(norm))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.history.losses.append(loss)
        self.history.learning_rates.append(self.optimizer.param_groups[0]["lr"])
        self.history.tokens.append(tokens)
        self.history.seconds.append(time.perf_counter() - start)
        self.step += 1
        return loss

    def _rows_of_step(self, step: int) -> Tensor:
        """The rows of the data that make up a step: a new shuffle each epoch, a function of seed and epoch alone."""
        epoch, place = divmod(step, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.train_data), generator=generator)
        return order[place * self.batch_size : (place + 1) * self.batch_size]

    def _backward(self, rows: Tensor, tokens: int) -> float:
        """Gradients of the mean loss over the whole batch, computed in parts; returns that mean loss."""
        total = torch.zeros((), device=self.device)
        parts = rows[self.rank :: self.world].chunk(self.micro_batches)
        for i, part in enumerate(parts):
            input_ids, targets = self.train_data.input_ids[part], self.train_data.targets[part]
            if len(part) == 0:  # a last batch with fewer rows than processes: take part, contribute nothing
                input_ids = self.train_data.input_ids[:1]
                targets = torch.full_like(input_ids, IGNORE)
            last = i == len(parts) - 1
            with contextlib.nullcontext() if last or self.world == 1 else self.loss.no_sync():
                summed = self.loss(input_ids.to(self.device), targets.to(self.device))
                # DistributedDataParallel averages over processes; times their number, that is the sum we want.
                (summed * (self.world / max(tokens, 1))).backward()
            total += summed.detach()
        return float(self._sum_over_processes(total)) / max(tokens, 1)

    def _check_finite(self, loss: float, norm: float) -> None:
        """Stops on a loss or gradient that is no number, with the weights as they were when it last was one."""
        if math.isfinite(loss) and math.isfinite(norm):
            if isinstance(self.model, LoraModel):  # an adapter is small enough to keep a copy of it
                self.last_good = {name: p.detach().clone() for name, p in self.parameters.items()}
            return
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, good in self.last_good.items():
                self.parameters[name].copy_(good)
        kept = (
            "the adapter keeps its last good weights"
            if isinstance(self.model, LoraModel)
            else "of the whole model there is no older copy: load it anew, or go back to the last save"
        )
        raise TrainingDiverged(
            f"step {self.step + 1}: the loss is {loss} and the gradient's norm {norm}. The step was not taken, and "
            f"{kept}. Try a lower learning_rate than {self.learning_rate:g}"
        )

    def _validate(self) -> None:
        if self.validation_data is not None:
            loss = evaluate(self.model, self.validation_data, self.batch_size)
            self.history.validation_steps.append(self.step)
            self.history.validation_losses.append(loss)

    # -- stopping, several processes -------------------------------------------------------------------------

    @contextlib.contextmanager
    def _interrupt_means_stop(self) -> Iterator[None]:
        """The first interrupt asks for a stop after the step; the second acts at once, as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return
        before = signal.getsignal(signal.SIGINT)

        def ask_to_stop(number: int, frame: Any) -> None:
            signal.signal(signal.SIGINT, before)
            self.stop()

        signal.signal(signal.SIGINT, ask_to_stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _stop_everywhere(self) -> bool:
        """All processes must leave the loop at the same step, or those that stay wait forever."""
        if self.world == 1:
            return self._stop
        return bool(self._sum_over_processes(torch.tensor(float(self._stop), device=self.device)) > 0)

    def _sum_over_processes(self, value: Tensor) -> Tensor:
        if self.world > 1:
            dist.all_reduce(value)
        return value

    # -- save and resume -------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike | None = None) -> None:
        """Writes everything that `resume` needs, as one file, atomically: trained weights, optimizer, history."""
        if self.rank != 0:
            return
        path = self._state_file(folder)
        tensors = {}
        for name, parameter in self.parameters.items():
            tensors[f"weight/{name}"] = parameter.detach()
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"{key}/{name}"] = value
        tensors = {name: value.cpu().contiguous().clone() for name, value in tensors.items()}
        state = {"step": self.step, "run": self._description(), "history": dataclasses.asdict(self.history)}
        metadata = {"format": "pt", "minilora_training": json.dumps(state)}
        replace_files(path.parent, {path.name: lambda path: save_file(tensors, path, metadata=metadata)})

    def resume(self, folder: str | os.PathLike | None = None) -> None:
        """Goes back to a saved state; `train()` then continues as if there had been no interruption."""
        path = self._state_file(folder)
        tensors, metadata = read_tensors(path)
        try:
            state = json.loads(metadata["minilora_training"])
            saved = state["history"]
            run, step, history = dict(state["run"]), state["step"], History(**saved)
            if any(type(saved[name]) is not type(empty) for name, empty in vars(History()).items()):
                raise TypeError("a number where a list belongs, or the reverse")
            if type(step) is not int or len(history.losses) != step:
                raise ValueError("not as many losses as steps")
        except (KeyError, TypeError, ValueError, RecursionError):
            raise ValueError(f"{path} is a safetensors file, but no saved training state") from None
        differs = [
            f"{key} was {run.get(key)!r:.80} and is now {value!r:.80}"
            for key, value in self._description().items()
            if run.get(key) != value
        ]
        if differs:
            raise ValueError(f"{path} belongs to another run: {'; '.join(differs)}")
        keys = ["weight", "exp_avg", "exp_avg_sq", "step"] if step else ["weight"]
        for name, parameter in self.parameters.items():  # all checks before the first change
            for key in keys:
                found = tensors.get(f"{key}/{name}")
                like = torch.tensor(0.0) if key == "step" else parameter
                if found is None:
                    raise ValueError(f"{path} lacks {key} of {name}; was it edited? Resume from another save")
                if found.shape != like.shape or found.dtype != like.dtype:
                    kind = f"{tuple(found.shape)} of {found.dtype}"
                    raise ValueError(f"{path}: {key} of {name} is {kind}; edited?")
        self.optimizer.state.clear()
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"weight/{name}"])
                for key in keys[1:]:  # what the optimizer holds, once a step was made
                    self.optimizer.state[parameter][key] = tensors[f"{key}/{name}"].to(self.device).clone()
        self.step, self.history = step, history

    def _state_file(self, folder: str | os.PathLike | None) -> Path:
        folder = self.folder if folder is None else folder
        if folder is None:
            raise ValueError("save and resume need a folder; pass one here or to Trainer(folder=...)")
        return Path(folder) / STATE_FILE

    def _description(self) -> dict[str, Any]:
        """What must be equal for a run to go on exactly. The number of processes and of parts may change."""
        names = ("steps", "batch_size", "learning_rate", "warmup", "weight_decay", "clip", "seed")
        active = self.model.active_adapters if isinstance(self.model, LoraModel) else {}
        description = {name: getattr(self, name) for name in names} | {
            "rows": len(self.train_data),
            "row_length": self.train_data.input_ids.shape[1],
            "data": self._data_digest,
            "trained": {name: list(p.shape) for name, p in self.parameters.items()},
            "frozen": frozen_digest(self.model, self.parameters.values()),
            "adapters": {
                n: dataclasses.asdict(self.model.adapters[n]) | {"strength": s} for n, s in active.items()
            },
        }
        return json.loads(json.dumps(description))  # as it comes back from the file

    @functools.cached_property
    def _data_digest(self) -> str:
        digest = hashlib.sha256()
        for tensor in (self.train_data.input_ids, self.train_data.targets):
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:32]


class SummedLoss(nn.Module):
    """Cross entropy summed over all targets; one module, so that DistributedDataParallel can wrap the whole step."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model: Any = model
        self.by_pieces = hasattr(model, "hidden_states")  # our GPT; other models return all scores at once

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        """input_ids, targets (batch, tokens) -> a single number."""
        if self.by_pieces:
            return cross_entropy_in_pieces(self.model.hidden_states(input_ids), self.model.lm_head, targets)
        output = self.model(input_ids)
        logits = output if isinstance(output, Tensor) else output.logits  # (batch, tokens, vocab)
        return summed_cross_entropy(logits.flatten(0, 1), targets.flatten())


def summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """logits (tokens, vocab), targets (tokens,) -> a single number in float32."""
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORE, reduction="sum")


def cross_entropy_in_pieces(hidden: Tensor, output_layer: Any, targets: Tensor) -> Tensor:
    """Summed cross entropy of output_layer(hidden), never holding more than LOGITS_AT_ONCE scores.

    hidden (batch, tokens, hidden), targets (batch, tokens). A score per token and word of the vocabulary would be the
    largest tensor of all; in pieces, each computed again in the backward pass, it never exists whole.
    """

    def piece(h: Tensor, t: Tensor) -> Tensor:
        return summed_cross_entropy(output_layer(h), t)

    hidden, targets = hidden.flatten(0, 1), targets.flatten()  # (batch · tokens, hidden), (batch · tokens)
    size = max(1, LOGITS_AT_ONCE // output_layer.weight.shape[0])
    if len(targets) <= size:
        return piece(hidden, targets)
    total = hidden.new_zeros((), dtype=torch.float32)
    for h, t in zip(hidden.split(size), targets.split(size), strict=True):
        total = total + checkpoint(piece, h, t, use_reentrant=False)
    return total


@torch.no_grad()
def evaluate(model: nn.Module, data: TokenData, batch_size: int = 16) -> float:
    """Mean loss in nats per target token, on the device that the model is on; e to that power is the perplexity."""
    _check_data(data, "data")
    was_training = model.training
    model.eval()
    loss, device = SummedLoss(model), next(model.parameters()).device
    batches = zip(data.input_ids.split(batch_size), data.targets.split(batch_size), strict=True)
    total = sum(float(loss(input_ids.to(device), targets.to(device))) for input_ids, targets in batches)
    model.train(was_training)
    return total / int((data.targets != IGNORE).sum())


def schedule(step: int, steps: int, warmup: float) -> float:
    """The factor on the learning rate: a line up over the first share of the steps, then a cosine down to zero.

    >>> [round(schedule(step, 8, warmup=0.25), 3) for step in range(8)]
    [0.5, 1.0, 1.0, 0.933, 0.75, 0.5, 0.25, 0.067]
    """
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def set_checkpointing(model: Any, on: bool) -> None:
    """Whether blocks are computed again in the backward pass; for our GPT and `transformers` models."""
    if hasattr(model, "hidden_states"):
        model.model.gradient_checkpointing = on
    elif on:
        model.gradient_checkpointing_enable({"use_reentrant": False})


def frozen_digest(model: nn.Module, trained: Iterable[Tensor]) -> str:
    """Tells whether two models agree in all that is not trained: names, types, and 1,024 values of each tensor."""
    digest, own = hashlib.sha256(), {id(parameter) for parameter in trained}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if id(tensor) not in own and ".lora_" not in name:
            some = some_values(tensor).view(torch.uint8).numpy().tobytes()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + some)
    return digest.hexdigest()[:32]


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of all that a Trainer would change; nothing at all is an error."""
    if isinstance(model, LoraModel):
        found = model.trainable_parameters()
        advice = "its active adapter was loaded for use only: load_adapter(..., trainable=True), or set_adapter first"
    else:
        found = {name: p for name, p in model.named_parameters() if p.requires_grad}
        advice = "every parameter is frozen: add_lora(model, config) adds trainable ones, requires_grad_(True) thaws"
    if not found:
        raise ValueError(f"nothing in this model is trainable; {advice}")
    return found


def peak_memory(device: torch.device) -> int:
    """Highest number of bytes so far: of the GPU's allocator, or resident in this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes


def _check_data(data: Any, name: str) -> None:
    if not isinstance(data, TokenData):
        raise TypeError(
            f"{name} is a {type(data).__name__}; make it from text first, for example with "
            "load_text('my.txt', model.tokenizer) or encode_text(documents, model.tokenizer)"
        )
    if len(data) == 0 or not (data.targets != IGNORE).any():
        raise ValueError(f"{name} holds no token to learn from; give at least one whole row of text")


def _join_processes() -> tuple[int, int]:
    """(rank, number of processes): what torchrun says, or (0, 1)."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    gpus, local = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    if gpus and local >= gpus:
        raise ValueError(
            f"{local + 1} processes or more, but {gpus} GPU(s) here; give torchrun as many processes as GPUs"
        )
    if gpus:
        torch.cuda.set_device(local)  # each process its own card, also for plain "cuda"
    if not dist.is_initialized():
        dist.init_process_group("nccl" if gpus else "gloo")
    return dist.get_rank(), dist.get_world_size()


def _choose_device(model: nn.Module) -> torch.device:
    """The GPU if there is one, also where the model is still in main memory; else the processor."""
    current = next(model.parameters()).device
    if current.type != "cpu" or not torch.cuda.is_available():
        return current
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
