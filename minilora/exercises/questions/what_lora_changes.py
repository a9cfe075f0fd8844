"""Question 1: what LoRA changes, what it leaves frozen, and why that saves memory."""

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
    minutes=20,
    statement="""
Say in your own words, with a comparison of your own, what changes while LoRA trains and what stays frozen, and
why so much memory is saved. The parts below take the question apart; begin with the prediction.
""",
    draw=draw,
    given={
        "in_features": "inputs of a linear layer with the matrix W",
        "out_features": "its outputs",
        "r": "rank of the adapter beside it",
    },
    prediction=Prediction(
        "LoRA trains the tiny GPT for three steps, with adapters on its attention layers. How many "
        "of the tensors "
        "that the model had before will hold other numbers afterwards?",
        ("none at all", "only those of the layers that carry an adapter", "all of them, each by very little"),
        "a",
        train_a_little,
    ),
    parts=(
        Choice(
            "frozen-weights",
            "While LoRA trains, the numbers in the model's own matrices",
            (
                Option(
                    "move too, but with a much smaller learning rate",
                    "small-steps",
                    "Frozen does not mean slow. The optimizer never gets these weights, so they stay "
                    "as they were, "
                    "to the last bit.",
                ),
                Option(
                    "are overwritten by the adapter's numbers",
                    "overwritten",
                    "The adapter stands beside the matrix. Both compute, their outputs are added, "
                    "and nothing is "
                    "written into W.",
                ),
                Option("stay exactly as they were"),
                Option(
                    "change in the layers with an adapter, and nowhere else",
                    "adapted-layers-change",
                    "Also in a layer with an adapter the matrix W is frozen; what learns there is A and B.",
                ),
            ),
        ),
        Choice(
            "where-memory-goes",
            "Most of the memory that LoRA saves in training was taken, in full fine-tuning, by",
            (
                Option(
                    "the weights themselves: with LoRA the model is smaller",
                    "smaller-model",
                    "The whole frozen model is still in memory, plus the adapter. What shrinks is "
                    "the bookkeeping "
                    "that each trained weight brings along.",
                ),
                Option("gradients and running means of every weight"),
                Option(
                    "the text, which LoRA needs less of",
                    "less-data",
                    "A batch is as large with LoRA as without. Compare what is kept for each trained weight.",
                ),
                Option(
                    "the outputs of layers, which frozen layers need not compute",
                    "frozen-not-computed",
                    "Frozen layers still compute: without their outputs there is no prediction, and no loss.",
                ),
            ),
        ),
        Choice(
            "fresh-adapter",
            "Right after an adapter is put in, before any training, the model answers",
            (
                Option("as before, since B is zero and so is the update"),
                Option(
                    "nonsense, since A is random",
                    "random-start",
                    "A is random, but what it computes goes through B next, and B starts at zero.",
                ),
                Option(
                    "nothing useful, since the frozen layers are switched off",
                    "switched-off",
                    "Frozen weights are not switched off. They do all the work until the adapter has "
                    "learned something.",
                ),
            ),
        ),
        Choice(
            "way-back",
            "In the backward pass, the frozen matrices",
            (
                Option(
                    "stop the gradient, so only the topmost adapter can learn",
                    "gradient-stops",
                    "Gradients pass through a frozen layer to those below it. Only the gradient with "
                    "respect to its "
                    "own weights is left out.",
                ),
                Option(
                    "get gradients like all the others, which are then thrown away unused",
                    "gradients-thrown-away",
                    "Their gradients are never computed: that is where both memory and time are saved.",
                ),
                Option("let gradients through, but get none for their own weights"),
            ),
        ),
        Number(
            "trained",
            "How many numbers are trained in your layer?",
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
                    "with-base",
                    lambda n: matrix(n) + adapter(n),
                    "That counts W as well. It takes part, but it does not train.",
                ),
            ),
            digits=None,
        ),
        Number(
            "saved-megabytes",
            "Gradients (4 bytes) and Adam's two running means (4 bytes each) are kept for trained "
            "weights. How many "
            "MB (of 10^6 bytes) of them does it save that W is frozen? Leave A and B out; three digits",
            lambda n: 12 * matrix(n) / 1e6,
            (
                Slip(
                    "weights-too",
                    lambda n: 16 * matrix(n) / 1e6,
                    "You count W itself as saved (4 bytes more each), but W stays in memory: it has "
                    "to compute.",
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
                    "of-the-adapter",
                    lambda n: 12 * adapter(n) / 1e6,
                    "That is what the adapter costs. Asked for is what the frozen W no longer does.",
                ),
            ),
        ),
        Prose(
            "analogy",
            "Explain with a comparison of your own (not a book with notes) what is frozen, what "
            "learns, and why that "
            "saves memory.",
            "A grand piano is not rebuilt for a piece; the pianist puts a few felt strips between "
            "the strings. The "
            "instrument, with its thousands of parts, stays as it is and still makes all the sound: "
            "the frozen weights. "
            "The strips are the adapter, small, tried out and moved until it sounds right, and taken "
            "out afterwards. "
            "Memory is saved because only what is being adjusted needs notes on how to adjust it: a "
            "gradient and two "
            "running means for each weight that learns, none for those that stay.",
            (
                "It says what stays exactly the same, and that this still does the main work.",
                "It says what is added, that it is small, and that only this learns.",
                "The saving is explained by what is kept for each trained weight, not by a smaller model.",
                "It is a comparison of your own, and you can say where it stops fitting.",
            ),
        ),
        Prose(
            "gap",
            "What did the experiment show, and what had you predicted? If they differ, which idea "
            "misled you?",
            "No tensor of the base changed, not even in the layers with adapters, while every "
            "adapter did. Who expected "
            "tiny changes everywhere was thinking of full fine-tuning with a small learning rate: "
            "but a frozen weight is "
            "never handed to the optimizer, so there is no step, however small.",
            (
                "It names the figures of the experiment.",
                "It compares them with the prediction as it was locked.",
                "It says why, not only that.",
            ),
            points=1,
        ),
    ),
    hints=(
        "For each claim ask two things: does it compute? Does it learn? A frozen weight does the first only.",
        "A has r rows as long as the input, B has r columns as long as the output. And of W, what is "
        "still needed if it "
        "never moves?",
        "trained = r · (in + out). Saved are a gradient (4 bytes) and two means (8 bytes) for each "
        "of in · out weights.",
    ),
    pitfalls=(
        "Write numbers without commas or units: `32768`, not `32,768`.",
        'Your numbers follow from "student". With another name there, other answers are right.',
    ),
    explanation="LoRA leaves the model whole and working, and trains a thin detour beside it. The "
    "saving does not come from a "
    "smaller model but from bookkeeping: 12 bytes that each frozen weight no longer needs.",
)
