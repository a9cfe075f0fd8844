"""The NumPy reference against autograd, torch's Adam, bitsandbytes' tables and the engine."""

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import bitsandbytes.functional as bnb
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora import quantization as engine
from minilora.lora import LoraConfig, add_lora
from minilora.lora.merging import merged_weight
from minilora.quantization.blockwise import _quantize_absmax
from minilora.reference import lora, quantization


def test_the_reference_imports_numpy_alone():
    # The package itself imports torch, so here the reference's folder stands on the path alone.
    folder = str(Path(quantization.__file__).parent)
    code = (
        f"import sys; sys.path.insert(0, {folder!r}); import lora, quantization;"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'minilora', 'bitsandbytes'}))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("module", [lora, quantization], ids=["lora", "quantization"])
def test_every_function_has_an_example_to_work_through_by_hand(module):
    """That the examples are right, pytest's doctests see; here, that none is missing."""
    functions = {
        name
        for name, value in inspect.getmembers(module, inspect.isfunction)
        if value.__module__ == module.__name__ and not name.startswith("_")
    }
    found = {test.name.rpartition(".")[2]: test for test in doctest.DocTestFinder().find(module)}
    assert len(functions) >= 5
    assert not {name for name in functions if name not in found or not found[name].examples}


# -- quantization ------------------------------------------------------------------------------------------------------


def test_tables_are_those_of_bitsandbytes_and_of_the_engine():
    for name in ("nf4", "fp4"):
        assert np.array_equal(quantization.CODES[name], bnb.get_4bit_type(name, device="cpu").numpy())
    for name, code in quantization.CODES.items():
        assert np.array_equal(code, np.float32(engine.CODES[name]))
    # torch's linspace rounds in float32 on the way, so 22 of the 256 differ, in their last bit.
    np.testing.assert_array_max_ulp(quantization.dynamic_map(), bnb.create_dynamic_map().numpy(), maxulp=1)


def test_the_derived_nf4_is_the_published_one():
    # The published table was computed from quantiles in float32: equal to about 1e-7, seven digits.
    np.testing.assert_allclose(quantization.derive_nf4(), quantization.NF4, rtol=0, atol=3e-7)


@pytest.mark.parametrize("n", [1, 63, 64, 1000, 20_001])
@pytest.mark.parametrize("block_size", [16, 64, 4096])
@pytest.mark.parametrize("name", quantization.CODES)
def test_the_engine_gives_the_same_bits(name, block_size, n):
    rng = np.random.default_rng(n)
    x = np.float32(rng.normal(size=n) * np.exp(rng.uniform(0, 8, n)))
    x[n // 8 : n // 4] = 0
    code = quantization.CODES[name]
    places, absmax = quantization.quantize_blockwise(x, code, block_size)
    packed = quantization.pack(places, code)
    q = engine.quantize_4bit(torch.from_numpy(x), name, block_size)
    assert np.array_equal(packed, q.packed.numpy()[:, 0])
    assert np.array_equal(absmax, q.absmax.numpy())
    assert np.array_equal(quantization.unpack(packed, n), q.indices().numpy())
    values = quantization.dequantize_blockwise(places, absmax, code, block_size)
    assert np.array_equal(values, q.dequantize().numpy())


@pytest.mark.parametrize("n", [46, 64])
@pytest.mark.parametrize("name", ["nf4", "fp4"])
def test_the_last_bit_of_a_quotient_decides_alike(name, n):
    # Values next to the midpoints: only they tell division (short blocks) from a product with the reciprocal.
    code = quantization.CODES[name]
    middles = (np.sort(code)[1:] + np.sort(code)[:-1]) / 2
    for top in np.random.default_rng(2).uniform(0.5, 1.5, 500).astype(np.float32):
        near = middles * top
        x = np.zeros(n, np.float32)
        x[:46] = [top, *near, *np.nextafter(near, np.float32(9)), *np.nextafter(near, np.float32(-9))]
        places, _ = quantization.quantize_blockwise(x, code, 64)
        theirs, _ = bnb.quantize_4bit(torch.from_numpy(x), blocksize=64, quant_type=name)
        assert np.array_equal(quantization.pack(places, code), theirs[:, 0].numpy())


def test_double_quantization_agrees_with_the_engine_but_for_one_place_in_600():
    absmax = np.float32(np.random.default_rng(0).uniform(0.5, 1.5, 100_000))
    places, nested, mean = quantization.double_quantize(absmax)
    theirs, their_nested, their_mean = _quantize_absmax(torch.from_numpy(absmax))
    np.testing.assert_allclose(mean, their_mean.numpy(), rtol=1e-6)  # NumPy and torch add in different orders
    np.testing.assert_allclose(nested, their_nested.numpy(), rtol=1e-6)
    assert (places != theirs.numpy()).mean() < 1 / 300
    restored = quantization.double_dequantize(places, nested, mean)
    # half of the widest step, (1 - 0.1) / 64, and the rounding of float32
    assert (np.abs(restored - absmax) <= 0.45 / 64 * nested.repeat(256)[:100_000] + 1e-6).all()


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=60),
    st.sampled_from([2, 3, 4, 8]),
)
@settings(deadline=None)
def test_absmax_rounds_to_the_nearest_step(values, bits):
    x = np.float32(values)
    x[np.abs(x) < 1e-30] = 0
    q, step = quantization.quantize_absmax(x, bits)
    assert np.abs(q).max() <= 2 ** (bits - 1) - 1
    # x / step is rounded by at most 2**-24 of itself, and it reaches 127; the step and the product likewise.
    error = np.abs(quantization.dequantize_absmax(q, step).astype(np.float64) - x)
    assert (error <= step * (0.5 + 3 * 127 * 2**-24)).all()


