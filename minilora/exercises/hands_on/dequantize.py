"""Exercise: from bytes back to numbers."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats
from minilora.exercises.drawing import CODES
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong
from minilora.exercises.hands_on.pack_nibbles import pack_nibbles


def dequantize(packed, absmax, code, block_size, shape):
    """Turns packed 4-bit codes back into numbers.

    Args:
        packed: uint8, two indices per byte.
        absmax: (blocks,).
        code: (16,).
        block_size: Values per block.
        shape: A list of sizes.

    Returns:
        float32 of that shape.

    >>> code = np.linspace(-1, 1, 16, dtype=np.float32)
    >>> packed = np.array([0b11110000, 0b10101111], np.uint8)  # indices 15, 0, 10, and a filler
    >>> dequantize(packed, np.array([2.0, 3.0], np.float32), code, block_size=2, shape=[3])
    array([ 2., -2.,  1.], dtype=float32)
    """
    ### BEGIN SOLUTION
    n = int(np.prod(shape))
    indices = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)[:n]
    factors = absmax.repeat(block_size)[:n]  # one for each value
    return (code[indices] * factors).reshape(shape)
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    cases = []
    odd = "Only an odd number of values goes wrong: then the last four bits are a filler, not a value."
    short = "Only a short last block goes wrong: repeat each absmax block_size times, then keep the first n."
    codes = [*CODES, CODES[int(rng.integers(2))]]
    for (label, shape, block_size, alone), code in zip(
        (
            ("rows of 6, blocks of 4", [2, 6], 4, ""),
            ("an odd number of values", [3, 5], 5, odd),
            ("a short last block, three dimensions", [2, 5, 1], 7, short),
        ),
        codes,
        strict=True,
    ):
        n = int(np.prod(shape))
        indices = rng.permutation(np.arange(16))[:n].astype(np.uint8)
        absmax = rng.permutation(np.arange(1, 9))[: -(-n // block_size)] * rng.uniform(0.1, 0.9)
        arguments = {"packed": pack_nibbles(indices, 7), "absmax": absmax.astype(np.float32), "code": code}
        cases.append(Case(label, {**arguments, "block_size": block_size, "shape": shape}, alone))
    return cases


def tolerance(packed, absmax, code, block_size, shape):
    """One product, rounded to float32."""
    return 2.0**-24 * np.abs(dequantize(packed, absmax, code, block_size, shape))


def by_loops(packed, absmax, code, block_size, shape):
    values = []
    for byte in packed.tolist():
        values += [code[byte // 16], code[byte % 16]]
    n = int(np.prod(shape))
    return np.array([values[i] * absmax[i // block_size] for i in range(n)], np.float32).reshape(shape)


def by_pair_table(packed, absmax, code, block_size, shape):
    pairs = np.stack([code.repeat(16), np.tile(code, 16)], axis=1)  # (256, 2): what each byte stands for
    n = int(np.prod(shape))
    values = pairs[packed].ravel()[:n].astype(np.float64)
    return (values * absmax[np.arange(n) // block_size]).reshape(shape)


def in_place(packed, absmax, code, block_size, shape):
    indices = np.empty(2 * packed.size, np.intp)
    indices[0::2], indices[1::2] = packed >> 4, packed & 0x0F
    values = code[indices[: int(np.prod(shape))]]
    for i, top in enumerate(absmax):
        values[i * block_size : (i + 1) * block_size] *= top
    return values.reshape(shape)


def by_torch(packed, absmax, code, block_size, shape):
    import torch

    packed = torch.from_numpy(packed)
    n = int(np.prod(shape))
    indices = torch.stack([packed >> 4, packed & 15], dim=-1).flatten()[:n].long()
    factors = torch.from_numpy(absmax).repeat_interleave(block_size)[:n]
    return (torch.from_numpy(code.copy())[indices] * factors).view(shape)


def flawed(
    unpack=lambda packed: np.stack([packed >> 4, packed & 15], axis=1).reshape(-1),
    factors=lambda absmax, size, n: absmax.repeat(size)[:n],
    values=lambda code, indices: code[indices],
    join=lambda values, factors: values * factors,
    shaped=lambda values, shape: values.reshape(shape),
):
    def decode(packed, absmax, code, block_size, shape):
        n = int(np.prod(shape))
        found = values(code, unpack(packed)[:n])
        return shaped(join(found, factors(absmax, block_size, n)), shape)

    return decode


def filler_kept(packed, absmax, code, block_size, shape):
    indices = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)
    factors = np.append(absmax, absmax[-1]).repeat(block_size)[: len(indices)]
    values = code[indices] * factors
    return values.reshape(shape) if values.size == np.prod(shape) else values


def parts_of(arguments):
    """The right indices, values and factors of each number."""
    n = int(np.prod(arguments["shape"]))
    packed = arguments["packed"]
    indices = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)[:n]
    return indices, arguments["code"][indices], arguments["absmax"].repeat(arguments["block_size"])[:n]


def has_right_values(arguments, value):
    """Divided by the values of the code, it leaves factors that are all in absmax, or all the same."""
    _, values, _ = parts_of(arguments)
    factors = (np.asarray(value, float).reshape(-1)[values != 0] / values[values != 0]).round(6)
    known = set(arguments["absmax"].astype(float).round(6).tolist())
    return np.ptp(factors) < 1e-5 or set(factors.tolist()) <= known


def has_right_factors(arguments, value):
    """Divided by absmax, equal indices leave equal numbers, and these rise with the index."""
    indices, _, factors = parts_of(arguments)
    found = np.asarray(value, float).reshape(-1) / factors
    order = np.argsort(indices)
    return bool((np.diff(found[order]) >= -1e-6).all())


EXERCISE = Exercise(
    name="dequantize",
    title="From bytes back to numbers",
    minutes=30,
    points=3,
    statement="""
