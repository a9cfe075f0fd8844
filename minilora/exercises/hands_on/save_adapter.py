"""Exercise: save the adapter and nothing else."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats, Table
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong

PREFIX = "base_model.model."


def adapter_to_save(state, adapter):
    """Selects the matrices of one adapter, under their names in the file.

    Args:
        state: Parameter name -> array, of a model with several adapters.
        adapter: Name of the adapter.

    Returns:
        Name in the file -> array.

    >>> state = {"q_proj.base_layer.weight": np.ones((4, 3))}
    >>> state |= {"q_proj.lora_A.mine": np.ones((2, 3)), "q_proj.lora_B.mine": np.ones((4, 2))}
    >>> {name: value.shape for name, value in adapter_to_save(state, "mine").items()}
    {'base_model.model.q_proj.lora_A.weight': (2, 3),
     'base_model.model.q_proj.lora_B.weight': (4, 2)}
    """
    ### BEGIN SOLUTION
    tensors = {}
    for name, value in state.items():
        path, _, last = name.rpartition(".")
        if last == adapter and path.endswith((".lora_A", ".lora_B")):
            tensors[f"base_model.model.{path}.weight"] = value
    return tensors
    ### END SOLUTION


NAMES = ("legal", "default", "weight", "v2", "lora", "my_style", "a+b", "q_proj")


def draw(rng: np.random.Generator) -> list[Case]:
    def matrices(path, out, names):
        found = {}
        for name in names:
            found |= {
                f"{path}.lora_A.{name}".strip("."): rng.normal(size=(2, 4)),
                f"{path}.lora_B.{name}".strip("."): rng.normal(size=(out, 2)),
            }
        return found

    def state(stem, layers, out, adapter):
        others = (f"{adapter}-2", f"il{adapter}")  # names that begin and end alike
        found = {"model.embed_tokens.weight": rng.normal(size=(5, 4))}
        for i in range(layers):
            for layer in (f"{stem}.{i}.self_attn.q_proj", f"{stem}.{i}.mlp.up_proj"):
                found |= {
                    f"{layer}.base_layer.weight": rng.normal(size=(out, 4)),
                    f"{layer}.base_layer.bias": rng.normal(size=out),
                    **matrices(layer, out, ["code", adapter, *others]),
                }
        return found | {
            f"model.{adapter}.head.weight": rng.normal(size=(3, 4)),
            **matrices(f"{adapter}.out_proj", out, [adapter, "code"]),  # a layer called like the adapter
            f"model.norm_for.{adapter}": rng.normal(size=4),  # ends like an adapter's matrix, and is none
            f"model.lora_norm.{adapter}": rng.normal(size=4),
        }

    first, second, third = (str(name) for name in rng.choice(NAMES, 3, replace=False))
    return [
        Case("square layers", {"state": state("model.layers", 2, 4, first), "adapter": first}),
        Case(
            "longer paths", {"state": state("model.vision.encoder.layers", 1, 6, second), "adapter": second}
        ),
        Case("short paths", {"state": matrices("up", 5, [third, "code"]), "adapter": third}),
    ]


def by_comprehension(state, adapter):
    ends = tuple(f".lora_{side}.{adapter}" for side in "AB")
    return {
        "base_model.model." + name[: -len(adapter)] + "weight": value
        for name, value in state.items()
        if name.endswith(ends)
    }


def by_regex(state, adapter):
    import re

    found = {}
    for name in sorted(state):
        match = re.fullmatch(rf"(.+)\.lora_([AB])\.{re.escape(adapter)}", name)
        if match:
            found[f"base_model.model.{match[1]}.lora_{match[2]}.weight"] = state[name].copy()
    return found


def named(path):
    return f"{PREFIX}{path}.weight"


def flawed(
    pick=lambda path, last, adapter: last == adapter and path.endswith((".lora_A", ".lora_B")),
    name=named,
    value=lambda v: v,
):
    def save(state, adapter):
        found = {}
        for full, v in state.items():
            path, _, last = full.rpartition(".")
            if pick(path, last, adapter):
                found[name(path)] = value(v)
        return found

    return save


def is_matrix(path):
    return path.endswith((".lora_A", ".lora_B"))


def replaced_everywhere(state, adapter):
    """str.replace turns the adapter's name over wherever it occurs."""
    return {
        PREFIX + name.replace(adapter, "weight"): value
        for name, value in state.items()
        if name.endswith((f".lora_A.{adapter}", f".lora_B.{adapter}"))
    }


