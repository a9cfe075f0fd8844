"""Exercise: from numbers to 4-bit codes, block by block."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Codes, Floats, Parts
from minilora.exercises.drawing import DYADIC, blocks_to_quantize
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong
from minilora.reference.quantization import NF4


def quantize_blockwise(x, code, block_size):
    """Quantizes numbers to 4-bit codes, block by block.

    Args:
        x: float32, any shape, n values.
        code: float32 (16,), sorted.
        block_size: Values per block.

    Returns:
        The indices in the code, uint8 (n,), and absmax (blocks,).

    >>> code = np.linspace(-1, 1, 16, dtype=np.float32)  # -1, -0.867, -0.733 ... 0.867, 1
    >>> quantize_blockwise(np.array([[2.0, -1.0], [0.3, 0.0]], np.float32), code, block_size=3)
    (array([15,  4,  9,  7], dtype=uint8), array([2., 0.], dtype=float32))
    """
    ### BEGIN SOLUTION
    x = x.reshape(-1)
    middles = (code[:-1] + code[1:]) / 2  # (15,): nearer to code[i] below middles[i], to code[i + 1] above
    indices, absmax = [], []
    for start in range(0, len(x), block_size):
        block = x[start : start + block_size]
        top = np.abs(block).max()
        shares = block / top if top > 0 else block
        indices.append(np.searchsorted(middles, shares))  # a tie goes to the smaller value
        absmax.append(top)
    return np.concatenate(indices).astype(np.uint8), np.array(absmax)
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    short_rows = blocks_to_quantize(rng, 21, 4, NF4).reshape(
        3, 7
    )  # blocks run across rows; the last has one value
    with_zeros = blocks_to_quantize(rng, 20, 5, NF4)
    with_zeros[5:10] = 0
    # A block whose absmax is a power of two, and whose other values lie halfway between two codes, exactly.
    middles = (DYADIC[:-1] + DYADIC[1:]) / 2
    ties = np.concatenate([[-1], rng.permutation(middles)[:7]]).astype(np.float32) * 2
    zeros = (
        "Only a block of zeros goes wrong: its absmax is 0, so you divide by zero. Its indices are that of "
        "the value 0."
    )
    tie = "Only ties go wrong: a number exactly between two values gets the smaller one."
    short = "Only an x shorter than a block goes wrong: it is one short block."
    return [
        Case("rows of 7, blocks of 4", {"x": short_rows, "code": NF4, "block_size": 4}),
        Case("exactly between two codes", {"x": ties, "code": DYADIC, "block_size": 8}, tie),
        Case("one block is all zeros", {"x": with_zeros, "code": NF4, "block_size": 5}, zeros),
        Case(
            "less than one block, three dimensions",
            {"x": blocks_to_quantize(rng, 3, 3, DYADIC).reshape(1, 3, 1), "code": DYADIC, "block_size": 8},
            short,
        ),
    ]


RESULT = Parts(
    (Codes("indices", np.uint8), Floats("absmax", lambda x, code, block_size: 2.0**-23 * np.abs(x).max()))
)


# -- right answers in other words --------------------------------------------------------------------------------------


def by_distance(x, code, block_size):
    x = x.flatten()
    absmax = np.array([np.abs(x[i : i + block_size]).max() for i in range(0, x.size, block_size)])
    shares = x / np.maximum(absmax, 1e-38).repeat(block_size)[: x.size]
    return np.abs(shares[:, None] - code).argmin(axis=1).astype(np.uint8), absmax


def padded(x, code, block_size):
    n = x.size
    blocks = np.zeros(-(-n // block_size) * block_size, np.float32)
    blocks[:n] = x.ravel()
    blocks = blocks.reshape(-1, block_size)
    absmax = np.abs(blocks).max(axis=1)
    safe = np.where(absmax == 0, 1, absmax)
    shares = (blocks * (1 / safe)[:, None]).ravel()[:n]
    indices = (shares[:, None] > (code[:-1] + code[1:]) / 2).sum(axis=1)
    return indices.astype(np.uint8), absmax


def in_plain_python(x, code, block_size):
    flat = [float(v) for v in x.ravel()]
    values = [float(c) for c in code]
    indices, absmax = [], []
    for start in range(0, len(flat), block_size):
        block = flat[start : start + block_size]
        top = max(abs(v) for v in block)
        absmax.append(top)
        for v in block:
            share = v / top if top else 0.0
            indices.append(min(range(16), key=lambda i: abs(values[i] - share)))
    return np.array(indices, dtype=np.uint8), absmax


def in_torch(x, code, block_size):
    import torch

    flat, table = torch.from_numpy(x).flatten(), torch.from_numpy(code.copy())
    absmax = torch.stack([block.abs().max() for block in flat.split(block_size)])
    shares = flat / absmax.clamp_min(1e-38).repeat_interleave(block_size)[: flat.numel()]
    return torch.bucketize(shares, (table[:-1] + table[1:]) / 2).to(torch.uint8), absmax


# -- wrong answers -----------------------------------------------------------------------------------------------------


def flawed(
    flat=lambda x: x.reshape(-1),
    size=lambda x, block_size: block_size,
    top=lambda block: np.abs(block).max(),
    middles=lambda code: (code[:-1] + code[1:]) / 2,
    side="left",
    divide=lambda block, top: block / top if top > 0 else block,
    indices=lambda indices: indices.astype(np.uint8),
    absmax=lambda absmax: absmax,
    whole_blocks=False,
):
    """The solution with one of its steps replaced."""

    def quantize(x, code, block_size):
        given, x = x, flat(x)
        step = size(given, block_size)
        starts = range(0, len(x) // step * step if whole_blocks else len(x), step)
        blocks = [x[start : start + step] for start in starts]
        tops = [top(block) for block in blocks]
        found = [
            np.searchsorted(middles(code), divide(block, t), side=side)
            for block, t in zip(blocks, tops, strict=True)
        ]
        joined = np.concatenate(found) if found else np.zeros(0, int)
        return indices(joined), absmax(np.array(tops))

    return quantize


def wrong_blocks_absmax(x, code, block_size):
    indices, absmax = quantize_blockwise(x, code, block_size)
    return indices, np.roll(absmax, 1)


def previous_block_divides(x, code, block_size):
    x = x.reshape(-1)
    _, absmax = quantize_blockwise(x, code, block_size)
    used = np.where(np.roll(absmax, 1) > 0, np.roll(absmax, 1), 1).repeat(block_size)[: len(x)]
    return np.searchsorted((code[:-1] + code[1:]) / 2, x / used).astype(np.uint8), absmax


def equal_steps(x, code, block_size):
    return quantize_blockwise(x, np.linspace(-1, 1, 16, dtype=np.float32), block_size)


def flawed_repeat(x, code, block_size):
    indices, absmax = quantize_blockwise(x, code, block_size)
    return indices, absmax.repeat(block_size)[: x.size]


def packed_already(x, code, block_size):
    indices, absmax = quantize_blockwise(x, code, block_size)
    padded = np.append(indices, np.zeros(len(indices) % 2, np.uint8))
    return padded[::2] << 4 | padded[1::2], absmax


def three_bits(x, code, block_size):
    indices, absmax = quantize_blockwise(x, code[::2], block_size)
    return indices, absmax


def values_not_places(x, code, block_size):
    indices, absmax = quantize_blockwise(x, code, block_size)
    return code[indices], absmax


def unscaled(x, code, block_size):
    _, absmax = quantize_blockwise(x, code, block_size)
    return np.searchsorted((code[:-1] + code[1:]) / 2, x.reshape(-1)).astype(np.uint8), absmax


def fits_its_own_absmax(arguments, value):
    """Each index is the nearest one for x divided by the absmax that was returned."""
    x, code, size = arguments["x"].reshape(-1), arguments["code"].astype(np.float64), arguments["block_size"]
    indices, absmax = value
    factors = np.asarray(absmax, float).repeat(size)[: len(x)]
    shares = x / np.where(factors == 0, 1, factors)
    return np.mean(indices == np.abs(shares[:, None] - code).argmin(axis=1)) > 0.9


def zero_block_is_wrong(arguments, value):
    """A block of zeros came back as something other than the index of zero with absmax 0."""
    x, code, size = arguments["x"].reshape(-1), arguments["code"], arguments["block_size"]
    indices, absmax = value
    if len(indices) != len(x):
        return False
    good_places, good_absmax = quantize_blockwise(arguments["x"], code, size)
    zero = np.abs(x) == 0
    rest = np.array_equal(indices[~zero], good_places[~zero])
    tops = np.asarray(absmax, float)[good_absmax != 0]
    if not rest or not np.allclose(tops, good_absmax[good_absmax != 0], rtol=1e-6):
        return False
    return not zero.any() or not np.array_equal(indices, good_places) or bool(np.isnan(absmax).any())


EXERCISE = Exercise(
    name="quantize-blockwise",
    title="Blockwise 4-bit codes",
    minutes=40,
    points=4,
    statement="""
