"""Question 3: what quantization does, how QLoRA uses it, and what it costs."""

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


def draw(rng: random.Random) -> Numbers:
    return {
        "billions": rng.choice((3, 7, 8, 13, 34, 65)),
        "block_size": rng.choice((32, 64, 128)),
        "absmax": rng.choice((0.3, 0.45, 0.6, 1.2)),
    }


def bits(n: Numbers) -> float:
    return 4 + 32 / n["block_size"]


def quantize_the_tiny_gpt(numbers: Numbers) -> Observed:
    """Its surprise at text that it did not train on, before and after its layers go to 4 bits."""
    from minilora import GPT, encode_text, evaluate, quantize_model, style_corpus

    model = GPT.from_pretrained("tiny-gpt")
    data = encode_text(
        style_corpus("support", "validation", documents=8), model.tokenizer, sequence_length=64
    )
    before = evaluate(model, data)
    quantize_model(model)
    after = evaluate(model, data)
    rise = after / before - 1
    sentence = f"Loss {before:.3f} with 32 bits per weight, {after:.3f} with 4-bit codes: {rise:+.1%}."
    return Observed("a" if rise < 0.05 else "b" if rise < 0.5 else "c", sentence)


QUESTION = Question(
    name="quantization-and-qlora",
    title="Fewer bits, and how QLoRA uses them",
    minutes=30,
    statement="""
Explain what quantization does to a model's weights, how QLoRA uses it to train on a single GPU, and what it
costs. In the numbers below, each weight is stored as a 4-bit code, and a block of `block_size` weights
shares one scale, its absmax, which is stored as a float32. A GB is 10^9 bytes.
""",
    draw=draw,
    given={
        "billions": "weights of the base model, in 10^9",
        "block_size": "weights that share one absmax",
        "absmax": "the largest magnitude in one block, for the last number",
    },
    prediction=Prediction(
        "All linear layers of the tiny GPT go from 32 bits per weight to 4-bit codes, without any "
        "training. Its loss on "
        "text that it has not seen rises",
        (
            "by less than 5 %",
            "by 5 to 50 %",
            "by more: with an eighth of the bits the model produces nonsense",
        ),
        "a",
        quantize_the_tiny_gpt,
    ),
    parts=(
        Choice(
            "what-it-does",
            "Quantization to 4 bits",
            (
                Option(
                    "removes the weights that matter least",
                    "pruning",
                    "That is pruning. Quantization keeps every weight, but stores it less precisely.",
                ),
                Option(
                    "packs the file so that it can be unpacked without loss",
                    "lossless",
                    "Rounding cannot be undone: what comes back is near the old value, not equal to it.",
                ),
                Option(
                    "makes the matrices smaller: fewer rows and columns",
                    "fewer-weights",
                    "The shapes stay. Each number takes fewer bits.",
                ),
                Option("rounds every weight to one of 16 scaled values"),
            ),
        ),
        Choice(
            "what-trains",
            "While QLoRA trains, the optimizer changes",
            (
                Option("the adapters, which are kept in 16 or 32 bits"),
                Option(
                    "the 4-bit codes of the base",
                    "trains-codes",
                    "The base is frozen. A training step is far smaller than the distance between two of "
                    "the 16 values: it would be rounded away.",
                ),
                Option(
                    "the adapters, which have 4 bits each, like the base",
                    "adapters-quantized",
                    "Trainable weights stay in 16 or 32 bits, because small steps must add up. Only the "
                    "frozen part is quantized.",
                ),
                Option(
                    "the scales of the blocks",
                    "trains-scales",
                    "The scales belong to the frozen base and stay as they are.",
                ),
            ),
        ),
        Choice(
            "how-it-computes",
            "When a 4-bit layer computes,",
            (
                Option(
                    "its products are done with 4-bit numbers",
                    "four-bit-arithmetic",
                    "The 4 bits are for storage only: the values are looked up and scaled, and "
                    "computing is done in 16 "
                    "or 32 bits.",
                ),
                Option("its weights are decoded for that moment only"),
                Option(
                    "its weights were decoded once, when the model was loaded",
                    "decoded-at-load",
                    "Then the whole model would be in memory in 16 bits, and nothing would be saved.",
                ),
            ),
        ),
        Choice(
            "trade-off",
            "The cost is",
            (
                Option(
                    "nothing in the end, because the adapter repairs every error exactly",
                    "free",
                    "A low-rank adapter can reduce the error but not undo it: the error has full rank.",
                ),
                Option(
                    "only disk space for the scales",
                    "scales-only",
                    "The scales are a small part of the cost. Consider also the rounding, and the time for "
                    "decoding.",
                ),
                Option(
                    "usually half of the model's quality",
                    "ruined",
                    "With good codes and small blocks it is far less: look at the experiment.",
                ),
                Option("a small error in nearly every weight, and time for decoding"),
            ),
        ),
        Choice(
            "outlier",
            "One weight in a tensor is a hundred times larger than the others. With blocks of 64,",
            (
                Option(
                    "all weights of the tensor are stored less precisely",
                    "whole-tensor",
                    "That is so with one scale for the whole tensor. A block's scale affects only its own "
                    "64 weights.",
                ),
                Option("the other 63 of its block are stored less precisely"),
                Option(
                    "it is cut down to the size of the others",
                    "clipped",
                    "The scale is the largest magnitude, so the outlier keeps its value and the others "
                    "lose precision.",
                ),
            ),
        ),
        Number(
            "bits-per-weight",
            "How many bits does a weight take, including its share of the scale? (five digits)",
            bits,
            (
                Slip(
                    "no-scales", lambda n: 4, "These are the codes alone; each block also stores its absmax."
                ),
                Slip(
                    "scale-each",
                    lambda n: 4 + 32,
                    "You give each weight a scale of its own. A block shares one: divide its 32 bits "
                    "among them.",
                ),
                Slip(
                    "eight-bit-scale",
                    lambda n: 4 + 8 / n["block_size"],
                    "The absmax is a float32 here, 32 bits. 8 bits would be double quantization.",
                ),
                Slip(
                    "two-scales",
                    lambda n: 4 + 64 / n["block_size"],
                    "A block has one scale of 32 bits, not two.",
                ),
                Slip(
                    "scales-alone",
                    lambda n: 32 / n["block_size"],
                    "That is the share of the scales; the code itself takes 4 bits more.",
                ),
                Slip(
                    "bytes-for-bits",
                    lambda n: 4 + 4 / n["block_size"],
                    "The absmax takes 4 bytes, which are 32 bits.",
                ),
                Slip(
                    "sixteen-bit-scale",
                    lambda n: 4 + 16 / n["block_size"],
                    "The absmax is a float32 here, 32 bits.",
                ),
            ),
        ),
        Number(
            "base-gigabytes",
            "How many GB does the base take in this form, if all weights are quantized? (five digits)",
            lambda n: n["billions"] * bits(n) / 8,
            (
                Slip(
                    "bits-as-bytes",
                    lambda n: n["billions"] * bits(n),
                    "You have bits; divide by 8 for bytes.",
                ),
                Slip(
                    "no-scales",
                    lambda n: n["billions"] / 2,
                    "That is half a byte for each weight; the scales of the blocks are missing.",
                ),
                Slip("sixteen-bit", lambda n: n["billions"] * 2, "That is the base in 16 bits."),
                Slip("float32", lambda n: n["billions"] * 4, "That is the base in float32."),
                Slip(
                    "eight-bit",
                    lambda n: n["billions"],
                    "That is a byte for each weight; 4-bit codes take half of one.",
                ),
                Slip(
                    "scale-in-bytes",
                    lambda n: n["billions"] * (4 + 4 / n["block_size"]) / 8,
                    "The absmax takes 4 bytes, which are 32 bits.",
                ),
                Slip(
                    "scales-twice",
                    lambda n: n["billions"] * (4 + 64 / n["block_size"]) / 8,
                    "A block has one scale of 32 bits, not two.",
                ),
                Slip(
                    "not-packed",
                    lambda n: n["billions"] * (1 + 4 / n["block_size"]),
                    "You give each code a byte of its own; two codes fit into one.",
                ),
            ),
        ),
        Number(
            "largest-error",
            "Suppose the 16 values are evenly spaced from -absmax to absmax. What is the largest rounding "
            "error in your block? (five digits)",
            lambda n: n["absmax"] / 15,
            (
                Slip(
                    "whole-step",
                    lambda n: 2 * n["absmax"] / 15,
                    "That is the distance between two values; the nearest one is at most half of it away.",
                ),
                Slip(
                    "sixteen-gaps",
                    lambda n: n["absmax"] / 16,
                    "16 values have only 15 gaps between them.",
                ),
                Slip(
                    "absmax",
                    lambda n: n["absmax"],
                    "That is absmax itself. Divide the range from -absmax to absmax into gaps.",
                ),
                Slip(
                    "seven-steps",
                    lambda n: n["absmax"] / 7,
                    "That is the step for integers from -7 to 7. Here 16 values have 15 gaps, and the "
                    "error is at most half a gap.",
                ),
                Slip(
                    "quarter-step",
                    lambda n: n["absmax"] / 31,
                    "4 bits have 16 values, not 32.",
                ),
                Slip(
                    "one-side",
                    lambda n: n["absmax"] / 30,
                    "The values reach from -absmax to absmax, twice as far as you have taken.",
                ),
                Slip(
                    "sixteen-gaps-whole",
                    lambda n: n["absmax"] / 8,
                    "Two mistakes: 16 values have 15 gaps, and the error is at most half a gap.",
                ),
            ),
        ),
        Prose(
            "explain",
            "What does quantization do, how does QLoRA use it to fit on one GPU, and what is the trade-off?",
            "Quantization stores each weight as one of a few values times a scale that a small block "
            "shares: a little over 4 bits instead of 16. QLoRA quantizes only the frozen base, which is "
            "nearly all of the memory that LoRA still needs, and decodes each layer only while it is used. "
            "The adapters stay in 16 or 32 bits, because small steps must add up. A model with 7 billion "
            "weights then takes about 4 GB instead of 14. The cost is a small error in nearly every "
            "weight, partly compensated by training, and the time for decoding.",
            (
                "It distinguishes rounding from removing weights and from lossless compression.",
                "It says which part is quantized and which is not, and why not.",
                "It mentions both costs: error and time.",
            ),
        ),
        Prose(
            "gap",
            "What did the experiment show, and what had you predicted? If they differ, which idea "
            "misled you?",
            "The loss rose by less than one percent, with an eighth of the bits. The errors of single "
            "weights are small and have both signs, so most of them cancel in sums over hundreds of "
            "weights. If I expected a large loss, I was thinking of one scale for a whole tensor, or of "
            "the error of a single weight instead of the error of the sum.",
            (
                "It gives the numbers from the experiment.",
                "It compares them with your prediction.",
                "It says why rounding does so little harm, or when it would do more.",
            ),
            points=1,
        ),
    ),
    hints=(
        "Distinguish how a weight is stored from what is used to compute.",
        "A block of weights has one scale. Divide its bits among the weights, and add the 4 bits of each "
        "weight.",
        "bits = 4 + 32 / block_size; GB = billions · bits / 8; 16 evenly spaced values have 15 gaps over 2 "
        "· absmax, and the error is at most half a gap.",
    ),
    pitfalls=(
        "Do not mix up bits and bytes: eight bits are one byte.",
        "Five significant digits: 0.030000 and 0.03 are the same.",
    ),
    explanation="QLoRA quantizes the frozen weights and keeps the trainable ones in full precision. "
    "Rounding costs little, because blocks are small and the errors of many weights cancel. "
    "The 4 bits are only for storage, not for computing.",
)
