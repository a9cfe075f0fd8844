"""Exercise: the scales themselves in few bits."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Codes, Floats, Parts
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def double_quantize(absmax, code, block_size):
    """Quantizes the scales of blocks to 8 bits.

    Args:
        absmax: The scales, float32 (n,).
        code: float32, sorted, from -1 to 1.
        block_size: Scales per nested block.

    Returns:
        The indices in the code, uint8 (n,); nested (blocks,); and the mean.

    >>> code = np.linspace(-1, 1, 255, dtype=np.float32)  # the middle one, index 127, is 0
    >>> scales = np.array([1.0, 2.0, 3.0, 6.0], np.float32)  # minus the mean: -2, -1, 0, 3
    >>> double_quantize(scales, code, block_size=4)
    (array([ 42,  85, 127, 254], dtype=uint8), array([3.], dtype=float32), np.float32(3.0))
    """
    ### BEGIN SOLUTION
    mean = absmax.mean()
    centered = absmax - mean  # scales are all positive; about their mean they are small, and of both signs
    middles = (code[:-1] + code[1:]) / 2
    indices, nested = [], []
    for start in range(0, len(centered), block_size):
        block = centered[start : start + block_size]
        top = np.abs(block).max()
        indices.append(np.searchsorted(middles, block / top if top > 0 else block))
        nested.append(top)
    return np.concatenate(indices).astype(np.uint8), np.array(nested), mean
    ### END SOLUTION


EQUAL_STEPS = np.linspace(-1, 1, 255, dtype=np.float32)
# Denser around zero, like the code that bitsandbytes uses; values on both sides, and 0 among them.
DENSE = (np.sign(EQUAL_STEPS) * np.abs(EQUAL_STEPS) ** 2)[::2]
DENSE = np.concatenate([DENSE[DENSE < 0], [0], DENSE[DENSE > 0]]).astype(np.float32)


def draw(rng: np.random.Generator) -> list[Case]:
    equal = (
        "Only equal scales go wrong: only zeros remain, and 0 / 0 is NaN. Their indices are that of the "
        "value 0."
    )
    return [
        Case("two blocks and a short one", _clear(rng, 14, EQUAL_STEPS, 6)),
        # small: who divides only by what is above 1 must notice
        Case("one block", _clear(rng, 5, EQUAL_STEPS, 8, size=0.25)),
        Case("a code that is denser around zero", _clear(rng, 11, DENSE, 4)),
        Case(
            "all scales are equal",
            {"absmax": np.full(4, 1.75, np.float32), "code": DENSE, "block_size": 4},
            equal,
        ),
    ]


def _clear(rng, count, code, block_size, size=1.0):
    """Arguments in which no share comes within 2 % of a step of the middle between two values.

    Rounding to float32 moves a share by far less, so every right answer gives the same indices. In one block at least
    the largest magnitude belongs to a negative number: who forgets abs() must notice.
    """
    middles = (code[:-1].astype(np.float64) + code[1:]) / 2
    room = 0.02 * np.diff(code.astype(np.float64))
    while True:
        absmax = (rng.uniform(0.5, 4, count) * size).astype(np.float32)
        centered = absmax.astype(np.float64) - absmax.astype(np.float64).mean()
        blocks = [centered[i : i + block_size] for i in range(0, count, block_size)]
        tops = np.array([np.abs(block).max() for block in blocks])
        one_sided = any(-block.min() > 1.2 * block.max() for block in blocks)
        shares = centered / tops.repeat(block_size)[:count]
        if one_sided and (np.abs(shares[:, None] - middles) > room).all():
            return {"absmax": absmax, "code": code, "block_size": block_size}


def tolerance(absmax, code, block_size):
    """The mean of n numbers, and a difference from it, rounded to float32."""
    return (len(absmax) + 2) * 2.0**-24 * float(np.abs(absmax).max())


def by_distance(absmax, code, block_size):
    mean = float(absmax.astype(np.float64).mean())
    rest = absmax - mean
    nested = [max(abs(rest[i : i + block_size])) for i in range(0, len(rest), block_size)]
    shares = [v / (nested[i // block_size] or 1) for i, v in enumerate(rest)]
    indices = [int(np.argmin(np.abs(code - share))) for share in shares]
    return np.array(indices, np.uint8), nested, mean


def without_a_loop(absmax, code, block_size):
    mean = absmax.mean(dtype=np.float32)
    padded = np.zeros(-(-len(absmax) // block_size) * block_size, np.float32)
    padded[: len(absmax)] = absmax - mean
    blocks = padded.reshape(-1, block_size)
    nested = np.abs(blocks).max(axis=1)
    shares = (blocks / np.maximum(nested, 1e-30)[:, None]).ravel()[: len(absmax)]
    return np.searchsorted((code[1:] + code[:-1]) / 2, shares).astype(np.uint8), nested, mean


def flawed(
    center=np.mean,
    returned=None,
    sign=1,
    top=lambda block: np.abs(block).max(),
    size=lambda n, block_size: block_size,
    middles=lambda code: (code[:-1] + code[1:]) / 2,
    nested_as=lambda nested: nested,
    zero_safe=True,
):
    def quantize(absmax, code, block_size):
        mean = np.float32(center(absmax))
        rest = sign * (absmax - mean)
        step = size(len(rest), block_size)
        indices, nested = [], []
        for start in range(0, len(rest), step):
            block = rest[start : start + step]
            t = top(block)
            shares = block / t if t != 0 or not zero_safe else block
            indices.append(np.searchsorted(middles(code), shares).clip(0, len(code) - 1))
            nested.append(t)
        back = mean if returned is None else returned(mean)
        return np.concatenate(indices).astype(np.uint8), nested_as(np.array(nested)), back

    return quantize


def mean_of_each_block(absmax, code, block_size):
    parts = [
        flawed()(absmax[i : i + block_size], code, block_size) for i in range(0, len(absmax), block_size)
    ]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), parts[-1][2]


def other_code(made):
    """made(code): the code that is searched instead of the one that is passed in."""
    return lambda absmax, code, block_size: double_quantize(absmax, made(code), block_size)


def rearranged(change):
    """change(indices, nested, mean, absmax) -> what is returned."""
    return lambda absmax, code, block_size: change(*double_quantize(absmax, code, block_size), absmax)


def float16_inside(absmax, code, block_size):
    indices, nested, mean = double_quantize(absmax, code, block_size)
    return indices, nested.astype(np.float16).astype(np.float32), np.float32(np.float16(mean))


def undone(absmax, code, block_size):
    """The scales as they come back."""
    indices, nested, mean = double_quantize(absmax, code, block_size)
    return code[indices] * nested.repeat(block_size)[: len(absmax)] + mean, nested, mean


def fits_its_own_mean(arguments, value):
    """nested is what the largest magnitudes are after the mean that was returned is subtracted."""
    _, nested, mean = value
    rest = np.abs(arguments["absmax"].astype(np.float64) - mean)
    size = arguments["block_size"]
    return np.allclose(nested, [rest[i : i + size].max() for i in range(0, len(rest), size)], rtol=1e-5)


def is_zero_trouble(arguments, value):
    """Right where the scales differ; where all are equal, another index than that of 0."""
    indices, nested, _ = value
    right = double_quantize(**arguments)
    if np.ptp(arguments["absmax"]) > 0:
        return np.array_equal(indices, right[0])
    return not np.array_equal(indices, right[0]) or not np.isfinite(nested).all()


EXERCISE = Exercise(
    name="double-quantize",
    title="Quantize the scales",
    minutes=30,
    points=3,
    statement="""
