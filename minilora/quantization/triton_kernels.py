"""The GPU twin of blockwise.py: three kernels in Triton, bit-identical to its torch code and many times as fast.

In torch, decoding is a chain of operations (split the bytes, look them up, multiply, convert), and each writes a
tensor to the GPU's memory for the next one to read. A kernel does the whole chain in registers: it reads a byte and
writes two finished values. Memory is then the only limit. A 4096 x 4096 weight is 8.4 MB packed and 34 MB in
bfloat16; at 4.3 TB/s that takes 10 µs at best, and copying the finished 34 MB takes 21.

How to read a kernel: it is the program of one *instance*. Thousands run at once, each with its own `program_id`, and
each handles one tile. `tl.arange` names the tile's elements, `tl.load` and `tl.store` move them.

- `_decode_kernel`: one instance turns BYTES packed bytes into 2 · BYTES values.
- `_encode_kernel`: one instance quantizes ROWS whole blocks, one block a row, so that `tl.max` along a row is absmax.
- `_product_kernel`: for a few tokens: decodes a tile and multiplies it at once; the decoded weight is never stored.

They are registered as PyTorch operators, which `torch.compile` sees through. With TRITON_INTERPRET=1 in the
environment they run on a CPU, slowly: that is how the tests compare them with blockwise.py on any machine.

Not here: a shorter last block when quantizing, and block_size=None, which blockwise.py handles itself; products with
more than 16 rows, where the decoded weight pays for itself.
"""

import os
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from minilora.quantization.tables import code_bounds

BYTES = 1024  # packed bytes per instance that decodes
VALUES = 2048  # values per instance that quantizes, or one block if that is longer
ROWS = 16  # most rows of a product with packed weights: the smallest tile of the GPU's matrix units
FEATURES, HALF_STEP = 32, 32  # output features per instance of such a product, and bytes of each that it reads at a time

if os.environ.get("TRITON_INTERPRET") == "1":  # then a kernel is plain Python, and nothing is compiled

    def wrap_triton(kernel: Any) -> Any:
        return kernel

else:
    from torch.library import wrap_triton


# -- decoding ------------------------------------------------------------------------------------------------


