"""Exercise: what a training step keeps in memory."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats, Table
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def training_memory(frozen, trained, frozen_bits):
    """Computes the memory of a training step with Adam, without activations.

    Args:
        frozen: Number of frozen weights.
        trained: Number of trainable weights, in float32.
        frozen_bits: Bits per frozen weight.

    Returns:
        A dict of bytes: "weights" (frozen and trainable), "gradients", "optimizer" and "total".

    >>> training_memory(frozen=1000, trained=10, frozen_bits=4)
    {'weights': 540.0, 'gradients': 40, 'optimizer': 80, 'total': 660.0}
    """
    ### BEGIN SOLUTION
    weights = frozen * frozen_bits / 8 + trained * 4
    gradients = trained * 4
    optimizer = trained * 8  # two moments, as large as the weight
    return {
        "weights": weights,
        "gradients": gradients,
        "optimizer": optimizer,
        "total": weights + gradients + optimizer,
    }
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    def millions(low, high):
        return int(rng.integers(low, high)) * 8000 + int(rng.integers(1, 8000))

    return [
        Case("QLoRA", {"frozen": millions(500, 900), "trained": millions(2, 20), "frozen_bits": 4.127}),
        Case(
            "LoRA on a base in 16 bits",
            {"frozen": millions(100, 400), "trained": millions(2, 20), "frozen_bits": 16},
        ),
        Case("full fine-tuning", {"frozen": 0, "trained": millions(100, 400), "frozen_bits": 32}),
    ]


def tolerance(frozen, trained, frozen_bits):
    """Whole bytes: rounding each part up may add one, and the total two."""
    return 2.0


def by_a_table(frozen, trained, frozen_bits):
    each = {"weights": 4, "gradients": 4, "optimizer": 2 * 4}
    parts = {name: size * trained for name, size in each.items()}
    parts["weights"] += frozen_bits / 8 * frozen
    return {"total": sum(parts.values()), **parts}


def in_whole_bytes(frozen, trained, frozen_bits):
    weights = int(np.ceil(frozen * frozen_bits / 8)) + 4 * trained
    return {
        "weights": weights,
        "gradients": np.int64(4 * trained),
        "optimizer": 8 * trained,
        "total": weights + 12 * trained,
    }


def flawed(
    weights=lambda f, t, bits: f * bits / 8 + t * 4,
    gradients=lambda f, t, bits: t * 4,
    optimizer=lambda f, t, bits: t * 8,
    total=None,
):
    def memory(frozen, trained, frozen_bits):
        w, g, o = (part(frozen, trained, frozen_bits) for part in (weights, gradients, optimizer))
        whole = w + g + o if total is None else total(w, g, o, frozen, trained, frozen_bits)
        return {"weights": w, "gradients": g, "optimizer": o, "total": whole}

    return memory


def is_sum_with_wrong(arguments, value, key):
    """All parts but this one are right, and the total is the sum of the parts as they are (unless only it is wrong)."""
    right = training_memory(**arguments)
    parts = ("weights", "gradients", "optimizer")
    others = all(abs(value[part] - right[part]) <= 2 for part in parts if part != key)
    return others and (not key or abs(value["total"] - sum(value[part] for part in parts)) <= 2)


EXERCISE = Exercise(
    name="training-memory",
    title="What a training step keeps in memory",
    minutes=10,
    points=2,
    statement="""
While a model trains, memory holds three things for every trainable weight: the weight itself, its gradient,
and what the optimizer stores for it. Adam stores two running means, one of the gradient and one of its
square. A frozen weight needs only itself, and may be stored in fewer bits.

