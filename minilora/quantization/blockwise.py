"""Four bits per number: blocks, code tables, packing, and double quantization (QLoRA, arXiv 2305.14314).

A tensor is cut into blocks, each block is divided by its largest magnitude, and each quotient is rounded to
the nearest of sixteen values, the *code*. What is stored is the place in the code, four bits, two of them to a
byte, and one float32 per block. For nf4 and fp4 the bytes are those of `bitsandbytes`' CPU path, bit for bit.

Not here: calibration on data (GPTQ, AWQ), other widths than 4 bits, arithmetic on packed numbers (dequantize
first), and bit-equality with bitsandbytes on a GPU, whose faster division moves one nf4 code in a million.
`minilora/reference/quantization.py` has the same mathematics, shorter and slower, in NumPy.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from minilora.quantization.codes import BLOCK_SIZES, CODES, NESTED_BLOCK_SIZE
from minilora.quantization.cpu import TINY, decode_in_numpy, encode_in_numpy
from minilora.quantization.tables import code_bounds, code_pairs, dynamic_map, dynamic_table

GPU_CHUNK = 2**24  # values at a time on a GPU: bounds the memory of temporaries, and keeps the device busy


@dataclasses.dataclass(eq=False, repr=False)
class Quantized4bit:
    """A tensor of n numbers in packed form; all that is stored, and how to get back.

    packed: uint8 (ceil(n / 2), 1); byte i holds value 2i in its high four bits and value 2i + 1 in its low ones.
    absmax: float32 (blocks,); with double quantization uint8 codes of it, which `nested_absmax`, float32
    (ceil(blocks / 256),), and `nested_offset` () decode. minimum: float32 (blocks,), only for "int4-affine".
    """

    packed: Tensor
    absmax: Tensor
    code: str
    block_size: int
    shape: torch.Size
    dtype: torch.dtype
    minimum: Tensor | None = None
    nested_absmax: Tensor | None = None
    nested_offset: Tensor | None = None

    def __post_init__(self) -> None:
        device = self.packed.device
        self.pairs = code_pairs(self.code, device)  # (256, 2)
        self.nested_code = None if self.nested_absmax is None else dynamic_map(device)  # (256,)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is stored, by name."""
        names = ("packed", "absmax", "minimum", "nested_absmax", "nested_offset")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def nbytes(self) -> int:
        """Bytes of the stored tensors, measured."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    @property
    def bits_per_weight(self) -> float:
        """8 · nbytes / n: for blocks of 64, 4 bits and a 64th of a float32.

        >>> x = torch.randn(1024, 1024)
        >>> quantize_4bit(x).bits_per_weight, round(quantize_4bit(x, double_quant=True).bits_per_weight, 3)
        (4.5, 4.127)
        """
        return 8 * self.nbytes / math.prod(self.shape)

    def indices(self) -> Tensor:
        """The place of each value in the code, 0 to 15: uint8 in the original shape."""
        pairs = torch.stack((self.packed >> 4, self.packed & 15), dim=-1)  # (bytes, 1, 2)
        return pairs.flatten()[: math.prod(self.shape)].view(self.shape)

    def block_absmax(self) -> Tensor:
        """float32 (blocks,): what each block is multiplied by, decoded if it is itself quantized."""
        if self.nested_code is None or self.nested_absmax is None:
            return self.absmax
        shares = self.nested_code.index_select(0, self.absmax.int())
        scale = self.nested_absmax.repeat_interleave(NESTED_BLOCK_SIZE)[: len(shares)]
        return shares * scale + self.nested_offset

    def dequantize(self, dtype: torch.dtype | None = None) -> Tensor:
        """The values again, in the original shape and type or in `dtype`: code[index] · absmax, rounded once.

        >>> quantize_4bit(torch.tensor([2.0, -1.0, 0.1])).dequantize()
        tensor([ 2.0000, -1.0501,  0.1592])
        """
        n, blocks = math.prod(self.shape), len(self.absmax)
        packed = self.packed.flatten()  # (ceil(n / 2),)
        # a last, shorter block is decoded as a whole one, and the excess cut off below
        if n % self.block_size:
            packed = F.pad(packed, (0, blocks * self.block_size // 2 - len(packed)))
        on_cpu = packed.device.type == "cpu" and not torch.compiler.is_compiling()
        decode = decode_in_numpy if on_cpu else _decode_on_gpu
        dtype = self.dtype if dtype is None else dtype
        values = decode(packed, self.block_absmax(), self.minimum, self.pairs, self.block_size, dtype)
        return values.flatten()[:n].view(self.shape)

    def __repr__(self) -> str:
        bits = f"{self.bits_per_weight:.3f} bits per weight"
        return f"Quantized4bit({self.code}, shape={tuple(self.shape)}, block_size={self.block_size}, {bits})"


def quantize_4bit(
    x: Tensor, code: str = "nf4", block_size: int | None = 64, double_quant: bool = False
) -> Quantized4bit:
    """Rounds every value of x to the nearest of sixteen multiples of its block's largest magnitude.

    x: float32, float16 or bfloat16, of any shape; blocks run over its values row by row. code: one of `CODES`.
    block_size: one of `BLOCK_SIZES`, or None for a single block (the naive scheme: one outlier spoils all).
    double_quant: stores the absmax values in 8 bits as well. Raises ValueError or TypeError for anything else,
    and for infinities and NaN, which would spoil their whole block.

    >>> quantize_4bit(torch.tensor([2.0, -1.0, 0.1])).indices()
    tensor([15,  2,  8], dtype=torch.uint8)
    >>> quantize_4bit(torch.randn(100, 64), code="int4", block_size=128)
    Quantized4bit(int4, shape=(100, 64), block_size=128, 4.250 bits per weight)
    """
    _check_request(x, code, block_size, double_quant)
    values = x.detach().reshape(-1)  # (n,)
    n = values.numel()
    block_size = n + n % 2 if block_size is None else block_size
    minimum = None
    if code == "int4-affine":  # shifted to begin at zero, a block's absmax is the width of its range
        values, minimum = _shift_to_zero(values.float(), block_size)
    full = n - n % block_size
    encode = encode_in_numpy if x.device.type == "cpu" else _encode
    packed, absmax = encode(values[:full].view(-1, block_size), code)
    if full < n:
        last = values[full:].float()
        top = last.abs().max().clamp(min=TINY)
        # subtle: bitsandbytes divides here; in whole blocks it multiplies by the reciprocal, which rounds otherwise
        index = _nearest(F.pad(last / top, (0, n % 2)), code)
        packed, absmax = torch.cat([packed, _pack(index)]), torch.cat([absmax, top.view(1)])
    stored = _quantize_absmax(absmax) if double_quant else (absmax,)
    if not all(torch.isfinite(constant).all() for constant in (absmax, *stored[1:])):
        bad = int((~torch.isfinite(x)).sum())
        raise ValueError(
            f"x holds {bad} infinite or undefined values (or a range that float32 cannot hold); a single one would "
            "spoil its whole block. Find where they come from, or replace them with torch.nan_to_num"
        )
    absmax, *nested = stored
    return Quantized4bit(packed.view(-1, 1), absmax, code, block_size, x.shape, x.dtype, minimum, *nested)


def _check_request(x: Tensor, code: str, block_size: int | None, double_quant: bool) -> None:
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        given = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x is {given}; give a tensor of float32, float16 or bfloat16: x.float()?")
    if x.numel() == 0:
        raise ValueError(f"x has shape {tuple(x.shape)} and holds no values; there is nothing to quantize")
    if code not in CODES:
        raise ValueError(f"there is no code {code!r}; choose one of {', '.join(CODES)}")
    if block_size is not None and block_size not in BLOCK_SIZES:
        raise ValueError(
            f"block_size is {block_size!r}; choose one of {', '.join(map(str, BLOCK_SIZES))}, "
            "or None for one block over the whole tensor"
        )
    if double_quant and code == "int4-affine":
        raise ValueError("double_quant compresses one constant per block, int4-affine has two; leave it off")


# -- encoding ------------------------------------------------------------------------------------------------


def _encode(blocks: Tensor, code: str) -> tuple[Tensor, Tensor]:
    """blocks (blocks, block_size) -> bytes uint8 (n / 2,) and absmax float32 (blocks,), on any device."""
    packed, absmax = [], []
    for part in blocks.split(max(1, GPU_CHUNK // blocks.shape[1])):
        part = part.float()
        top = part.abs().amax(dim=1)  # (blocks,)
        shares = part * (1 / top.clamp(min=TINY))[:, None]  # (blocks, block_size), within -1 … 1
        packed.append(_pack(_nearest(shares, code)))
        absmax.append(top)
    return torch.cat(packed), torch.cat(absmax)


def _nearest(shares: Tensor, code: str) -> Tensor:
    """shares, n in all -> uint8 (n,): the place in the code of the nearest value; of two, that of the smaller."""
    bounds, order = code_bounds(code, shares.device)
    return order.index_select(0, torch.bucketize(shares.flatten(), bounds, out_int32=True))


def _pack(index: Tensor) -> Tensor:
    """(n,) places below 16, n even -> (n / 2,) bytes, the first of each two in the high bits."""
    return index[::2] << 4 | index[1::2]


def _shift_to_zero(values: Tensor, block_size: int) -> tuple[Tensor, Tensor]:
    """values (n,) minus their block's minimum (n,), and the minima (blocks,)."""
    n = len(values)
    blocks = F.pad(values, (0, -n % block_size), value=math.inf).view(-1, block_size)
    minimum = blocks.amin(dim=1)
    return (blocks - minimum[:, None]).flatten()[:n], minimum


