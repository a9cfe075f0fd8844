"""Exercise: from numbers to 4-bit codes, block by block."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Codes, Floats, Parts
from minilora.exercises.drawing import DYADIC, blocks_to_quantize
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong
from minilora.reference.quantization import NF4


def quantize_blockwise(x, code, block_size):
    """x float32 of any shape with n values, code float32 (16,) sorted -> (places uint8 (n,), absmax (blocks,)).

    >>> code = np.linspace(-1, 1, 16, dtype=np.float32)  # -1, -0.867, -0.733 ... 0.867, 1
    >>> quantize_blockwise(np.array([[2.0, -1.0], [0.3, 0.0]], np.float32), code, block_size=3)
    (array([15,  4,  9,  7], dtype=uint8), array([2., 0.], dtype=float32))
    """
    ### BEGIN SOLUTION
    x = x.reshape(-1)
    middles = (code[:-1] + code[1:]) / 2  # (15,): nearer to code[i] below middles[i], to code[i + 1] above
    places, absmax = [], []
    for start in range(0, len(x), block_size):
        block = x[start : start + block_size]
        top = np.abs(block).max()
        shares = block / top if top > 0 else block
        places.append(np.searchsorted(middles, shares))  # a tie goes to the smaller value
        absmax.append(top)
    return np.concatenate(places).astype(np.uint8), np.array(absmax)
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
        "Only a block of zeros goes wrong: its absmax is 0, and its places are that of "
        "0. Divide by something else there."
    )
    tie = "Only ties go wrong: what lies exactly between two values gets the smaller of them."
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
    (Codes("places", np.uint8), Floats("absmax", lambda x, code, block_size: 2.0**-23 * np.abs(x).max()))
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
    places = (shares[:, None] > (code[:-1] + code[1:]) / 2).sum(axis=1)
    return places.astype(np.uint8), absmax


def in_plain_python(x, code, block_size):
    flat = [float(v) for v in x.ravel()]
    values = [float(c) for c in code]
    places, absmax = [], []
    for start in range(0, len(flat), block_size):
        block = flat[start : start + block_size]
        top = max(abs(v) for v in block)
        absmax.append(top)
        for v in block:
            share = v / top if top else 0.0
            places.append(min(range(16), key=lambda i: abs(values[i] - share)))
    return np.array(places, dtype=np.uint8), absmax


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
    places=lambda places: places.astype(np.uint8),
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
        return places(joined), absmax(np.array(tops))

    return quantize


def wrong_blocks_absmax(x, code, block_size):
    places, absmax = quantize_blockwise(x, code, block_size)
    return places, np.roll(absmax, 1)


def previous_block_divides(x, code, block_size):
    x = x.reshape(-1)
    _, absmax = quantize_blockwise(x, code, block_size)
    used = np.where(np.roll(absmax, 1) > 0, np.roll(absmax, 1), 1).repeat(block_size)[: len(x)]
    return np.searchsorted((code[:-1] + code[1:]) / 2, x / used).astype(np.uint8), absmax


def equal_steps(x, code, block_size):
    return quantize_blockwise(x, np.linspace(-1, 1, 16, dtype=np.float32), block_size)


def flawed_repeat(x, code, block_size):
    places, absmax = quantize_blockwise(x, code, block_size)
    return places, absmax.repeat(block_size)[: x.size]


def packed_already(x, code, block_size):
    places, absmax = quantize_blockwise(x, code, block_size)
    padded = np.append(places, np.zeros(len(places) % 2, np.uint8))
    return padded[::2] << 4 | padded[1::2], absmax


def three_bits(x, code, block_size):
    places, absmax = quantize_blockwise(x, code[::2], block_size)
    return places, absmax


def values_not_places(x, code, block_size):
    places, absmax = quantize_blockwise(x, code, block_size)
    return code[places], absmax


def unscaled(x, code, block_size):
    _, absmax = quantize_blockwise(x, code, block_size)
    return np.searchsorted((code[:-1] + code[1:]) / 2, x.reshape(-1)).astype(np.uint8), absmax


def fits_its_own_absmax(arguments, value):
    """Each place is the nearest one for x divided by the absmax that was returned."""
    x, code, size = arguments["x"].reshape(-1), arguments["code"].astype(np.float64), arguments["block_size"]
    places, absmax = value
    factors = np.asarray(absmax, float).repeat(size)[: len(x)]
    shares = x / np.where(factors == 0, 1, factors)
    return np.mean(places == np.abs(shares[:, None] - code).argmin(axis=1)) > 0.9


def zero_block_is_wrong(arguments, value):
    """A block of zeros came back as something other than the place of zero with absmax 0."""
    x, code, size = arguments["x"].reshape(-1), arguments["code"], arguments["block_size"]
    places, absmax = value
    if len(places) != len(x):
        return False
    good_places, good_absmax = quantize_blockwise(arguments["x"], code, size)
    zero = np.abs(x) == 0
    rest = np.array_equal(places[~zero], good_places[~zero])
    tops = np.asarray(absmax, float)[good_absmax != 0]
    if not rest or not np.allclose(tops, good_absmax[good_absmax != 0], rtol=1e-6):
        return False
    return not zero.any() or not np.array_equal(places, good_places) or bool(np.isnan(absmax).any())


EXERCISE = Exercise(
    name="quantize-blockwise",
    title="Blockwise 4-bit codes",
    minutes=20,
    points=4,
    statement="""
