"""The sixteen values of each 4-bit code, as plain numbers: what a picture or a planner needs, without torch.

Not here: tables of them as tensors (tables.py), and what is done with them (blockwise.py).
"""

from __future__ import annotations

# What each of the sixteen patterns of four bits stands for, as a share of the block's largest magnitude.
CODES: dict[str, tuple[float, ...]] = {
    # quantiles of a normal distribution, so that values of that shape use all codes about equally often
    "nf4": (
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ),
    # a 4-bit float: one sign bit, two for the exponent, one for the fraction; it has a zero of either sign
    "fp4": tuple(v / 12 for v in (0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3)),
    # equal steps around zero; pattern 0 would be -8/7, which no share reaches, and stays unused
    "int4": tuple((i - 8) / 7 for i in range(16)),
    # equal steps from the block's minimum to its maximum: a second constant per block buys the sixteenth code
    "int4-affine": tuple(i / 15 for i in range(16)),
}  # fmt: skip
BLOCK_SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
NESTED_BLOCK_SIZE = 256  # block size of the second quantization, that of the absmax values