def ends_alike(state, adapter):
    """endswith without the dot: il-legal ends like legal."""
    found = {}
    for name, value in state.items():
        path = name.rpartition(".")[0]
        if name.endswith(adapter) and is_matrix(path):
            found[named(path)] = value
    return found


def no_layer_path(state, adapter):
    return {PREFIX + ".".join(name.split(".")[-3:]): v for name, v in adapter_to_save(state, adapter).items()}


def everything(state, adapter):
    return {PREFIX + name: value for name, value in state.items()}


def merged(state, adapter):
    """The product in place of the two matrices."""
    found = {}
    for name, value in state.items():
        path, _, last = name.rpartition(".")
        if last == adapter and path.endswith(".lora_B"):
            stem = path.removesuffix(".lora_B")
            found[f"{PREFIX}{stem}.weight"] = value @ state[f"{stem}.lora_A.{adapter}"]
    return found


def swapped(state, adapter):
    right = adapter_to_save(state, adapter)
    other = {"lora_A": "lora_B", "lora_B": "lora_A"}
    return {name.replace(side := name.split(".")[-2], other[side]): value for name, value in right.items()}


def all_adapters_kept_apart(state, adapter):
    return {PREFIX + name + ".weight": value for name, value in state.items() if ".lora_" in name}


def with_base(state, adapter, end):
    """The adapter, and what of the base has a name with this end."""
    base = {PREFIX + name: value for name, value in state.items() if name.endswith(end)}
    return adapter_to_save(state, adapter) | base