Four bits can name 16 values. A `code` is a sorted table of 16 values between -1 and 1; a number is stored
as the *place* (0 … 15) of the nearest one. To fit a number between -1 and 1 it is divided by the largest
magnitude around it, and "around" means its block: `block_size` neighbors in reading order, row after row,
whatever the shape. Each block keeps its own largest magnitude, `absmax`.

Write `quantize_blockwise`. The last block may be short. A block of zeros has absmax 0 and the place of 0.
What lies exactly between two values gets the smaller of them.
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
        "Make x one long row first. Then a loop over range(0, n, block_size) gives every block, also the "
        "short last one.",
        "For one block: divide by the largest np.abs value (watch for 0), then find the nearest value of "
        "the code for each.",
        "np.searchsorted((code[:-1] + code[1:]) / 2, shares) gives the places; an argmin over the "
        "distances to all 16 values "
        "does too. Join the blocks and convert to np.uint8.",
    ),
    pitfalls=(
        "`invalid value encountered in divide`: a block of zeros was divided by its absmax, 0.",
        "`places has the type int64`: convert with `.astype(np.uint8)`; it is the storage that matters here.",
    ),
    explanation="With a block of 64 and a float32 absmax this costs 4 + 32/64 = 4.5 bits a weight. An "
    "outlier now spoils "
    "its own block only. These are the codes that QLoRA and bitsandbytes use, with the table called NF4.",
    wrong=(
        Wrong(
            "one-scale",
            flawed(size=lambda x, block_size: x.size),
            "There is one absmax for the whole tensor. Each block needs its own; else one outlier coarsens "
            "everything.",
        ),
        Wrong(
            "over-columns",
            flawed(flat=lambda x: x.reshape(-1, order="F")),
            "Your blocks run down the columns. Blocks follow the memory: row after row.",
        ),
        Wrong(
            "block-is-row",
            flawed(size=lambda x, block_size: x.shape[-1]),
            "You take each row as one block. A block is block_size values long, and may reach from one row "
            "into the next.",
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
            "A number exactly between two values goes up in your answer; it is to get the smaller one "
            "(side='left').",
        ),
        Wrong(
            "rest-lost",
            flawed(whole_blocks=True),
            "The last, shorter block is lost: n values must give n places.",
        ),
        Wrong(
            "max-without-abs",
            flawed(top=lambda block: block.max()),
            "You take the largest value, not the largest magnitude: in a block of negative numbers that is "
            "the smallest one. "
            "Use np.abs first.",
        ),
        Wrong(
            "max-minus-min",
            flawed(top=lambda block: block.max() - block.min()),
            "You divide by the distance from the smallest to the largest value; absmax is the largest "
            "magnitude.",
        ),
        Wrong(
            "mean-magnitude",
            flawed(top=lambda block: np.abs(block).mean()),
            "You divide by the mean magnitude; then the larger half lies outside -1 … 1 and is cut off. "
            "Divide by the largest.",
        ),
        Wrong(
            "zero-block",
            flawed(divide=lambda block, top: block / top),
            "A block of zeros is divided by its absmax, 0, and becomes NaN. Its places are that of 0, and "
            "its absmax is 0.",
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
            "The places are right, but absmax stands at the wrong block: absmax[i] belongs to block i.",
        ),
        Wrong(
            "neighbor-divides",
            previous_block_divides,
            "Each block is divided by the absmax of the block before it; use its own.",
        ),
        Wrong(
            "unscaled",
            unscaled,
            "The numbers are looked up as they are. Divide each block by its absmax first, so that it fits "
            "between -1 and 1.",
        ),
        Wrong(
            "values",
            values_not_places,
            "You return the values of the code. What is stored is their place in it, 0 … 15: that takes "
            "only four bits.",
        ),
        Wrong(
            "one-based",
            flawed(places=lambda places: (places + 1).astype(np.uint8)),
            "Your places count from 1; they count from 0, or the last one would not fit in four bits.",
        ),
        Wrong(
            "signed",
            flawed(places=lambda places: (places.astype(int) - 8).astype(np.int8)),
            "Your places run from -8 to 7, as equal steps would. Here a place is an index into the table, "
            "0 … 15.",
        ),
        Wrong(
            "wide-places",
            flawed(places=lambda places: places.astype(np.int64)),
            "The places are right, but stored as int64: sixteen times the room that four bits need. "
            "Convert them to uint8.",
        ),
        Wrong(
            "equal-steps",
            equal_steps,
            "You compute places for equal steps from -1 to 1, whatever the code. Search the code that is "
            "given.",
        ),
        Wrong(
            "always-nf4",
            lambda x, code, block_size: quantize_blockwise(x, NF4, block_size),
            "You always search the table NF4. Search the code that is given.",
        ),
        Wrong(
            "number-of-blocks",
            flawed(size=lambda x, block_size: -(-x.size // block_size)),
            "You make block_size blocks. block_size is the length of one block.",
        ),
        Wrong(
            "other-order",
            lambda x, code, block_size: quantize_blockwise(x, code, block_size)[::-1],
            "You return absmax first; the places come first, then absmax.",
        ),
        Wrong(
            "shaped-places",
            lambda x, code, block_size: (
                (found := quantize_blockwise(x, code, block_size))[0].reshape(x.shape),
                found[1],
            ),
            "The places have the shape of x; return them in one long row, of shape (n,).",
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
            "places-reversed",
            flawed(places=lambda places: (15 - places).astype(np.uint8)),
            "Your places count from the end of the code. Place 0 is its first value.",
        ),
        Wrong(
            "sorted-magnitudes",
            flawed(flat=lambda x: np.abs(x).reshape(-1)),
            "The signs are lost: np.abs is for finding absmax only. Look up the numbers with their signs.",
        ),
        Wrong(
            "packed-already",
            packed_already,
            "You pack two places into one byte already. That is the next exercise; here each place gets "
            "a byte.",
        ),
        Wrong(
            "inverse-absmax",
            flawed(absmax=lambda absmax: 1 / np.where(absmax > 0, absmax, 1)),
            "You return 1 / absmax. What is kept is absmax itself, by which the code's values are "
            "multiplied later.",
        ),
        Wrong(
            "wrong-absmax",
            flawed(top=lambda block: 1.3 * np.abs(block).max()),
            "Your places fit your absmax, but absmax is wrong: it is the largest magnitude of its block.",
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
