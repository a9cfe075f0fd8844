"""The catalog's counts against published totals, and against transformers' own models on the meta device."""

import json
from importlib import resources

import pytest
import torch
import transformers

from minilora import GPTConfig
from minilora.memory.catalog import DEVICES, MODELS, Device, ModelShape, model_shape

PUBLISHED = {  # what the models' pages or their checkpoints' headers state, to the last weight
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-7b": 7_615_616_512,
    "tinyllama-1.1b": 1_100_048_384,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-2-7b": 6_738_415_616,
    "mistral-7b": 7_241_732_096,
    "llama-3.1-8b": 8_030_261_248,
    "llama-2-13b": 13_015_864_320,
    "llama-33b": 32_528_943_616,
    "qwen2.5-32b": 32_763_876_352,
    "llama-65b": 65_285_660_672,
    "llama-2-70b": 68_976_648_192,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_count_equals_the_published_total(name):
    assert MODELS[name].parameter_count == PUBLISHED[name]


def test_gpt3_is_what_its_paper_rounds_to_175_billion():
    # table 2.1 says "175.0B"; with GPT-2's layout and the stated shape the sum is a little below
    assert MODELS["gpt3-175b"].parameter_count == pytest.approx(175e9, rel=0.003)


def test_tiny_gpt_is_the_shipped_one():
    text = resources.files("minilora").joinpath("assets/tiny-gpt/config.json").read_text(encoding="utf-8")
    config = json.loads(text)
    shape = MODELS["tiny-gpt"]
    for field in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                  "num_key_value_heads", "max_position_embeddings", "tie_word_embeddings"):  # fmt: skip
        assert getattr(shape, field) == config[field]


def transformers_count(shape: ModelShape) -> int:
    """Weights of the same shape, built by transformers without memory; it knows biases and positions by itself."""
    if shape.gpt2_layout:
        config = transformers.GPT2Config(
            vocab_size=shape.vocab_size, n_embd=shape.hidden_size, n_layer=shape.num_hidden_layers,
            n_head=shape.num_attention_heads, n_positions=shape.max_position_embeddings,
        )  # fmt: skip
        family = transformers.GPT2LMHeadModel
    else:
        names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                 "num_key_value_heads", "tie_word_embeddings", "max_position_embeddings")  # fmt: skip
        kind, family = transformers.LlamaConfig, transformers.LlamaForCausalLM
        if shape.name.startswith("qwen"):
            kind, family = transformers.Qwen2Config, transformers.Qwen2ForCausalLM
        config = kind(**{name: getattr(shape, name) for name in names})
    with torch.device("meta"):
        model = family(config)
    model.tie_weights()
    return sum(p.numel() for p in model.parameters())  # a shared tensor comes once


@pytest.mark.parametrize("name", MODELS)
def test_count_equals_that_of_transformers(name):
    assert MODELS[name].parameter_count == transformers_count(MODELS[name])


def test_shape_of_a_model_that_exists():
    config = GPTConfig(hidden_size=64, num_attention_heads=4, num_key_value_heads=2)
    shape = ModelShape.from_config(config)
    assert (shape.head_dim, shape.key_value_size) == (16, 32)
    assert shape.linear_layers["k_proj"] == (64, 32)


def test_every_entry_says_where_it_is_from_and_has_an_even_head():
    for shape in MODELS.values():
        assert shape.source
        assert shape.hidden_size % shape.num_attention_heads == 0
        assert shape.num_attention_heads % shape.num_key_value_heads == 0
    assert all(isinstance(device, Device) and device.source for device in DEVICES.values())
    assert sorted(d.gigabytes for d in DEVICES.values() if d.has_gpu) == [8, 12, 16, 24, 40, 48, 80, 141]
    assert [name for name, device in DEVICES.items() if not device.has_gpu] == ["laptop"]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no model 'gpt-5'.*tiny-gpt.*llama-3.1-8b"):
        model_shape("gpt-5")
