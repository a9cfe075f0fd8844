"""Question 1: what LoRA changes, what it leaves frozen, and why that saves memory."""

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

SHAPES = (
    (768, 3072),
    (1024, 4096),
    (2048, 512),
    (2048, 8192),
    (4096, 1024),
    (4096, 14336),
)  # published layers


def draw(rng: random.Random) -> Numbers:
    in_features, out_features = rng.choice(SHAPES)
    return {"in_features": in_features, "out_features": out_features, "r": rng.choice((4, 8, 16, 32))}


def adapter(n: Numbers) -> int:
    return n["r"] * (n["in_features"] + n["out_features"])


def matrix(n: Numbers) -> int:
    return n["in_features"] * n["out_features"]


def train_a_little(numbers: Numbers) -> Observed:
    """Three steps on the tiny GPT; then every tensor of the base is compared with what it was."""
    import torch

    from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, style_corpus

    base = GPT.from_pretrained("tiny-gpt")
    before = [p.detach().clone() for p in base.parameters()]
    parameters = list(base.parameters())
    model = add_lora(base, LoraConfig(r=numbers["r"], target_modules="attention"))
    data = encode_text(style_corpus("legal", documents=8), base.tokenizer, sequence_length=64)
    Trainer(model, data, max_steps=3, batch_size=4, progress=False).train()
    changed = sum(not torch.equal(a, b) for a, b in zip(before, parameters, strict=True))
    learned = sum(layer.lora_B["default"].count_nonzero() > 0 for layer in model.lora_layers().values())
    sentence = (
        f"After three steps {changed} of the base's {len(before)} tensors have changed. "
        f"Of the {len(model.lora_layers())} adapters, {learned} have."
    )
    return Observed("a" if changed == 0 else "b" if changed < len(before) else "c", sentence)


