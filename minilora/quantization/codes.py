"""The sixteen values of each 4-bit code, as plain numbers: what a figure or a planner needs, without torch.

Not here: the same values as tensors (tables.py), and the rounding to them (blockwise.py).
"""

from __future__ import annotations

# What each of the sixteen 4-bit patterns stands for, as a fraction of the block's largest magnitude.
CODES: dict[str, tuple[float, ...]] = {
    # Quantiles of a normal distribution, so that normally distributed values use all codes about equally often.
    "nf4": (
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ),
    # A 4-bit float: one sign bit, two exponent bits, one fraction bit. It has a zero of either sign.
    "fp4": tuple(v / 12 for v in (0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3)),
    # Equal steps around zero. Pattern 0 would be -8/7, which no normalized value reaches, so it stays unused.
    "int4": tuple((i - 8) / 7 for i in range(16)),
}  # fmt: skip
BLOCK_SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
NESTED_BLOCK_SIZE = 256  # block size of double quantization, which quantizes the absmax values
