"""The GPU twin of blockwise.py: three kernels in Triton, bit-identical to its torch code and many times as fast.

In torch, decoding is a chain of operations (split the bytes, look them up, multiply, convert), and each writes a
tensor to the GPU's memory for the next one to read. A kernel does the whole chain in registers: it reads a byte and
writes two finished values. Memory is then the only limit. A 4096 x 4096 weight is 8.4 MB packed and 34 MB in
bfloat16; at 4.3 TB/s that takes 10 µs at best, and copying the finished 34 MB takes 21.

How to read a kernel: it is the program of one *instance*. Thousands run at once, each with its own `program_id`, and
each handles one tile. `tl.arange` names the tile's elements, `tl.load` and `tl.store` move them.

- `_decode_kernel`: one instance turns about BYTES packed bytes, whole blocks of them, into twice as many values.
- `_encode_kernel`: one instance quantizes ROWS whole blocks, one block a row, so that `tl.max` along a row is absmax.
- `_product_kernel`: for one to four tokens: decodes a tile and multiplies it at once; the weight is never stored.

Decoding and product are PyTorch operators too, which `torch.compile` sees through. With TRITON_INTERPRET=1 in the
environment they run on a CPU, slowly: that is how the tests compare them with blockwise.py on any machine.

Not here: a shorter last block when quantizing, and block_size=None, which blockwise.py handles itself; products with
more than 4 rows, where the decoded weight pays for itself.
"""

import os
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from minilora.quantization.tables import code_bounds

BYTES = 2048  # packed bytes per instance that decodes
VALUES = 4096  # values per instance that quantizes, or one block if that is longer
# of a product with few rows: output features per instance, and groups of bytes of each feature at a time
FEATURES, GROUPS, GROUP = 16, 8, 32

# for torch.compile; in the interpreter a kernel is plain Python, and nothing is compiled
interpreted = os.environ.get("TRITON_INTERPRET") == "1"
wrap_triton: Any = (lambda kernel: kernel) if interpreted else torch.library.wrap_triton


# -- decoding ------------------------------------------------------------------------------------------------


@triton.jit
def _scale_of(block, inside, absmax, nested_code, nested_absmax, nested_offset, NESTED: tl.constexpr):
    """What the values of each block are multiplied by; with double quantization it is decoded here."""
    if not NESTED:
        return tl.load(absmax + block, mask=inside, other=0.0)
    share = tl.load(nested_code + tl.load(absmax + block, mask=inside, other=0).to(tl.int32))
    outer = tl.load(nested_absmax + block // 256, mask=inside, other=0.0)
    # subtle: the CPU rounds the product before it adds. Written a * b + c, the compiler would fuse the two and round
    # once; fma(a, b, 0) is the rounded product, which cannot be fused with what follows
    return tl.fma(share, outer, 0.0) + tl.load(nested_offset)


@triton.jit
def _decode_kernel(
    packed, absmax, pairs, nested_code, nested_absmax, nested_offset, out, n,
    BLOCKS: tl.constexpr, HALF_BLOCK: tl.constexpr, NESTED: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0).to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)  # (BLOCKS,)
    start = block[:, None] * HALF_BLOCK  # the first byte of each block
    place = start + tl.arange(0, HALF_BLOCK)[None, :]  # (BLOCKS, HALF_BLOCK)
    byte = tl.load(packed + place, mask=2 * place < n, other=0).to(tl.int32)
    inside = block * 2 * HALF_BLOCK < n
    scale = _scale_of(block, inside, absmax, nested_code, nested_absmax, nested_offset, NESTED)[:, None]
    # byte b < 16 stands for the pair (value 0, value b): every second number of the table's start is the 16-value code
    high = tl.load(pairs + 2 * (byte >> 4) + 1) * scale
    low = tl.load(pairs + 2 * (byte & 15) + 1) * scale
    values = tl.interleave(high, low).to(out.dtype.element_ty)  # (BLOCKS, 2 · HALF_BLOCK)
    place = 2 * start + tl.arange(0, 2 * HALF_BLOCK)[None, :]
    tl.store(out + place, values, mask=place < n)