Write `training_memory`. Trainable weights, gradients and both means are float32, 4 bytes each. Leave out
the activations (the layers' intermediate results), which depend on the batch.
""",
    solution=training_memory,
    example={"frozen": 1000, "trained": 10, "frozen_bits": 4},
    draw=draw,
    result=Table("the result", Floats("", tolerance)),
    hints=(
        "Ask of each part: is it needed for the frozen weights too, or only for the trainable ones?",
        "Eight bits are a byte. Each trainable weight takes 4 bytes, its gradient 4 more, and Adam's two "
        "means 4 each.",
        "weights = frozen * frozen_bits / 8 + 4 * trained; gradients = 4 * trained; optimizer = 8 * "
        "trained; total is their sum.",
    ),
    pitfalls=(
        "Eight times too much: you counted bits as bytes.",
        "`lacks optimizer`: spell the keys as in the docstring.",
    ),
    explanation="A trainable weight takes 16 bytes, a frozen one in 4 bits half a byte. For 7 billion "
    "weights: 112 GB for full fine-tuning, about 28 GB for LoRA on a float32 base, and less "
    "than 4 GB for QLoRA (plus a little for the adapter, and the activations).",
    wrong=(
        Wrong(
            "bits-as-bytes",
            flawed(lambda f, t, bits: f * bits + t * 4),
            "You count bits as bytes for the frozen weights; eight bits are one byte.",
        ),
        Wrong(
            "frozen-in-float32",
            flawed(lambda f, t, bits: f * 4 + t * 4),
            "The frozen weights are counted with 4 bytes each; they are stored in frozen_bits.",
        ),
        Wrong(
            "trained-quantized",
            flawed(lambda f, t, bits: (f + t) * bits / 8),
            "You count the trainable weights in frozen_bits. They stay in float32, or small steps would be "
            "rounded away.",
        ),
        Wrong(
            "trained-left-out",
            flawed(lambda f, t, bits: f * bits / 8),
            "The trained weights themselves are missing under weights.",
        ),
        Wrong(
            "frozen-left-out",
            flawed(lambda f, t, bits: t * 4),
            "The frozen weights are missing. They are not trained, but the model still needs them to "
            "compute.",
        ),
        Wrong(
            "all-in-frozen-bits-rounded",
            flawed(lambda f, t, bits: f * (bits // 8) + t * 4),
            "4 // 8 is 0. Multiply first, then divide by 8 with /.",
        ),
        Wrong(
            "frozen-half-byte",
            flawed(lambda f, t, bits: f * 0.5 + t * 4),
            "You always count half a byte per frozen weight. Use frozen_bits.",
        ),
        Wrong(
            "trained-in-16-bits",
            flawed(lambda f, t, bits: f * bits / 8 + t * 2),
            "The trained weights are counted with 2 bytes each; they are float32, 4 bytes.",
        ),
        Wrong(
            "all-16-bytes",
            flawed(
                lambda f, t, bits: (f + t) * 4, lambda f, t, bits: (f + t) * 4, lambda f, t, bits: (f + t) * 8
            ),
            "You count every weight as trained, at 16 bytes. A frozen weight takes frozen_bits and "
            "nothing else.",
        ),
        Wrong(
            "weights-in-bits",
            flawed(
                lambda f, t, bits: (f * bits / 8 + t * 4) * 8,
                lambda f, t, bits: t * 32,
                lambda f, t, bits: t * 64,
            ),
            "You return bits; divide by 8 for bytes.",
        ),
        Wrong(
            "three-moments",
            flawed(optimizer=lambda f, t, bits: t * 12),
            "Your optimizer takes 12 bytes per trainable weight. Adam stores two running means: 8 bytes.",
        ),
        Wrong(
            "optimizer-with-gradients",
            flawed(optimizer=lambda f, t, bits: t * 16),
            "Your optimizer takes 16 bytes per trainable weight. That is all parts together; Adam's two "
            "means take 8.",
        ),
        Wrong(
            "gradients-in-frozen-bits",
            flawed(gradients=lambda f, t, bits: t * bits / 8),
            "The gradients are counted in frozen_bits. They belong to trained weights, in float32: 4 "
            "bytes each.",
        ),
        Wrong(
            "megabytes",
            flawed(
                lambda f, t, bits: (f * bits / 8 + t * 4) / 1e6,
                lambda f, t, bits: t * 4 / 1e6,
                lambda f, t, bits: t * 8 / 1e6,
            ),
            "You return megabytes; return bytes.",
        ),
        Wrong(
            "total-counts-trained-twice",
            flawed(total=lambda w, g, o, f, t, bits: w + g + o + 4 * t),
            "The total counts the trained weights twice; they are part of weights already.",
        ),
        Wrong(
            "total-without-gradients",
            flawed(total=lambda w, g, o, f, t, bits: w + o),
            "The total leaves the gradients out.",
        ),
        Wrong(
            "gradients-for-all",
            flawed(gradients=lambda f, t, bits: (f + t) * 4),
            "You count a gradient for every weight. Frozen weights need none: that is much of what LoRA "
            "saves.",
        ),
        Wrong(
            "optimizer-for-all",
            flawed(optimizer=lambda f, t, bits: (f + t) * 8),
            "You count optimizer state for frozen weights. The optimizer stores something only for weights "
            "that it updates.",
        ),
        Wrong(
            "both-for-all",
            flawed(gradients=lambda f, t, bits: (f + t) * 4, optimizer=lambda f, t, bits: (f + t) * 8),
            "Gradients and optimizer are counted for the frozen weights too, as if the whole model were "
            "trained.",
        ),
        Wrong(
            "one-moment",
            flawed(optimizer=lambda f, t, bits: t * 4),
            "Adam keeps two numbers for each trained weight, a mean of the gradient and one of its square: "
            "8 bytes.",
        ),
        Wrong(
            "no-gradients",
            flawed(gradients=lambda f, t, bits: 0),
            "The gradients are missing: 4 bytes for each trained weight.",
        ),
        Wrong(
            "half-gradients",
            flawed(gradients=lambda f, t, bits: t * 2),
            "Your gradients take 2 bytes each; here they are float32, 4 bytes.",
        ),
        Wrong(
            "total-without-weights",
            flawed(total=lambda w, g, o, f, t, bits: g + o),
            "The total leaves the weights out.",
        ),
        Wrong(
            "total-without-optimizer",
            flawed(total=lambda w, g, o, f, t, bits: w + g),
            "The total leaves the optimizer out.",
        ),
        Wrong(
            "wrong-weights",
            flawed(weights=lambda f, t, bits: f * bits / 7 + t * 4),
            "weights is wrong, and the total with it: frozen_bits / 8 bytes for each frozen weight, and "
            "4 for each trained one.",
            recognize=lambda arguments, value: is_sum_with_wrong(arguments, value, "weights"),
        ),
        Wrong(
            "wrong-gradients",
            flawed(gradients=lambda f, t, bits: t * 3),
            "gradients is wrong, and the total with it: 4 bytes for each trained weight, and none for "
            "frozen ones.",
            recognize=lambda arguments, value: is_sum_with_wrong(arguments, value, "gradients"),
        ),
        Wrong(
            "wrong-optimizer",
            flawed(optimizer=lambda f, t, bits: t * 5),
            "optimizer is wrong, and the total with it: Adam keeps two running means, 8 bytes for each "
            "trained weight.",
            recognize=lambda arguments, value: is_sum_with_wrong(arguments, value, "optimizer"),
        ),
        Wrong(
            "wrong-total",
            flawed(total=lambda w, g, o, f, t, bits: w + g + o - t),
            "Each part is right, but total is not their sum.",
            recognize=lambda arguments, value: is_sum_with_wrong(arguments, value, ""),
        ),
    ),
    variants=(Variant("a table of sizes", by_a_table), Variant("whole bytes", in_whole_bytes)),
)
