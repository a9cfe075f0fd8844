"""A whole fine-tuning run: load, train, save, report; and what an interrupt, a kill or a bad rate leaves behind.

The folder of a run holds run.json (its settings) from its beginning and the trained state from its first save, so that
it can be resumed at any time; the adapter or checkpoint is written when there is something learned.

Not here: the steps themselves (training/trainer.py).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from minilora.files.adapter_files import WEIGHTS
from minilora.finetune import data, folder, models
from minilora.finetune.report import Report
from minilora.finetune.settings import FinetuneSettings
from minilora.finetune.table import cautions, table
from minilora.finetune.watch import Watch, import_summary_writer, sample
from minilora.lora import LoraConfig, LoraModel, add_lora, count_weights
from minilora.quantization.model import quantize_model
from minilora.training.datasets import TokenData
from minilora.training.interrupts import on_first_interrupt
from minilora.training.run_state import STATE_FILE
from minilora.training.trainer import Trainer, TrainingDiverged

ENOUGH_STEPS = 60  # that a run has by default, if its text is not too short for it
MOST_EPOCHS = 20  # by default: more of the same text would be recited
STOPPING = b"\nInterrupted: this step is finished, then saved. Ctrl-C once more stops at once.\n"


class Interrupted(KeyboardInterrupt):
    """The run was stopped; the message says what is saved and how to continue."""


class _Run(Trainer):
    """A trainer that says at once that it has understood an interrupt."""

    def stop(self) -> None:
        if self.process_rank == 0:
            os.write(
                2, STOPPING
            )  # subtle: print() in a signal's handler may meet a print() that it interrupted
        super().stop()


def finetune(
    settings: FinetuneSettings, *, say: Callable[[str], Any] = print, progress: bool = True
) -> Report:
    """Fine-tunes a model on texts or conversations, and saves what it learned.

    Args:
        settings: Everything that can be chosen.
        say: Prints a line: the table before training, then validation and samples.
        progress: Show a progress bar.

    Returns:
        The numbers of the run, complete.

    Raises:
        FileNotFoundError: If there is no such model, file or run.
        ValueError: If a setting is not allowed, the data cannot be used, or the folder holds something else.
        TrainingDiverged: If the loss is no longer finite.
        Interrupted: If the user stopped it.
    """
    out = Path(settings.out)
    try:
        return _finetune(settings, out, say, progress)
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted(folder.left_behind(out)) from None


def _finetune(settings: FinetuneSettings, out: Path, say: Callable[[str], Any], progress: bool) -> Report:
    if settings.resume:
        settings = folder.resumed(settings)
    else:
        folder.check_new(out)
    if settings.tensorboard:
        import_summary_writer()  # before anything is written
    model = models.load_base(settings.base, settings.dtype)
    texts, train, validation = _read(settings, model)
    settings = _settled(settings, texts, train)
    model = _with_method(model, settings)
    trainer = _trainer(model, train, validation, settings)
    if settings.resume and (out / STATE_FILE).exists():
        trainer.resume(extend=True)
    first = trainer.process_rank == 0  # under torchrun, one process prints and writes
    if not first:
        trainer.train()
        if trainer.step < trainer.max_steps:
            raise Interrupted("")
        _wait(trainer)
        return _report(trainer, settings, "", None)
    say(table(settings, trainer, texts))
    for line in cautions(settings, trainer, texts):
        warnings.warn(line, stacklevel=3)
    folder.write_settings(out, settings)
    prompt = settings.sample_prompt or data.prompt_from(validation, model.tokenizer, texts.chat)
    watch = Watch(trainer, settings, prompt, say, progress)
    trainer.on_step = watch
    try:
        trainer.train()
    except TrainingDiverged as error:
        raise TrainingDiverged(f"{error}. {_save_last_good(trainer, out)}") from None
    except BrokenPipeError:  # the reader of our output has gone, which must not cost what was learned
        trainer.save()
        raise
    finally:
        watch.close()
    if trainer.step < trainer.max_steps:
        raise Interrupted(_save_part(trainer, out))
    with on_first_interrupt(lambda: None):  # a moment more, and everything is on disk
        _save_result(trainer, out)
        _wait(trainer)
        report = _report(trainer, settings, prompt, watch.before)
        report.commands = next_commands(settings, texts.chat, prompt)
        return report


def _read(settings: FinetuneSettings, model: Any) -> tuple[data.Texts, TokenData, TokenData]:
    assert settings.data is not None
    context = models.context_of(model)
    texts = data.read_texts(settings.data, model, context, settings.sequence_length)
    if settings.validation_data is None:
        return texts, *data.split(texts, settings.seed)
    length = settings.sequence_length or texts.rows.input_ids.shape[1]
    return texts, texts.rows, data.read_texts(settings.validation_data, model, context, length).rows


def _settled(settings: FinetuneSettings, texts: data.Texts, train: TokenData) -> FinetuneSettings:
    """With what follows from the data: run.json holds it, so that a later version resumes with the same."""
    per_epoch = -(-len(train) // settings.batch_size)
    usual = min(MOST_EPOCHS, max(3, -(-ENOUGH_STEPS // per_epoch)))
    max_steps = settings.max_steps or (settings.epochs or usual) * per_epoch
    alpha, rate = settings.lora_alpha, settings.learning_rate
    return folder.settled(
        settings,
        epochs=None,
        max_steps=max_steps,
        sequence_length=settings.sequence_length or (None if texts.chat else train.input_ids.shape[1]),
        lora_alpha=2.0 * settings.r if alpha is None else alpha,
        learning_rate=(5e-4 if settings.method == "full" else 5e-3) if rate is None else rate,
        eval_steps=settings.eval_steps or max(1, max_steps // 5),
        save_steps=settings.save_steps or max(1, min(50, max_steps // 10)),
    )


def _with_method(model: Any, settings: FinetuneSettings) -> Any:
    """The model with what the method adds: 4 bits, an adapter."""
    if settings.method == "qlora":
        quantize_model(model)
    if settings.method == "full":
        return model
    targets = settings.target_modules
    assert settings.lora_alpha is not None
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        target_modules=targets[0] if len(targets) == 1 else targets,
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.use_rslora,
    )
    torch.manual_seed(settings.seed)
    return add_lora(model, config, models.ADAPTER)


def _trainer(model: Any, train: TokenData, validation: TokenData, settings: FinetuneSettings) -> Trainer:
    return _Run(
        model,
        train,
        max_steps=settings.max_steps,
        validation_data=validation,
        batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        learning_rate=settings.learning_rate,
        warmup_ratio=settings.warmup_ratio,
        lr_scheduler_type=settings.lr_scheduler_type,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        eval_steps=settings.eval_steps,
        save_steps=settings.save_steps,
        output_dir=settings.out,
        gradient_checkpointing=settings.gradient_checkpointing,
        activation_offloading=settings.activation_offloading,
        cuda_graph=settings.cuda_graph,
        device=None if settings.device == "auto" else models.choose_device(settings.device),
        progress=False,
    )


# -- what is left at the end -----------------------------------------------------------------------------------


def _save_result(trainer: Trainer, out: Path) -> None:
    if isinstance(trainer.model, LoraModel):
        trainer.model.save_adapter(out)
    else:
        models.save_plain(trainer.model, out)


def _save_part(trainer: Trainer, out: Path) -> str:
    """Saves a run that was interrupted; returns what to say."""
    if trainer.step == 0:
        again = folder.resume_command(out)
        return (
            f"Interrupted before the first step: nothing was trained or saved. Begin again with:\n  {again}"
        )
    with on_first_interrupt(lambda: None):
        trainer.save()
        too = ""
        if isinstance(trainer.model, LoraModel):
            trainer.model.save_adapter(out)
            too = ", and so is the adapter as it is now"
    return (
        f"Interrupted after step {trainer.step} of {trainer.max_steps}. The run is saved in {out}{too}. "
        f"Continue with:\n  {folder.resume_command(out)}"
    )


def _save_last_good(trainer: Trainer, out: Path) -> str:
    """Saves the last good adapter of a run that diverged, if it has learned anything; returns what to say."""
    if not isinstance(trainer.model, LoraModel):
        return ""
    if trainer.step < 2:  # after one step, the last good weights are those before it
        return "Nothing was learned, so no adapter is saved"
    trainer.model.save_adapter(out)
    return f"That adapter is saved in {out}"


def _wait(trainer: Trainer) -> None:
    if trainer.world_size > 1:
        dist.barrier()  # the others report the size of a file that must exist first


def _report(trainer: Trainer, settings: FinetuneSettings, prompt: str, before: str | None) -> Report:
    history, adapted = trainer.history, isinstance(trainer.model, LoraModel)
    losses = history.validation_losses
    best = min(range(len(losses)), key=losses.__getitem__)
    weights = Path(settings.out) / (WEIGHTS if adapted else "model.safetensors")
    return Report(
        method=settings.method,
        trainable=sum(p.numel() for p in trainer.parameters.values()),
        total=count_weights(trainer.model),
        file_bytes=weights.stat().st_size if weights.exists() else 0,
        peak_memory=history.peak_memory,
        seconds=sum(history.seconds),
        steps=trainer.step,
        validation_before=losses[0],
        validation_after=losses[-1],
        validation_best=losses[best],
        best_step=history.validation_steps[best],
        folder=settings.out,
        prompt=prompt,
        sample_before=before,
        sample_after=None if before is None else sample(trainer.model, prompt),
    )


def next_commands(settings: FinetuneSettings, chat: bool, prompt: str) -> list[str]:
    """Lines to type after a run."""
    model = ["--base" if settings.method == "full" else "--adapter", settings.out]
    words = ["chat", *model] if chat else ["generate", *model, "--prompt", prompt]
    lines = [folder.command("minilora", *words)]
    lines.append(
        folder.command("minilora", "evaluate", *model, "--data", settings.validation_data or "other.txt")
    )
    if settings.method != "full":
        lines.append(
            folder.command("minilora", "merge", *model, "--out", settings.out.rstrip("/\\") + "-merged")
        )
    more = str(2 * (settings.max_steps or 0))
    lines.append(folder.resume_command(Path(settings.out)) + f" --max-steps {more}")
    return lines
