"""What a run has done so far (`History`), and its saved state, from which it resumes exactly.

A state is one safetensors file: the trained weights, the optimizer's tensors, the history, and a description of the
run. Resuming checks all of it before it changes anything.

Not here: the loop (trainer.py), and saving what was learned for use (adapters, checkpoints).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from minilora.files.safe_files import read_tensors, replace_files, save_tensors
from minilora.lora import LoraModel, some_values
from minilora.training.datasets import TokenData

if TYPE_CHECKING:
    from minilora.training.trainer import Trainer

STATE_FILE = "training_state.safetensors"
# The settings that must not change between saving and resuming. The number of processes and of parts may.
SETTINGS = (
    "max_steps", "batch_size", "learning_rate", "warmup_ratio", "lr_scheduler_type", "weight_decay", "max_grad_norm",
    "seed",
)  # fmt: skip

# What else describes a run, in words that a reader of a mismatch understands.
WORDS = {
    "rows": "the training data has another number of rows",
    "row_length": "the rows of the training data have another length",
    "data": "the training data is not the same",
    "trained": "other weights are trained",
    "frozen": "the base model is not the same",
    "adapters": "the adapter has other settings",
}


@dataclasses.dataclass
class History:
    """What happened during training; lists have one entry per step unless stated otherwise.

    Attributes:
        losses: Mean loss over the step's target tokens, in nats.
        learning_rates: As scheduled.
        tokens: Target tokens of the step.
        seconds: Wall-clock time of the step.
        validation_steps: Steps done at each validation.
        validation_losses: Mean held-out loss at each validation, in nats.
        peak_memory: Bytes, of the GPU's allocator, or of the whole process on a CPU.
    """

    losses: list[float] = dataclasses.field(default_factory=list)
    learning_rates: list[float] = dataclasses.field(default_factory=list)
    tokens: list[int] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    validation_steps: list[int] = dataclasses.field(default_factory=list)
    validation_losses: list[float] = dataclasses.field(default_factory=list)
    peak_memory: int = 0

    def add_step(self, loss: float, learning_rate: float, tokens: int, seconds: float) -> None:
        """Appends one step."""
        self.losses.append(loss)
        self.learning_rates.append(learning_rate)
        self.tokens.append(tokens)
        self.seconds.append(seconds)

    @property
    def tokens_per_second(self) -> float:
        """Target tokens per second over all steps."""
        return sum(self.tokens) / sum(self.seconds) if self.seconds else 0.0

    def __repr__(self) -> str:
        last = f", last loss {self.losses[-1]:.3f}" if self.losses else ""
        validation = f", validation {self.validation_losses[-1]:.3f}" if self.validation_losses else ""
        return f"History({len(self.losses)} steps in {sum(self.seconds):.1f} s{last}{validation})"


def save_state(trainer: Trainer, path: Path) -> None:
    """Writes everything that `load_state` needs, atomically."""
    tensors = {}
    for name, parameter in trainer.parameters.items():
        tensors[f"weight/{name}"] = parameter.detach()
        for key, value in trainer.optimizer.state[parameter].items():
            tensors[f"{key}/{name}"] = value
    tensors = {name: value.cpu().contiguous().clone() for name, value in tensors.items()}
    state = {"step": trainer.step, "run": describe(trainer), "history": dataclasses.asdict(trainer.history)}
    metadata = {"format": "pt", "minilora_training": json.dumps(state)}
    replace_files(path.parent, {path.name: lambda path: save_tensors(tensors, path, metadata)})


def load_state(trainer: Trainer, path: Path, extend: bool = False) -> None:
    """Sets a trainer back to a saved state; with `extend`, `max_steps` may have grown.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a saved state, or belongs to another run; then nothing has changed.
    """
    tensors, metadata = read_tensors(path)
    run, step, history = _read_metadata(metadata, path)
    differs = [
        f"{key} was {run.get(key)!r:.80} and is now {value!r:.80}" if key in SETTINGS else WORDS[key]
        for key, value in describe(trainer).items()
        if run.get(key) != value and not (extend and key == "max_steps" and value > run.get(key, value))
    ]
    if differs:
        raise ValueError(f"{path} belongs to another run: {'; '.join(differs)}")
    keys = ["weight", "exp_avg", "exp_avg_sq", "step"] if step else ["weight"]
    for name, parameter in trainer.parameters.items():  # all checks before the first change
        for key in keys:
            found = tensors.get(f"{key}/{name}")
            like = torch.tensor(0.0) if key == "step" else parameter
            if found is None:
                raise ValueError(f"{path} lacks {key} of {name}; was it edited? Resume from another save")
            if found.shape != like.shape or found.dtype != like.dtype:
                kind = f"{tuple(found.shape)} of {found.dtype}"
                raise ValueError(f"{path}: {key} of {name} is {kind}; was it edited?")
    trainer.optimizer.state.clear()
    with torch.no_grad():
        for name, parameter in trainer.parameters.items():
            parameter.copy_(tensors[f"weight/{name}"])
            for key in keys[1:]:  # the optimizer's tensors, which exist once a step was made
                trainer.optimizer.state[parameter][key] = tensors[f"{key}/{name}"].to(trainer.device).clone()
    trainer.step, trainer.history = step, history


def _read_metadata(metadata: dict[str, str], path: Path) -> tuple[dict[str, Any], int, History]:
    """(description of the run, steps done, history)."""
    try:
        state = json.loads(metadata["minilora_training"])
        saved = state["history"]
        run, step, history = dict(state["run"]), state["step"], History(**saved)
        if any(type(saved[name]) is not type(empty) for name, empty in vars(History()).items()):
            raise TypeError("a number in place of a list, or the reverse")
        if type(step) is not int or len(history.losses) != step:
            raise ValueError("not as many losses as steps")
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{path} is a safetensors file, but not a saved training state") from None
    return run, step, history


def describe(trainer: Trainer) -> dict[str, Any]:
    """Returns what must be equal for a run to continue exactly."""
    model, data = trainer.model, trainer.train_data
    active = model.adapter_scales if isinstance(model, LoraModel) else {}
    description = {name: getattr(trainer, name) for name in SETTINGS} | {
        "rows": len(data),
        "row_length": data.input_ids.shape[1],
        "data": data_digest(data),
        "trained": {name: list(p.shape) for name, p in trainer.parameters.items()},
        "frozen": frozen_digest(model, trainer.parameters.values()),
        "adapters": {
            n: dataclasses.asdict(model.peft_config[n]) | {"scale": scale} for n, scale in active.items()
        },
    }
    return dict(json.loads(json.dumps(description)))  # as it comes back from the file


def data_digest(data: TokenData) -> str:
    """Returns a digest of all rows."""
    digest = hashlib.sha256()
    for tensor in (data.input_ids, data.targets):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def frozen_digest(model: nn.Module, trained: Iterable[Tensor]) -> str:
    """Returns a digest of everything that is not trained: names, types, and 1,024 values of each tensor."""
    digest, own = hashlib.sha256(), {id(parameter) for parameter in trained}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if id(tensor) not in own and ".lora_" not in name:
            some = some_values(tensor).view(torch.uint8).numpy().tobytes()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + some)
    return digest.hexdigest()[:32]
