"""Question 6: when full fine-tuning is the better choice, and why that is rare."""

from __future__ import annotations

import math
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

CARD = 24  # GB of a large consumer GPU


def draw(rng: random.Random) -> Numbers:
    in_features, out_features = rng.choice(
        ((2048, 512), (2048, 8192), (4096, 1024), (4096, 14336), (8192, 28672))
    )
    return {
        "in_features": in_features,
        "out_features": out_features,
        "billions": rng.choice((8, 13, 34, 65, 70)),
    }


def break_even(n: Numbers) -> float:
    return n["in_features"] * n["out_features"] / (n["in_features"] + n["out_features"])


def gpus(n: Numbers, bytes_each: float) -> int:
    return math.ceil(n["billions"] * bytes_each / CARD)


def approximate_a_random_change(numbers: Numbers) -> Observed:
    """What the best possible update of rank 8 catches of a random change of a 64 x 64 matrix (Eckart-Young)."""
    import numpy as np

    rng = np.random.default_rng(0)
    random_change = rng.normal(size=(64, 64))
    simple_change = rng.normal(size=(64, 4)) @ rng.normal(size=(4, 64)) + 0.5 * rng.normal(size=(64, 64))
    shares = []
    for change in (random_change, simple_change):
        energy = np.linalg.svd(change, compute_uv=False) ** 2
        shares.append(energy[:8].sum() / energy.sum())
    sentence = (
        f"Rank 8 catches {shares[0]:.0%} of a change that is random in every direction, and "
        f"{shares[1]:.0%} of a noisy "
        "change that goes mainly in four directions."
    )
    return Observed("a" if shares[0] > 0.8 else "b" if shares[0] > 0.2 else "c", sentence)


