"""Exercise: the scales themselves in few bits."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Codes, Floats, Parts
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def double_quantize(absmax, code, block_size):
    """absmax float32 (n,), code float32 sorted in -1 … 1 -> (places uint8 (n,), nested (blocks,), mean).

    >>> code = np.linspace(-1, 1, 255, dtype=np.float32)  # the middle one, place 127, is 0
    >>> double_quantize(np.array([1.0, 2.0, 3.0, 6.0], np.float32), code, block_size=4)  # -2, -1, 0, 3 about the mean
    (array([ 42,  85, 127, 254], dtype=uint8), array([3.], dtype=float32), np.float32(3.0))
    """
    ### BEGIN SOLUTION
    mean = absmax.mean()
    centred = absmax - mean  # scales are all positive; about their mean they are small, and of both signs
    middles = (code[:-1] + code[1:]) / 2
    places, nested = [], []
    for start in range(0, len(centred), block_size):
        block = centred[start : start + block_size]
        top = np.abs(block).max()
        places.append(np.searchsorted(middles, block / top if top > 0 else block))
        nested.append(top)
    return np.concatenate(places).astype(np.uint8), np.array(nested), mean
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    code = np.linspace(-1, 1, 255, dtype=np.float32)
    return [
        Case(
            "two blocks and a short one", {"absmax": _clear(rng, 14, code, 6), "code": code, "block_size": 6}
        ),
        # small: who divides only by what is above 1 must notice
        Case("one block", {"absmax": _clear(rng, 5, code, 8) / 4, "code": code, "block_size": 8}),
        Case("all scales are equal", {"absmax": np.full(4, 1.75, np.float32), "code": code, "block_size": 4}),
    ]


def _clear(rng, count, code, block_size):
    """Scales such that no share comes within 2 % of a step of the middle between two values of the code.

    Rounding to float32 moves a share by less than 0.02 % of a step, so every right answer gives the same places.
    In one block at least the largest magnitude belongs to a negative number: who forgets abs() must notice.
    """
    while True:
        absmax = rng.uniform(0.5, 4, count).astype(np.float32)
        centred = absmax.astype(np.float64) - absmax.astype(np.float64).mean()
        blocks = [centred[i : i + block_size] for i in range(0, count, block_size)]
        tops = np.array([np.abs(block).max() for block in blocks])
        one_sided = any(-block.min() > 1.2 * block.max() for block in blocks)
        steps = centred / tops.repeat(block_size)[:count] * 127
        if one_sided and (np.abs(np.abs(steps - np.round(steps)) - 0.5) > 0.02).all():
            return absmax


def tolerance(absmax, code, block_size):
    """The mean of n numbers, and a difference from it, rounded to float32."""
    return (len(absmax) + 2) * 2.0**-24 * float(np.abs(absmax).max())


def by_distance(absmax, code, block_size):
    mean = float(absmax.astype(np.float64).mean())
    rest = absmax - mean
    nested = [max(abs(rest[i : i + block_size])) for i in range(0, len(rest), block_size)]
    shares = [v / (nested[i // block_size] or 1) for i, v in enumerate(rest)]
    places = [int(np.argmin(np.abs(code - share))) for share in shares]
    return np.array(places, np.uint8), nested, mean


def without_a_loop(absmax, code, block_size):
    mean = absmax.mean(dtype=np.float32)
    padded = np.zeros(-(-len(absmax) // block_size) * block_size, np.float32)
    padded[: len(absmax)] = absmax - mean
    blocks = padded.reshape(-1, block_size)
    nested = np.abs(blocks).max(axis=1)
    shares = (blocks / np.maximum(nested, 1e-30)[:, None]).ravel()[: len(absmax)]
    return np.searchsorted((code[1:] + code[:-1]) / 2, shares).astype(np.uint8), nested, mean


def flawed(
    centre=np.mean,
    returned=None,
    sign=1,
    top=lambda block: np.abs(block).max(),
    size=lambda n, block_size: block_size,
    middles=lambda code: (code[:-1] + code[1:]) / 2,
    nested_as=lambda nested: nested,
    zero_safe=True,
):
    def quantize(absmax, code, block_size):
        mean = np.float32(centre(absmax))
        rest = sign * (absmax - mean)
        step = size(len(rest), block_size)
        places, nested = [], []
        for start in range(0, len(rest), step):
            block = rest[start : start + step]
            t = top(block)
            shares = block / t if t != 0 or not zero_safe else block
            places.append(np.searchsorted(middles(code), shares).clip(0, 254))
            nested.append(t)
        back = mean if returned is None else returned(mean)
        return np.concatenate(places).astype(np.uint8), nested_as(np.array(nested)), back

    return quantize


def mean_of_each_block(absmax, code, block_size):
    parts = [
        flawed()(absmax[i : i + block_size], code, block_size) for i in range(0, len(absmax), block_size)
    ]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), parts[-1][2]


def is_zero_trouble(arguments, value):
    """Right where the scales differ; where all are equal, another place than that of 0."""
    places, nested, _ = value
    right = double_quantize(**arguments)
    if np.ptp(arguments["absmax"]) > 0:
        return np.array_equal(places, right[0])
    return not np.array_equal(places, right[0]) or not np.isfinite(nested).all()


EXERCISE = Exercise(
    name="double-quantize",
    title="Quantize the scales",
    minutes=15,
    points=3,
    statement="""
