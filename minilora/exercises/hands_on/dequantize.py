"""Exercise: from bytes back to numbers."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Floats
from minilora.exercises.drawing import CODES
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong
from minilora.exercises.hands_on.pack_nibbles import pack_nibbles


def dequantize(packed, absmax, code, block_size, shape):
    """packed uint8, absmax (blocks,), code (16,), shape a list of sizes -> float32 of that shape.

    >>> code = np.linspace(-1, 1, 16, dtype=np.float32)
    >>> packed = np.array([0b11110000, 0b10101111], np.uint8)  # places 15, 0, 10, and a filler
    >>> dequantize(packed, np.array([2.0, 3.0], np.float32), code, block_size=2, shape=[3])
    array([ 2., -2.,  1.], dtype=float32)
    """
    ### BEGIN SOLUTION
    n = int(np.prod(shape))
    places = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)[:n]
    factors = absmax.repeat(block_size)[:n]  # one for each value
    return (code[places] * factors).reshape(shape)
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    cases = []
    odd = "Only an odd number of values goes wrong: the last four bits are a filler then, and no value."
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
        places = rng.permutation(np.arange(16))[:n].astype(np.uint8)
        absmax = rng.permutation(np.arange(1, 9))[: -(-n // block_size)] * rng.uniform(0.1, 0.9)
        arguments = {"packed": pack_nibbles(places, 7), "absmax": absmax.astype(np.float32), "code": code}
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
    places = np.empty(2 * packed.size, np.intp)
    places[0::2], places[1::2] = packed >> 4, packed & 0x0F
    values = code[places[: int(np.prod(shape))]]
    for i, top in enumerate(absmax):
        values[i * block_size : (i + 1) * block_size] *= top
    return values.reshape(shape)


def by_torch(packed, absmax, code, block_size, shape):
    import torch

    packed = torch.from_numpy(packed)
    n = int(np.prod(shape))
    places = torch.stack([packed >> 4, packed & 15], dim=-1).flatten()[:n].long()
    factors = torch.from_numpy(absmax).repeat_interleave(block_size)[:n]
    return (torch.from_numpy(code.copy())[places] * factors).view(shape)


def flawed(
    unpack=lambda packed: np.stack([packed >> 4, packed & 15], axis=1).reshape(-1),
    factors=lambda absmax, size, n: absmax.repeat(size)[:n],
    values=lambda code, places: code[places],
    join=lambda values, factors: values * factors,
    shaped=lambda values, shape: values.reshape(shape),
):
    def decode(packed, absmax, code, block_size, shape):
        n = int(np.prod(shape))
        found = values(code, unpack(packed)[:n])
        return shaped(join(found, factors(absmax, block_size, n)), shape)

    return decode


def filler_kept(packed, absmax, code, block_size, shape):
    places = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)
    factors = np.append(absmax, absmax[-1]).repeat(block_size)[: len(places)]
    values = code[places] * factors
    return values.reshape(shape) if values.size == np.prod(shape) else values


def parts_of(arguments):
    """The right places, values and factors of each number."""
    n = int(np.prod(arguments["shape"]))
    packed = arguments["packed"]
    places = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)[:n]
    return places, arguments["code"][places], arguments["absmax"].repeat(arguments["block_size"])[:n]


def has_right_values(arguments, value):
    """Divided by the values of the code, it leaves a factor for each place that is one of absmax, or one for all."""
    _, values, _ = parts_of(arguments)
    factors = (np.asarray(value, float).reshape(-1)[values != 0] / values[values != 0]).round(6)
    known = set(arguments["absmax"].astype(float).round(6).tolist())
    return np.ptp(factors) < 1e-5 or set(factors.tolist()) <= known


def has_right_factors(arguments, value):
    """Divided by absmax, equal places leave equal numbers, and these rise with the place."""
    places, _, factors = parts_of(arguments)
    found = np.asarray(value, float).reshape(-1) / factors
    order = np.argsort(places)
    return bool((np.diff(found[order]) >= -1e-6).all())


EXERCISE = Exercise(
    name="dequantize",
    title="From bytes back to numbers",
    minutes=15,
    points=3,
    statement="""
A frozen weight lies in memory as bytes. Each time its layer is used it is turned back into numbers: every
byte holds two places (high four bits first), each place names a value of the `code`, and that value times
the `absmax` of its block is the number.