def _launch_decode(
    kernel: Any,
    packed: Tensor,
    absmax: Tensor,
    pairs: Tensor,
    nested_code: Tensor | None,
    nested_absmax: Tensor | None,
    nested_offset: Tensor | None,
    block_size: int,
    n: int,
    dtype: torch.dtype,
) -> Tensor:
    out = torch.empty(n, dtype=dtype, device=packed.device)
    nested = [pairs if t is None else t for t in (nested_code, nested_absmax, nested_offset)]  # None: unused
    blocks = max(1, 2 * BYTES // block_size)  # per instance
    with torch.cuda.device_of(packed):
        kernel[(triton.cdiv(len(absmax), blocks),)](
            packed, absmax, pairs, *nested, out, n,
            BLOCKS=blocks, HALF_BLOCK=block_size // 2, NESTED=nested_code is not None,
        )  # fmt: skip
    return out


def decode(*arguments: Any) -> Tensor:
    """What the operator minilora::decode_4bit does, without an operator's overhead of 0.1 ms."""
    return _launch_decode(_decode_kernel, *arguments)


@torch.library.triton_op("minilora::decode_4bit", mutates_args=())
def _decode_operator(
    packed: Tensor,
    absmax: Tensor,
    pairs: Tensor,
    nested_code: Tensor | None,
    nested_absmax: Tensor | None,
    nested_offset: Tensor | None,
    block_size: int,
    n: int,
    dtype: torch.dtype,
) -> Tensor:
    """Decodes n values of the type `dtype`; the other arguments are the fields of a `Quantized4bit`."""
    nested = (nested_code, nested_absmax, nested_offset)
    return _launch_decode(wrap_triton(_decode_kernel), packed, absmax, pairs, *nested, block_size, n, dtype)


# -- quantizing ----------------------------------------------------------------------------------------------


@triton.jit
def _encode_kernel(
    x, packed, absmax, bounds, order, blocks,
    BLOCK: tl.constexpr, ROWS: tl.constexpr, IN_ORDER: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)  # (ROWS,) blocks
    inside = row < blocks
    place = row[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]  # (ROWS, BLOCK)
    value = tl.load(x + place, mask=inside[:, None], other=0.0).to(tl.float32)
    # tl.max skips NaN, and the caller must learn of one: 0 · NaN is NaN, and so is 0 · infinity
    largest = tl.max(tl.abs(value), 1) + tl.sum(value * 0, 1)
    tiny = tl.full((ROWS,), 1e-38, tl.float32)  # as a plain constant it would be a float64
    share = value * tl.div_rn(tl.full((ROWS,), 1, tl.float32), tl.maximum(largest, tiny))[:, None]
    index = tl.zeros((ROWS, BLOCK), tl.int32)  # how many of the fifteen bounds lie below each value
    for i in tl.static_range(15):
        index += (share > tl.load(bounds + i)).to(tl.int32)
    if not IN_ORDER:
        index = tl.load(order + index).to(tl.int32)
    high, low = tl.split(tl.reshape(index, (ROWS, BLOCK // 2, 2)))  # (ROWS, BLOCK / 2) each
    place = row[:, None] * (BLOCK // 2) + tl.arange(0, BLOCK // 2)[None, :]
    tl.store(packed + place, (high << 4 | low).to(tl.uint8), mask=inside[:, None])
    tl.store(absmax + row, largest, mask=inside)


def encode(blocks: Tensor, quant_type: str) -> tuple[Tensor, Tensor]:
    """Quantizes whole blocks (blocks, block_size) to bytes uint8 (n / 2,) and absmax float32 (blocks,)."""
    bounds, order = code_bounds(quant_type, blocks.device)
    count, block_size = blocks.shape
    packed = torch.empty(count * block_size // 2, dtype=torch.uint8, device=blocks.device)
    absmax = torch.empty(count, dtype=torch.float32, device=blocks.device)
    rows = max(1, VALUES // block_size)
    with torch.cuda.device_of(blocks):
        _encode_kernel[(triton.cdiv(count, rows),)](
            blocks, packed, absmax, bounds, order, count, BLOCK=block_size, ROWS=rows, IN_ORDER=quant_type != "fp4"
        )  # fmt: skip
    return packed, absmax


# -- a product with few rows ---------------------------------------------------------------------------------


@triton.jit
def _product_kernel(
    x, packed, absmax, pairs, nested_code, nested_absmax, nested_offset, out, rows, out_features,
    HALF_IN: tl.constexpr, HALF_BLOCK: tl.constexpr, NESTED: tl.constexpr,
    ROWS: tl.constexpr, FEATURES: tl.constexpr, GROUPS: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    STEP: tl.constexpr = GROUPS * GROUP  # bytes of each feature that are read at a time
    row = tl.arange(0, ROWS)[:, None]
    feature = tl.program_id(0).to(tl.int64) * FEATURES + tl.arange(0, FEATURES)[:, None]  # rows of the weight
    inside = feature < out_features
    total = tl.zeros((ROWS, FEATURES, STEP), tl.float32)
    for start in range(0, HALF_IN, STEP):
        place = feature * HALF_IN + start + tl.arange(0, STEP)[None, :]  # (FEATURES, STEP)
        byte = tl.load(packed + place, mask=inside, other=0).to(tl.int32)
        # one scale for each GROUP of bytes, which never crosses a block
        group = feature * HALF_IN + start + GROUP * tl.arange(0, GROUPS)[None, :]  # (FEATURES, GROUPS)
        scale = _scale_of(
            group // HALF_BLOCK, inside, absmax, nested_code, nested_absmax, nested_offset, NESTED
        )
        scale = tl.broadcast_to(scale[:, :, None], (FEATURES, GROUPS, GROUP)).reshape(FEATURES, STEP)
        high = (tl.load(pairs + 2 * (byte >> 4) + 1) * scale).to(x.dtype.element_ty).to(tl.float32)
        low = (tl.load(pairs + 2 * (byte & 15) + 1) * scale).to(x.dtype.element_ty).to(tl.float32)
        place = row * 2 * HALF_IN + 2 * start + tl.arange(0, 2 * STEP)[None, :]  # (ROWS, 2 · STEP)
        inputs = tl.load(x + place, mask=row < rows, other=0.0).to(tl.float32)
        even, odd = tl.split(inputs.reshape(ROWS, STEP, 2))
        total += even[:, None, :] * high[None, :, :] + odd[:, None, :] * low[None, :, :]
    place = row * out_features + feature.reshape(1, FEATURES)
    y = tl.sum(total, 2).to(out.dtype.element_ty)  # (ROWS, FEATURES)
    tl.store(out + place, y, mask=(row < rows) & inside.reshape(1, FEATURES))


@torch.library.triton_op("minilora::product_4bit", mutates_args=())
def product(
    x: Tensor,
    packed: Tensor,
    absmax: Tensor,
    pairs: Tensor,
    nested_code: Tensor | None,
    nested_absmax: Tensor | None,
    nested_offset: Tensor | None,
    block_size: int,
    out_features: int,
) -> Tensor:
    """x Wᵀ for x (..., in) with at most 4 rows in all, in bfloat16 or float16; `_few_rows` in linear4bit.py decides.

    It multiplies what `decode` would give, and sums in float32, in another order than a product with decoded weights.
    """
    in_features = x.shape[-1]
    rows = x.numel() // in_features
    x = x.contiguous()
    out = torch.empty(*x.shape[:-1], out_features, dtype=x.dtype, device=x.device)
    nested = [pairs if t is None else t for t in (nested_code, nested_absmax, nested_offset)]  # None: unused
    with torch.cuda.device_of(x):
        wrap_triton(_product_kernel)[(triton.cdiv(out_features, FEATURES),)](
            x, packed, absmax, pairs, *nested, out, rows, out_features,
            HALF_IN=in_features // 2, HALF_BLOCK=block_size // 2, NESTED=nested_code is not None,
            ROWS=triton.next_power_of_2(rows), FEATURES=FEATURES, GROUPS=GROUPS, GROUP=GROUP,
        )  # fmt: skip
    return out
