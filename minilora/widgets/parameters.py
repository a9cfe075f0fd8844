"""Explorable: how many weights LoRA trains, for rank, target layers and model."""

from __future__ import annotations

import functools

import torch

from minilora.checkpoints import EMBEDDED, read_config
from minilora.figures.parameters import draw
from minilora.gpt import GPT, GPTConfig
from minilora.lora import LoraConfig, LoraModel, add_lora, layer_shape
from minilora.widgets.explorer import Explorer, choice, slider

RANKS = [2**i for i in range(9)]  # 1 … 256
TARGETS = {
    "q_proj, v_proj": ("q_proj", "v_proj"),
    "attention": ("attention",),
    "mlp": ("mlp",),
    "all-linear": ("all-linear",),
}
MODELS = {
    "tiny-gpt": GPTConfig(**read_config(EMBEDDED["tiny-gpt"])),
    "SmolLM2-135M": GPTConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
    ),
}


class ParameterExplorer(Explorer):
    """Counts on the model itself: it is built without memory for its weights, adapted, and asked."""

    def __init__(self, model: str = "tiny-gpt"):
        if model not in MODELS:
            raise ValueError(f"there is no model {model!r} here; choose one of {', '.join(MODELS)}")
        super().__init__(
            model=choice("Model", list(MODELS), model),
            targets=choice("Layers", list(TARGETS), "attention"),
            rank=slider("Rank r", RANKS, 8),
        )

    def draw(self, model: str, targets: str, rank: int) -> tuple[str, str]:
        return draw(model, rank, *count(model, targets, rank))


@functools.cache
def count(name: str, targets: str, rank: int) -> tuple[list[tuple[str, int, int, int]], int, int, int, int]:
    """Kinds of adapted layers (name, in, out, how many), trainable and all weights, bytes of adapter and of model."""
    model = empty_model(name)
    if "counted" in model.adapters:
        model.remove_adapter("counted")
    model.add_adapter("counted", LoraConfig(r=rank, target_modules=list(TARGETS[targets])))
    shapes: dict[tuple[str, int, int], int] = {}
    for path, layer in model.lora_layers().items():
        if "counted" in layer.configs:
            kind = (path.split(".")[-1], *layer_shape(layer))
            shapes[kind] = shapes.get(kind, 0) + 1
    trainable = model.trainable_parameter_count()
    total = trainable.total
    groups = [(*kind, layers) for kind, layers in shapes.items()]
    return groups, int(trainable), total, 4 * trainable, 4 * (total - trainable)


@functools.cache
def empty_model(name: str) -> LoraModel:
    """A model of that shape whose weights take no memory, with LoRA's layers around its linear ones."""
    with torch.device("meta"):
        return add_lora(GPT(MODELS[name]), LoraConfig(r=1, target_modules="all-linear"), "counted")