@triton.jit  # type: ignore[untyped-decorator]
def _scale_of(block, inside, absmax, nested_code, nested_absmax, nested_offset, NESTED: tl.constexpr):
    """What the values of each block are multiplied by; with double quantization it is decoded here."""
    if not NESTED:
        return tl.load(absmax + block, mask=inside, other=0.0)
    share = tl.load(nested_code + tl.load(absmax + block, mask=inside, other=0).to(tl.int32))
    outer = tl.load(nested_absmax + block // 256, mask=inside, other=0.0)
    # subtle: the CPU rounds the product before it adds. Written a * b + c, the compiler would fuse the two and round
    # once; fma(a, b, 0) is the rounded product, which cannot be fused with what follows
    return tl.fma(share, outer, 0.0) + tl.load(nested_offset)


@triton.jit  # type: ignore[untyped-decorator]
def _decode_kernel(
    packed, absmax, pairs, nested_code, nested_absmax, nested_offset, out, n,
    HALF_BLOCK: tl.constexpr, NESTED: tl.constexpr, BYTES: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(0).to(tl.int64) * BYTES
    place = start + tl.arange(0, BYTES)  # (BYTES,)
    inside = place < (n + 1) // 2
    byte = tl.load(packed + place, mask=inside, other=0).to(tl.int32)
    scale = _scale_of(
        place // HALF_BLOCK, inside, absmax, nested_code, nested_absmax, nested_offset, NESTED
    )
    # byte b < 16 stands for the pair (value 0, value b): every second number of the table's start is the 16-value code
    high = tl.load(pairs + 2 * (byte >> 4) + 1) * scale
    low = tl.load(pairs + 2 * (byte & 15) + 1) * scale
    values = tl.interleave(high, low).to(out.dtype.element_ty)  # (2 · BYTES,)
    place = 2 * start + tl.arange(0, 2 * BYTES)
    tl.store(out + place, values, mask=place < n)


@torch.library.triton_op("minilora::decode_4bit", mutates_args=())
def decode(
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
    out = torch.empty(n, dtype=dtype, device=packed.device)
    nested = [pairs if t is None else t for t in (nested_code, nested_absmax, nested_offset)]  # None: unused
    with torch.cuda.device_of(packed):
        wrap_triton(_decode_kernel)[(triton.cdiv((n + 1) // 2, BYTES),)](
            packed, absmax, pairs, *nested, out, n,
            HALF_BLOCK=block_size // 2, NESTED=nested_code is not None, BYTES=BYTES,
        )  # fmt: skip
    return out


# -- quantizing ----------------------------------------------------------------------------------------------


@triton.jit  # type: ignore[untyped-decorator]
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
    packed, absmax = _encode(blocks, bounds, order, quant_type != "fp4")
    return packed, absmax


@torch.library.triton_op("minilora::encode_4bit", mutates_args=())
def _encode(blocks: Tensor, bounds: Tensor, order: Tensor, in_order: bool) -> tuple[Tensor, Tensor]:
    count, block_size = blocks.shape
    packed = torch.empty(count * block_size // 2, dtype=torch.uint8, device=blocks.device)
    absmax = torch.empty(count, dtype=torch.float32, device=blocks.device)
    rows = max(1, VALUES // block_size)
    with torch.cuda.device_of(blocks):
        wrap_triton(_encode_kernel)[(triton.cdiv(count, rows),)](
            blocks, packed, absmax, bounds, order, count, BLOCK=block_size, ROWS=rows, IN_ORDER=in_order
        )
    return packed, absmax


# -- a product with few rows ---------------------------------------------------------------------------------


@triton.jit  # type: ignore[untyped-decorator]
def _product_kernel(
    x, packed, absmax, pairs, nested_code, nested_absmax, nested_offset, out, rows, out_features,
    HALF_IN: tl.constexpr, HALF_BLOCK: tl.constexpr, NESTED: tl.constexpr, ROWS: tl.constexpr, FEATURES: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    row = tl.arange(0, ROWS)[:, None]
    feature = tl.program_id(0).to(tl.int64) * FEATURES + tl.arange(0, FEATURES)  # (FEATURES,) rows of the weight
    inside = feature < out_features
    total = tl.zeros((ROWS, FEATURES), tl.float32)
    for start in range(0, HALF_IN, STEP):
        step = start + tl.arange(0, STEP)
        place = feature[None, :] * HALF_IN + step[:, None]  # (STEP, FEATURES): the weight's tile, transposed
        byte = tl.load(packed + place, mask=inside[None, :], other=0).to(tl.int32)
        # STEP divides a block: one scale per feature
        block = (feature * HALF_IN + start) // HALF_BLOCK
        scale = _scale_of(block, inside, absmax, nested_code, nested_absmax, nested_offset, NESTED)[None, :]
        high = (tl.load(pairs + 2 * (byte >> 4) + 1) * scale).to(x.dtype.element_ty)
        low = (tl.load(pairs + 2 * (byte & 15) + 1) * scale).to(x.dtype.element_ty)
        # x₀ w₀ + x₁ w₁ + … as two sums, over the even and the odd inputs: no need to interleave the decoded values
        even = tl.load(x + row * 2 * HALF_IN + 2 * step[None, :], mask=row < rows, other=0.0)  # (ROWS, STEP)
        odd = tl.load(x + row * 2 * HALF_IN + 2 * step[None, :] + 1, mask=row < rows, other=0.0)
        total = tl.dot(even, high, total)
        total = tl.dot(odd, low, total)
    place = row * out_features + feature[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=(row < rows) & inside[None, :])


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
    """x Wᵀ for x (rows, in) with at most 16 rows, in bfloat16 or float16; block_size ≥ 64 divides in.

    It multiplies what `decode` would give, and sums in float32, in another order than a product with decoded weights.
    """
    rows, in_features = x.shape
    x = x.contiguous()
    out = torch.empty(rows, out_features, dtype=x.dtype, device=x.device)
    nested = [pairs if t is None else t for t in (nested_code, nested_absmax, nested_offset)]  # None: unused
    with torch.cuda.device_of(x):
        wrap_triton(_product_kernel)[(triton.cdiv(out_features, FEATURES),)](
            x, packed, absmax, pairs, *nested, out, rows, out_features,
            HALF_IN=in_features // 2, HALF_BLOCK=block_size // 2, NESTED=nested_code is not None,
            ROWS=ROWS, FEATURES=FEATURES, STEP=HALF_STEP,
        )  # fmt: skip
    return out