A frozen 4-bit weight is stored as bytes. Each time its layer is used, it is turned back into numbers. Every
byte holds two indices (the first in the high four bits). Look up each index in the `code`, and multiply
that value by the `absmax` of its block.

Write `dequantize`. A block is `block_size` consecutive values, row by row. The last byte may hold a filler
that is not part of the weight: `shape` tells you how many numbers there are.
""",
    solution=dequantize,
    example={
        "packed": np.array([0b11110000, 0b10101111], np.uint8),
        "absmax": np.array([2.0, 3.0], np.float32),
        "code": np.linspace(-1, 1, 16, dtype=np.float32),
        "block_size": 2,
        "shape": [3],
    },
    draw=draw,
    result=Floats("the result", tolerance),
    hints=(
        "Undo the steps in reverse order: bytes to indices, indices to values of the code, values times "
        "absmax, then the shape.",
        "packed >> 4 gives the high halves, packed & 15 the low halves. np.stack([high, low], "
        "axis=1).reshape(-1) interleaves them.",
        "code[indices] looks all values up at once; absmax.repeat(block_size)[:n] gives the factor of each "
        "value; then reshape.",
    ),
    pitfalls=(
        "`cannot reshape array of size 16 into shape (3, 5)`: the filler is still there; keep the first n "
        "values.",
        "`operands could not be broadcast together`: absmax has one number for each block, not one for "
        "each value.",
    ),
    explanation="In QLoRA training this happens in every forward and backward pass: it saves memory and "
    "costs time. Gradients flow through these numbers, but the numbers themselves get none.",
    wrong=(
        Wrong(
            "swapped",
            flawed(lambda packed: np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)),
            "The two halves of each byte come in the wrong order; the high bits hold the first value.",
        ),
        Wrong(
            "not-interleaved",
            flawed(lambda packed: np.concatenate([packed >> 4, packed & 15])),
            "You put all high halves first, then all low halves. The two halves of a byte belong next to "
            "each other.",
        ),
        Wrong(
            "three-bits",
            flawed(lambda packed: np.stack([packed >> 4, packed & 7], axis=1).reshape(-1)),
            "The low half is cut to three bits (& 7); four bits need & 15.",
        ),
        Wrong(
            "filler-kept",
            filler_kept,
            "The filler at the end is returned as a value. shape says how many values there are.",
        ),
        Wrong(
            "one-absmax",
            flawed(factors=lambda absmax, size, n: absmax[0]),
            "All values are multiplied by the first block's absmax; each block has its own.",
        ),
        Wrong(
            "tiled",
            flawed(factors=lambda absmax, size, n: np.tile(absmax, size)[:n]),
            "You use np.tile, which repeats the whole list of absmax. Each absmax belongs to block_size "
            "consecutive values: use repeat.",
        ),
        Wrong(
            "next-block",
            flawed(factors=lambda absmax, size, n: np.roll(absmax, -1).repeat(size)[:n]),
            "Each block gets the absmax of the block after it. Value i belongs to block i // block_size.",
        ),
        Wrong(
            "no-absmax",
            flawed(join=lambda values, factors: values),
            "These are the values of the code, between -1 and 1. Multiply them by absmax.",
        ),
        Wrong(
            "divided",
            flawed(join=lambda values, factors: values / factors),
            "You divide by absmax. Quantizing divides by it, so dequantizing multiplies.",
        ),
        Wrong(
            "indices-as-numbers",
            flawed(values=lambda code, indices: indices.astype(np.float32)),
            "You multiply the indices by absmax. Look each one up in the code first.",
        ),
        Wrong(
            "equal-steps",
            flawed(values=lambda code, indices: (indices.astype(np.float32) - 7) / 8),
            "You decode as if the 16 values were equally spaced. Look up each index in the code that is "
            "passed in.",
        ),
        Wrong(
            "columns",
            flawed(shaped=lambda values, shape: values.reshape(shape, order="F")),
            "The values are filled in column by column. Fill them in row by row.",
        ),
        Wrong(
            "block-before",
            flawed(factors=lambda absmax, size, n: np.roll(absmax, 1).repeat(size)[:n]),
            "Each block gets the absmax of the block before it. Value i belongs to block i // block_size.",
        ),
        Wrong(
            "largest-absmax",
            flawed(factors=lambda absmax, size, n: absmax.max()),
            "All values are multiplied by the largest absmax; each block has its own.",
        ),
        Wrong(
            "bytes-for-values",
            flawed(factors=lambda absmax, size, n: absmax.repeat(2 * size)[:n]),
            "You count the block size in bytes. It counts values, two per byte.",
        ),
        Wrong(
            "half-blocks",
            flawed(factors=lambda absmax, size, n: np.resize(absmax.repeat(max(size // 2, 1)), n)),
            "Your blocks have half the size: block_size counts values, not bytes.",
        ),
        Wrong(
            "high-only",
            flawed(lambda packed: np.stack([packed >> 4, packed >> 4], axis=1).reshape(-1)),
            "Both values of a byte come from its high half. The low half is packed & 15.",
        ),
        Wrong(
            "low-only",
            flawed(lambda packed: np.stack([packed & 15, packed & 15], axis=1).reshape(-1)),
            "Both values of a byte come from its low half. The high half is packed >> 4.",
        ),
        Wrong(
            "code-reversed",
            flawed(values=lambda code, indices: code[15 - indices.astype(int)]),
            "You read the code from its end. Index 0 is the first value of the code.",
        ),
        Wrong(
            "indices-from-one",
            flawed(values=lambda code, indices: code[indices.astype(int) - 1]),
            "Each index is one too small. Indices start at 0: code[index].",
        ),
        Wrong(
            "equal-steps-from--1",
            flawed(values=lambda code, indices: np.linspace(-1, 1, 16)[indices]),
            "You decode with equal steps from -1 to 1, whatever the code. Look up each index in the code "
            "that is passed in.",
        ),
        Wrong(
            "signed",
            flawed(values=lambda code, indices: indices.astype(np.float32) - 8),
            "You treat each index as a signed number, -8 … 7. It is a position in the code.",
        ),
        Wrong(
            "absmax-added",
            flawed(join=lambda values, factors: values + factors),
            "You add absmax; multiply by it.",
        ),
        Wrong(
            "absmax-squared",
            flawed(join=lambda values, factors: values * factors * factors),
            "You multiply by absmax twice; once is enough.",
        ),
        Wrong(
            "flat",
            flawed(shaped=lambda values, shape: values),
            "The numbers are right, but flattened; reshape them to `shape`.",
        ),
        Wrong(
            "wrong-factors",
            flawed(factors=lambda absmax, size, n: absmax.mean()),
            "The values of the code are right, but their factors are not: value i belongs to block i // "
            "block_size, and is "
            "multiplied by the absmax of that block.",
            recognize=has_right_values,
        ),
        Wrong(
            "wrong-values",
            flawed(values=lambda code, indices: code[indices] ** 3),
            "absmax is applied to the right blocks, but the indices become wrong values: look up each one "
            "in the code, code[index].",
            recognize=has_right_factors,
        ),
    ),
    variants=(
        Variant("loops", by_loops),
        Variant("a table of pairs, float64", by_pair_table),
        Variant("block by block, in place", in_place),
        Variant("torch", by_torch),
    ),
)
