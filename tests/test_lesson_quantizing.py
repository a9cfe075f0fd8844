"""What page 05 measures: the bits of a number, the use of the levels, the price of rounding, a packed layer."""

import struct

import numpy as np
import pytest
import torch

from minilora import GPT, LoraConfig, add_lora, encode_text, quantize_4bit, quantize_model, style_corpus
from minilora.figures.number_bits import bits_of
from minilora.lesson import layers, quantizing
from minilora.memory import plan_memory
from minilora.reference.quantization import NF4, dequantize_blockwise, unpack
from tests.helpers import randomize_adapter


@pytest.mark.parametrize("number", [0.0, -1.0, 0.1, 1e-30, -3.4e38])
def test_bits_are_those_of_a_float32(number):
    assert struct.unpack(">f", int(bits_of(number), 2).to_bytes(4, "big"))[0] == np.float32(number)


def test_a_number_s_code_and_level_are_those_that_are_stored():
    weight = torch.linspace(-0.3, 0.9, 64)
    sentence = quantizing.number_in_bits(weight).sentence
    assert f"= {quantize_4bit(weight).dequantize()[0]:.3g})" in sentence


def test_levels_share_all_weights():
    weight = torch.randn(4096, generator=torch.Generator().manual_seed(0))
    shares = {code: quantizing.level_shares(weight, code) for code in ("nf4", "int4")}
    assert [len(each) for each in shares.values()] == [16, 15]
    assert all(sum(each.values()) == pytest.approx(1) for each in shares.values())
    assert list(shares["nf4"]) == sorted(shares["nf4"])
    assert quantizing.levels_for_half(shares["nf4"]) > quantizing.levels_for_half(shares["int4"])


def test_heavy_parts_are_those_of_the_plan():
    plan = plan_memory("llama-3.1-8b", "lora")
    parts = quantizing.heavy_parts(plan)
    assert parts["frozen weights"] == 2 * plan.shape.parameter_count  # bf16
    assert parts["adapters and their training"] == plan.trained * (4 + 4 + 8 + 4)
    assert parts["activations"] == plan.kept_by_forward


def test_schemes_are_compared_with_the_model_as_it_is(capsys):
    held_out = encode_text(
        style_corpus("legal", "validation", documents=1), GPT.from_pretrained("tiny-gpt").tokenizer, 64
    )
    found = quantizing.compare_schemes("tiny-gpt", held_out, [("int4", None), ("nf4", 64)])
    exact, naive, good = found.values()
    assert (exact.error, exact.bits) == (0, 32)
    assert naive.error > 2 * good.error > 0.1
    assert good.bits == 4.5
    assert "per tensor" in capsys.readouterr().out


def test_a_packed_layer_is_seen_as_it_computes():
    model, _ = quantize_model(GPT.from_pretrained("tiny-gpt"), double_quant=True)
    model = add_lora(model, LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj"]))
    randomize_adapter(model, "default", scale=0.05)
    layer = layers.look_into(model, "model.layers.4.self_attn.q_proj", "The Buyer pays")
    W = dequantize_blockwise(unpack(layer.packed, layer.W.size), layer.absmax, NF4, 64).reshape(layer.W.shape)
    assert np.array_equal(W, layer.W.astype(np.float32))
    assert layer.bits == pytest.approx(4.127, abs=1e-3)
    y = layer.x @ W.T + 3 * layer.x @ layer.A.T @ layer.B.T
    assert np.abs(y - layer.y).max() < 1e-9
    assert "4.127 bits" in layers.layer_flow(layer).sentence
