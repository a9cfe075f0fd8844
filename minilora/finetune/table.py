"""What is known before a run begins: a table of its numbers, and warnings where it cannot become anything.

Not here: the estimated time, which needs three steps (watch.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from minilora.finetune.data import Texts, bytes_per_token, in_words, tokens_to_learn
from minilora.finetune.settings import FinetuneSettings
from minilora.gpt import GPT
from minilora.lora import LoraModel, count_weights
from minilora.memory.catalog import ModelShape
from minilora.memory.plan import gigabytes, plan_memory
from minilora.training.trainer import Trainer

FEW_STEPS = 20
MANY_EPOCHS = 20
FEW_TOKENS = 200  # to validate with
SHORT_TOKENS = 1.7  # bytes per token


def table(settings: FinetuneSettings, trainer: Trainer, texts: Texts) -> str:
    """The numbers of a run, before its first step."""
    train, validation = trainer.train_data, trainer.validation_data
    length, per_epoch = train.input_ids.shape[1], trainer.steps_per_epoch
    learned = tokens_to_learn(train)
    epochs = trainer.max_steps / per_epoch
    done = f"{trainer.step:,} done of " if trainer.step else ""
    threads = f", {torch.get_num_threads()} threads" if trainer.device.type == "cpu" else ""
    plan = planned_memory(settings, trainer.model, length)
    rows = {
        "device": f"{trainer.device}{threads}, weights in {settings.dtype}",
        "base": f"{settings.base}, {base_weights(trainer):,} weights",
        "method": method_in_words(settings),
        "trainable weights": trainable_in_words(trainer),
        "data": f"{settings.data}: {in_words(texts)}",
        "rows": f"{len(train):,} to train on, {len(validation or ()):,} held out, {length} tokens each",
        "steps": f"{done}{trainer.max_steps:,}, {epochs:.1f} epochs of {per_epoch:,}; batches of {settings.batch_size}",
        "tokens to see": f"{round(learned * epochs):,}",
        "learning rate": f"{trainer.learning_rate:g}, {settings.lr_scheduler_type}",
        "planned memory": f"{gigabytes(plan)} on a GPU" if plan else "not planned for this kind of model",
    }
    return "\n".join(f"{name:18} {value}" for name, value in rows.items())


def method_in_words(settings: FinetuneSettings) -> str:
    """As "lora, r=8, alpha=16 on all-linear"."""
    if settings.method == "full":
        return "full"
    rslora = ", rsLoRA" if settings.use_rslora else ""
    return (
        f"{settings.method}, r={settings.r}, alpha={settings.lora_alpha:g}{rslora} "
        f"on {' '.join(settings.target_modules)}"
    )


def trainable_in_words(trainer: Trainer) -> str:
    """As "278,528 of 6,050,048 (4.60%)"."""
    trained, total = sum(p.numel() for p in trainer.parameters.values()), count_weights(trainer.model)
    return f"{trained:,} of {total:,} ({trained / total:.2%})"


def base_weights(trainer: Trainer) -> int:
    """Number of the base's own weights."""
    added = sum(p.numel() for p in trainer.parameters.values()) if isinstance(trainer.model, LoraModel) else 0
    return count_weights(trainer.model) - added


def planned_memory(settings: FinetuneSettings, model: Any, length: int) -> int | None:
    """Bytes at the peak, on a GPU; None for a model that the planner does not know."""
    base = model.base if isinstance(model, LoraModel) else model
    if not isinstance(base, GPT):
        return None
    try:
        return plan_memory(
            ModelShape.from_config(base.config),
            settings.method,
            settings.r,
            settings.target_modules,
            settings.dtype,
            batch_size=-(-settings.batch_size // settings.gradient_accumulation_steps),
            sequence_length=length,
            gradient_checkpointing=settings.gradient_checkpointing,
            activation_offloading=settings.activation_offloading,
        ).total
    except ValueError:
        return None


def cautions(settings: FinetuneSettings, trainer: Trainer, texts: Texts) -> Iterator[str]:
    """Why this run may come to nothing, each in one line."""
    epochs = trainer.max_steps / trainer.steps_per_epoch
    per_token = bytes_per_token(texts, trainer.model.tokenizer)
    if per_token < SHORT_TOKENS:
        yield (
            f"the tokenizer of {settings.base} breaks this text into pieces of {per_token:.1f} bytes (English: 3 to "
            "4.5), so the model has hardly seen such text; choose a base that reads this language"
        )
    if trainer.max_steps < FEW_STEPS:
        yield f"{trainer.max_steps} steps change little; some hundred are usual: more text, or a larger --max-steps"
    if epochs > MANY_EPOCHS:
        yield (
            f"each text is read {epochs:.0f} times: the model will recite it instead of taking over its style; give "
            "more text, or a smaller --max-steps"
        )
    held_out = tokens_to_learn(trainer.validation_data) if trainer.validation_data else 0
    if held_out < FEW_TOKENS:
        yield f"the validation loss is measured on {held_out} tokens only; it says little. Give --validation-data"
    if settings.method == "full" and settings.dtype != "fp32":
        yield f"with --method full, weights in {settings.dtype} are too coarse for small updates; use fp32"
    plan = planned_memory(settings, trainer.model, trainer.train_data.input_ids.shape[1])
    if plan and trainer.device.type == "cuda":
        free = torch.cuda.mem_get_info(trainer.device)[0]
        if plan > free:
            yield (
                f"{gigabytes(plan)} are planned and {gigabytes(free)} are free on {trainer.device}; a smaller "
                "--batch-size, --gradient-checkpointing or --method qlora needs less"
            )