EXERCISE = Exercise(
    name="save-adapter",
    title="Save only the adapter",
    minutes=15,
    points=2,
    statement="""
An adapter file holds only the adapter's matrices, nothing from the base. Other tools expect their names in
a certain form: `base_model.model.`, then the path of the layer, then `.lora_A.weight` or `.lora_B.weight`.
In memory the names differ: the path, then `.lora_A.` or `.lora_B.`, then the name of the adapter, because a
model may have several.

Write `adapter_to_save`. Select the matrices of one adapter and give them their file names. Do not change
the values.
""",
    solution=adapter_to_save,
    example={
        "state": {
            "q_proj.base_layer.weight": np.ones((4, 3)),
            "q_proj.lora_A.mine": np.ones((2, 3)),
            "q_proj.lora_B.mine": np.ones((4, 2)),
        },
        "adapter": "mine",
    },
    draw=draw,
    result=Table("the file", Floats()),
    hints=(
        "Print the names in state. What do the matrices of one adapter have in common, and no other entry?",
        "name.rpartition('.') splits off the last part. It must equal the adapter's name: legal and "
        "legal-2 are different adapters.",
        "Take the names whose last part is the adapter and whose rest ends in .lora_A or .lora_B; the new "
        "name is "
        "'base_model.model.' + rest + '.weight'.",
    ),
    pitfalls=(
        "`adapter in name` also finds the adapter legal-2, and a layer that is called legal.",
        "`lacks base_model.model.…`: compare your names with the expected ones letter by letter.",
    ),
    explanation="The file holds two small matrices per adapted layer: megabytes, where the model takes "
    "gigabytes. The names are PEFT's, so any tool that reads PEFT's format can open it.",
    wrong=(
        Wrong(
            "everything",
            everything,
            "The whole model is in the file: the base and all adapters. Only one adapter's matrices belong "
            "there.",
        ),
        Wrong(
            "base-only",
            lambda state, adapter: {PREFIX + n: v for n, v in state.items() if ".lora_" not in n},
            "You saved the base and left the adapter out; it should be the other way around.",
        ),
        Wrong(
            "all-adapters",
            all_adapters_kept_apart,
            "All adapters are in the file, not only the one that was asked for.",
        ),
        Wrong(
            "overwritten",
            flawed(lambda path, last, adapter: is_matrix(path)),
            "All adapters were written under the same names, so the last one overwrote the one that was "
            "asked for.",
        ),
        Wrong(
            "names-begin-alike",
            flawed(lambda path, last, adapter: last.startswith(adapter) and is_matrix(path)),
            "An adapter whose name only starts like this one was saved too, and overwrote it. Compare "
            "whole names.",
        ),
        Wrong(
            "a-only",
            flawed(lambda p, last, a: last == a and p.endswith(".lora_A")),
            "B is missing from the file.",
        ),
        Wrong(
            "b-only",
            flawed(lambda p, last, a: last == a and p.endswith(".lora_B")),
            "A is missing from the file.",
        ),
        Wrong(
            "no-prefix",
            flawed(name=lambda path: f"{path}.weight"),
            "The names lack base_model.model. at the start. Other tools would load nothing, without an "
            "error.",
        ),
        Wrong(
            "adapter-in-name",
            lambda state, adapter: {
                PREFIX + name: value
                for name, value in state.items()
                if name.endswith((f".lora_A.{adapter}", f".lora_B.{adapter}"))
            },
            "The adapter's own name is still in the names; in the file they end in .weight, so that it can "
            "be loaded under any name.",
        ),
        Wrong(
            "no-weight",
            flawed(name=lambda path: PREFIX + path),
            "The names lack .weight at the end.",
        ),
        Wrong(
            "merged",
            merged,
            "You saved the product B @ A, which is as large as the layer's weight. Save the two small "
            "matrices.",
        ),
        Wrong(
            "swapped",
            swapped,
            "A is saved under B's name, and B under A's.",
        ),
        Wrong(
            "with-biases",
            lambda state, adapter: with_base(state, adapter, ".bias"),
            "Biases of the base are in the file; they were not trained.",
        ),
        Wrong(
            "replaced-everywhere",
            replaced_everywhere,
            "A layer that has the adapter's name in its path is renamed too. Replace the last part of "
            "the name only.",
        ),
        Wrong(
            "names-end-alike",
            ends_alike,
            "An adapter whose name only ends like this one was saved too, and overwrote it. Compare whole "
            "names.",
        ),
        Wrong(
            "any-lora",
            flawed(lambda path, last, adapter: last == adapter and ".lora_" in path),
            "A norm is in the file because its name contains .lora_. Only .lora_A and .lora_B belong to "
            "adapters.",
        ),
        Wrong(
            "by-last-part",
            flawed(lambda path, last, adapter: last == adapter),
            "Everything that ends in the adapter's name is in the file. The part before it must be lora_A "
            "or lora_B.",
        ),
        Wrong(
            "with-base-weights",
            lambda state, adapter: with_base(state, adapter, "base_layer.weight"),
            "The weights of the base are in the file too. Anyone who loads the adapter has them already.",
        ),
        Wrong(
            "half-prefix",
            flawed(name=lambda path: f"base_model.{path}.weight"),
            "The names begin with base_model. only; in full it is base_model.model.",
        ),
        Wrong(
            "model-prefix",
            flawed(name=lambda path: f"model.{path}.weight"),
            "The names begin with model. only; in full it is base_model.model.",
        ),
        Wrong(
            "default-in-name",
            flawed(name=lambda path: f"{PREFIX}{path}.default.weight"),
            "There is a .default in the names. In the file no adapter is named: .lora_A.weight.",
        ),
        Wrong(
            "path-cut",
            no_layer_path,
            "The path of the layer is cut to its last part, so that layers overwrite each other. Keep "
            "the whole path.",
        ),
        Wrong(
            "underscores",
            flawed(name=lambda path: f"{PREFIX}{path}.weight".replace(".", "_")),
            "The dots of the names became underscores. Keep the dots.",
        ),
        Wrong(
            "transposed",
            flawed(value=np.transpose),
            "The matrices are transposed. Save them as they are.",
        ),
        Wrong(
            "float16",
            flawed(value=lambda v: v.astype(np.float16)),
            "The values were converted to float16. Save them as they are.",
        ),
    ),
    variants=(Variant("a comprehension", by_comprehension), Variant("a regular expression", by_regex)),
)