def test_absmax_equals_int8_of_bitsandbytes():
    x = np.float32(np.random.default_rng(1).normal(size=1000))
    q, step = quantization.quantize_absmax(x)
    theirs, largest, _ = bnb.int8_vectorwise_quant(torch.from_numpy(x).view(1, -1))
    assert np.array_equal(q, theirs[0].numpy())
    assert step == pytest.approx(float(largest) / 127)


# -- LoRA --------------------------------------------------------------------------------------------------------------

BATCH, IN, OUT, R, SCALING = 5, 7, 4, 3, 2 / 3  # alpha 2, r 3: no factor is one, no two widths are equal


def numbers() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=shape) for shape in ((BATCH, IN), (OUT, IN), (R, IN), (OUT, R)))


def test_forward_and_backward_equal_autograd():
    x, W, A, B = numbers()
    tx, tW, tA, tB = (torch.from_numpy(value).requires_grad_() for value in (x, W, A, B))
    y = tx @ tW.T + SCALING * (tx @ (tB @ tA).T)  # the update as one full matrix, unlike the reference
    grad_y = np.random.default_rng(1).normal(size=y.shape)
    y.backward(torch.from_numpy(grad_y))
    np.testing.assert_allclose(lora.forward(x, W, A, B, SCALING), y.detach().numpy(), rtol=1e-12)
    grads = lora.backward(grad_y, x, W, A, B, SCALING)
    for ours, theirs in zip(grads, (tA.grad, tB.grad, tx.grad), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-14)


def test_the_engine_computes_the_same_layer_and_the_same_training_step():
    x, W, A, B = numbers()
    model = add_lora(
        torch.nn.Sequential(torch.nn.Linear(IN, OUT, bias=False)),
        LoraConfig(r=R, lora_alpha=2, target_modules=["0"]),
    ).double()
    layer = model.base[0]
    with torch.no_grad():
        layer.base_layer.weight.copy_(torch.from_numpy(W))
        layer.lora_A["default"].copy_(torch.from_numpy(A))
        layer.lora_B["default"].copy_(torch.from_numpy(B))
    optimizer = torch.optim.Adam(model.trainable_parameters().values(), lr=0.01)
    moments = {"A": (np.zeros_like(A), np.zeros_like(A)), "B": (np.zeros_like(B), np.zeros_like(B))}
    for step in (1, 2, 3):
        y = lora.forward(x, W, A, B, SCALING)
        y2 = model(torch.from_numpy(x))
        np.testing.assert_allclose(y, y2.detach().numpy(), rtol=1e-10)
        optimizer.zero_grad()
        (y2**2).sum().backward()
        optimizer.step()
        grad_A, grad_B, _ = lora.backward(2 * y, x, W, A, B, SCALING)
        A, *moments["A"] = lora.adam_step(A, grad_A, *moments["A"], step, 0.01)
        B, *moments["B"] = lora.adam_step(B, grad_B, *moments["B"], step, 0.01)
        np.testing.assert_allclose(A, layer.lora_A["default"].detach().numpy(), rtol=1e-9)
        np.testing.assert_allclose(B, layer.lora_B["default"].detach().numpy(), rtol=1e-9)
    merged = lora.merge(W, A, B, SCALING)
    np.testing.assert_allclose(x @ merged.T, lora.forward(x, W, A, B, SCALING), rtol=1e-10)
    np.testing.assert_allclose(merged, merged_weight(layer).numpy(), rtol=1e-10)


def test_a_fresh_adapter_corrects_nothing_and_is_spread_as_pefts():
    A, B = lora.initialize(IN, OUT, R)
    x, W, *_ = numbers()
    assert np.array_equal(lora.forward(x, W, A, B, SCALING), x @ W.T)
    A, B = lora.initialize(1000, 10, 50)
    theirs = torch.empty(50, 1000)
    torch.nn.init.kaiming_uniform_(theirs, a=5**0.5)  # what peft and the engine call
    assert A.shape == theirs.shape
    assert np.abs(A).max() == pytest.approx(float(theirs.abs().max()), rel=1e-3)
    assert A.std() == pytest.approx(float(theirs.std()), rel=0.02)
