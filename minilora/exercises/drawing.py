"""Awkward inputs from a random generator: what the cases of the exercises are made of.

Not here: the cases themselves; each exercise's file draws its own.
"""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import HALF_ULP
from minilora.reference.quantization import NF4

# A 16-value code whose midpoints are exact binary fractions, so that a value can lie exactly between two of them.
DYADIC = np.array([-16, -12, -9, -7, -5, -3, -2, 0, 1, 2, 4, 5, 7, 10, 13, 16], np.float32) / np.float32(16)
CODES = (NF4, DYADIC)


def decimals(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Draws numbers from -2 to 2 with two decimals, none of them near zero.

    They are short to read, and few are exact in a float type, so a detour through float16 shows.
    """
    return rng.integers(20, 200, shape) / 100 * rng.choice([-1, 1], shape)


def layer(rng: np.random.Generator, in_features: int, out_features: int, r: int) -> dict[str, np.ndarray]:
    """Draws a small LoRA layer: W (out, in), A (r, in), B (out, r)."""
    return {
        "W": decimals(rng, out_features, in_features),
        "A": decimals(rng, r, in_features),
        "B": decimals(rng, out_features, r),
    }


def alpha_for(rng: np.random.Generator, r: int) -> float:
    """An alpha for which alpha / r, alpha // r, alpha, 1, r / alpha and alpha / sqrt(r) differ (for r = 1: most)."""
    return float(
        rng.choice([2.5, 4.5, 7.5] if r == 1 else [alpha for alpha in (3, 5, 7, 10, 20) if alpha % r])
    )


def sum_rounding(terms: int, magnitudes: np.ndarray) -> np.ndarray:
    """How far a sum of products may be off when each of `terms` operations rounds to float32.

    The classic bound (Higham, Accuracy and Stability of Numerical Algorithms, 3.1): terms · u · Σ|products|. Each
    product has up to four inputs, and each of these may be rounded to float32 first.
    """
    return (terms + 4) * HALF_ULP * magnitudes


def off_grid(rng: np.random.Generator, count: int, code: np.ndarray) -> np.ndarray:
    """Draws `count` numbers in -1 … 1 whose nearest value in `code` stays the same after rounding to float32.

    None lies within 0.002 of the middle between two values, thousands of times a rounding error.
    """
    values = np.sort(code.astype(np.float64))
    middles = (values[:-1] + values[1:]) / 2
    shares = rng.uniform(-0.99, 0.99, 8 * count + 64)
    distance = np.abs(shares[:, None] - middles).min(axis=1)
    return shares[distance > 0.002][:count]


def blocks_to_quantize(rng: np.random.Generator, count: int, block_size: int, code: np.ndarray) -> np.ndarray:
    """float32 (count,): block after block, each with its own size, by turns mixed, all below and all above zero."""
    shares = off_grid(rng, count, code)
    for number, start in enumerate(range(0, count, block_size)):
        block = shares[start : start + block_size]
        if number % 3:
            block[:] = np.abs(block) * (1 if number % 3 == 2 else -1)
        top = rng.integers(len(block))
        block[top] = np.sign(
            block[top]
        )  # the largest magnitude is 1, so the block's absmax is the factor below
        block *= rng.uniform(0.1, 8) if number else rng.uniform(0.1, 0.6)  # one block is small in all draws
    return shares.astype(np.float32)
