"""Exercise: freeze the base, and nothing else."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats, Names, Table
from minilora.exercises.drawing import quarters
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def freeze(model):
    """model: a torch.nn.Module, changed in place: of its parameters only those of adapters stay trainable.

    An adapter's parameter has "lora_A" or "lora_B" as one part of its dotted name.

    >>> import torch
    >>> layer = torch.nn.Module()
    >>> layer.base = torch.nn.Linear(3, 2)
    >>> layer.lora_A = torch.nn.ParameterDict({"default": torch.zeros(1, 3)})
    >>> freeze(layer)
    >>> [name for name, parameter in layer.named_parameters() if parameter.requires_grad]
    ['lora_A.default']
    """
    ### BEGIN SOLUTION
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        parameter.requires_grad = "lora_A" in parts or "lora_B" in parts
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    def weights(depth):
        found = {"embed_tokens.weight": quarters(rng, 5, 4)}
        for i in range(depth):
            found |= {
                f"layers.{i}.norm.weight": quarters(rng, 4),
                f"layers.{i}.q_proj.base_layer.weight": quarters(rng, 4, 4),
                f"layers.{i}.q_proj.base_layer.bias": quarters(rng, 4),
                f"layers.{i}.q_proj.lora_A.default": quarters(rng, 2, 4),
                f"layers.{i}.q_proj.lora_B.default": quarters(rng, 4, 2),
                f"layers.{i}.up_proj.weight": quarters(rng, 6, 4),
            }
        found["exploratory_head.weight"] = quarters(rng, 3, 4)  # "lora" is in it, by chance
        return found

    return [
        Case("two layers", {"model": weights(2)}),
        Case("one layer", {"model": weights(1)}),
    ]


def by_modules(model):
    model.requires_grad_(False)
    for name, module in model.named_modules():
        if name.endswith(("lora_A", "lora_B")):
            module.requires_grad_(True)


def returning_the_model(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_A." in f".{name}." or ".lora_B." in f".{name}.")
    return model


def where(trains):
    """Freezes what `trains` (name -> bool) does not pick."""

    def freeze_by(model):
        for name, parameter in model.named_parameters():
            parameter.requires_grad = trains(name)

    return freeze_by


def zero_the_base(model):
    freeze(model)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data.zero_()


def is_adapter(name):
    return ".lora_A." in name or ".lora_B." in name


EXERCISE = Exercise(
    name="freeze",
    title="Freeze the base",
    minutes=5,
    points=2,
    statement="""
A parameter of a torch model trains if its `requires_grad` is true, which it is at first for all. LoRA
trains its adapters alone: no gradient is computed for a frozen weight, and the optimizer keeps nothing for
it.

Write `freeze`. It goes through the model's parameters and leaves only those of adapters trainable: those
with `lora_A` or `lora_B` as one part of their dotted name. No value may change. It need not return
anything.
""",
    solution=freeze,
    draw=draw,
    takes={"model": "model"},
    gives="model",
    result=Table("the model", {"trainable": Names(""), "weights": Table("", Floats())}),
    hints=(
        "model.named_parameters() gives pairs: a dotted name, and the parameter itself. Print the names first.",
        "Split the name at its dots and look whether one of the parts is lora_A or lora_B.",
        "For each pair: parameter.requires_grad = 'lora_A' in parts or 'lora_B' in parts, with parts = "
        "name.split('.').",
    ),
    pitfalls=(
        "`model.eval()` and `torch.no_grad()` freeze nothing: the one is about dropout, the other about "
        "one stretch of code.",
        "`'str' object has no attribute 'requires_grad'`: named_parameters() gives pairs; unpack both.",
    ),
    explanation="Frozen weights need no gradient and no optimizer state: of the 16 bytes that full "
    "fine-tuning in float32 spends on "
    "each weight, 4 are left. That is most of what LoRA saves.",
    wrong=(
        Wrong(
            "nothing",
            lambda model: model.eval() and None,
            "Nothing is frozen: every parameter would still train. Set requires_grad (eval() and no_grad() "
            "do not).",
        ),
        Wrong(
            "everything",
            where(lambda name: False),
            "Everything is frozen, the adapters too, so nothing can learn.",
        ),
        Wrong(
            "reversed",
            where(lambda name: not is_adapter(name)),
            "It is the wrong way round: the base trains and the adapters are frozen.",
        ),
        Wrong(
            "by-letters",
            where(lambda name: "lora" in name),
            "A layer of the base trains because the letters of 'lora' occur in its name "
            "(exploratory_head). Compare whole parts.",
        ),
        Wrong(
            "a-frozen",
            where(lambda name: ".lora_B." in name),
            "Only B trains. A is part of the adapter as well.",
        ),
        Wrong(
            "b-frozen",
            where(lambda name: ".lora_A." in name),
            "Only A trains. Without B, which starts at zero, the adapter never says anything.",
        ),
        Wrong(
            "biases-train",
            where(lambda name: is_adapter(name) or name.endswith(".bias")),
            "The biases of the base still train; they are frozen too.",
        ),
        Wrong(
            "norms-train",
            where(lambda name: is_adapter(name) or ".norm." in name),
            "The norms still train; they belong to the base.",
        ),
        Wrong(
            "targets-only",
            where(lambda name: "base_layer" not in name),
            "Only the layers that carry an adapter are frozen. Embeddings, norms and all other layers must "
            "be as well.",
        ),
        Wrong(
            "zeroed",
            zero_the_base,
            "The base was set to zero. Freezing leaves every value as it is: the frozen model does the work.",
        ),
    ),
    variants=(Variant("by modules", by_modules), Variant("returning the model", returning_the_model)),
)
