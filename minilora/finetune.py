"""From a file of text to a fine-tuned model in one call: what `minilora finetune` and `minilora generate` do.

Nothing new is computed here: it combines the engine's parts in the usual order, with usual settings, and reports the
numbers that one notes about a fine-tuning run.

Not here: a search for the best settings, and data formats other than .txt and .jsonl.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from minilora.files import ASSETS
from minilora.files.adapter_files import WEIGHTS
from minilora.gpt import GPT
from minilora.lora import LoraConfig, LoraModel, add_lora, count_weights
from minilora.quantization.linear4bit import quantize_model
from minilora.training import datasets
from minilora.training.chat import default_template, render_chat
from minilora.training.datasets import IGNORE, TokenData
from minilora.training.run_state import STATE_FILE
from minilora.training.trainer import Trainer, TrainingDiverged, trainable_parameters

METHODS = ("lora", "qlora", "full")
ADAPTER = "trained"
EMBEDDED_DATA = {"pirate": ASSETS / "pirate.jsonl"}  # 36 questions, answered as a pirate would


@dataclasses.dataclass
class Report:
    """The numbers of a run; printed, they are what the textbook asks a learner to write down.

    Attributes:
        method: "lora", "qlora" or "full".
        trainable: Number of trained weights.
        total: Number of all weights.
        file_bytes: Size of the saved weights.
        peak_memory: Bytes.
        seconds: Of all steps together.
        steps: Steps done.
        validation_before: Held-out loss before training, in nats.
        validation_after: The same after training.
        folder: Where the result is.
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
    folder: str

    def __str__(self) -> str:
        rows = {
            "method": self.method,
            "trainable weights": f"{self.trainable:,} of {self.total:,} ({self.trainable / self.total:.2%})",
            "validation loss": f"{self.validation_before:.3f} before, {self.validation_after:.3f} after",
            "saved file": f"{self.file_bytes / 1e6:.2f} MB",
            "peak memory": f"{self.peak_memory / 1e9:.2f} GB",
            "time": f"{self.seconds:.0f} s for {self.steps} steps ({self.seconds / max(1, self.steps):.2f} s each)",
            "saved in": self.folder,
        }
        return "\n".join(f"{name:18} {value}" for name, value in rows.items())


