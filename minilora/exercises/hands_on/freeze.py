"""Exercise: freeze the base, and nothing else."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats, Names, Table
from minilora.exercises.drawing import decimals
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def freeze(model):
    """Leaves only the parameters of adapters trainable.

    Args:
        model: A torch.nn.Module; it is changed in place. The parameters of adapters have
            "lora_A" or "lora_B" as one part of their dotted names.

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


NAMES = (
    "legal",
    "legal-2",
    "support",
    "my_style",
    "v2",
    "A",
    "weight",
)  # of adapters; any text without dots may be


def draw(rng: np.random.Generator) -> list[Case]:
    def adapter(path, names):
        for name in names:
            yield f"{path}.lora_A.{name}".strip("."), decimals(rng, 2, 4)
            yield f"{path}.lora_B.{name}".strip("."), decimals(rng, 4, 2)

    def weights(stem, depth, names):
        found = {"embed_tokens.weight": decimals(rng, 5, 4)}
        for i in range(depth):
            layer = f"{stem}.{i}"
            found |= {
                f"{layer}.norm.weight": decimals(rng, 4),
                f"{layer}.q_proj.base_layer.weight": decimals(rng, 4, 4),
                f"{layer}.q_proj.base_layer.bias": decimals(rng, 4),
                **dict(adapter(f"{layer}.q_proj", names)),
                f"{layer}.router.{names[0]}": decimals(rng, 4),  # ends like an adapter's matrix, and is none
                f"{layer}.router.default": decimals(rng, 4),
                f"{layer}.up_proj.weight": decimals(rng, 6, 4),
            }
        return found | {
            "exploratory_head.weight": decimals(rng, 3, 4),  # "lora" is in it, by chance
            "explora_norm.weight": decimals(rng, 4),  # and here even "lora_"
            "lora_Alpha.weight": decimals(rng, 2),  # begins like an adapter's part, and is another
            "lora_router.weight": decimals(rng, 2),
        }

    names = [str(name) for name in rng.choice(NAMES, 3, replace=False)]
    nested = "Only names with a part after the adapter's go wrong (lora_A.default.weight): look at all parts of a name."
    return [
        Case("two layers, one adapter", {"model": weights("layers", 2, names[:1])}),
        Case("two adapters, in deeper paths", {"model": weights("base_model.model.layers", 1, names[1:3])}),
        Case(
            "as PEFT names them",
            {
                "model": {
                    "model.layers.0.q_proj.base_layer.weight": decimals(rng, 4, 4),
                    "model.layers.0.q_proj.lora_A.default.weight": decimals(rng, 2, 4),
                    "model.layers.0.q_proj.lora_B.default.weight": decimals(rng, 4, 2),
                }
            },
            nested,
        ),
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


def has(part, name):
    return part in name.split(".")


def is_adapter(name):
    return has("lora_A", name) or has("lora_B", name)


def nothing(model):
    model.eval()


def without_gradients_only(model):
    """Forgets to switch the adapters on again."""
    model.requires_grad_(False)


def removed(model):
    """The base's parameters are taken out of the model."""
    for name in [name for name, _ in model.named_parameters()]:
        if not is_adapter(name):
            *parents, last = name.split(".")
            delattr(model.get_submodule(".".join(parents)), last)


EXERCISE = Exercise(
    name="freeze",
    title="Freeze the base",
    minutes=10,
    points=2,
    statement="""
A parameter of a PyTorch model is trained if its `requires_grad` is true. At first that holds for every
parameter. LoRA trains only the adapters: no gradient is computed for a frozen weight, and the optimizer
stores nothing for it.

Write `freeze`. Go through the model's parameters and leave only those of adapters trainable: those that
have `lora_A` or `lora_B` as one part of their dotted name. Do not change any value. The function need not
return anything.
""",
    solution=freeze,
    example={
        "model": {
            "base.weight": np.array([[0.25, -0.5, 0.125], [0.5, 0.25, -0.375]]),
            "base.bias": np.array([0.5, -0.25]),
            "lora_A.default": np.zeros((1, 3)),
        }
    },
    draw=draw,
    takes={"model": "model"},
    gives="model",
    result=Table("the model", {"trainable": Names(""), "weights": Table("", Floats())}),
    hints=(
        "model.named_parameters() gives pairs: a dotted name, and the parameter itself. Print the names "
        "first.",
        "Split the name at its dots and check whether one of the parts is lora_A or lora_B.",
        "For each pair: parameter.requires_grad = 'lora_A' in parts or 'lora_B' in parts, with parts = "
        "name.split('.').",
    ),
    pitfalls=(
        "`model.eval()` and `torch.no_grad()` freeze nothing. The first switches off dropout; the second "
        "stops gradients only inside its `with` block.",
        "`'str' object has no attribute 'requires_grad'`: named_parameters() gives pairs; unpack both.",
    ),
    explanation="Frozen weights need no gradient and no optimizer state. Full fine-tuning in float32 takes "
    "16 bytes per weight; a frozen weight takes 4. That is most of what LoRA saves.",
    wrong=(
        Wrong(
            "nothing",
            nothing,
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
            "It is the wrong way around: the base trains and the adapters are frozen.",
        ),
        Wrong(
            "by-letters",
            where(lambda name: "lora" in name),
            "A layer of the base trains because its name happens to contain 'lora' (exploratory_head). "
            "Compare whole parts.",
        ),
        Wrong(
            "a-frozen",
            where(lambda name: has("lora_B", name)),
            "Only B trains. A is part of the adapter as well.",
        ),
        Wrong(
            "b-frozen",
            where(lambda name: has("lora_A", name)),
            "Only A trains. B starts at zero, so without training it the adapter never changes anything.",
        ),
        Wrong(
            "biases-train",
            where(lambda name: is_adapter(name) or name.endswith("bias")),
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
            "by-lora_",
            where(lambda name: "lora_" in name),
            "Parameters of the base train because the letters lora_ occur in their names (explora_norm, "
            "lora_Alpha). "
            "Compare whole parts.",
        ),
        Wrong(
            "by-substring",
            where(lambda name: "lora_A" in name or "lora_B" in name),
            "lora_Alpha trains because lora_A occurs in it. Split the name at its dots and compare whole "
            "parts.",
        ),
        Wrong(
            "next-to-last",
            where(lambda name: len(name.split(".")) > 1 and name.split(".")[-2] in ("lora_A", "lora_B")),
            "You look only at the part before the last. PEFT's names are longer (lora_A.default.weight): "
            "lora_A or lora_B may be any part.",
        ),
        Wrong(
            "with-dots",
            where(lambda name: ".lora_A." in name or ".lora_B." in name),
            "You look for .lora_A. with a dot in front. It may also be the first part of a name, as in "
            "lora_A.default.",
        ),
        Wrong(
            "by-name-of-adapter",
            where(lambda name: "default" in name),
            "You look for the name default. An adapter may have any name; its part is called lora_A or "
            "lora_B.",
        ),
        Wrong(
            "ends-with-default",
            where(lambda name: name.endswith("default")),
            "You look for names that end in default. An adapter may have any name; its part is called "
            "lora_A or lora_B.",
        ),
        Wrong(
            "not-weight-or-bias",
            where(lambda name: not name.endswith((".weight", ".bias"))),
            "You freeze what ends in .weight or .bias. Some adapter names end like that too, and some "
            "names in the base do not.",
        ),
        Wrong(
            "starts-with",
            where(lambda name: any(part.startswith("lora_") for part in name.split("."))),
            "You take any part that begins with lora_. Only lora_A and lora_B are parts of adapters.",
        ),
        Wrong(
            "embeddings-train",
            where(lambda name: is_adapter(name) or "embed" in name),
            "The embeddings still train; they belong to the base.",
        ),
        Wrong(
            "removed",
            removed,
            "The base's parameters are gone from the model. Freezing leaves them in place: they do the work.",
        ),
        Wrong(
            "zeroed",
            zero_the_base,
            "The base was set to zero. Freezing leaves every value as it is: the frozen model does the work.",
        ),
    ),
    variants=(Variant("by modules", by_modules), Variant("returning the model", returning_the_model)),
)
