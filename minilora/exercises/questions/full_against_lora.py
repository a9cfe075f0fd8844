"""Question 2: full fine-tuning against LoRA, in trained weights, memory and stored size."""

from __future__ import annotations

import random

from minilora.exercises.question import (
    Choice,
    Number,
    Numbers,
    Observed,
    Option,
    Prediction,
    Prose,
    Question,
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
    minutes=20,
    statement="""
Compare the two for a large model: how many weights train, how much memory that takes, and how large the result
is on disk. Your model is drawn from those that have been published. The adapter goes on `q_proj`
(hidden_size to hidden_size) and `v_proj` (hidden_size to value_size) of each layer.

Rules for the arithmetic: full fine-tuning trains float32 weights with Adam, at 16 bytes each (weight, gradient, two
running means). LoRA keeps the frozen model in 16 bits, 2 bytes each, and trains a float32 adapter at the same 16 bytes
per weight. What the layers compute on the way depends on the batch and is left out. GB are 10^9 bytes, MB 10^6.
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
            "How many weights does the adapter train in your model?",
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
                    "square-value",
                    lambda n: 2 * on_query(n),
                    "You take v_proj for a square. It has only value_size outputs, since several "
                    "heads share them.",
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
            "GB for full fine-tuning, three digits",
            lambda n: 16 * n["weights"] / 1e9,
            (
                Slip(
                    "weights-only",
                    lambda n: 4 * n["weights"] / 1e9,
                    "These are the weights alone, without bookkeeping.",
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
                    "sixteen-bit", lambda n: 2 * n["weights"] / 1e9, "That is the model in 16 bits, at rest."
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
            "GB for LoRA, three digits",
            lambda n: (2 * n["weights"] + 16 * trained(n)) / 1e9,
            (
                Slip(
                    "adapter-only",
                    lambda n: 16 * trained(n) / 1e9,
                    "The frozen model is missing. It does not learn, but it has to be there.",
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
            "MB of the adapter on disk, in float32, three digits",
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
                    "whole-model",
                    lambda n: (2 * n["weights"] + 4 * trained(n)) / 1e6,
                    "The base is in your file. Everyone who uses the adapter has it already.",
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
                    "Its numbers are as exact as others. There are fewer of them.",
                ),
                Option("only A and B are in it, for W did not change"),
                Option(
                    "it holds the rows of W that changed, and these are few",
                    "changed-rows",
                    "The update reaches every entry of W. It is the product of two thin "
                    "matrices, and these are stored.",
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
                    "They compute, but for the frozen weights neither gradients nor means are kept, "
                    "and 2 bytes do "
                    "instead of 4.",
                ),
            ),
        ),
        Choice(
            "in-use",
            "To answer with the adapter in place and not merged, the model computes, for each token,",
            (
                Option("a little more than the base alone"),
                Option(
                    "much less than the base alone, for the adapter is small",
                    "replaces-base",
                    "The adapter works beside the base and not in its place, so its products come on top.",
                ),
                Option(
                    "twice as much, once with and once without it",
                    "twice",
                    "The detour through A and B is thin: r · (in + out) products beside in · out.",
                ),
            ),
        ),
        Prose(
            "compare",
            "Sum up the comparison for someone who wants to decide: weights, memory, storage. Why is "
            "LoRA's file so small?",
            "Full fine-tuning trains every weight, keeps 16 bytes for each and leaves a new model as "
            "large as the old one. "
            "LoRA trains well under a percent, keeps the frozen model once in 16 bits plus a little, "
            "here about an eighth "
            "of the memory, and saves megabytes. The file is small because it holds only the two "
            "thin matrices of each "
            "layer: the big ones did not change, and whoever loads the adapter has them.",
            (
                "All three are compared: trained weights, memory, storage.",
                "Memory and trained weights shrink by different factors, and it says why.",
                "The small file follows from what is saved, not from compression.",
            ),
        ),
        Prose(
            "gap",
            "What did the experiment show, and what had you predicted? If they differ, which idea "
            "misled you?",
            "The adapter was about a hundred times smaller, not thousands of times. In a model of a few "
            "million weights even a "
            "thin matrix is a visible share of a layer; the ratio grows with the width, as in · out "
            "grows faster than "
            "in + out. Figures like ten thousand come from models with billions of weights.",
            (
                "It names the figures of the experiment.",
                "It compares them with the prediction as it was locked.",
                "It says how the ratio depends on the model's size.",
            ),
            points=1,
        ),
    ),
    hints=(
        "First count the adapter of a single linear layer: A is r by in, B is out by r.",
        "Per layer of the model there are two of them, and v_proj is not a square. For memory, ask "
        "of each weight whether "
        "it learns.",
        "trained = layers · r · (2 · hidden_size + hidden_size + value_size). Full: 16 bytes for "
        "each weight. LoRA: 2 for "
        "each frozen and 16 for each trained one. File: 4 for each trained one.",
    ),
    pitfalls=(
        "GB are 10^9 bytes here, not 2^30.",
        "Three significant digits are enough; more do no harm.",
    ),
    explanation="Trained weights shrink by hundreds to thousands, the file with them, the training "
    "memory by about eight: the frozen "
    "model stays. That rest is what QLoRA goes after.",
)
