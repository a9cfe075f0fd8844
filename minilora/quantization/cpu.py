"""The fast CPU twin of blockwise.py, in NumPy: several times faster than its torch code, and bit-identical to it.

What makes it fast: fifteen comparisons instead of a search, one lookup per byte instead of two, chunks that stay in
the cache, and one thread per range of blocks. Not here: anything for a GPU, or a last block that is shorter than the
others, which blockwise.py handles itself.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from minilora.quantization.tables import code_bounds

TINY = 1e-38  # keeps a block of zeros from dividing by zero
CHUNK = 2**18  # values at a time: small enough that all temporary arrays stay in the cache
SERIAL = (
    2**15
)  # as many values torch converts on the calling thread; for more it would start threads of its own


def encode(blocks: Tensor, quant_type: str) -> tuple[Tensor, Tensor]:
    """Quantizes whole blocks.

    Args:
        blocks: (blocks, block_size) float values.
        quant_type: One of `CODES`.

    Returns:
        The packed bytes, uint8 (n / 2,), and absmax, float32 (blocks,).
    """
    x = blocks.float().numpy()  # (blocks, block_size)
    bounds, order = (table.numpy() for table in code_bounds(quant_type, blocks.device))
    in_order = np.array_equal(order, range(16))
    packed, absmax = np.empty(x.size // 2, np.uint8), np.empty(len(x), np.float32)

    def encode_part(part: slice, part_bytes: slice, normalized: npt.NDArray[np.float32]) -> None:
        absmax[part] = np.abs(x[part]).max(axis=1)
        with np.errstate(invalid="ignore"):  # infinity times zero; the caller refuses such a block
            scale = 1 / np.maximum(absmax[part], np.float32(TINY))
            np.multiply(x[part], scale[:, None], out=normalized)
        index = np.zeros(normalized.shape, np.uint8)  # how many of the fifteen bounds lie below each value
        for bound in bounds:
            index += (normalized > bound).view(np.uint8)
        flat = (index if in_order else order[index]).reshape(-1)
        packed[part_bytes] = flat[::2] << 4 | flat[1::2]

    _for_each_chunk(encode_part, *x.shape)
    return torch.from_numpy(packed), torch.from_numpy(absmax)


def decode(packed: Tensor, absmax: Tensor, pairs: Tensor, block_size: int, dtype: torch.dtype) -> Tensor:
    """Decodes whole blocks.

    Args:
        packed: uint8 (blocks · block_size / 2,).
        absmax: float32 (blocks,).
        pairs: The two values of each byte, float32 (256, 2).
        block_size: Values per block.
        dtype: Type of the result; each value is rounded to it once.

    Returns:
        The values, (blocks, block_size).
    """
    two_values = pairs.numpy().view(np.uint64)[
        :, 0
    ]  # both float32 values of a byte travel as one 64-bit number
    byte, scale = packed.numpy(), absmax.numpy()
    # NumPy asks the system for huge pages, torch.empty does not: for 64 MB that is half of the time
    out = torch.from_numpy(np.empty((len(scale), block_size * dtype.itemsize), np.uint8)).view(dtype)
    direct = out.numpy() if dtype == torch.float32 else None
    rows = max(1, SERIAL // block_size)

    def decode_part(part: slice, part_bytes: slice, scratch: npt.NDArray[np.float32]) -> None:
        values = scratch if direct is None else direct[part]
        # mode="clip" (no byte is out of range) lets NumPy write straight into `values`
        np.take(two_values, byte[part_bytes], out=values.reshape(-1).view(np.uint64), mode="clip")
        np.multiply(values, scale[part, None], out=values)
        if direct is None:  # converted while it is still in the cache
            for half, full in zip(out[part].split(rows), torch.from_numpy(values).split(rows), strict=True):
                half.copy_(full)

    _for_each_chunk(decode_part, len(scale), block_size)
    return out


def _for_each_chunk(
    work: Callable[[slice, slice, npt.NDArray[np.float32]], None], blocks: int, block_size: int
) -> None:
    """Calls work(blocks, bytes, scratch) for chunks of about CHUNK values, on as many threads as torch may use.

    NumPy releases the GIL while it computes, so plain threads run in parallel. Each thread works through one
    contiguous range of blocks, which is cache-friendly, and reuses one scratch array, float32 (blocks, block_size).
    """
    step = max(1, CHUNK // block_size)
    threads = min(torch.get_num_threads(), -(-blocks // step))

    def work_through_range(thread: int) -> None:
        scratch = np.empty((min(step, blocks), block_size), np.float32)
        end = (thread + 1) * blocks // threads
        for first in range(thread * blocks // threads, end, step):
            last = min(first + step, end)
            part_bytes = slice(first * block_size // 2, last * block_size // 2)
            work(slice(first, last), part_bytes, scratch[: last - first])

    if threads == 1:
        work_through_range(0)
    elif threads > 1:  # 0 if there is no whole block at all
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work_through_range, range(threads)))