# -- decoding ------------------------------------------------------------------------------------------------


def _decode(
    packed: Tensor, absmax: Tensor, minimum: Tensor | None, pairs: Tensor, block_size: int, dtype: torch.dtype
) -> Tensor:
    """bytes (blocks · block_size / 2,) and absmax (blocks,) -> values (blocks, block_size), on any device."""
    out = torch.empty(len(absmax), block_size, dtype=dtype, device=packed.device)
    rows = packed.view(len(absmax), -1)  # (blocks, block_size / 2)
    if torch.compiler.is_compiling():  # the compiler makes a single pass of it, without any temporary tensor
        _decode_into(out, rows, absmax, minimum, pairs)
        return out
    step = max(1, GPU_CHUNK // block_size)
    lows = [None] * len(absmax) if minimum is None else minimum.split(step)
    for part in zip(out.split(step), rows.split(step), absmax.split(step), lows, strict=False):
        _decode_into(*part, pairs)
    return out


def _decode_into(out: Tensor, rows: Tensor, absmax: Tensor, minimum: Tensor | None, pairs: Tensor) -> None:
    """rows (m, block_size / 2) of bytes -> out (m, block_size); both halves of a byte in one look-up."""
    shares = pairs.index_select(0, rows.flatten().int()).view(out.shape)  # (bytes, 2) -> (m, block_size)
    if minimum is None:
        torch.mul(shares, absmax[:, None], out=out)  # rounds to out's type once, at the end
    else:
        out.copy_(shares * absmax[:, None] + minimum[:, None])


_decode_on_gpu = _decode


def compile_decoding() -> None:
    """From now on a GPU decodes by a compiled program: one pass instead of three, and no temporary tensors.

    The bits stay the same. The first call takes seconds, and `torch.compile` must work on this machine (Triton).
    """
    global _decode_on_gpu
    _decode_on_gpu = torch.compile(_decode, dynamic=True)


# -- double quantization -------------------------------------------------------------------------------------


def _quantize_absmax(absmax: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """absmax (blocks,) -> codes uint8 (blocks,), their own absmax float32 (ceil(blocks / 256),), and offset ().

    All magnitudes are positive, so their mean is taken off first and the codes serve both signs.
    """
    offset = absmax.cpu().mean().to(absmax.device)  # a GPU would add in another order, and so round otherwise
    rest = absmax - offset
    rows = F.pad(rest, (0, -len(rest) % NESTED_BLOCK_SIZE)).view(-1, NESTED_BLOCK_SIZE)
    top = rows.abs().amax(dim=1)  # (ceil(blocks / 256),)
    shares = (rows * (1 / top)[:, None]).clamp(-1, 1).nan_to_num(nan=-1.0)  # 0 · (1 / 0): code 0, as there
    # subtle: bitsandbytes' kernel does not search for the nearest code, it reads a table with one entry for each
    # of 65,536 intervals; so about one code in 600 is the second nearest.
    interval = ((shares + 1) * 0.5 * 65535 + 0.5).int()
    return dynamic_table(absmax.device)[interval].flatten()[: len(absmax)], top, offset
