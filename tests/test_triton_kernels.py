"""The GPU kernels against the readable torch code, bit for bit: on a GPU, or on a CPU by Triton's interpreter.

    TRITON_INTERPRET=1 pytest tests/test_triton_kernels.py

Triton decides when it is imported, so the variable must be set before Python starts. Without a GPU and without the
interpreter this file is skipped; nothing in the package needs either.
"""

import importlib.util
import os

import pytest
import torch

from minilora.quantization import BLOCK_SIZES, CODES, blockwise, cpu, quantize_4bit

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed", allow_module_level=True)
if not ON_GPU and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs a GPU, or TRITON_INTERPRET=1", allow_module_level=True)

from minilora.quantization import triton_kernels  # noqa: E402

TYPES = (torch.float32, torch.float16, torch.bfloat16)


def uneven(n: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    """(n,) values of very different sizes, with a stretch of zeros."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, generator=generator) * torch.rand(n, generator=generator).mul(8).exp()
    x[n // 10 : n // 5] = 0
    return x.to(dtype)


def decoded_by_torch(q: blockwise.Quantized4bit, dtype: torch.dtype) -> torch.Tensor:
    """What the kernel must give. The interpreter cuts a bfloat16 off where a GPU rounds it, so here too."""
    if dtype != torch.bfloat16 or ON_GPU:
        return q.dequantize(dtype)
    return (q.dequantize(torch.float32).view(torch.int32) & -(2**16)).view(torch.float32).to(dtype)


def decoded_by_kernel(q: blockwise.Quantized4bit, dtype: torch.dtype) -> torch.Tensor:
    fields = [None if t is None else t.to(DEVICE) for t in q.fields()]
    return triton_kernels.decode(*fields, q.block_size, q.shape.numel(), dtype).view(q.shape).cpu()


@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("block_size", BLOCK_SIZES if ON_GPU else (16, 64))
def test_decoding_is_bit_identical_with_every_remainder(block_size, code, double_quant):
    for n in (1, 2, 3, block_size - 1, block_size, block_size + 1, 3 * block_size + 7):
        q = quantize_4bit(uneven(n, torch.float32, seed=n), code, block_size, double_quant)
        for dtype in TYPES:
            assert torch.equal(decoded_by_kernel(q, dtype), decoded_by_torch(q, dtype))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("block_size", BLOCK_SIZES if ON_GPU else (16, 64, 4096))
def test_quantizing_is_bit_identical(block_size, code, dtype):
    blocks = uneven(5 * block_size, dtype).view(5, block_size)
    blocks[2] = 0
    blocks[3] *= 1e-38 if dtype == torch.float32 else 0  # subnormal; the interpreter has no 16-bit ones
    for got, want in zip(
        triton_kernels.encode(blocks.to(DEVICE), code), cpu.encode(blocks, code), strict=True
    ):
        assert torch.equal(got.cpu(), want)


@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_the_last_bit_of_a_quotient_decides_as_in_torch(code):
    # all values but each block's largest are next to a midpoint of the code
    values = torch.tensor(sorted(CODES[code]))
    middle = (values[1:] + values[:-1]) / 2  # (15,)
    tops = torch.rand(200, 1, generator=torch.Generator().manual_seed(2)) + 0.5
    near, far = middle * tops, torch.tensor(9.0)
    blocks = torch.cat([tops, near, near.nextafter(far), near.nextafter(-far), torch.zeros(200, 18)], dim=1)
    assert torch.equal(triton_kernels.encode(blocks.to(DEVICE), code)[0].cpu(), cpu.encode(blocks, code)[0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_no_infinity_or_nan_goes_unnoticed(bad):
    blocks = torch.ones(3, 64)
    blocks[1, 5] = bad
    absmax = triton_kernels.encode(blocks.to(DEVICE), "nf4")[1].cpu()
    assert absmax.isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("block_size", [64, 256])
@pytest.mark.parametrize("rows", [1, 3, 4])
def test_a_product_with_few_rows(rows, block_size, double_quant):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(70, 1024, generator=generator).half()  # the interpreter cannot multiply bfloat16
    x = torch.randn(rows, 1024, generator=generator).half()
    q = quantize_4bit(weight, "nf4", block_size, double_quant)
    fields = [None if t is None else t.to(DEVICE) for t in q.fields()]
    y = triton_kernels.product(x.to(DEVICE), *fields, block_size, 70).cpu()
    exact = x.double() @ q.dequantize().double().T
    # float32 sums of 1,024 terms, added one after the other at the worst, then rounded to 11 bits
    bound = 1024 * 2**-24 * (x.double().abs() @ q.dequantize().double().abs().T) + 2**-11 * exact.abs()
    assert ((y - exact).abs() <= bound).all()


@pytest.mark.skipif(not ON_GPU, reason="what runs on a GPU")
class TestOnAGpu:
    def test_the_kernels_are_used_and_change_nothing(self, monkeypatch):
        assert blockwise.why_not_triton() == ""
        for dtype in TYPES:
            for code in CODES:
                for block_size in BLOCK_SIZES:
                    x = uneven(40_001, dtype, seed=block_size)
                    there, here = (
                        quantize_4bit(t, code, block_size, double_quant=True) for t in (x.cuda(), x)
                    )
                    for name, tensor in here.tensors().items():
                        assert torch.equal(there.tensors()[name].cpu(), tensor), name
                    fast = there.dequantize()
                    with monkeypatch.context() as patch:
                        patch.setattr(blockwise, "triton_works", lambda: False)
                        assert torch.equal(there.dequantize(), fast)
                    assert torch.equal(fast.cpu(), here.dequantize())

    def test_broken_triton_leaves_the_torch_code(self, monkeypatch):
        def broken(*args):
            raise RuntimeError("no C compiler")

        monkeypatch.setattr(triton_kernels, "encode", broken)
        blockwise.why_not_triton.cache_clear()
        try:
            assert "no C compiler" in blockwise.why_not_triton()
            x = torch.randn(1000, device="cuda")
            assert torch.equal(quantize_4bit(x).packed.cpu(), quantize_4bit(x.cpu()).packed)
        finally:
            blockwise.why_not_triton.cache_clear()

    @pytest.mark.parametrize("tokens", [3, 40])  # the product of few rows; decoding and an ordinary product
    def test_a_layer_compiles_and_trains_through_them(self, tokens):
        from minilora import Linear4bit, LoraConfig, add_lora

        torch.manual_seed(0)
        plain = torch.nn.Sequential(torch.nn.Linear(512, 128)).to("cuda", torch.bfloat16)
        plain[0] = Linear4bit.from_linear(plain[0], double_quant=True)
        model = add_lora(plain, LoraConfig(target_modules=["0"]))
        torch.nn.init.normal_(model.lora_layers()["0"].lora_B["default"])
        x = torch.randn(tokens, 512, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        results = []
        for call in (model, torch.compile(model, fullgraph=True)):
            model.zero_grad()
            y = call(x)
            (grad,) = torch.autograd.grad(y.float().square().sum(), x)
            results.append((y.float(), grad.float()))
        for eager, compiled in zip(*results, strict=True):
            # bfloat16 rounds what is between the steps where the compiler need not
            assert (eager - compiled).norm() <= 2**-6 * eager.norm()
