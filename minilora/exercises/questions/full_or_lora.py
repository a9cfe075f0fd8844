"""Question 6: when full fine-tuning is the better choice, and why that is rare."""

from __future__ import annotations

import math
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


def cards(n: Numbers, bytes_each: float) -> int:
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
    minutes=15,
    statement="""
Say when you would choose full fine-tuning over LoRA, and why that case is rare for someone who builds alone.
The scenarios ask for the choice with its reason; two of the numbers say where each method meets its wall. Rules for the
arithmetic: full fine-tuning takes 16 bytes per weight, activations left out; GB are 10^9 bytes.
""",
    draw=draw,
    given={
        "in_features": "inputs of a linear layer",
        "out_features": "its outputs",
        "billions": "weights of a model, in 10^9",
    },
    prediction=Prediction(
        "A 64 × 64 matrix shall change in a random way, each entry on its own. How much of that "
        "change (of the sum of its "
        "squares) can the best possible adapter of rank 8 catch?",
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
                    "full fine-tuning, since tone touches every word",
                    "everything-changes",
                    "It touches every word, yet in a simple way: few directions do. And 16 bytes a "
                    "weight would need 112 GB.",
                ),
                Option("QLoRA, for a simple change on a small card"),
                Option(
                    "full fine-tuning of the last layer's weights in 4 bits",
                    "train-four-bits",
                    "What learns cannot be kept in 4 bits: the steps are too small for it.",
                ),
            ),
        ),
        Choice(
            "new-language",
            "Tens of billions of tokens in a language that the base hardly knows, and a cluster with "
            "time on it:",
            (
                Option("full fine-tuning, for a great change"),
                Option(
                    "LoRA with rank 4, since LoRA always ends up equal",
                    "always-equal",
                    "With much new knowledge the change is not simple any more; a low rank runs out of room.",
                ),
                Option(
                    "full fine-tuning, as for every serious task",
                    "serious-means-full",
                    "The choice is right and the reason is not: seriousness does not decide. The "
                    "size of the change does.",
                ),
            ),
        ),
        Choice(
            "ten-clients",
            "Ten clients, each with a style of its own, served by one small company:",
            (
                Option(
                    "ten fully fine-tuned models, for the best of each",
                    "copies",
                    "Ten copies to store, load and look after, for a gain that a style rarely shows.",
                ),
                Option(
                    "one model, fully fine-tuned on all ten styles together",
                    "mixed-together",
                    "Then no client has its own style, and one who leaves cannot be taken out.",
                ),
                Option("one base and ten adapters"),
            ),
        ),
        Choice(
            "stuck",
            "LoRA with rank 8 on q_proj and v_proj stops improving too early. Next you",
            (
                Option(
                    "go over to full fine-tuning",
                    "too-soon",
                    "Perhaps later. Adapters on all layers, a higher rank and a better learning rate "
                    "cost little to try.",
                ),
                Option("give LoRA more layers, rank and a better learning rate"),
                Option(
                    "lower the rank, since fewer weights need less text and learn faster",
                    "lower-rank",
                    "A lower rank leaves less room, and room is what may be missing.",
                ),
            ),
        ),
        Choice(
            "why-rare",
            "For someone who builds alone, full fine-tuning is rare mainly because",
            (
                Option(
                    "it gives worse results",
                    "worse",
                    "It can give better ones, where the change is large and there is enough text.",
                ),
                Option(
                    "the licences of most published models forbid to change weights",
                    "forbidden",
                    "Licences seldom tell the two apart. Hardware and purpose do.",
                ),
                Option("it costs far more, and simple changes gain little"),
            ),
        ),
        Number(
            "break-even-rank",
            "At which rank do A and B together hold as many numbers as your layer's matrix? Three digits",
            break_even,
            (
                Slip(
                    "smaller-side",
                    lambda n: min(n["in_features"], n["out_features"]),
                    "That is the highest rank the matrix can have. A and B are as large as W earlier "
                    "than that.",
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
                    "product",
                    lambda n: n["in_features"] * n["out_features"],
                    "That is the size of W. Divide it by what one more rank costs, in + out.",
                ),
            ),
        ),
        Number(
            "cards",
            f"How many cards of {CARD} GB does full fine-tuning of your model need at least?",
            lambda n: cards(n, 16),
            (
                Slip(
                    "rounded-down",
                    lambda n: cards(n, 16) - 1,
                    "So many are full, and something is left over: it needs a card too.",
                ),
                Slip(
                    "weights-in-float32",
                    lambda n: cards(n, 4),
                    "These hold the weights, and none of the bookkeeping.",
                ),
                Slip(
                    "weights-in-sixteen-bits",
                    lambda n: cards(n, 2),
                    "That is enough to use the model, not to train it.",
                ),
                Slip(
                    "half",
                    lambda n: cards(n, 8),
                    "Half is missing: weight, gradient and two means take 4 bytes each, 16 together.",
                ),
                Slip(
                    "one-mean",
                    lambda n: cards(n, 12),
                    "One of the four is missing: 16 bytes for each weight, not 12.",
                ),
            ),
            digits=None,
        ),
        Prose(
            "when",
            "When would you choose full fine-tuning, and why is that rare for someone who builds alone?",
            "When the change is so large that no low rank can hold it, such as much new knowledge or "
            "a new language, when "
            "there is enough text for it, when the last bit of quality counts, and when the hardware "
            "is there. Someone "
            "alone seldom has all four: most wishes are about style, format or a narrow field, which "
            "few directions "
            "describe; the text is some thousand examples; and sixteen bytes per weight mean a "
            "machine with many cards. "
            "So one starts with LoRA, gives it room, and goes on only where it demonstrably does not "
            "suffice.",
            (
                "It names the size of the change, and not the importance of the task.",
                "It names the means: text, memory, money.",
                "It says what to try with LoRA before.",
            ),
        ),
        Prose(
            "gap",
            "What did the experiment show, and what had you predicted? If they differ, which idea "
            "misled you?",
            "Of a change that is random everywhere, rank 8 of 64 catches well under half: more than "
            "an eighth, since it may "
            "choose the strongest directions, but far from all. Of a change with four main "
            "directions it catches most. So "
            "LoRA is no magic: it works where the change is simple, as most fine-tuning is.",
            (
                "It names both figures of the experiment.",
                "It compares them with the prediction as it was locked.",
                "It says what this means for the choice of method.",
            ),
            points=1,
        ),
    ),
    hints=(
        "Ask of each scenario: how simple is the change, how much text is there, and what does the "
        "hardware allow?",
        "A and B hold r · (in + out) numbers, W holds in · out. And a card that is needed in part is needed.",
        "rank = in · out / (in + out); cards = billions · 16 / 24, rounded up.",
    ),
    pitfalls=("Cards are whole: round up.", "Three significant digits for the rank; it need not be whole."),
    explanation="The question is never how important a task is, but how far the model has to move. "
    "For a short way LoRA is enough; for "
    "a long one you need text and machines that an individual seldom has.",
)
