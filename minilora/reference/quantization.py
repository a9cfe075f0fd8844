"""Rounding numbers to few bits, from one scale for a whole tensor up to QLoRA's NF4 with double quantization.

Read from top to bottom: each step mends what the one before it does badly.

1. absmax: one scale, equal steps. One outlier makes every step huge.
2. blocks: one scale for every 64 numbers. An outlier spoils its own block only.
3. a code: unequal steps, dense where numbers are frequent. NF4 takes them from the normal distribution.
4. packing: two 4-bit numbers in one byte, or nothing is saved.
5. double quantization: the scales themselves in 8 bits.

Not here: speed (a Python loop runs over the blocks), other number types than float32, methods that look at data.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

FP4 = np.array([0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3], np.float32) / np.float32(
    12
)
INT4 = np.arange(-8, 8, dtype=np.float32) / np.float32(7)  # the first, -8/7, is never the nearest
NF4 = np.array(
    [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ],
    np.float32,
)  # fmt: skip
CODES = {"nf4": NF4, "fp4": FP4, "int4": INT4}
TINY = np.float32(1e-38)  # keeps a block of zeros from dividing by zero
NESTED_BLOCK_SIZE = 256


# -- 1. one scale for everything ---------------------------------------------------------------------------------------


def quantize_absmax(x: np.ndarray, bits: int = 8) -> tuple[np.ndarray, np.float32]:
    """x of any shape -> whole numbers of that shape, and the step between two of them.

    With 8 bits the numbers run from -127 to 127, with 4 from -7 to 7; the largest magnitude gets the last one.

    >>> q, step = quantize_absmax(np.float32([0.1, -0.5, 1.27]))
    >>> q
    array([ 10, -50, 127], dtype=int8)
    >>> quantize_absmax(np.float32([0.1, -0.5, 127.0]))[0]  # an outlier: the others are lost
    array([ 0,  0, 127], dtype=int8)

    Leaves out: a zero point, for numbers that do not lie around zero.
    """
    largest = 2 ** (bits - 1) - 1
    step = np.float32(max(np.abs(x).max(), TINY) / largest)
    return np.round(x / step).astype(np.int8), step


def dequantize_absmax(q: np.ndarray, step: np.float32) -> np.ndarray:
    """Whole numbers back to multiples of the step; each is at most half a step off.

    >>> dequantize_absmax(np.int8([10, -50, 127]), 0.01).round(2)
    array([ 0.1 , -0.5 ,  1.27])
    """
    return q * step


# -- 2. blocks, 3. codes -----------------------------------------------------------------------------------------------


def nearest(normalized: np.ndarray, code: np.ndarray) -> np.ndarray:
    """normalized (n,) in [-1, 1] -> index (n,) of the nearest value in `code` (16,); a tie goes to the smaller value.

    >>> nearest(np.float32([-1, 0, 0.1, 0.9]), NF4)
    array([ 0,  7,  8, 15], dtype=uint8)
    """
    order = np.argsort(code, kind="stable").astype(np.uint8)  # FP4 is not listed by size
    values = code[order]
    middles = (values[:-1] + values[1:]) / 2  # (15,)
    return order[np.searchsorted(middles, normalized)]


def quantize_blockwise(x: np.ndarray, code: np.ndarray, block_size: int) -> tuple[np.ndarray, np.ndarray]:
    """x of any shape, n values -> their indices in the code, uint8 (n,), and absmax, float32 (blocks,).

    Blocks run over the values row by row; the last one may be short.

    >>> indices, absmax = quantize_blockwise(np.float32([2, -1, 0.1, 4, 4, 4]), NF4, block_size=3)
    >>> indices, absmax
    (array([15,  2,  8, 15, 15, 15], dtype=uint8), array([2., 4.], dtype=float32))

    Leaves out values that are NaN or infinite, which spoil their block.
    """
    x = x.astype(np.float32).reshape(-1)
    indices, absmax = [], []
    for start in range(0, len(x), block_size):
        block = x[start : start + block_size]
        largest = np.abs(block).max()
        if len(block) == block_size:
            normalized = block * (1 / np.maximum(largest, TINY))
        else:  # subtle: a short block is divided instead; bitsandbytes does so, and the last bit can differ
            largest = np.maximum(largest, TINY)
            normalized = block / largest
        indices.append(nearest(normalized, code))
        absmax.append(largest)
    return np.concatenate(indices), np.array(absmax)


def dequantize_blockwise(
    indices: np.ndarray, absmax: np.ndarray, code: np.ndarray, block_size: int
) -> np.ndarray:
    """indices (n,), absmax (blocks,) -> values float32 (n,): each one's code value times its block's absmax.

    >>> dequantize_blockwise(np.uint8([15, 2, 8]), np.float32([2]), NF4, block_size=3)
    array([ 2.       , -1.0501461,  0.1591606], dtype=float32)

    Leaves out rounding to the type that the values once had, float16 or bfloat16.
    """
    return code[indices] * absmax.repeat(block_size)[: len(indices)]


def round_affine(x: np.ndarray, block_size: int) -> np.ndarray:
    """x (n,) -> float32 (n,), each value rounded to one of 16 equal steps from its block's minimum to its maximum.

    This scheme stores two constants per block, the minimum and the step, where the codes above store one: in blocks
    of 64 it takes 4 + 64 / 64 = 5 bits per value, in blocks of 128 the 4.5 that NF4 takes in blocks of 64.

    >>> round_affine(np.float32([0, 0.9, 2.2, 15]), block_size=4)
    array([ 0.,  1.,  2., 15.], dtype=float32)
    """
    rounded = []
    for start in range(0, len(x), block_size):
        block = x[start : start + block_size]
        minimum = block.min()
        step = np.maximum((block.max() - minimum) / np.float32(15), TINY)
        rounded.append(np.round((block - minimum) / step) * step + minimum)
    return np.concatenate(rounded)


def derive_nf4() -> np.ndarray:
    """NF4 (16,) from its idea: cut the normal distribution into pieces of equal probability, one code for each.

    Both halves get their own ladder of equal steps in probability, 8 above zero and 7 below, so that zero itself is
    a value. The ladders end at the mean of 1 - 1/32 and 1 - 1/30, because the last step, to certainty, would reach
    infinity. Dividing by the largest value makes them shares (QLoRA, arXiv 2305.14314, section 3).

    >>> derive_nf4().round(3)[[0, 1, 7, 8, 15]]
    array([-1.   , -0.696,  0.   ,  0.08 ,  1.   ])
    """
    end = 1 - (1 / 32 + 1 / 30) / 2
    quantile = NormalDist().inv_cdf
    above = [quantile(p) for p in np.linspace(0.5, end, 9)[1:]]
    below = [-quantile(p) for p in np.linspace(0.5, end, 8)[1:]]
    values = np.sort([*below, 0.0, *above])
    return values / values.max()


# -- 4. two in a byte --------------------------------------------------------------------------------------------------


def pack(indices: np.ndarray, code: np.ndarray) -> np.ndarray:
    """indices (n,), each below 16 -> bytes (ceil(n / 2),): the first of two in the high bits, the second in the low.

    An odd one out is joined by the index of zero.

    >>> [f"{byte:08b}" for byte in pack(np.uint8([15, 2, 8]), NF4)]
    ['11110010', '10000111']
    """
    if len(indices) % 2:
        indices = np.append(indices, nearest(np.zeros(1, np.float32), code))
    return indices[0::2] << 4 | indices[1::2]


def unpack(packed: np.ndarray, n: int) -> np.ndarray:
    """bytes (ceil(n / 2),) -> indices (n,).

    >>> unpack(np.uint8([0b11110010, 0b10000111]), 3)
    array([15,  2,  8], dtype=uint8)
    """
    return np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)[:n]


# -- 5. double quantization --------------------------------------------------------------------------------------------


def dynamic_map() -> np.ndarray:
    """The 256 values, float32 and sorted, of the 8-bit code for scales: dense near zero, coarse near one.

    Each power of ten from -6 to 0 holds twice as many as the one below it: 1, 2, 4 … 64, of either sign, each in the
    middle of its equal part of 0.1 … 1 times that power; then 0 and 1. (arXiv 2110.02861)

    >>> values = dynamic_map()
    >>> len(values), float(values[127]), int((np.abs(values) > 0.1).sum())
    (256, 0.0, 129)
    """
    values = [0.0, 1.0]
    for power in range(-6, 1):
        edges = np.linspace(0.1, 1, 2 ** (power + 6) + 1)
        middles = (edges[:-1] + edges[1:]) / 2 * 10.0**power
        values += [*middles, *-middles]
    return np.sort(np.array(values, np.float32))


def double_quantize(absmax: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.float32]:
    """absmax (blocks,) -> its 8-bit indices (blocks,), their own absmax (ceil(blocks / 256),), and the mean.

    The scales are all positive, so their mean is taken off first: what is left lies around zero.

    >>> indices, nested, mean = double_quantize(np.float32([1, 2, 3, 6]))
    >>> indices, nested, float(mean)  # -2, -1, 0 and 3 thirds of the largest deviation, 3
    (array([ 23,  47, 127, 255], dtype=uint8), array([3.], dtype=float32), 3.0)

    Leaves out the table that bitsandbytes searches with: there about one index in 600 is the second nearest.
    """
    mean = np.float32(absmax.mean())
    indices, nested = [], []
    for start in range(0, len(absmax), NESTED_BLOCK_SIZE):
        block = absmax[start : start + NESTED_BLOCK_SIZE] - mean
        largest = np.abs(block).max()
        indices.append(nearest_of_many(block / max(largest, TINY), dynamic_map()))
        nested.append(largest)
    return np.concatenate(indices), np.array(nested), mean


def nearest_of_many(normalized: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Like `nearest`, for up to 256 values that are sorted: normalized (n,) -> indices (n,).

    >>> nearest_of_many(np.float32([-1, 0.2, 0.6]), np.float32([-1, 0, 0.5, 1]))
    array([0, 1, 2], dtype=uint8)
    """
    return np.searchsorted((values[:-1] + values[1:]) / 2, normalized).astype(np.uint8)


def double_dequantize(indices: np.ndarray, nested_absmax: np.ndarray, mean: np.float32) -> np.ndarray:
    """The scales back, float32 (blocks,).

    >>> double_dequantize(np.uint8([23, 47, 127, 255]), np.float32([3]), np.float32(3)).round(2)
    array([0.99, 2.  , 3.  , 6.  ], dtype=float32)
    """
    return dequantize_blockwise(indices, nested_absmax, dynamic_map(), NESTED_BLOCK_SIZE) + mean
