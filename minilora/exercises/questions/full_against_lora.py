"""Question 2: full fine-tuning against LoRA, in trained weights, memory and stored size."""

from __future__ import annotations

import random

from minilora.exercises.question import Question
from minilora.exercises.question_parts import (
    Choice,
    Number,
    Numbers,
    Observed,
    Option,
    Prediction,
    Prose,
    Slip,
)
from minilora.memory.catalog import MODELS

# Grouped-query attention, so that v_proj is no square: who takes it for one can be told so.
CHOICES = ("tinyllama-1.1b", "llama-3.2-3b", "mistral-7b", "qwen2.5-7b", "llama-3.1-8b", "llama-3.1-70b")


def draw(rng: random.Random) -> Numbers:
    shape = MODELS[rng.choice(CHOICES)]
    return {
        "model": shape.name,
        "weights": shape.parameter_count,
        "layers": shape.num_hidden_layers,
        "hidden_size": shape.hidden_size,
        "value_size": shape.key_value_size,
        "r": rng.choice((4, 8, 16)),
    }


def on_query(n: Numbers) -> int:
    return n["layers"] * n["r"] * 2 * n["hidden_size"]


def on_value(n: Numbers) -> int:
    return n["layers"] * n["r"] * (n["hidden_size"] + n["value_size"])


def trained(n: Numbers) -> int:
    return on_query(n) + on_value(n)


def save_both(numbers: Numbers) -> Observed:
    """The tiny GPT as a whole and an adapter for it, both written to disk and measured."""
    import tempfile
    from pathlib import Path

    from minilora import GPT, LoraConfig, add_lora

    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "whole", Path(folder) / "adapter"
        base = GPT.from_pretrained("tiny-gpt")
        base.save_pretrained(whole)
        add_lora(base, LoraConfig(r=8)).save_adapter(small)
        sizes = [
            (f / n).stat().st_size
            for f, n in ((whole, "model.safetensors"), (small, "adapter_model.safetensors"))
        ]
    ratio = sizes[0] / sizes[1]
    sentence = f"Whole model: {sizes[0]:,} bytes. Adapter: {sizes[1]:,} bytes, {ratio:.0f} times smaller."
    return Observed("a" if ratio < 10 else "b" if ratio < 1000 else "c", sentence)