With blocks of 64, one float32 `absmax` per block costs 32/64 = 0.5 bits per weight. QLoRA saves most of
that by quantizing these scales as well. They are all positive, so first the mean over the whole tensor is
subtracted. What remains is centered around zero and is quantized in blocks, with 8 bits.

Write `double_quantize`. Return the indices in `code`, the largest magnitude of each block after the mean
was subtracted (`nested`), and the mean. If a block holds only zeros after that, its indices are that of the
value 0.
""",
    solution=double_quantize,
    example={"absmax": np.array([1.0, 2.0, 3.0, 6.0], np.float32), "code": EQUAL_STEPS, "block_size": 4},
    draw=draw,
    result=Parts((Codes("indices", np.uint8), Floats("nested", tolerance), Floats("mean", tolerance))),
    hints=(
        "After subtracting the mean, this is the blockwise quantization of the earlier exercise, with a "
        "longer code.",
        "One mean for the whole tensor, but one largest magnitude for each block of absmax - mean.",
        "mean = absmax.mean(); then for each block of absmax - mean: top = np.abs(block).max(), and "
        "np.searchsorted with the middles "
        "of the code on block / top.",
    ),
    pitfalls=(
        "`invalid value encountered in divide`: all scales are equal, so only zeros remain and the largest "
        "magnitude is 0.",
        "Only the upper half of the code is used: the mean was not subtracted.",
    ),
    explanation="With nested blocks of 256, the scales now cost 8/64 + 32/(64·256) = 0.127 bits per weight "
    "instead of 0.5. For 7 billion weights that saves a third of a gigabyte. The code that "
    "QLoRA uses has smaller steps near zero.",
    wrong=(
        Wrong(
            "no-mean",
            flawed(center=lambda absmax: 0.0),
            "The mean is not subtracted. All scales are positive, so half of the code would never be used.",
        ),
        Wrong(
            "mean-forgotten",
            flawed(returned=lambda mean: 0.0),
            "The mean was subtracted but is not returned; without it the scales cannot be recovered.",
        ),
        Wrong("minimum", flawed(center=np.min), "You subtract the smallest scale; subtract their mean."),
        Wrong("median", flawed(center=np.median), "You subtract the median; subtract the mean."),
        Wrong(
            "block-means",
            mean_of_each_block,
            "Each block has its own mean in your answer. There is one mean for the whole tensor.",
        ),
        Wrong(
            "turned",
            flawed(sign=-1),
            "You quantize mean - absmax, so every sign is wrong; it is absmax - mean.",
        ),
        Wrong(
            "max-without-abs",
            flawed(top=lambda block: block.max()),
            "You take the largest value. After subtracting the mean, many are negative: take the largest "
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
            "If all scales are equal, only zeros remain, and 0 / 0 is NaN. Their indices are that of the "
            "value 0.",
            recognize=is_zero_trouble,
        ),
        Wrong(
            "equal-steps",
            other_code(lambda code: np.linspace(-1, 1, len(code), dtype=np.float32)),
            "You compute indices for equal steps, whatever the code. Search the code that is passed in.",
        ),
        Wrong(
            "fixed-code",
            other_code(lambda code: EQUAL_STEPS),
            "You always search 255 equal steps. Search the code that is passed in; it may be a different "
            "one.",
        ),
        Wrong(
            "four-bits",
            other_code(lambda code: code[::16]),
            "You use only every sixteenth value of the code; search all of it.",
        ),
        Wrong(
            "ceil",
            flawed(middles=lambda code: code[:-1]),
            "You take the next larger value of the code; take the nearest.",
        ),
        Wrong(
            "mean-first",
            rearranged(lambda indices, nested, mean, absmax: (mean, indices, nested)),
            "The results are right, but in the wrong order: return indices, nested, mean.",
        ),
        Wrong(
            "nested-last",
            rearranged(lambda indices, nested, mean, absmax: (indices, mean, nested)),
            "The nested scales and the mean are swapped: return indices, nested, mean.",
        ),
        Wrong(
            "sum-for-mean",
            rearranged(lambda indices, nested, mean, absmax: (indices, nested, absmax.sum())),
            "You return the sum of the scales; return their mean.",
        ),
        Wrong(
            "nested-with-mean",
            rearranged(lambda indices, nested, mean, absmax: (indices, nested + mean, mean)),
            "You added the mean back to the nested scales. They are the largest magnitudes after "
            "subtracting it.",
        ),
        Wrong(
            "nested-per-scale",
            lambda absmax, code, block_size: (
                (found := double_quantize(absmax, code, block_size))[0],
                found[1].repeat(block_size)[: len(absmax)],
                found[2],
            ),
            "You return one nested scale per scale; return one per block.",
        ),
        Wrong(
            "values",
            lambda absmax, code, block_size: (
                code[(found := double_quantize(absmax, code, block_size))[0]],
                found[1],
                found[2],
            ),
            "You return values of the code; return their indices.",
        ),
        Wrong(
            "undone",
            undone,
            "You return the dequantized scales. Return the indices in the code.",
        ),
        Wrong(
            "wide-indices",
            rearranged(lambda indices, nested, mean, absmax: (indices.astype(np.int64), nested, mean)),
            "The indices are right, but stored in more than 8 bits each, so nothing is saved. Convert them "
            "to uint8.",
        ),
        Wrong(
            "mean-divides",
            lambda absmax, code, block_size: (lambda indices, nested, _: (indices, nested, absmax.mean()))(
                *flawed(center=lambda a: 0.0)(absmax / absmax.mean() - 1, code, block_size)
            ),
            "You divide by the mean; subtract it.",
        ),
        Wrong(
            "rest-lost",
            lambda absmax, code, block_size: (
                lambda indices, nested, mean: (
                    indices[: len(absmax) // block_size * block_size],
                    nested[: len(absmax) // block_size],
                    mean,
                )
            )(*double_quantize(absmax, code, block_size)),
            "The last, shorter block is lost: n scales give n indices.",
        ),
        Wrong(
            "wrong-block",
            flawed(nested_as=lambda nested: np.roll(nested, 1)),
            "The indices are right, but the nested scales are in the wrong order.",
        ),
        Wrong(
            "nested-relative",
            flawed(nested_as=lambda nested: nested / 127),
            "You return the step between two values of the code. Return the largest magnitude itself.",
        ),
        Wrong(
            "wrong-mean",
            flawed(center=lambda absmax: 1.1 * np.mean(absmax)),
            "The nested scales fit your mean, but it is not the mean of all scales: absmax.mean().",
            recognize=fits_its_own_mean,
        ),
    ),
    variants=(
        Variant("by distance, in lists", by_distance),
        Variant("without a loop", without_a_loop),
    ),
)
