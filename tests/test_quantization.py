"""Four bits against bitsandbytes (CPU) bit for bit, against properties, and the fast twins against the readable."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minilora.quantization import BLOCK_SIZES, CODES, Quantized4bit, blockwise, cpu, quantize_4bit, tables
from minilora.quantization.tables import dynamic_map
from tests.helpers import peer

bnb = peer("bitsandbytes.functional")

THEIR_BLOCK_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
TYPES = (torch.float32, torch.float16, torch.bfloat16)
CPU = torch.device("cpu")
needs_stance = pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="new in PyTorch 2.6")


@pytest.fixture(autouse=True)
def _eager():
    """bitsandbytes compiles its fallback for odd shapes, which takes seconds and changes no value."""
    if not hasattr(torch.compiler, "set_stance"):  # PyTorch 2.5, and no bitsandbytes beside it
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def uneven(n: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    """(n,) values of very different sizes, with stretches of zeros, of positive and of negative values alone."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, generator=generator) * torch.rand(n, generator=generator).mul(8).exp()
    x[n // 10 : n // 5] = 0
    x[n // 4 : n // 3] = x[n // 4 : n // 3].abs()
    x[n // 2 : n // 2 + n // 8] = -x[n // 2 : n // 2 + n // 8].abs()
    return x.to(dtype)


def has_float16_arithmetic() -> bool:
    """Whether this processor has AVX-512-FP16, which bitsandbytes' kernels then use."""
    path = Path("/proc/cpuinfo")
    return path.exists() and "avx512_fp16" in path.read_text(encoding="utf-8")


def compare_with_bitsandbytes(x: torch.Tensor, code: str, block_size: int, double_quant: bool) -> None:
    ours = quantize_4bit(x, code, block_size, double_quant)
    packed, state = bnb.quantize_4bit(
        x, blocksize=block_size, quant_type=code, compress_statistics=double_quant
    )
    assert torch.equal(ours.packed, packed)
    assert torch.equal(ours.absmax, state.absmax)
    if double_quant:
        assert torch.equal(ours.nested_absmax, state.state2.absmax)
        assert torch.equal(ours.nested_offset, state.offset)
    # Flattened: its AVX-512 kernel is wrong where rows of a matrix end inside a block.
    state.shape = torch.Size([x.numel()])
    ours_decoded, theirs_decoded = ours.dequantize().flatten(), bnb.dequantize_4bit(packed, state).flatten()
    if x.dtype == torch.float16 and has_float16_arithmetic():
        # There it rounds the exact product to float16 once. Everywhere else it does as we do: to float32, then to
        # float16; the two differ where the float32 product is halfway between two float16 numbers, equally near both.
        product = ours.dequantize(torch.float32).flatten().double()
        differ = ours_decoded != theirs_decoded
        near, other = ((t.double() - product).abs()[differ] for t in (ours_decoded, theirs_decoded))
        assert torch.equal(near, other)
    else:
        assert torch.equal(ours_decoded, theirs_decoded)


# -- bitsandbytes ---------------------------------------------------------------------------------------------------


def test_tables_are_those_of_bitsandbytes():
    for code in ("nf4", "fp4"):
        assert torch.equal(torch.tensor(CODES[code]), bnb.get_4bit_type(code, device="cpu"))
    assert torch.equal(dynamic_map(CPU), bnb.create_dynamic_map())


@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_a_million_values_of_each_kind_equal_bitsandbytes(code, dtype, double_quant):
    # 12 combinations of 2**20 values: more than 12 million, in full blocks of normal values of many scales
    generator = torch.Generator().manual_seed(1)
    scales = torch.rand(2**20 // 64, 1, generator=generator).mul(12).sub(6).exp()
    x = (torch.randn(2**20 // 64, 64, generator=generator) * scales).to(dtype)
    compare_with_bitsandbytes(x, code, 64, double_quant)


@pytest.mark.parametrize("block_size", THEIR_BLOCK_SIZES)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_block_sizes_and_remainders_equal_bitsandbytes(code, dtype, block_size):
    for n in (1, 2, 3, block_size - 1, block_size, block_size + 1, 3 * block_size + 7, 40_001):
        for double_quant in (False, True):
            compare_with_bitsandbytes(uneven(n, dtype, seed=n), code, block_size, double_quant)


@pytest.mark.parametrize("n", [46, 64])
@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_the_last_bit_of_a_quotient_decides_as_in_bitsandbytes(code, n):
    # A whole block (64 values) is multiplied by the reciprocal, a last, short one truly divided. Only shares next to
    # a midpoint can tell the two apart, so here all values but the largest are such.
    values = torch.tensor(sorted(CODES[code]))
    middle = (values[1:] + values[:-1]) / 2
    for top in torch.rand(500, generator=torch.Generator().manual_seed(2)) + 0.5:
        near = middle * top
        far = torch.tensor(9.0)
        x = torch.cat([top.view(1), near, torch.nextafter(near, far), torch.nextafter(near, -far)])
        x = torch.cat([x, torch.zeros(n - len(x))])
        ours, theirs = quantize_4bit(x, code), bnb.quantize_4bit(x, blocksize=64, quant_type=code)[0]
        assert torch.equal(ours.packed, theirs)


@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_special_values_equal_bitsandbytes(code):
    tiny = torch.finfo(torch.float32).tiny
    cases = [
        torch.zeros(1000),
        torch.zeros(64),
        torch.full((257,), -3.5),
        torch.tensor([1e-44, -3e-42, 0.0, 1e-39]).repeat(40),
        torch.tensor([tiny, -tiny, tiny / 2]).repeat(50),
        torch.tensor([3e37, -1e37, 1.0]).repeat(43),
        torch.tensor([-0.0, 0.0]).repeat(33),
        torch.linspace(-1, 1, 4096),
    ]
    for x in cases:
        for double_quant in (False, True):
            compare_with_bitsandbytes(x, code, 64, double_quant)


@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_values_between_two_codes_equal_bitsandbytes(code):
    # Every midpoint, and the floats just below and above it: where "nearest" is decided.
    values = torch.tensor(sorted(CODES[code]))
    middle = (values[1:] + values[:-1]) / 2
    below, above = (torch.nextafter(middle, torch.tensor(side)) for side in (-9.0, 9.0))
    x = torch.cat([torch.stack([middle, below, above]).flatten(), torch.ones(19)])  # 64 values, absmax 1
    compare_with_bitsandbytes(x, code, 64, False)
    lower = quantize_4bit(x, code).dequantize()[:15]
    assert torch.equal(lower, values[:-1])  # a tie goes to the smaller value


@pytest.mark.slow
@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_a_hundred_million_values_equal_bitsandbytes(code):
    for seed in range(25):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(2048, 1024, generator=generator).to(TYPES[seed % 3])
        compare_with_bitsandbytes(x, code, THEIR_BLOCK_SIZES[seed % 8], double_quant=seed % 2 == 0)


def test_any_shape_and_layout_of_memory_gives_the_same_bytes():
    x = uneven(60 * 50)
    for view in (
        x.view(60, 50),
        x.view(5, 12, 50),
        x.view(50, 60).T.contiguous().T,
        x.view(60, 50).requires_grad_(),
    ):
        q = quantize_4bit(view)
        assert torch.equal(q.packed, quantize_4bit(x).packed)
        assert q.dequantize().shape == view.shape
        assert not q.dequantize().requires_grad
    assert quantize_4bit(torch.tensor(3.0)).dequantize() == 3.0


# -- double quantization --------------------------------------------------------------------------------------------


def test_the_table_of_intervals_differs_from_the_nearest_code_for_one_absmax_in_600():
    # The share was measured on bitsandbytes itself; an exact search would be a quieter, and different, quantizer.
    absmax = torch.rand(2**20, generator=torch.Generator().manual_seed(0)) + 0.5
    codes, top, offset = blockwise._quantize_absmax(absmax)
    shares = (absmax - offset).view(-1, 256) / top[:, None]
    values = dynamic_map(CPU)
    exact = torch.bucketize(shares, (values[1:] + values[:-1]) / 2).flatten()
    assert 0.0005 < (codes != exact).float().mean() < 0.005
    # Each code is nearest to the centre of its interval, so at most half an interval, 1 / 65535, decides wrongly.
    error, least = ((values[place] - shares.flatten()).abs() for place in (codes.int(), exact))
    assert (error <= least + 2 / 65535 + 1e-6).all()


@pytest.mark.parametrize("blocks", [1, 2, 255, 256, 257, 1000])
def test_double_quantization_keeps_absmax_within_half_a_step(blocks):
    x = uneven(blocks * 64)
    once, twice = quantize_4bit(x), quantize_4bit(x, double_quant=True)
    assert torch.equal(once.packed, twice.packed)
    # The widest step of the 8-bit code is 0.9 / 64 of the group's largest deviation; an interval of the table adds
    # 2 / 65535 at the most, the roundings of float32 some 1e-7 of the values themselves.
    groups = torch.arange(blocks) // 256
    bound = (0.45 / 64 + 2 / 65535) * twice.nested_absmax[groups] + 1e-6 * once.absmax.max()
    assert ((twice.block_absmax() - once.absmax).abs() <= bound).all()


# -- properties -----------------------------------------------------------------------------------------------------

# A block whose values are all below 1e-38 counts as zero (the divisor stops there). No range may exceed float32.
largest = float(np.float32(1e38))
numbers = st.floats(-largest, largest, width=32).map(lambda v: 0.0 if abs(v) < 1e-37 else v)
vectors = arrays(np.float32, st.integers(1, 50), elements=numbers).map(torch.from_numpy)
any_code = st.sampled_from(list(CODES))
any_block_size = st.sampled_from((*BLOCK_SIZES, None))


@given(vectors, any_code, any_block_size)
@settings(deadline=None)
def test_no_error_exceeds_half_a_step(x, code, block_size):
    q = quantize_4bit(x, code, block_size)
    values = torch.tensor(sorted(CODES[code]), dtype=torch.float64)
    block = torch.arange(len(x)) // q.block_size
    top = q.absmax.double()[block]
    share = x.double() / top.clamp(min=1e-38)
    place = torch.bucketize(share, values).clamp(1, 15)
    half_step = (values[place] - values[place - 1]) / 2 * top
    # float32 rounds three times on the way (reciprocal, share, product), each by 2**-24 of what it rounds.
    slack = 3 * 2**-24 * top
    assert ((q.dequantize().double() - x.double()).abs() <= half_step + slack).all()


@given(vectors, any_code, any_block_size)
@settings(deadline=None)
def test_quantizing_again_changes_nothing(x, code, block_size):
    once = quantize_4bit(x, code, block_size)
    again = quantize_4bit(once.dequantize(), code, block_size)
    assert torch.equal(once.dequantize(), again.dequantize())
    if code == "nf4":  # fp4 has two zeros, and the second becomes the first
        assert torch.equal(once.packed, again.packed)
        assert torch.equal(once.absmax, again.absmax)


@given(vectors, any_code, any_block_size)
@settings(deadline=None)
def test_places_packing_and_sizes_agree(x, code, block_size):
    q = quantize_4bit(x, code, block_size)
    indices = q.indices()
    assert indices.shape == x.shape
    high, low = q.packed[:, 0] // 16, q.packed[:, 0] % 16
    assert torch.equal(torch.stack([high, low], dim=1).flatten()[: len(x)], indices)
    assert q.nbytes == sum(tensor.nelement() * tensor.element_size() for tensor in q.tensors().values())
    blocks = -(-len(x) // q.block_size)
    assert q.nbytes == -(-len(x) // 2) + 4 * blocks
    assert q.bits_per_weight == 8 * q.nbytes / len(x)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("code", CODES)
def test_the_type_of_the_values_is_kept_and_rounded_to_once(code, dtype):
    q = quantize_4bit(uneven(5000, dtype), code)
    assert q.dequantize().dtype == dtype
    assert torch.equal(q.dequantize(), q.dequantize(torch.float32).to(dtype))
    assert q.dequantize(torch.float64).dtype == torch.float64


def test_known_errors_and_sizes():
    # Relative error of N(0, 1), and bits per weight, as published tables and independent runs have them.
    x = torch.randn(2**22, generator=torch.Generator().manual_seed(3))
    expected = {
        ("nf4", 32): (0.0873, 5.0),
        ("nf4", 64): (0.0920, 4.5),
        ("nf4", 128): (0.0956, 4.25),
        ("nf4", 4096): (0.110, 4.0078),
        ("fp4", 64): (0.122, 4.5),
    }
    for (code, block_size), (error, bits) in expected.items():
        q = quantize_4bit(x, code, block_size)
        assert float((q.dequantize() - x).norm() / x.norm()) == pytest.approx(error, rel=0.01)
        assert q.bits_per_weight == pytest.approx(bits, abs=1e-4)
    assert quantize_4bit(x, double_quant=True).bits_per_weight == pytest.approx(4.127, abs=1e-3)


def test_one_outlier_spoils_its_block_only():
    x = torch.randn(4096, generator=torch.Generator().manual_seed(4))
    x[100] = 1000
    error = {
        size: (quantize_4bit(x, "int4", size).dequantize() - x)[128:].abs().mean() for size in (64, None)
    }
    assert error[64] < 0.1
    assert error[None] == pytest.approx(x[128:].abs().mean())  # every ordinary value became zero


# -- the fast twins -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", [16, 64, 4096])
@pytest.mark.parametrize("code", CODES)
def test_numpy_twins_equal_the_readable_ones(code, block_size, monkeypatch):
    monkeypatch.setattr(blockwise, "DECODED_AT_ONCE", 10_000)  # several chunks, as on a GPU
    for dtype in TYPES:
        x = uneven(2**19, dtype).view(-1, block_size)
        (packed, absmax), (packed2, absmax2) = (encode(x, code) for encode in (blockwise._encode, cpu.encode))
        assert torch.equal(packed, packed2)
        assert torch.equal(absmax, absmax2)
        pairs = tables.code_pairs(code, CPU)
        values, values2 = (
            decode(packed, absmax, pairs, block_size, dtype) for decode in (blockwise._decode, cpu.decode)
        )
        assert values.dtype == values2.dtype == dtype
        assert torch.equal(values, values2)


def test_the_number_of_threads_changes_nothing():
    x = uneven(2**21 + 77)
    threads = torch.get_num_threads()
    try:
        results: list[Quantized4bit] = []
        for count in (1, 4):
            torch.set_num_threads(count)
            results.append(quantize_4bit(x))
            results[-1].dequantized = results[-1].dequantize()
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0].packed, results[1].packed)
    assert torch.equal(results[0].absmax, results[1].absmax)
    assert torch.equal(results[0].dequantized, results[1].dequantized)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("double_quant", [False, True])
@needs_stance
def test_dequantize_compiles_whole(double_quant, warm, monkeypatch):
    monkeypatch.setattr(tables, "_TABLES", {})
    q = quantize_4bit(uneven(999), double_quant=double_quant)
    if not warm:
        tables._TABLES.clear()
    torch._dynamo.reset()
    with torch.compiler.set_stance("default"):
        compiled = torch.compile(Quantized4bit.dequantize, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(q), q.dequantize())


# -- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [3, 129])  # in a whole block; in the last, shorter one
@pytest.mark.parametrize("code", CODES)
def test_values_that_are_no_numbers_are_refused(code, place, bad):
    x = torch.ones(130)
    x[place] = bad
    with pytest.raises(ValueError, match="1 infinite or NaN"):
        quantize_4bit(x, code)


def test_bad_requests_say_what_is_allowed():
    x = torch.ones(4)
    with pytest.raises(ValueError, match=r"'nf5'.*nf4, fp4, int4$"):
        quantize_4bit(x, "nf5")
    for size in (0, 63, -64, 8192, 64.5):
        with pytest.raises(ValueError, match=r"16, 32, 64.*or None"):
            quantize_4bit(x, block_size=size)
    for bad in (x.int(), x.double(), [1.0], x.numpy()):
        with pytest.raises(TypeError, match="float32, float16 or bfloat16"):
            quantize_4bit(bad)
    with pytest.raises(ValueError, match="a range that float32 cannot hold"):
        quantize_4bit(torch.full((128,), 3e38), double_quant=True)  # the sum of the absmax values is infinite
    with pytest.raises(ValueError, match="no values"):
        quantize_4bit(x[:0])