QUESTION = Question(
    name="full-against-lora",
    title="Full fine-tuning against LoRA, in numbers",
    minutes=30,
    statement="""
Compare full fine-tuning and LoRA for a large model: how many weights are trained, how much memory that
takes, and how large the result is on disk. Your model is a published one, chosen for you. The adapter goes
on `q_proj` (hidden_size inputs, hidden_size outputs) and `v_proj` (hidden_size inputs, value_size outputs)
of each layer.

Rules for the arithmetic: full fine-tuning trains float32 weights with Adam and takes 16 bytes per weight
(weight, gradient, two running means). LoRA keeps the frozen model in 16 bits, 2 bytes per weight, and
trains a float32 adapter at the same 16 bytes per weight. Leave out the activations, which depend on the
batch. A GB is 10^9 bytes, an MB 10^6 bytes.
""",
    draw=draw,
    given={
        "model": "its name",
        "weights": "all its weights",
        "layers": "layers, each with a q_proj and a v_proj",
        "hidden_size": "inputs of both, and outputs of q_proj",
        "value_size": "outputs of v_proj",
        "r": "rank of the adapter",
    },
    prediction=Prediction(
        "The tiny GPT has fewer than six million weights, all stored in float32. It gets an adapter "
        "of rank 8 on q_proj "
        "and v_proj, and both are saved. The adapter's file is smaller than the model's",
        ("less than 10 times", "10 to 1000 times", "more than 1000 times"),
        "b",
        save_both,
    ),
    parts=(
        Number(
            "trained",
            "How many weights does LoRA train in your model?",
            trained,
            (
                Slip(
                    "only-query", on_query, "That is q_proj alone; v_proj has an adapter in each layer too."
                ),
                Slip(
                    "only-value", on_value, "That is v_proj alone; q_proj has an adapter in each layer too."
                ),
                Slip(
                    "one-layer",
                    lambda n: trained(n) // n["layers"],
                    "That is one layer of the model; every layer has these two adapters.",
                ),
                Slip(
                    "all-of-attention",
                    lambda n: n["layers"] * n["r"] * (4 * n["hidden_size"] + 2 * n["value_size"]),
                    "You adapt more than the two layers that are named: only q_proj and v_proj get an "
                    "adapter.",
                ),
                Slip(
                    "one-matrix",
                    lambda n: trained(n) // 2,
                    "Half is missing: each adapter has two matrices, A and B.",
                ),
                Slip(
                    "no-layers-no-rank",
                    lambda n: 3 * n["hidden_size"] + n["value_size"],
                    "That is one layer at rank 1. Multiply by r and by the number of layers.",
                ),
                Slip(
                    "square-value",
                    lambda n: 2 * on_query(n),
                    "You treat v_proj as square. It has only value_size outputs, because several heads "
                    "share them.",
                ),
                Slip(
                    "no-rank",
                    lambda n: trained(n) // n["r"],
                    "That would be right for r = 1; A and B are r wide each.",
                ),
            ),
            digits=None,
        ),
        Number(
            "full-gigabytes",
            "How many GB does full fine-tuning take? (five digits)",
            lambda n: 16 * n["weights"] / 1e9,
            (
                Slip(
                    "weights-only",
                    lambda n: 4 * n["weights"] / 1e9,
                    "That counts only the weights, without gradients and running means.",
                ),
                Slip(
                    "one-mean",
                    lambda n: 12 * n["weights"] / 1e9,
                    "One of the four is missing: weight, gradient, and two running means, 4 bytes each.",
                ),
                Slip(
                    "half",
                    lambda n: 8 * n["weights"] / 1e9,
                    "Half is missing. Each of weight, gradient and two means takes 4 bytes, not 2.",
                ),
                Slip(
                    "sixteen-bit",
                    lambda n: 2 * n["weights"] / 1e9,
                    "That is the model in 16 bits, without training it.",
                ),
                Slip(
                    "with-adapter",
                    lambda n: 16 * (n["weights"] + trained(n)) / 1e9,
                    "The adapter is in your sum. Full fine-tuning has none: it trains the model's own "
                    "weights.",
                ),
                Slip(
                    "bits",
                    lambda n: 128 * n["weights"] / 1e9,
                    "You counted bits; eight of them are a byte.",
                ),
            ),
        ),
        Number(
            "lora-gigabytes",
            "How many GB does LoRA take? (five digits)",
            lambda n: (2 * n["weights"] + 16 * trained(n)) / 1e9,
            (
                Slip(
                    "adapter-only",
                    lambda n: 16 * trained(n) / 1e9,
                    "The frozen model is missing. It is not trained, but it must be in memory.",
                ),
                Slip(
                    "no-adapter",
                    lambda n: 2 * n["weights"] / 1e9,
                    "That is the frozen model alone; the adapter, at 16 bytes for each of its weights, "
                    "is missing.",
                ),
                Slip(
                    "no-bookkeeping",
                    lambda n: (2 * n["weights"] + 4 * trained(n)) / 1e9,
                    "The adapter's gradients and running means are missing: a trained weight takes 16 "
                    "bytes, not 4.",
                ),
                Slip(
                    "one-mean",
                    lambda n: (2 * n["weights"] + 12 * trained(n)) / 1e9,
                    "The adapter's weights take 16 bytes each: weight, gradient and two running means. "
                    "You have 12.",
                ),
                Slip(
                    "no-adapter-weights",
                    lambda n: (2 * n["weights"] + 8 * trained(n)) / 1e9,
                    "The adapter's weights take 16 bytes each: weight, gradient and two running means. "
                    "You have 8.",
                ),
                Slip(
                    "adapter-in-sixteen-bits",
                    lambda n: (2 * n["weights"] + 2 * trained(n)) / 1e9,
                    "The adapter is counted as if it were frozen too. It trains, in float32: 16 bytes "
                    "for each weight.",
                ),
                Slip(
                    "frozen-less-adapter",
                    lambda n: (2 * (n["weights"] - trained(n)) + 16 * trained(n)) / 1e9,
                    "You subtract the adapter from the frozen model. The adapter comes on top; the model "
                    "stays complete.",
                ),
                Slip(
                    "frozen-like-trained",
                    lambda n: 16 * (n["weights"] + trained(n)) / 1e9,
                    "You keep gradients and means for the frozen weights too. They need 2 bytes "
                    "each, and nothing else.",
                ),
                Slip(
                    "frozen-in-float32",
                    lambda n: (4 * n["weights"] + 16 * trained(n)) / 1e9,
                    "The frozen model is kept in 16 bits here, 2 bytes each, not 4.",
                ),
                Slip(
                    "frozen-in-four-bits",
                    lambda n: (n["weights"] / 2 + 16 * trained(n)) / 1e9,
                    "Half a byte per weight is QLoRA. Plain LoRA keeps the base in 16 bits here.",
                ),
            ),
        ),
        Number(
            "adapter-megabytes",
            "How many MB does the adapter take on disk, in float32? (five digits)",
            lambda n: 4 * trained(n) / 1e6,
            (
                Slip(
                    "bookkeeping-saved",
                    lambda n: 16 * trained(n) / 1e6,
                    "Gradients and running means are needed for training only; the file holds the "
                    "weights, 4 bytes each.",
                ),
                Slip(
                    "sixteen-bit",
                    lambda n: 2 * trained(n) / 1e6,
                    "2 bytes each would be 16 bits; float32 takes 4.",
                ),
                Slip(
                    "only-query",
                    lambda n: 4 * on_query(n) / 1e6,
                    "That is q_proj alone; the file holds the matrices for v_proj too.",
                ),
                Slip(
                    "whole-model",
                    lambda n: (2 * n["weights"] + 4 * trained(n)) / 1e6,
                    "You count the base in the file. Everyone who uses the adapter has the base already.",
                ),
            ),
        ),
        Choice(
            "why-small",
            "LoRA's file is so much smaller because",
            (
                Option(
                    "it is the whole model, compressed",
                    "compressed",
                    "Nothing is compressed, and nothing of the model is in it. Look at the names of "
                    "the tensors.",
                ),
                Option(
                    "its numbers are rounded to fewer bits",
                    "rounded",
                    "Its numbers are stored in float32. There are just fewer of them.",
                ),
                Option("it holds only A and B, because W did not change"),
                Option(
                    "it holds the rows of W that changed, and these are few",
                    "changed-rows",
                    "The update changes every entry of W. It is the product of two narrow matrices, and "
                    "only these are stored.",
                ),
            ),
        ),
        Choice(
            "memory-share",
            "The adapter has less than one percent of the weights. So training memory is",
            (
                Option(
                    "less than one percent of what full fine-tuning takes",
                    "same-share",
                    "The frozen model has to be in memory all the time, and it is most of what is left.",
                ),
                Option("about an eighth here, mostly the frozen model"),
                Option(
                    "hardly less, since all layers still compute",
                    "nothing-saved",
                    "They still compute, but frozen weights need no gradients and no running means, and "
                    "take 2 bytes instead of 4.",
                ),
            ),
        ),
        Choice(
            "in-use",
            "To answer with the adapter in place and not merged, the model computes, for each token,",
            (
                Option("a little more than the base alone"),
                Option(
                    "much less than the base alone, because the adapter is small",
                    "replaces-base",
                    "The adapter does not replace the base. Its computation comes on top.",
                ),
                Option(
                    "twice as much, once with and once without it",
                    "twice",
                    "The path through A and B is narrow: r · (in + out) multiplications, compared with in "
                    "· out.",
                ),
            ),
        ),
        Prose(
            "compare",
            "Sum up the comparison for someone who wants to decide: weights, memory, storage. Why is "
            "LoRA's file so small?",
            "Full fine-tuning trains every weight, needs 16 bytes for each, and produces a new model as "
            "large as the old one. LoRA trains well under one percent of the weights. It needs the frozen "
            "model in 16 bits plus a little more, here about an eighth of the memory, and its file takes "
            "megabytes. The file is small because it holds only the two narrow matrices per adapted layer. "
            "The large matrices did not change, and everyone who loads the adapter has them already.",
            (
                "All three are compared: trained weights, memory, storage.",
                "Memory and trained weights shrink by different factors, and it says why.",
                "It explains the small file by what is saved, not by compression.",
            ),
        ),
        Prose(
            "gap",
            "What did the experiment show, and what had you predicted? If they differ, which idea "
            "misled you?",
            "The adapter was about a hundred times smaller, not thousands of times. In a model with a few "
            "million weights, even a narrow matrix is a noticeable share of a layer. The ratio grows with "
            "the width of the model, because in · out grows faster than in + out. Ratios like ten thousand "
            "belong to models with billions of weights.",
            (
                "It gives the numbers from the experiment.",
                "It compares them with your prediction.",
                "It says how the ratio depends on the model's size.",
            ),
            points=1,
        ),
    ),
    hints=(
        "First count the adapter of a single linear layer: A is (r, in), B is (out, r).",
        "Each layer of the model has two of them, and v_proj is not square. For memory, ask of each weight "
        "whether it is trained.",
        "trained = layers · r · (2 · hidden_size + hidden_size + value_size). Full: 16 bytes for "
        "each weight. LoRA: 2 for "
        "each frozen and 16 for each trained one. File: 4 for each trained one.",
    ),
    pitfalls=(
        "A GB is 10^9 bytes here, not 2^30.",
        "Give at least five significant digits, such as 16.134.",
    ),
    explanation="LoRA trains hundreds to thousands of times fewer weights, and its file is smaller by as "
    "much. Training memory shrinks only by a factor of about eight, because the frozen model "
    "must stay in memory. QLoRA shrinks that part.",
)
