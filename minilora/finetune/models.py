"""The model that a command works with: our GPT where it can compute the checkpoint, else a model of `transformers`.

A model of `transformers` gets the attributes that the commands use of our GPT: `tokenizer`, `chat_template`,
`stop_tokens` and `stream`. Not here: encoders, models with images or sound.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from minilora import generation
from minilora.files import adapter_files, checkpoints
from minilora.files.model_config import read_config
from minilora.files.safe_files import read_json
from minilora.finetune.settings import ModelSettings
from minilora.generation import GenerationMixin
from minilora.gpt import GPT
from minilora.lora import LoraModel
from minilora.quantization.model import quantize_model

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
ADAPTER = "trained"  # an adapter's name in the model; files do not hold it
RUN_FILE = "run.json"


def load_model(settings: ModelSettings) -> Any:
    """Loads a base, and an adapter on it if the settings name one, on its device.

    Raises:
        FileNotFoundError, ValueError: As `load_base` and `LoraModel.from_pretrained`.
    """
    base = settings.base or (base_of(settings.adapter) if settings.adapter else "tiny-gpt")
    model = load_base(base, settings.dtype)
    if settings.load_in_4bit:
        quantize_model(model)
    if settings.adapter:
        model = LoraModel.from_pretrained(model, settings.adapter, ADAPTER, any_base=settings.any_base)
    return model.to(choose_device(settings.device)).eval()


def load_base(name: str | os.PathLike[str], dtype: str = "fp32") -> Any:
    """Loads a base model.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If neither our GPT nor `transformers` computes it.
    """
    folder = checkpoints.find_checkpoint(name)
    try:
        read_config(folder)
    except ValueError as refused:
        if "model_type" not in read_json(folder / "config.json"):
            raise
        return _from_transformers(folder, name, dtype, refused)
    return GPT.from_pretrained(name, DTYPES[dtype])


def _from_transformers(folder: Path, name: Any, dtype: str, refused: ValueError) -> Any:
    try:
        from transformers import AutoModelForCausalLM
    except ImportError:
        raise ValueError(f"{refused}. Where transformers is installed, it computes such models") from None
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPES[dtype]).eval()
    model.tokenizer = checkpoints.read_tokenizer(folder)
    if model.tokenizer is None:
        raise ValueError(
            f"{folder} has no tokenizer.json; AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes it"
        )
    model.name_or_path = os.fspath(name)
    model.chat_template = checkpoints.read_chat_template(folder)
    model.stop_token_ids = checkpoints.read_token_ids(folder, "eos_token_id")
    model.stop_tokens = functools.partial(GenerationMixin.stop_tokens, model)
    model.generate_tokens = functools.partial(_generate_tokens, model)
    model.stream = functools.partial(GenerationMixin.stream, model)
    return model


@torch.no_grad()
def _generate_tokens(
    model: Any,
    prompt_ids: list[int],
    max_new_tokens: int = 100,
    temperature: float = 0.7,
    top_k: int | None = 50,
    seed: int | None = None,
) -> Iterator[int]:
    """`GPT.generate_tokens` for a model of `transformers`, with its own cache."""
    if hasattr(model.config, "max_position_embeddings"):
        GenerationMixin._check_request(model, prompt_ids, max_new_tokens, temperature, top_k)
    was_training, device = model.training, model.get_input_embeddings().weight.device
    model.eval()
    try:
        generator = torch.Generator(device=device)
        generator.seed() if seed is None else generator.manual_seed(seed)
        new, cache = torch.tensor([prompt_ids], device=device), None  # (1, prompt tokens), then (1, 1)
        for _ in range(max_new_tokens):
            found = model(input_ids=new, past_key_values=cache, use_cache=True)
            cache = found.past_key_values
            new = generation.choose_token(found.logits[0, -1].float(), temperature, top_k, generator).view(
                1, 1
            )
            yield int(new)
    finally:
        model.train(was_training)


def save_plain(model: Any, folder: str | os.PathLike[str]) -> None:
    """Writes a model without adapters as a checkpoint that `transformers` opens."""
    model.save_pretrained(folder)
    if isinstance(model, GPT):
        return
    tokenizer = model.tokenizer  # of a model of `transformers` the weights alone are written
    Path(folder, "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8", newline="\n")
    if model.chat_template:
        Path(folder, "chat_template.jinja").write_text(model.chat_template, encoding="utf-8", newline="\n")


def context_of(model: Any) -> int:
    """The longest text that a model can read, in tokens."""
    return int(getattr(model.config, "max_position_embeddings", None) or 2**20)


def base_of(adapter: str | os.PathLike[str]) -> str:
    """The base that an adapter was trained on, as far as its folder says; else tiny-gpt."""
    run, config = Path(adapter, RUN_FILE), Path(adapter, adapter_files.CONFIG)
    names = [read_json(run).get("settings", {}).get("base")] if run.exists() else []
    names += [read_json(config).get("base_model_name_or_path")] if config.exists() else []
    for name in names:
        if isinstance(name, str) and name:
            return name
    return "tiny-gpt"


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is a GPU if there is one.

    Raises:
        ValueError: If PyTorch knows no such device, or this machine has none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device is {json.dumps(name)}, which cannot be used here: {reason}") from None
    return device
