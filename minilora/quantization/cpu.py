"""Quantizing and decoding on a CPU, in NumPy: several times faster than blockwise.py's torch, and equal to the bit.

Not here: anything that a GPU runs, and the last block of a tensor if it is shorter than the others.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from minilora.quantization.tables import code_bounds

TINY = 1e-38  # keeps a block of zeros from dividing by zero
CHUNK = 2**18  # values at a time on a CPU: small enough that all temporaries stay in its cache


def encode_in_numpy(blocks: Tensor, code: str) -> tuple[Tensor, Tensor]:
    """The same, several times faster on a CPU: fifteen comparisons beat a search. Tests hold the two equal."""
    x = blocks.float().numpy()  # (blocks, block_size)
    bounds, order = (table.numpy() for table in code_bounds(code, blocks.device))
    in_order = np.array_equal(order, range(16))
    packed, absmax = np.empty(x.size // 2, np.uint8), np.empty(len(x), np.float32)

    def encode(part: slice, part_bytes: slice) -> None:
        top = np.abs(x[part]).max(axis=1)
        with np.errstate(invalid="ignore"):  # infinity times zero; the caller refuses such a block
            shares = x[part] * (1 / np.maximum(top, np.float32(TINY)))[:, None]
        index = np.zeros(shares.shape, np.uint8)  # how many of the fifteen bounds lie below each share
        for bound in bounds:
            index += (shares > bound).view(np.uint8)
        index = (index if in_order else order[index]).reshape(-1)
        packed[part_bytes] = index[::2] << 4 | index[1::2]
        absmax[part] = top

    over_blocks(encode, *x.shape)
    return torch.from_numpy(packed), torch.from_numpy(absmax)


def decode_in_numpy(
    packed: Tensor, absmax: Tensor, minimum: Tensor | None, pairs: Tensor, block_size: int, dtype: torch.dtype
) -> Tensor:
    """The same, several times faster on a CPU. Tests hold the two equal."""
    two_values = pairs.numpy().view(np.uint64)[:, 0]  # both float32 of a byte travel as one number of 64 bits
    byte, top = packed.numpy(), absmax.numpy()
    out = np.empty((len(top), block_size), np.float32)

    def decode(part: slice, part_bytes: slice) -> None:
        # mode="clip" (no byte is out of range) lets NumPy write straight into `out`
        np.take(two_values, byte[part_bytes], out=out[part].reshape(-1).view(np.uint64), mode="clip")
        out[part] *= top[part, None]
        if minimum is not None:
            out[part] += minimum.numpy()[part, None]

    over_blocks(decode, len(top), block_size)
    return torch.from_numpy(out).to(dtype)


def over_blocks(work: Callable[[slice, slice], None], blocks: int, block_size: int) -> None:
    """Calls work(blocks, bytes) for pieces of about CHUNK values, on as many threads as torch may use.

    NumPy lets go of the interpreter while it computes, so plain threads do run side by side. Each takes one
    stretch of the blocks from end to end, which their caches like better than taking turns.
    """
    step = max(1, CHUNK // block_size)
    threads = min(torch.get_num_threads(), -(-blocks // step))

    def stretch(thread: int) -> None:
        end = (thread + 1) * blocks // threads
        for first in range(thread * blocks // threads, end, step):
            last = min(first + step, end)
            work(slice(first, last), slice(first * block_size // 2, last * block_size // 2))

    if threads == 1:
        stretch(0)
    elif threads > 1:  # 0 if there is no whole block at all
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(stretch, range(threads)))