Four bits can tell 16 values apart. A `code` is a sorted table of 16 values between -1 and 1, and a number
is stored as the *index* (0 … 15) of the nearest value. To bring numbers into the range from -1 to 1, they
are divided by the largest magnitude in their block. A block is `block_size` consecutive numbers, row by
row, whatever the shape of `x`. Each block stores its largest magnitude, `absmax`.

Write `quantize_blockwise`. The last block may be shorter. A block of zeros has absmax 0, and its indices
are that of the value 0. A number exactly between two values gets the smaller one.
""",
    solution=quantize_blockwise,
    example={
        "x": np.array([[2.0, -1.0], [0.3, 0.0]], np.float32),
        "code": np.linspace(-1, 1, 16, dtype=np.float32),
        "block_size": 3,
    },
    draw=draw,
    result=RESULT,
    hints=(
        "Flatten x first. A loop over range(0, n, block_size) then gives every block, including a shorter "
        "last one.",
        "For one block: divide by the largest np.abs value (watch for 0), then find the nearest value of "
        "the code for each.",
        "np.searchsorted((code[:-1] + code[1:]) / 2, shares) gives the indices; an argmin over the "
        "distances to all 16 values "
        "does too. Join the blocks and convert to np.uint8.",
    ),
    pitfalls=(
        "`invalid value encountered in divide`: a block of zeros was divided by its absmax, 0.",
        "`indices has the type int64`: convert with `.astype(np.uint8)`: the point is to save storage.",
    ),
    explanation="With a block of 64 and a float32 absmax this costs 4 + 32/64 = 4.5 bits a weight. An "
    "outlier now affects only its own block. QLoRA and bitsandbytes do the same, with a code "
    "called NF4.",
    wrong=(
        Wrong(
            "one-scale",
            flawed(size=lambda x, block_size: x.size),
            "There is one absmax for the whole tensor. Each block needs its own, or one outlier affects "
            "everything.",
        ),
        Wrong(
            "over-columns",
            flawed(flat=lambda x: x.reshape(-1, order="F")),
            "Your blocks run down the columns. Blocks run along the rows.",
        ),
        Wrong(
            "block-is-row",
            flawed(size=lambda x, block_size: x.shape[-1]),
            "You use each row as one block. A block has block_size values and may continue in the next row.",
        ),
        Wrong(
            "floor",
            flawed(middles=lambda code: code[1:], side="right"),
            "You take the next smaller value of the code. Take the nearest: the bounds are the middles "
            "between two values.",
        ),
        Wrong(
            "ceil",
            flawed(middles=lambda code: code[:-1]),
            "You take the next larger value of the code. Take the nearest: the bounds are the middles "
            "between two values.",
        ),
        Wrong(
            "ties-up",
            flawed(side="right"),
            "A number exactly between two values gets the larger one; it should get the smaller one "
            "(side='left').",
        ),
        Wrong(
            "rest-lost",
            flawed(whole_blocks=True),
            "The last, shorter block is lost: n values must give n indices.",
        ),
        Wrong(
            "max-without-abs",
            flawed(top=lambda block: block.max()),
            "You take the largest value, not the largest magnitude. They differ where negative numbers are "
            "larger in magnitude. Use np.abs first.",
        ),
        Wrong(
            "max-minus-min",
            flawed(top=lambda block: block.max() - block.min()),
            "You divide by the range, largest minus smallest; absmax is the largest magnitude.",
        ),
        Wrong(
            "mean-magnitude",
            flawed(top=lambda block: np.abs(block).mean()),
            "You divide by the mean magnitude, so larger numbers fall outside -1 … 1. Divide by the largest.",
        ),
        Wrong(
            "zero-block",
            flawed(divide=lambda block, top: block / top),
            "A block of zeros is divided by its absmax, 0, and becomes NaN. Its indices are that of the "
            "value 0, and its absmax is 0.",
            recognize=zero_block_is_wrong,
        ),
        Wrong(
            "three-bits",
            three_bits,
            "Only 8 of the 16 values are used: that is 3 bits. Search the whole code.",
        ),
        Wrong(
            "wrong-blocks-absmax",
            wrong_blocks_absmax,
            "The indices are right, but absmax is in the wrong order: absmax[i] belongs to block i.",
        ),
        Wrong(
            "neighbor-divides",
            previous_block_divides,
            "Each block is divided by the absmax of the block before it; use its own.",
        ),
        Wrong(
            "unscaled",
            unscaled,
            "The numbers are looked up without dividing them. Divide each block by its absmax first.",
        ),
        Wrong(
            "values",
            values_not_places,
            "You return the values of the code. Return their indices, 0 … 15: these take only four bits.",
        ),
        Wrong(
            "one-based",
            flawed(indices=lambda indices: (indices + 1).astype(np.uint8)),
            "Your indices start at 1. They start at 0: the index 16 would not fit in four bits.",
        ),
        Wrong(
            "signed",
            flawed(indices=lambda indices: (indices.astype(int) - 8).astype(np.int8)),
            "Your indices run from -8 to 7. They are positions in the table, 0 … 15.",
        ),
        Wrong(
            "wide-indices",
            flawed(indices=lambda indices: indices.astype(np.int64)),
            "The indices are right, but stored as int64, 64 bits each. Convert them to uint8.",
        ),
        Wrong(
            "equal-steps",
            equal_steps,
            "You compute indices for equal steps from -1 to 1, whatever the code. Search the code that is "
            "passed in.",
        ),
        Wrong(
            "always-nf4",
            lambda x, code, block_size: quantize_blockwise(x, NF4, block_size),
            "You always search the table NF4. Search the code that is passed in.",
        ),
        Wrong(
            "number-of-blocks",
            flawed(size=lambda x, block_size: -(-x.size // block_size)),
            "You make block_size blocks. block_size is the length of one block.",
        ),
        Wrong(
            "other-order",
            lambda x, code, block_size: quantize_blockwise(x, code, block_size)[::-1],
            "You return absmax first; the indices come first, then absmax.",
        ),
        Wrong(
            "shaped-indices",
            lambda x, code, block_size: (
                (found := quantize_blockwise(x, code, block_size))[0].reshape(x.shape),
                found[1],
            ),
            "The indices have the shape of x; return them flattened, with shape (n,).",
        ),
        Wrong(
            "negative-absmax",
            flawed(absmax=lambda absmax: -absmax),
            "absmax has a minus; it is a magnitude.",
        ),
        Wrong(
            "signed-absmax",
            flawed(
                top=lambda block: block[np.abs(block).argmax()],
                divide=lambda block, t: block / abs(t) if t else block,
            ),
            "absmax keeps the sign of the largest value. It is a magnitude: take np.abs.",
        ),
        Wrong(
            "signed-divisor",
            flawed(
                top=lambda block: block[np.abs(block).argmax()],
                divide=lambda block, t: block / t if t else block,
            ),
            "You divide by the largest value with its sign, so that a block with a negative one is "
            "mirrored. Use np.abs.",
        ),
        Wrong(
            "root-mean-square",
            flawed(top=lambda block: np.sqrt(np.mean(block**2))),
            "You divide by the root mean square; divide by the largest magnitude.",
        ),
        Wrong(
            "absmax-per-value",
            flawed_repeat,
            "You return one absmax for each value; one for each block is enough.",
        ),
        Wrong(
            "indices-reversed",
            flawed(indices=lambda indices: (15 - indices).astype(np.uint8)),
            "Your indices count from the end of the code. Index 0 is its first value.",
        ),
        Wrong(
            "sorted-magnitudes",
            flawed(flat=lambda x: np.abs(x).reshape(-1)),
            "The signs are lost: np.abs is for finding absmax only. Look up the numbers with their signs.",
        ),
        Wrong(
            "packed-already",
            packed_already,
            "You pack two indices into one byte. That is the next exercise; here each index takes a byte.",
        ),
        Wrong(
            "inverse-absmax",
            flawed(absmax=lambda absmax: 1 / np.where(absmax > 0, absmax, 1)),
            "You return 1 / absmax. Return absmax itself; the code's values are multiplied by it later.",
        ),
        Wrong(
            "wrong-absmax",
            flawed(top=lambda block: 1.3 * np.abs(block).max()),
            "Your indices fit your absmax, but your absmax is wrong: it is the largest magnitude in the "
            "block.",
            recognize=fits_its_own_absmax,
        ),
    ),
    variants=(
        Variant("by distance", by_distance),
        Variant("padded, without a loop", padded),
        Variant("plain Python", in_plain_python),
        Variant("torch", in_torch),
    ),
)
