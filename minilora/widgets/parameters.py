"""Explorable: how many weights LoRA trains, for rank, target layers and model.

Not here: memory while training (widgets/memory.py), and models other than the two that the course runs.
"""

from __future__ import annotations

import dataclasses
import functools

import torch

from minilora.explorables.controls import choice, slider
from minilora.figures.parameters import draw
from minilora.gpt import GPT, GPTConfig
from minilora.lora import LoraConfig, LoraModel, add_lora, layer_shape
from minilora.memory import plan_memory
from minilora.memory.catalog import model_shape
from minilora.widgets.explorer import Explorer

RANKS = [2**i for i in range(7)]  # 1 … 64: no layer of the models below has room for more
TARGETS = {
    "q_proj, v_proj": ("q_proj", "v_proj"),
    "attention": ("attention",),
    "mlp": ("mlp",),
    "all-linear": ("all-linear",),
}
MODELS = {"tiny-gpt": "tiny-gpt", "SmolLM2-135M": "smollm2-135m"}  # by their names here, those in the catalog


class ParameterExplorer(Explorer):
    """Counts on the model itself: it is built without memory for its weights, adapted, and asked."""

    def __init__(self, model: str = "tiny-gpt"):
        if model not in MODELS:
            raise ValueError(f"there is no model {model!r} here; choose one of {', '.join(MODELS)}")
        for name in MODELS:
            empty_model(name)  # now, so that no key press waits for it
        super().__init__(
            model=choice("Model", list(MODELS), model),
            targets=choice("Layers", list(TARGETS), "attention"),
            rank=slider("Rank r", RANKS, 8),
        )

    def draw(self, model: str, targets: str, rank: int) -> tuple[str, str]:
        return draw(model, rank, *count(model, targets, rank))


@functools.cache
def count(name: str, targets: str, rank: int) -> tuple[list[tuple[str, int, int, int]], int, int, int, int]:
    """Counts what LoRA trains in a model.

    Args:
        name: A key of MODELS.
        targets: A key of TARGETS.
        rank: Rank of the adapter.

    Returns:
        The kinds of adapted layers as (name, in, out, how many), then four numbers: trainable weights, all weights,
        bytes of the adapter's file and of the model's.
    """
    model = empty_model(name)
    if "counted" in model.peft_config:
        model.delete_adapter("counted")
    chosen = list(TARGETS[targets])
    model.add_adapter("counted", LoraConfig(r=rank, target_modules=chosen))
    shapes: dict[tuple[str, int, int], int] = {}
    for path, layer in model.lora_layers().items():
        if "counted" in layer.configs:
            kind = (path.split(".")[-1], *layer_shape(layer))
            shapes[kind] = shapes.get(kind, 0) + 1
    trainable = model.trainable_parameter_count()
    groups = [(*kind, layers) for kind, layers in shapes.items()]
    adapter = plan_memory(MODELS[name], "lora", rank, chosen)
    whole = plan_memory(MODELS[name], "full", dtype="fp32")  # as an adapter is stored
    return groups, int(trainable), trainable.total, adapter.file_bytes, whole.file_bytes


@functools.cache
def empty_model(name: str) -> LoraModel:
    """A model of that shape whose weights take no memory, with LoRA's layers around its linear ones."""
    shape = dataclasses.asdict(model_shape(MODELS[name]))
    fields = {field.name for field in dataclasses.fields(GPTConfig)}
    with torch.device("meta"):
        model = GPT(GPTConfig(**{key: value for key, value in shape.items() if key in fields}))
        return add_lora(model, LoraConfig(r=1, target_modules="all-linear"), "counted")
