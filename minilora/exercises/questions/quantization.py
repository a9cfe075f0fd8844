"""Question 3: what quantization does, how QLoRA uses it, and what it costs."""

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
    minutes=20,
    statement="""
Explain what quantization does to a model's weights, how QLoRA makes room with it for training on a single GPU,
and what is paid for it. In the numbers below a block of `block_size` weights shares one scale, its absmax, which is
stored as a float32; each weight is a code of 4 bits. GB are 10^9 bytes.
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
        ("by less than 5 %", "by 5 to 50 %", "by more: with an eighth of the bits it cannot speak any more"),
        "a",
        quantize_the_tiny_gpt,
    ),
    parts=(
        Choice(
            "what-it-does",
            "Quantization to 4 bits",
            (
                Option(
                    "takes out the weights that matter least",
                    "pruning",
                    "That is pruning. Quantization keeps every weight, and stores each more coarsely.",
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
                    "A step of training is far smaller than the distance between two of 16 values: "
                    "it would round to "
                    "nothing. The base is frozen.",
                ),
                Option(
                    "the adapters, which have 4 bits each, like the base",
                    "adapters-quantized",
                    "What learns keeps its precision, for small steps must add up. Only the frozen "
                    "part is quantized.",
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
                    "Then the whole model would lie in memory in 16 bits, and nothing would be saved.",
                ),
            ),
        ),
        Choice(
            "trade-off",
            "What is paid for it is",
            (
                Option(
                    "nothing in the end, as the adapter repairs every error exactly",
                    "free",
                    "An adapter of low rank can soften the error, not undo it: that has full rank.",
                ),
                Option(
                    "only disk space for the scales",
                    "scales-only",
                    "The scales are a small part of the price. Weigh also what rounding does, and "
                    "what decoding takes.",
                ),
                Option(
                    "half of the model's quality, as a rule",
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
                    "all weights of the tensor are stored more coarsely",
                    "whole-tensor",
                    "That is so with one scale for the tensor. A block's scale touches its own 64 "
                    "weights only.",
                ),
                Option("the other 63 of its block are stored more coarsely"),
                Option(
                    "it is cut down to the size of the others",
                    "clipped",
                    "The scale is the largest magnitude, so the outlier keeps its value and the others pay.",
                ),
            ),
        ),
        Number(
            "bits-per-weight",
            "Bits per weight, with the scales counted, three digits",
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
            "GB of the base in this form (as if all weights were quantized), three digits",
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
                Slip(
                    "not-packed",
                    lambda n: n["billions"] * (1 + 4 / n["block_size"]),
                    "You give each code a byte of its own; two codes fit into one.",
                ),
            ),
        ),
        Number(
            "largest-error",
            "Suppose the 16 values lie evenly from -absmax to absmax. What is the largest error of "
            "rounding in your "
            "block? Three digits",
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
                    "16 values have 15 gaps between them: count fence posts and fences.",
                ),
                Slip(
                    "one-side",
                    lambda n: n["absmax"] / 30,
                    "The values reach from -absmax to absmax, twice as far as you have taken.",
                ),
                Slip(
                    "sixteen-gaps-whole",
                    lambda n: n["absmax"] / 8,
                    "Two slips: 16 values have 15 gaps, and half counts.",
                ),
            ),
        ),
        Prose(
            "explain",
            "What does quantization do, how does QLoRA use it to fit on one GPU, and what is the trade-off?",
            "Quantization stores each weight as one of a few values times a scale that a small block "
            "shares: 4 bits and "
            "a bit for the scale instead of 16. QLoRA quantizes only the frozen base, which is "
            "nearly all of the memory "
            "that LoRA still needs, and decodes each layer for the moment of use. The adapters stay "
            "exact, because small "
            "steps must add up. A 7-billion model then takes about 4 GB instead of 14. The price: a "
            "small error in nearly "
            "every weight, somewhat softened by training on top of it, and time for decoding.",
            (
                "Rounding to few values is told apart from leaving weights out and from packing "
                "without loss.",
                "It says which part is quantized and which is not, and why not.",
                "It names both prices: error and time.",
            ),
        ),
        Prose(
            "gap",
            "What did the experiment show, and what had you predicted? If they differ, which idea "
            "misled you?",
            "The loss rose by less than a percent, with an eighth of the bits. Errors of single "
            "weights are small and have "
            "both signs, so in sums over hundreds of them most cancel. Who expected ruin thought of "
            "one scale for a whole "
            "tensor, or of a single weight's error instead of the sum's.",
            (
                "It names the figures of the experiment.",
                "It compares them with the prediction as it was locked.",
                "It says why rounding harms so little, or when it would harm more.",
            ),
            points=1,
        ),
    ),
    hints=(
        "Keep two things apart: what a weight is stored as, and what is computed with.",
        "A block of weights has one scale. Divide its bits among them, and add the 4 bits that each "
        "has for itself.",
        "bits = 4 + 32 / block_size; GB = billions · bits / 8; 16 even values have 15 gaps over 2 · "
        "absmax, and the "
        "error is at most half a gap.",
    ),
    pitfalls=(
        "Bits and bytes: eight bits are a byte.",
        "Three significant digits: 0.0300 and 0.03 are the same.",
    ),
    explanation="QLoRA quantizes what is frozen and keeps exact what learns. Rounding costs little "
    "because blocks are small and the "
    "errors of many weights cancel, and 4 bits are for storing, never for computing.",
)