QUESTION = Question(
    name="what-lora-changes",
    title="What LoRA changes, and what it leaves alone",
    minutes=25,
    statement="""
Explain in your own words, with an analogy of your own, what changes while LoRA trains, what stays frozen,
and why that saves so much memory. The form below leads you through the question; begin with the prediction.
""",
    draw=draw,
    given={
        "in_features": "inputs of a linear layer with the matrix W",
        "out_features": "its outputs",
        "r": "rank of the adapter beside it",
    },
    prediction=Prediction(
        "You train the tiny GPT with LoRA for three steps, with adapters on its attention layers. How many "
        "of the model's original tensors will have changed afterwards?",
        ("none at all", "only those of the layers with an adapter", "all of them, but only slightly"),
        "a",
        train_a_little,
    ),
    parts=(
        Choice(
            "frozen-weights",
            "While LoRA trains, the numbers in the model's own matrices",
            (
                Option(
                    "change too, but with a much smaller learning rate",
                    "small-steps",
                    "Frozen does not mean slow. The optimizer does not update these weights at all, so "
                    "they stay the same to the last bit.",
                ),
                Option(
                    "are overwritten by the adapter's numbers",
                    "overwritten",
                    "The adapter works beside the matrix. The outputs of both are added, and nothing is "
                    "written into W.",
                ),
                Option("stay exactly as they were"),
                Option(
                    "change in the layers with an adapter, and nowhere else",
                    "adapted-layers-change",
                    "Even in a layer with an adapter, the matrix W is frozen; only A and B are trained.",
                ),
            ),
        ),
        Choice(
            "where-memory-goes",
            "In full fine-tuning, most of the memory that LoRA saves is taken by",
            (
                Option(
                    "the weights themselves: with LoRA the model is smaller",
                    "smaller-model",
                    "The whole frozen model is still in memory, plus the adapter. What is saved are the "
                    "gradient and the running means of each weight that is no longer trained.",
                ),
                Option("gradients and running means of every weight"),
                Option(
                    "the text: LoRA needs less of it",
                    "less-data",
                    "A batch is the same size with LoRA. Compare what is stored for each trained weight.",
                ),
                Option(
                    "the activations, which frozen layers need not compute",
                    "frozen-not-computed",
                    "Frozen layers still compute: without their outputs there is no prediction and no loss.",
                ),
            ),
        ),
        Choice(
            "fresh-adapter",
            "Right after adding an adapter, before any training, the model's output is",
            (
                Option("the same as before, because B is zero and so is the update"),
                Option(
                    "nonsense, because A is random",
                    "random-start",
                    "A is random, but its result is multiplied by B, which starts at zero.",
                ),
                Option(
                    "useless, because the frozen layers are switched off",
                    "switched-off",
                    "Frozen weights are not switched off. They do all the work until the adapter is trained.",
                ),
            ),
        ),
        Choice(
            "way-back",
            "In the backward pass, the frozen matrices",
            (
                Option(
                    "stop the gradient, so only the last adapter can learn",
                    "gradient-stops",
                    "Gradients pass through a frozen layer to earlier layers. Only the gradient of its own "
                    "weights is left out.",
                ),
                Option(
                    "get gradients like all others, which are then discarded",
                    "gradients-thrown-away",
                    "Their gradients are never computed. That saves both memory and time.",
                ),
                Option("pass gradients on to earlier layers, but get none for their own weights"),
            ),
        ),
        Number(
            "trained",
            "How many weights are trained in your layer?",
            adapter,
            (
                Slip("full-matrix", matrix, "That is the size of W, which is frozen. Count A and B."),
                Slip(
                    "product",
                    lambda n: n["r"] * matrix(n),
                    "You multiply r · in · out. A has r · in numbers and B has out · r: add the two.",
                ),
                Slip(
                    "only-a",
                    lambda n: n["r"] * n["in_features"],
                    "That is A alone; B has out · r numbers more.",
                ),
                Slip(
                    "only-b",
                    lambda n: n["r"] * n["out_features"],
                    "That is B alone; A has r · in numbers more.",
                ),
                Slip(
                    "no-rank",
                    lambda n: n["in_features"] + n["out_features"],
                    "That would be right for r = 1; each of A and B is r wide.",
                ),
                Slip(
                    "r-on-one-side",
                    lambda n: n["in_features"] + n["r"] * n["out_features"],
                    "r multiplies one of the sides only. A has r · in numbers and B has out · r.",
                ),
                Slip(
                    "difference",
                    lambda n: matrix(n) - adapter(n),
                    "That is how many fewer weights are trained. Count those that are: A and B.",
                ),
                Slip(
                    "both-sides-r",
                    lambda n: adapter(n) + n["r"] ** 2,
                    "There is no (r, r) matrix between A and B.",
                ),
                Slip(
                    "with-base",
                    lambda n: matrix(n) + adapter(n),
                    "That counts W as well. W is used, but it is not trained.",
                ),
            ),
            digits=None,
        ),
        Number(
            "saved-megabytes",
            "Each trained weight needs a gradient (4 bytes) and Adam's two running means (4 bytes each). "
            "How many MB (10^6 bytes) of these do you save because W is frozen? Leave out A and B. (five "
            "digits)",
            lambda n: 12 * matrix(n) / 1e6,
            (
                Slip(
                    "weights-too",
                    lambda n: 16 * matrix(n) / 1e6,
                    "You count W itself as saved (4 more bytes each), but W must stay in memory: it is "
                    "still used.",
                ),
                Slip(
                    "no-gradients",
                    lambda n: 8 * matrix(n) / 1e6,
                    "These are Adam's means; the gradients, 4 bytes each, are saved too.",
                ),
                Slip(
                    "no-means",
                    lambda n: 4 * matrix(n) / 1e6,
                    "These are the gradients; Adam's two means, 8 bytes together, are saved too.",
                ),
                Slip(
                    "less-adapter",
                    lambda n: 12 * (matrix(n) - adapter(n)) / 1e6,
                    "You subtract the cost of A and B. Leave them out here.",
                ),
                Slip(
                    "plus-adapter",
                    lambda n: 12 * (matrix(n) + adapter(n)) / 1e6,
                    "Your sum includes A and B. Leave them out here.",
                ),
                Slip(
                    "numbers-for-bytes",
                    lambda n: matrix(n) / 1e6,
                    "That is how many weights W has, in millions. Each one saves 12 bytes.",
                ),
                Slip(
                    "sixteen-bit",
                    lambda n: 6 * matrix(n) / 1e6,
                    "You count 2 bytes per number. Gradients and running means take 4 bytes each here.",
                ),
                Slip(
                    "of-the-adapter",
                    lambda n: 12 * adapter(n) / 1e6,
                    "That is the cost of the adapter. Compute what the frozen W saves.",
                ),
            ),
        ),
        Prose(
            "analogy",
            "Use an analogy of your own (not a book with notes) to explain what is frozen, what is "
            "trained, and why that saves memory.",
            "Nobody rebuilds a grand piano for one piece. Some pianists put a few felt strips between the "
            "strings instead. The instrument, with its thousands of parts, stays as it is and still makes "
            "all the sound: these are the frozen weights. The strips are the adapter: small, moved around "
            "until it sounds right, and easy to take out again. Memory is saved because only what is "
            "adjusted needs notes on how to adjust it: a gradient and two running means per trained "
            "weight, and none for frozen weights.",
            (
                "It says what stays exactly the same, and that this part still does most of the work.",
                "It says what is added, that it is small, and that only this part is trained.",
                "It explains the saving by what is stored for each trained weight, not by a smaller model.",
                "The analogy is your own, and you say where it breaks down.",
            ),
        ),
        Prose(
            "gap",
            "What did the experiment show, and what had you predicted? If they differ, which idea "
            "misled you?",
            "No tensor of the base changed, not even in the layers with adapters, while every adapter did. "
            "If I expected small changes everywhere, I was thinking of full fine-tuning with a small "
            "learning rate. But the optimizer never updates a frozen weight, so there is no step, however "
            "small.",
            (
                "It gives the numbers from the experiment.",
                "It compares them with your prediction.",
                "It says why, not only what.",
            ),
            points=1,
        ),
    ),
    hints=(
        "For each statement ask two things: is the weight used, and is it trained? A frozen weight is only "
        "used.",
        "A has r rows of length in, and B has r columns of length out. And what does W still need, if it "
        "never changes?",
        "trained = r · (in + out). Each of the in · out frozen weights saves a gradient (4 bytes) and two "
        "running means (8 bytes).",
    ),
    pitfalls=(
        "In the cell, write numbers without commas or units: `32768`, not `32,768`.",
        'Your numbers depend on the name under "student". With a different name, different answers are '
        "right.",
    ),
    explanation="LoRA leaves the model unchanged and trains a narrow second path beside it. It does not "
    "save memory by making the model smaller, but by dropping 12 bytes per frozen weight: the "
    "gradient and Adam's two running means.",
)