Write `dequantize`. Blocks are `block_size` values long in reading order. The last byte may hold a filler
that does not belong to the weight: `shape` tells how many numbers there are.
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
        "Undo the steps from the end: bytes into places, places into values of the code, values times "
        "absmax, shape.",
        "packed >> 4 are the high halves, packed & 15 the low ones. np.stack(..., axis=1).reshape(-1) puts "
        "them in turn.",
        "code[places] looks all values up at once; absmax.repeat(block_size)[:n] gives each value its "
        "factor; then reshape.",
    ),
    pitfalls=(
        "`cannot reshape array of size 16 into shape (3, 5)`: the filler is still there; keep the first n "
        "values.",
        "`operands could not be broadcast together`: absmax has one number for each block, not one for "
        "each value.",
    ),
    explanation="This runs on every forward and backward pass of a QLoRA training: memory is bought with "
    "time. The adapter's "
    "gradients flow through these numbers, but never into them.",
    wrong=(
        Wrong(
            "swapped",
            flawed(lambda packed: np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)),
            "The two halves of each byte come in the wrong order; the high bits hold the first value.",
        ),
        Wrong(
            "not-interleaved",
            flawed(lambda packed: np.concatenate([packed >> 4, packed & 15])),
            "First come all high halves, then all low ones. The two of one byte are neighbors.",
        ),
        Wrong(
            "three-bits",
            flawed(lambda packed: np.stack([packed >> 4, packed & 7], axis=1).reshape(-1)),
            "The low half is cut to three bits (& 7); four need & 15.",
        ),
        Wrong(
            "filler-kept",
            filler_kept,
            "The filler at the end is taken for a value. shape says how many there are.",
        ),
        Wrong(
            "one-absmax",
            flawed(factors=lambda absmax, size, n: absmax[0]),
            "All values are multiplied by the first block's absmax; each block has its own.",
        ),
        Wrong(
            "tiled",
            flawed(factors=lambda absmax, size, n: np.tile(absmax, size)[:n]),
            "The absmax values take turns (tile). The first belongs to the first block_size values, and so "
            "on (repeat).",
        ),
        Wrong(
            "next-block",
            flawed(factors=lambda absmax, size, n: np.roll(absmax, -1).repeat(size)[:n]),
            "Each block gets the absmax of the block after it. Value i belongs to block i // block_size.",
        ),
        Wrong(
            "no-absmax",
            flawed(join=lambda values, factors: values),
            "These are the values of the code, between -1 and 1; they are still to be multiplied by absmax.",
        ),
        Wrong(
            "divided",
            flawed(join=lambda values, factors: values / factors),
            "You divide by absmax. Quantizing divided by it, so the way back multiplies.",
        ),
        Wrong(
            "places-as-numbers",
            flawed(values=lambda code, places: places.astype(np.float32)),
            "The places themselves are multiplied by absmax. Look each one up in the code first.",
        ),
        Wrong(
            "equal-steps",
            flawed(values=lambda code, places: (places.astype(np.float32) - 7) / 8),
            "You decode as if the 16 values lay at equal distances. Look each place up in the code that is "
            "given.",
        ),
        Wrong(
            "columns",
            flawed(shaped=lambda values, shape: values.reshape(shape, order="F")),
            "The values are filled in column by column. Reading order is row after row.",
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
            "You count the block size in bytes. It counts values, two to a byte.",
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
            flawed(values=lambda code, places: code[15 - places.astype(int)]),
            "The code is read from its end. Place 0 is the first value of the code.",
        ),
        Wrong(
            "places-from-one",
            flawed(values=lambda code, places: code[places.astype(int) - 1]),
            "Each place is one too small. Places count from 0: code[place].",
        ),
        Wrong(
            "equal-steps-from--1",
            flawed(values=lambda code, places: np.linspace(-1, 1, 16)[places]),
            "You decode with equal steps from -1 to 1, whatever the code. Look each place up in the code "
            "that is given.",
        ),
        Wrong(
            "signed",
            flawed(values=lambda code, places: places.astype(np.float32) - 8),
            "You take a place for a signed number, -8 … 7. It is an index into the code.",
        ),
        Wrong(
            "absmax-added",
            flawed(join=lambda values, factors: values + factors),
            "You add absmax; multiply by it.",
        ),
        Wrong(
            "absmax-squared",
            flawed(join=lambda values, factors: values * factors * factors),
            "absmax is multiplied in twice; once is enough.",
        ),
        Wrong(
            "flat",
            flawed(shaped=lambda values, shape: values),
            "The numbers are right, but in one long row; bring them into the shape that is asked for.",
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
            flawed(values=lambda code, places: code[places] ** 3),
            "absmax is applied to the right blocks, but the places are turned into wrong values: look "
            "each up in the code, "
            "code[place].",
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