QUESTION = Question(
    name="full-or-lora",
    title="When full fine-tuning, and why so rarely",
    minutes=25,
    statement="""
When would you choose full fine-tuning over LoRA, and why is that rare for someone who works alone? For each
scenario, choose the method together with the right reason. Two numbers show the limits of each method. For
the arithmetic: full fine-tuning takes 16 bytes per weight (leave out activations), and a GB is 10^9 bytes.
""",
    draw=draw,
    given={
        "in_features": "inputs of a linear layer",
        "out_features": "its outputs",
        "billions": "weights of a model, in 10^9",
    },
    prediction=Prediction(
        "Every entry of a 64 × 64 matrix changes at random. How much of that change (of the sum of its "
        "squares) can the best possible adapter of rank 8 represent?",
        ("nearly all", "a third to a half", "less than a fifth"),
        "b",
        approximate_a_random_change,
    ),
    parts=(
        Choice(
            "tone-of-voice",
            "Two thousand examples of a company's tone, a 7-billion model, one GPU with 12 GB:",
            (
                Option(
                    "full fine-tuning, because tone affects every word",
                    "everything-changes",
                    "It affects every word, but in a simple way that a low rank can represent. And 16 "
                    "bytes per weight would take 112 GB.",
                ),
                Option("QLoRA, for a simple change on a small GPU"),
                Option(
                    "full fine-tuning of the last layer's weights in 4 bits",
                    "train-four-bits",
                    "Trainable weights cannot be stored in 4 bits: the training steps are too small for "
                    "that.",
                ),
            ),
        ),
        Choice(
            "new-language",
            "Tens of billions of tokens in a language that the base hardly knows, and a cluster with "
            "time on it:",
            (
                Option("full fine-tuning, because the change is large"),
                Option(
                    "LoRA with rank 4, because LoRA always reaches the same quality",
                    "always-equal",
                    "With that much new knowledge the change is no longer simple, and a low rank cannot "
                    "represent it.",
                ),
                Option(
                    "full fine-tuning, as for every important task",
                    "serious-means-full",
                    "The choice is right, but the reason is not. What matters is the size of the change, "
                    "not the importance of the task.",
                ),
            ),
        ),
        Choice(
            "ten-clients",
            "Ten clients, each with a style of its own, served by one small company:",
            (
                Option(
                    "ten fully fine-tuned models, for the best quality",
                    "copies",
                    "That means ten copies to store, load and maintain. For a style, the gain is rarely "
                    "noticeable.",
                ),
                Option(
                    "one model, fully fine-tuned on all ten styles together",
                    "mixed-together",
                    "Then no client gets its own style, and a client who leaves cannot be removed.",
                ),
                Option("one base and ten adapters"),
            ),
        ),
        Choice(
            "stuck",
            "LoRA with rank 8 on q_proj and v_proj stops improving too early. Next you",
            (
                Option(
                    "switch to full fine-tuning",
                    "too-soon",
                    "Perhaps later. Adapters on all layers, a higher rank and a better learning rate "
                    "cost little to try.",
                ),
                Option("give LoRA more layers, rank and a better learning rate"),
                Option(
                    "lower the rank, because fewer weights need less text and learn faster",
                    "lower-rank",
                    "A lower rank can represent less, and that may already be the limit.",
                ),
            ),
        ),
        Choice(
            "why-rare",
            "For someone who works alone, full fine-tuning is rare mainly because",
            (
                Option(
                    "it gives worse results",
                    "worse",
                    "It can give better results, if the change is large and there is enough text.",
                ),
                Option(
                    "the licenses of most published models forbid changing the weights",
                    "forbidden",
                    "Licenses rarely treat the two differently. Hardware and purpose matter more.",
                ),
                Option("it costs far more, and for simple changes it gains little"),
            ),
        ),
        Number(
            "break-even-rank",
            "At which rank do A and B together hold as many numbers as your layer's matrix? (five digits)",
            break_even,
            (
                Slip(
                    "smaller-side",
                    lambda n: min(n["in_features"], n["out_features"]),
                    "That is the highest rank the matrix can have. A and B are as large as W at a lower "
                    "rank.",
                ),
                Slip(
                    "larger-side",
                    lambda n: max(n["in_features"], n["out_features"]),
                    "No matrix of this shape has such a rank. Set r · (in + out) equal to in · out.",
                ),
                Slip(
                    "half",
                    lambda n: break_even(n) / 2,
                    "There A and B together hold half of W's numbers. You counted one of them twice.",
                ),
                Slip("double", lambda n: break_even(n) * 2, "There A and B hold twice as many numbers as W."),
                Slip(
                    "sum",
                    lambda n: n["in_features"] + n["out_features"],
                    "That is what one more rank costs. How many times does it fit into in · out?",
                ),
                Slip(
                    "root",
                    lambda n: math.sqrt(n["in_features"] * n["out_features"]),
                    "You solve r · r = in · out. A and B hold r · (in + out) numbers.",
                ),
                Slip(
                    "mean-side",
                    lambda n: (n["in_features"] + n["out_features"]) / 2,
                    "That is the mean of the two sides. Set r · (in + out) equal to in · out.",
                ),
                Slip(
                    "product",
                    lambda n: n["in_features"] * n["out_features"],
                    "That is the size of W. Divide it by what one more rank costs, in + out.",
                ),
            ),
        ),
        Number(
            "gpus",
            f"How many GPUs of {CARD} GB does full fine-tuning of your model need at least?",
            lambda n: gpus(n, 16),
            (
                Slip(
                    "rounded-down",
                    lambda n: gpus(n, 16) - 1,
                    "That rounds down. What is left over needs a GPU too.",
                ),
                Slip(
                    "not-rounded",
                    lambda n: n["billions"] * 16 / CARD,
                    "You cannot buy a part of a GPU: round up.",
                ),
                Slip(
                    "one-more",
                    lambda n: gpus(n, 16) + 1,
                    "One too many: round up, and add nothing.",
                ),
                Slip(
                    "weights-in-float32",
                    lambda n: gpus(n, 4),
                    "That counts only the weights, without gradients and running means.",
                ),
                Slip(
                    "weights-in-sixteen-bits",
                    lambda n: gpus(n, 2),
                    "That is enough to use the model, not to train it.",
                ),
                Slip(
                    "half",
                    lambda n: gpus(n, 8),
                    "Half is missing: weight, gradient and two means take 4 bytes each, 16 together.",
                ),
                Slip(
                    "one-mean",
                    lambda n: gpus(n, 12),
                    "One of the four is missing: 16 bytes for each weight, not 12.",
                ),
            ),
            digits=None,
        ),
        Prose(
            "when",
            "When would you choose full fine-tuning, and why is that rare for someone who works alone?",
            "I would choose it when the change is too large for a low rank, such as much new knowledge or "
            "a new language, when there is enough text, when the last bit of quality matters, and when the "
            "hardware is available. Someone who works alone rarely has all four. Most tasks are about "
            "style, format or a narrow field, which a low rank can represent; there are a few thousand "
            "examples; and 16 bytes per weight mean many GPUs. So you start with LoRA, gives it more "
            "layers and a higher rank, and uses full fine-tuning only if measurements show that LoRA is "
            "not enough.",
            (
                "It refers to the size of the change, not to the importance of the task.",
                "It mentions the resources: text, memory, money.",
                "It says what to try with LoRA first.",
            ),
        ),
        Prose(
            "gap",
            "What did the experiment show, and what had you predicted? If they differ, which idea "
            "misled you?",
            "If the change is random everywhere, rank 8 of 64 represents well under half of it: more than "
            "an eighth, because it can choose the strongest directions, but far from all. If the change "
            "has four main directions, rank 8 represents most of it. So LoRA works when the change is "
            "simple, as in most fine-tuning.",
            (
                "It gives both numbers from the experiment.",
                "It compares them with your prediction.",
                "It says what this means for the choice of method.",
            ),
            points=1,
        ),
    ),
    hints=(
        "Ask of each scenario: how simple is the change, how much text is there, and what does the "
        "hardware allow?",
        "A and B hold r · (in + out) numbers, W holds in · out. Round the number of GPUs up.",
        "rank = in · out / (in + out); GPUs = billions · 16 / 24, rounded up.",
    ),
    pitfalls=(
        "You cannot use a part of a GPU: round up.",
        "Give the rank to five significant digits; it need not be an integer.",
    ),
    explanation="What matters is not how important a task is, but how much the model has to change. For a "
    "small change LoRA is enough. A large one needs amounts of text and hardware that an "
    "individual rarely has.",
)