def finetune(
    base: str | os.PathLike[str],
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    method: str = "lora",
    r: int = 8,
    lora_alpha: float | None = None,
    target_modules: str | list[str] = "attention",
    epochs: int | None = None,
    max_steps: int | None = None,
    batch_size: int = 4,
    gradient_accumulation_steps: int = 1,
    sequence_length: int = 128,
    learning_rate: float | None = None,
    seed: int = 0,
    resume: bool = False,
    sample: bool = False,
    progress: bool = True,
) -> Report:
    """Fine-tunes a model on a file of text, of which a tenth is held out for validation.

    Args:
        base: As in `GPT.from_pretrained`.
        data: A .txt file, a .jsonl file with one conversation per line, or "pirate", which comes with the package.
        out: A new or empty folder for the result: an adapter in PEFT's format, or with "full" a whole checkpoint.
        method: "lora", "qlora" (the base in 4 bits) or "full".
        r: As in `LoraConfig`.
        lora_alpha: As in `LoraConfig`; by default 2 r.
        target_modules: As in `LoraConfig`.
        epochs: As in `Trainer`; by default 3, unless `max_steps` is given.
        max_steps: As in `Trainer`.
        batch_size: As in `Trainer`.
        gradient_accumulation_steps: As in `Trainer`.
        sequence_length: Tokens per row, at most as many as the model can read.
        learning_rate: As in `Trainer`.
        seed: Of the split, the adapter and the training.
        resume: Continue the interrupted run that `out` holds.
        sample: Print what the model writes, five times during the run.
        progress: Show a progress bar.

    Returns:
        The numbers of the run.

    Raises:
        FileNotFoundError: If there is no such model or file.
        ValueError: If a setting is not allowed, the file cannot be used, or `out` is not empty.
        TrainingDiverged: If the loss is no longer finite; an adapter is saved as it was before.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; choose from {', '.join(METHODS)}")
    out = Path(out)
    if out.exists() and any(out.iterdir()) and not resume:
        raise ValueError(f"{out} is not empty; choose another folder, or resume the run in it")
    model: Any = GPT.from_pretrained(base)
    train_data, validation_data = load_data(data, model, sequence_length).split(0.1, seed)
    if method == "qlora":
        quantize_model(model)
    if method != "full":
        torch.manual_seed(seed)
        alpha = 2 * r if lora_alpha is None else lora_alpha
        model = add_lora(model, LoraConfig(r=r, lora_alpha=alpha, target_modules=target_modules), ADAPTER)
    trainer = Trainer(
        model,
        train_data,
        epochs=3 if epochs is None and max_steps is None else epochs,
        max_steps=max_steps,
        validation_data=validation_data,
        batch_size=batch_size,
        gradient_accumulation_steps=gradient_accumulation_steps,
        learning_rate=learning_rate,
        seed=seed,
        output_dir=out,
        save_steps=50,
        progress=progress,
    )
    if resume:
        trainer.resume()
    if sample:
        trainer.on_step = sampler(model, validation_data, max(1, trainer.max_steps // 5))
    try:
        history = trainer.train()
    except TrainingDiverged as error:
        if trainer.process_rank or not isinstance(model, LoraModel):
            raise
        model.save_adapter(out)
        raise TrainingDiverged(f"{error}. That adapter is saved in {out}") from None
    if trainer.process_rank == 0:  # only one process writes
        model.save_adapter(out) if isinstance(model, LoraModel) else model.save_pretrained(out)
        if trainer.step == trainer.max_steps:
            (out / STATE_FILE).unlink(missing_ok=True)  # the run is complete, so there is nothing to resume
        else:
            trainer.save()
    if trainer.world_size > 1:
        dist.barrier()  # the others report the size of a file that must exist first
    weights = out / (WEIGHTS if isinstance(model, LoraModel) else "model.safetensors")
    return Report(
        method=method,
        trainable=sum(p.numel() for p in trainable_parameters(model).values()),
        total=count_weights(model),
        file_bytes=weights.stat().st_size,
        peak_memory=history.peak_memory,
        seconds=sum(history.seconds),
        steps=trainer.step,
        validation_before=history.validation_losses[0],
        validation_after=history.validation_losses[-1],
        folder=str(out),
    )


def load_data(path: str | os.PathLike[str], model: Any, sequence_length: int) -> TokenData:
    """Reads a .txt file, packed into rows, or a .jsonl file of conversations, of which only the answers are learned.

    Args:
        path: The file, or the name of an embedded one.
        model: A `GPT` with its tokenizer.
        sequence_length: Tokens per row, at most as many as the model can read.

    Returns:
        The rows.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has another format or cannot be used.
    """
    path = EMBEDDED_DATA.get(os.fspath(path), Path(path))
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}; give a .txt file, a .jsonl file with one conversation per line, or the name of "
            f"a data set in this package: {', '.join(EMBEDDED_DATA)}"
        )
    if path.suffix not in (".txt", ".jsonl"):
        raise ValueError(
            f"{path} ends in '{path.suffix}'; give a .txt file, or a .jsonl file with one conversation per line"
        )
    sequence_length = min(sequence_length, model.config.max_position_embeddings)
    if path.suffix == ".txt":
        return datasets.load_text(path, model.tokenizer, sequence_length)
    return datasets.load_jsonl(path, model.tokenizer, sequence_length, model.chat_template)


def sampler(model: Any, data: TokenData, every: int) -> Callable[[Trainer], None]:
    """Returns an `on_step` for a Trainer: every so many steps it prints how the model continues the first row."""
    learned = (data.targets[0] != IGNORE).nonzero()
    start = max(int(learned[0]) + 1, 12)  # a conversation up to its answer; of a plain text a few words
    prompt = model.tokenizer.decode(data.input_ids[0, :start].tolist(), skip_special_tokens=False)

    def show(trainer: Trainer) -> None:
        if trainer.step % every == 0 and trainer.process_rank == 0:
            text = model.generate(prompt, max_new_tokens=40, temperature=0)
            print(f"\nstep {trainer.step}: ...{prompt[-60:]}[{text}]", flush=True)

    return show


def generate(
    base: str | os.PathLike[str],
    prompt: str,
    adapter: str | os.PathLike[str] | None = None,
    *,
    chat: bool = False,
    max_new_tokens: int = 100,
    temperature: float = 0.7,
    top_k: int | None = 50,
    seed: int | None = None,
) -> Iterator[str]:
    """Generates text.

    Args:
        base: As in `GPT.from_pretrained`.
        prompt: What to continue.
        adapter: Folder or name of an adapter to use.
        chat: Put the prompt as a user's question to the assistant, in the format that `finetune` trains on.
        max_new_tokens: As in `GPT.generate`.
        temperature: As in `GPT.generate`.
        top_k: As in `GPT.generate`.
        seed: As in `GPT.generate`.

    Yields:
        The text, piece by piece.
    """
    model: Any = GPT.from_pretrained(base)
    if adapter is not None:
        model = LoraModel.from_pretrained(model, adapter, ADAPTER)
    if chat:
        template = model.chat_template or default_template(model.tokenizer)
        prompt = render_chat([{"role": "user", "content": prompt}], template)
    yield from model.stream(prompt, max_new_tokens, temperature, top_k, seed)