Blocks of 64 with one float32 `absmax` each cost 32/64 = 0.5 bit for every weight. QLoRA saves most of it by
quantizing the scales as well. They are all positive, so their mean over the whole tensor is taken off
first; what remains lies around zero and is quantized blockwise, in 8 bits.

Write `double_quantize`. It returns the places in `code`, the largest magnitude of each block of what
remained, and the mean. If a block has nothing but zeros left, its places are that of 0.
""",
    solution=double_quantize,
    draw=draw,
    result=Parts((Codes("places", np.uint8), Floats("nested", tolerance), Floats("mean", tolerance))),
    hints=(
        "After the mean is taken off this is the blockwise quantization of the earlier exercise, with a "
        "longer code.",
        "One mean for the whole tensor, but one largest magnitude for each block of absmax - mean.",
        "mean = absmax.mean(); then for each block of absmax - mean: top = np.abs(block).max(), and "
        "np.searchsorted with the middles "
        "of the code on block / top.",
    ),
    pitfalls=(
        "`invalid value encountered in divide`: all scales are equal, so nothing remains and the largest "
        "magnitude is 0.",
        "Only the upper half of the code is used: the mean was not taken off.",
    ),
    explanation="With blocks of 256 the scales now cost 8/64 + 32/(64·256) = 0.127 bit a weight instead of "
    "0.5. On 7 billion weights "
    "that saves a third of a gigabyte. The real code is not of equal steps but denser around zero.",
    wrong=(
        Wrong(
            "no-mean",
            flawed(centre=lambda absmax: 0.0),
            "The mean is not taken off. Scales are all positive, so half of the code would never be used.",
        ),
        Wrong(
            "mean-forgotten",
            flawed(returned=lambda mean: 0.0),
            "The mean was taken off but is not returned; without it no one gets the scales back.",
        ),
        Wrong("minimum", flawed(centre=np.min), "You take off the smallest scale; take off their mean."),
        Wrong("median", flawed(centre=np.median), "You take off the median; take off the mean."),
        Wrong(
            "block-means",
            mean_of_each_block,
            "Each block has a mean of its own in your answer. One mean serves the whole tensor.",
        ),
        Wrong(
            "turned",
            flawed(sign=-1),
            "You quantize mean - absmax, so every sign is turned; it is absmax - mean.",
        ),
        Wrong(
            "max-without-abs",
            flawed(top=lambda block: block.max()),
            "You take the largest value that remained. Half of them are negative now: take the largest "
            "magnitude.",
        ),
        Wrong(
            "one-scale",
            flawed(size=lambda n, block_size: n),
            "There is one nested scale for all; each block of block_size has its own.",
        ),
        Wrong(
            "floor",
            flawed(middles=lambda code: code[1:]),
            "You take the next smaller value of the code; take the nearest.",
        ),
        Wrong(
            "zero-trouble",
            flawed(zero_safe=False),
            "If all scales are equal, nothing remains, and 0 / 0 is NaN. The places are then that of 0.",
            recognize=is_zero_trouble,
        ),
        Wrong(
            "wrong-block",
            flawed(nested_as=lambda nested: np.roll(nested, 1)),
            "The places are right, but the nested scales stand at the wrong blocks.",
        ),
        Wrong(
            "nested-relative",
            flawed(nested_as=lambda nested: nested / 127),
            "You return the step between two values of the code. The largest magnitude itself is asked for.",
        ),
    ),
    variants=(
        Variant("by distance, in lists", by_distance),
        Variant("without a loop", without_a_loop),
    ),
)
