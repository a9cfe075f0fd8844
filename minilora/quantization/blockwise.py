"""Four bits per number: blocks, code tables, packing, and double quantization (QLoRA, arXiv 2305.14314).

A tensor is cut into blocks, each block is divided by its largest magnitude (absmax), and each quotient is rounded to
the nearest of the sixteen values of a *code*. Stored are the index in the code, four bits, two of them to a byte, and
one float32 absmax per block. For nf4 and fp4 the bytes equal those of bitsandbytes' CPU path, bit for bit.

This is the readable version, in torch, for any device. Its two hot loops are replaced by those of cpu.py on a CPU, and
on a GPU by those of triton_kernels.py, if Triton is there and works (`why_not_triton` says why not).
`minilora/reference/quantization.py` has the same mathematics, shorter and slower, in NumPy.

Not here: calibration on data (GPTQ, AWQ), other widths than 4 bits, arithmetic on packed numbers (dequantize
first), and bit-equality with bitsandbytes on a GPU, whose faster division moves one nf4 code in a million.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minilora.limits import DECODED_AT_ONCE
from minilora.quantization import cpu
from minilora.quantization.codes import BLOCK_SIZES, CODES, NESTED_BLOCK_SIZE
from minilora.quantization.cpu import TINY
from minilora.quantization.tables import code_bounds, code_pairs, dynamic_map, dynamic_table


@dataclasses.dataclass(eq=False, repr=False)
class Quantized4bit:
    """A tensor of n numbers in packed form: everything that is stored, and how to decode it.

    Attributes:
        packed: uint8 (ceil(n / 2), 1). Byte i holds value 2i in its high four bits and value 2i + 1 in its low ones.
        absmax: float32 (blocks,), or with double quantization uint8 indices (blocks,) into an 8-bit code.
        quant_type: Name of the code, one of `CODES`.
        block_size: Values per block.
        shape: Shape of the original tensor.
        dtype: Type of the original tensor, and of what `dequantize` returns by default.
        nested_absmax: With double quantization, float32 (ceil(blocks / 256),).
        nested_offset: With double quantization, float32 (), the mean of the absmax values.
    """

    packed: Tensor
    absmax: Tensor
    quant_type: str
    block_size: int
    shape: torch.Size
    dtype: torch.dtype
    nested_absmax: Tensor | None = None
    nested_offset: Tensor | None = None

    def __post_init__(self) -> None:
        device = self.packed.device
        self.pairs = code_pairs(self.quant_type, device)  # (256, 2)
        self.nested_code = None if self.nested_absmax is None else dynamic_map(device)  # (256,)

    def tensors(self) -> dict[str, Tensor]:
        """Returns everything that is stored, by name."""
        names = ("packed", "absmax", "nested_absmax", "nested_offset")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def fields(self) -> tuple[Tensor | None, ...]:
        """Returns what a kernel reads, in the order of its arguments."""
        nested = (self.nested_code, self.nested_absmax, self.nested_offset)
        return (self.packed, self.absmax, self.pairs, *nested)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored tensors, measured."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    @property
    def bits_per_weight(self) -> float:
        """8 · nbytes / n. For blocks of 64: 4 bits, and 1/64 of a float32.

        >>> x = torch.randn(1024, 1024)
        >>> quantize_4bit(x).bits_per_weight, round(quantize_4bit(x, double_quant=True).bits_per_weight, 3)
        (4.5, 4.127)
        """
        return 8 * self.nbytes / math.prod(self.shape)

    def indices(self) -> Tensor:
        """Returns the index of each value in the code, 0 to 15: uint8 in the original shape."""
        pairs = torch.stack((self.packed >> 4, self.packed & 15), dim=-1)  # (bytes, 1, 2)
        return pairs.flatten()[: math.prod(self.shape)].view(self.shape)

    def block_absmax(self) -> Tensor:
        """Returns what each block is multiplied by, decoded if it is itself quantized: float32 (blocks,)."""
        if self.nested_code is None or self.nested_absmax is None or self.nested_offset is None:
            return self.absmax
        normalized = self.nested_code.index_select(0, self.absmax.int())  # (blocks,)
        scale = self.nested_absmax.repeat_interleave(NESTED_BLOCK_SIZE)[: len(normalized)]
        return normalized * scale + self.nested_offset

    def dequantize(self, dtype: torch.dtype | None = None) -> Tensor:
        """Decodes: code[index] · absmax, rounded once to the result's type.

        Args:
            dtype: Type of the result; None means the original type.

        Returns:
            The values, in the original shape.

        >>> quantize_4bit(torch.tensor([2.0, -1.0, 0.1])).dequantize()
        tensor([ 2.0000, -1.0501,  0.1592])
        """
        n, blocks = math.prod(self.shape), len(self.absmax)
        dtype = self.dtype if dtype is None else dtype
        packed = self.packed.flatten()  # (ceil(n / 2),)
        if packed.is_cuda and self.block_size in BLOCK_SIZES and triton_works():
            # as an operator for the compiler alone: called in eager mode, an operator takes 0.1 ms longer to start
            compiling = torch.compiler.is_compiling()
            kernel = torch.ops.minilora.decode_4bit if compiling else _triton_kernels().decode
            decoded: Tensor = kernel(*self.fields(), self.block_size, n, dtype)
            return decoded.view(self.shape)
        # a shorter last block is decoded as a whole one, and the excess is cut off below
        if n % self.block_size:
            packed = F.pad(packed, (0, blocks * self.block_size // 2 - len(packed)))
        on_cpu = packed.device.type == "cpu" and not torch.compiler.is_compiling()
        decode = cpu.decode if on_cpu else _decode
        values = decode(
            packed, self.block_absmax(), self.pairs, self.block_size, dtype
        )  # (blocks, block_size)
        return values.flatten()[:n].view(self.shape)

    def __repr__(self) -> str:
        bits = f"{self.bits_per_weight:.3f} bits per weight"
        return f"Quantized4bit({self.quant_type}, shape={tuple(self.shape)}, block_size={self.block_size}, {bits})"


def quantize_4bit(
    x: Tensor, quant_type: str = "nf4", block_size: int | None = 64, double_quant: bool = False
) -> Quantized4bit:
    """Rounds every value of x to the nearest of sixteen multiples of its block's largest magnitude.

    Args:
        x: float32, float16 or bfloat16, of any shape. Blocks run over its values in row-major order.
        quant_type: Name of the code, one of `CODES`.
        block_size: Values per block, one of `BLOCK_SIZES`, or None for a single block (the naive scheme, in which one
            outlier spoils everything).
        double_quant: Whether to store the absmax values in 8 bits too.

    Returns:
        The packed tensor.

    Raises:
        TypeError: If x is not a tensor of one of the three types.
        ValueError: If an argument is not allowed, or x is empty or holds an infinity or NaN, which would spoil its
            whole block.

    >>> quantize_4bit(torch.tensor([2.0, -1.0, 0.1])).indices()
    tensor([15,  2,  8], dtype=torch.uint8)
    >>> quantize_4bit(torch.randn(100, 64), quant_type="int4", block_size=128)
    Quantized4bit(int4, shape=(100, 64), block_size=128, 4.250 bits per weight)
    """
    _check_request(x, quant_type, block_size)
    values = x.detach().reshape(-1)  # (n,)
    n = values.numel()
    block_size = n + n % 2 if block_size is None else block_size
    full = n - n % block_size
    encode = _encoder(x.device, block_size)
    packed, absmax = encode(values[:full].view(-1, block_size), quant_type)
    if full < n:
        last = values[full:].float()
        last_absmax = last.abs().max().clamp(min=TINY)
        # subtle: bitsandbytes divides here, but multiplies whole blocks by the reciprocal, which rounds differently
        index = _nearest(F.pad(last / last_absmax, (0, n % 2)), quant_type)
        packed, absmax = torch.cat([packed, _pack(index)]), torch.cat([absmax, last_absmax.view(1)])
    stored = _quantize_absmax(absmax) if double_quant else (absmax,)
    if not all(torch.isfinite(constant).all() for constant in (absmax, *stored[1:])):
        bad = int((~torch.isfinite(x)).sum())
        raise ValueError(
            f"x holds {bad} infinite or NaN values (or a range that float32 cannot hold); a single one would "
            "spoil its whole block. Find where they come from, or replace them with torch.nan_to_num"
        )
    absmax, *nested = stored
    return Quantized4bit(packed.view(-1, 1), absmax, quant_type, block_size, x.shape, x.dtype, *nested)


def _check_request(x: Tensor, quant_type: str, block_size: int | None) -> None:
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        given = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x is {given}; it must be a tensor of float32, float16 or bfloat16 (x.float()?)")
    if x.numel() == 0:
        raise ValueError(f"x has shape {tuple(x.shape)} and holds no values; there is nothing to quantize")
    if quant_type not in CODES:
        raise ValueError(f"there is no quant_type {quant_type!r}; choose one of {', '.join(CODES)}")
    if block_size is not None and block_size not in BLOCK_SIZES:
        raise ValueError(
            f"block_size is {block_size!r}; choose one of {', '.join(map(str, BLOCK_SIZES))}, "
            "or None for one block over the whole tensor"
        )


# -- the fast twins --------------------------------------------------------------------------------------------------


@functools.cache
def why_not_triton() -> str:
    """Returns what keeps the GPU from using triton_kernels.py, found by running a kernel; empty if nothing does."""
    if not torch.cuda.is_available():
        return "no CUDA GPU"
    try:
        _triton_kernels().encode(torch.ones(1, 64, device="cuda"), "nf4")
        torch.cuda.synchronize()
    except Exception as error:  # absent, too old, or without the C compiler that it needs: all the same to us
        return f"{type(error).__name__}: {error}"
    return ""


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def triton_works() -> bool:
    return not why_not_triton()


def _encoder(device: torch.device, block_size: int) -> Callable[[Tensor, str], tuple[Tensor, Tensor]]:
    if device.type == "cpu":
        return cpu.encode
    if device.type == "cuda" and block_size in BLOCK_SIZES and triton_works():
        return _triton_kernels().encode  # type: ignore[no-any-return]
    return _encode


def _triton_kernels() -> Any:
    """Imported late: where there is no GPU, there is often no Triton."""
    from minilora.quantization import triton_kernels

    return triton_kernels


# -- encoding and decoding, on any device ----------------------------------------------------------------------------


def _encode(blocks: Tensor, quant_type: str) -> tuple[Tensor, Tensor]:
    """blocks (blocks, block_size) -> bytes uint8 (n / 2,) and absmax float32 (blocks,)."""
    packed, absmax = [], []
    for part in blocks.split(max(1, DECODED_AT_ONCE // blocks.shape[1])):
        part = part.float()
        absmax.append(part.abs().amax(dim=1))  # (blocks,)
        normalized = part * (1 / absmax[-1].clamp(min=TINY))[:, None]  # (blocks, block_size), in [-1, 1]
        packed.append(_pack(_nearest(normalized, quant_type)))
    return torch.cat(packed), torch.cat(absmax)


def _nearest(normalized: Tensor, quant_type: str) -> Tensor:
    """n normalized values -> uint8 (n,): the index of the nearest code value; a tie goes to the smaller value."""
    bounds, order = code_bounds(quant_type, normalized.device)
    return order.index_select(0, torch.bucketize(normalized.flatten(), bounds, out_int32=True))


def _pack(index: Tensor) -> Tensor:
    """(n,) indices below 16, n even -> (n / 2,) bytes, the first of each two in the high bits."""
    return index[::2] << 4 | index[1::2]


def _decode(packed: Tensor, absmax: Tensor, pairs: Tensor, block_size: int, dtype: torch.dtype) -> Tensor:
    """bytes (blocks · block_size / 2,) and absmax (blocks,) -> values (blocks, block_size)."""
    out = torch.empty(len(absmax), block_size, dtype=dtype, device=packed.device)
    rows = packed.view(len(absmax), -1)  # (blocks, block_size / 2)
    if torch.compiler.is_compiling():  # the compiler fuses it into one pass without temporary tensors
        _decode_into(out, rows, absmax, pairs)
        return out
    step = max(1, DECODED_AT_ONCE // block_size)
    for part in zip(out.split(step), rows.split(step), absmax.split(step), strict=True):
        _decode_into(*part, pairs)
    return out


def _decode_into(out: Tensor, rows: Tensor, absmax: Tensor, pairs: Tensor) -> None:
    """rows (m, block_size / 2) of bytes -> out (m, block_size); one lookup gives both values of a byte."""
    normalized = pairs.index_select(0, rows.flatten().int()).view(out.shape)  # (bytes, 2) -> (m, block_size)
    torch.mul(normalized, absmax[:, None], out=out)  # rounds to out's type once, at the end


# -- double quantization -------------------------------------------------------------------------------------


def _quantize_absmax(absmax: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """absmax (blocks,) -> codes uint8 (blocks,), their own absmax float32 (ceil(blocks / 256),), and offset ().

    All absmax values are positive, so their mean is subtracted first, and the codes serve both signs.
    """
    offset = (
        absmax.cpu().mean().to(absmax.device)
    )  # a GPU would add in another order, and so round differently
    rest = absmax - offset
    rows = F.pad(rest, (0, -len(rest) % NESTED_BLOCK_SIZE)).view(-1, NESTED_BLOCK_SIZE)
    nested_absmax = rows.abs().amax(dim=1)  # (ceil(blocks / 256),)
    # a row of zeros: 0 · (1 / 0) is NaN; bitsandbytes gives it code 0
    normalized = (rows * (1 / nested_absmax)[:, None]).clamp(-1, 1).nan_to_num(nan=-1.0)
    # subtle: bitsandbytes' kernel does not search for the nearest code, it reads a table with one entry for each
    # of 65,536 intervals; so about one code in 600 is the second nearest.
    interval = ((normalized + 1) * 0.5 * 65535 + 0.5).int()
    return dynamic_table(absmax.device)[interval].flatten()[: len(absmax)], nested_absmax, offset
