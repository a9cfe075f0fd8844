"""Adapters among other tools' adapters and models: what is read is computed as its owner does, or refused by name."""

import copy
import dataclasses
import json
import pickle
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from minilora.files.adapter_files import HARMLESS, LORA_FIELDS
from minilora.gpt import GPT
from minilora.lora import LoraConfig, LoraModel, add_lora
from minilora.memory import measure_memory
from minilora.quantization import Linear4bit, quantize_model
from minilora.training import Trainer
from tests.helpers import counting_rows, peer, randomize_adapter, small_gpt
from tests.test_lora import digest, logits, tiny_gpt2, tiny_llama

peft, transformers = peer("peft"), peer("transformers")

WIDTHS = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def seeded(build, config):
    torch.manual_seed(3)
    return build(config).eval()


def tiny_bert():
    config = transformers.BertConfig(vocab_size=100, num_labels=3, **WIDTHS)
    return seeded(transformers.BertForSequenceClassification, config)


def tiny_t5():
    config = transformers.T5Config(
        vocab_size=100, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0
    )
    return seeded(transformers.T5ForConditionalGeneration, config)


def tiny_bart():
    sizes = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4)
    sizes |= dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 48)
    sizes |= dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    config = transformers.BartConfig(vocab_size=100, d_model=32, max_position_embeddings=64, **sizes)
    return seeded(transformers.BartForConditionalGeneration, config)


def tiny_mixtral():
    config = transformers.MixtralConfig(
        vocab_size=100, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, **WIDTHS
    )
    return seeded(transformers.MixtralForCausalLM, config)


def tiny_mamba():
    config = transformers.MambaConfig(vocab_size=100, hidden_size=32, state_size=4, num_hidden_layers=2)
    return seeded(transformers.MambaForCausalLM, config)


def plain():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(15, 20), nn.ReLU(), nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 5)))


IDS = torch.arange(1, 31).view(2, 15)
CALLS = {tiny_t5: {"decoder_input_ids": IDS}, tiny_bart: {"decoder_input_ids": IDS}}


def answer(model, build=None):
    with torch.no_grad():
        out = model(IDS.float()) if build is plain else model(IDS, **CALLS.get(build, {}))
    return out if isinstance(out, torch.Tensor) else out.logits


def theirs_with_noise(build, scale=0.3, **settings):
    model = peft.get_peft_model(build(), peft.LoraConfig(**settings)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * scale)
    return model


# -- PEFT's config: every key is computed, harmless, or refused ------------------------------------------------


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_4", "olora", "loftq"])
def test_an_adapter_that_changes_the_base_is_refused_by_name(init, tmp_path):
    settings = {"target_modules": ["q_proj", "v_proj"], "init_lora_weights": init}
    if init == "loftq":  # making one needs CUDA; its file differs from a plain one in this word
        settings["init_lora_weights"] = True
    theirs_with_noise(tiny_llama, 0.05, **settings).save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"init_lora_weights": init}))
    with pytest.raises(ValueError, match=f"init_lora_weights is '{init}'"):
        LoraModel.from_pretrained(tiny_llama(), tmp_path)


@pytest.mark.parametrize("init", ["gaussian", "orthogonal", True])
def test_other_ways_to_start_load_with_pefts_logits(init, tmp_path):
    theirs = theirs_with_noise(tiny_llama, target_modules=["q_proj"], init_lora_weights=init)
    theirs.save_pretrained(tmp_path)
    assert torch.equal(logits(LoraModel.from_pretrained(tiny_llama(), tmp_path)), logits(theirs))


def test_every_key_that_peft_knows_is_computed_harmless_or_refused(tmp_path):
    add_lora(tiny_llama(), LoraConfig()).save_adapter(tmp_path)
    config, weights = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
    save_file(load_file(weights), weights)  # without our metadata
    saved = json.loads(config.read_text())
    names = [field.name for field in dataclasses.fields(peft.LoraConfig)] + ["a_key_of_next_year"]
    refused = [name for name in names if name not in HARMLESS and name not in LORA_FIELDS]
    assert len(refused) >= 15
    for name in refused:
        config.write_text(json.dumps(saved | {name: {"set": 1}}))
        with pytest.raises(ValueError, match=name):
            LoraModel.from_pretrained(tiny_llama(), tmp_path)
    theirs = peft.LoraConfig(target_modules=["q_proj", "v_proj"]).to_dict()
    theirs = {k: sorted(v) if isinstance(v, set) else v for k, v in theirs.items()}
    config.write_text(json.dumps(theirs, default=str))
    LoraModel.from_pretrained(tiny_llama(), tmp_path)  # all keys at their defaults


PATTERNS = {
    "rank_pattern": {"rank_pattern": {"v_proj": 2, r"layers\.1\.mlp\.up_proj": 5}},
    "alpha_pattern": {"alpha_pattern": {"^model.layers.0.self_attn.q_proj": 7}, "use_rslora": True},
    "exclude a list": {"exclude_modules": ["layers.0.self_attn.q_proj", "up_proj"]},
    "exclude a pattern": {"exclude_modules": r".*layers\.1\..*"},
    "one block": {"layers_to_transform": 1},
    "blocks by name": {"layers_to_transform": [0], "layers_pattern": "layers", "rank_pattern": {"q_proj": 9}},
}


@pytest.mark.parametrize("extra", PATTERNS.values(), ids=PATTERNS.keys())
def test_patterns_pick_the_layers_ranks_and_logits_that_peft_picks(extra, tmp_path):
    settings = {"r": 4, "lora_alpha": 10, "target_modules": ["q_proj", "v_proj", "up_proj"]} | extra
    theirs = theirs_with_noise(tiny_llama, **settings)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = LoraModel.from_pretrained(tiny_llama(), tmp_path / "theirs")
    assert torch.equal(logits(ours), logits(theirs))
    assert not torch.equal(logits(ours), logits(tiny_llama())), "the adapter has an effect"
    typed = add_lora(tiny_llama(), LoraConfig(**settings))
    ranks = {path: layer.configs["default"].r for path, layer in typed.lora_layers().items()}
    there = {n: m.r["default"] for n, m in theirs.get_base_model().named_modules() if hasattr(m, "lora_A")}
    assert ranks == there
    randomize_adapter(typed)
    typed.save_adapter(tmp_path / "ours")
    back = peft.PeftModel.from_pretrained(tiny_llama(), str(tmp_path / "ours")).eval()
    assert torch.equal(logits(typed), logits(back))
    again = LoraModel.from_pretrained(tiny_llama(), tmp_path / "ours")
    assert torch.equal(logits(typed), logits(again))


def test_patterns_that_fit_nothing_are_refused():
    for wrong, message in [
        ({"rank_pattern": {"k_proj": 2}}, "'k_proj'"),
        ({"exclude_modules": ["q_proj", "v_proj"]}, "leave none"),
        ({"layers_to_transform": [7]}, "leave none"),
        ({"rank_pattern": {"(": 2}}, "rank_pattern"),
    ]:
        with pytest.raises(ValueError, match=message):
            add_lora(tiny_llama(), LoraConfig(**wrong))
    with pytest.raises(ValueError, match="as a list"):
        LoraConfig(target_modules="attention", layers_to_transform=1)


def test_adapters_with_different_ranks_in_a_layer_combine():
    model = add_lora(tiny_llama(), LoraConfig(r=4, rank_pattern={"v_proj": 2}), "a")
    model.add_adapter("b", LoraConfig(r=3, target_modules=["v_proj", "up_proj"]))
    for seed, name in enumerate("ab"):
        randomize_adapter(model, name, seed)
    model.set_adapters(["a", "b"], [0.5, 2.0])
    both = logits(model)
    assert model.add_weighted_adapter(["a", "b"], [0.5, 2.0], "c", "cat") == 0
    model.set_adapter("c")
    assert (logits(model) - both).abs().max() < 1e-5


@pytest.mark.parametrize("build", [plain, tiny_bert, tiny_t5, tiny_bart, tiny_gpt2, tiny_llama])
def test_peft_opens_what_we_save_for_every_kind_of_model(build, tmp_path):
    targets = ["0", "2.1"] if build is plain else "all-linear"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # r is above the three outputs of BERT's classifier
        ours = add_lora(build(), LoraConfig(r=4, target_modules=targets)).eval()
    randomize_adapter(ours)
    ours.save_adapter(tmp_path)
    theirs = peft.PeftModel.from_pretrained(build(), str(tmp_path)).eval()
    assert (answer(ours, build) - answer(theirs, build)).abs().max() < 1e-6
    assert (answer(ours, build) - answer(build(), build)).abs().max() > 1e-3
    again = LoraModel.from_pretrained(build(), tmp_path)
    assert torch.equal(answer(ours, build), answer(again, build))


def test_the_file_names_its_base_and_kind(tmp_path, story_model):
    def config_of(base, name):
        add_lora(base, LoraConfig(r=1, target_modules="all-linear")).save_adapter(tmp_path / name)
        return json.loads((tmp_path / name / "adapter_config.json").read_text())

    tiny = config_of(GPT.from_pretrained("tiny-gpt"), "tiny")
    assert (tiny["base_model_name_or_path"], tiny["task_type"]) == ("tiny-gpt", "CAUSAL_LM")
    story_model.save_pretrained(tmp_path / "my-base")
    assert (
        config_of(GPT.from_pretrained(tmp_path / "my-base"), "mine")["base_model_name_or_path"] == "my-base"
    )
    tiny_llama().save_pretrained(tmp_path / "llama")
    llama = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "llama")
    assert config_of(llama, "theirs")["base_model_name_or_path"] == "llama"
    llama = tiny_llama()
    llama.config._name_or_path = llama.name_or_path = "org/model"
    assert config_of(llama, "hub")["base_model_name_or_path"] == "org/model"
    assert config_of(plain(), "plain")["task_type"] is None
    assert config_of(tiny_bert(), "bert")["task_type"] is None


def test_null_means_the_default_as_in_peft(tmp_path):
    theirs = theirs_with_noise(tiny_llama, target_modules=["q_proj"])
    theirs.save_pretrained(tmp_path)
    config = tmp_path / "adapter_config.json"
    nothing = dict.fromkeys(("use_rslora", "lora_dropout", "rank_pattern", "alpha_pattern", "bias"))
    config.write_text(json.dumps(json.loads(config.read_text()) | nothing))
    assert torch.equal(
        answer(LoraModel.from_pretrained(tiny_llama(), tmp_path), tiny_llama), answer(theirs, tiny_llama)
    )


def test_older_and_sharded_files_say_what_they_are(tmp_path):
    theirs = theirs_with_noise(tiny_llama, target_modules=["q_proj"])
    theirs.save_pretrained(tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    (tmp_path / "adapter_model.bin").write_bytes(weights.read_bytes())
    LoraModel.from_pretrained(tiny_llama(), tmp_path)  # both: the safe one is read
    weights.rename(tmp_path / "adapter_model-00001-of-00002.safetensors")
    with pytest.raises(FileNotFoundError, match=r"adapter_model\.bin.*pickle.*save_pretrained"):
        LoraModel.from_pretrained(tiny_llama(), tmp_path)
    (tmp_path / "adapter_model.bin").unlink()
    with pytest.raises(FileNotFoundError, match="shards"):
        LoraModel.from_pretrained(tiny_llama(), tmp_path)


def test_a_rank_above_a_layers_smaller_side_is_peft_s_too(tmp_path):
    theirs = theirs_with_noise(plain, r=9, target_modules=["2.1"])  # 20 in, 5 out
    theirs.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"r=9 is larger than layer 2\.1 .*r=5 can express"):
        ours = LoraModel.from_pretrained(plain(), tmp_path)
    assert torch.equal(answer(ours, plain), answer(theirs, plain))
    ours.add_weighted_adapter(["default"], [1.0], "svd", "svd", svd_rank=9)
    ours.set_adapter("svd")
    assert (answer(ours, plain) - answer(theirs, plain)).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_copy_of_the_base_in_half_precision_is_the_same_base(dtype, tmp_path):
    add_lora(small_gpt(), LoraConfig()).save_adapter(tmp_path / "from32")
    LoraModel.from_pretrained(small_gpt().to(dtype), tmp_path / "from32")
    add_lora(small_gpt().to(dtype), LoraConfig()).save_adapter(tmp_path / "from16")
    LoraModel.from_pretrained(small_gpt(), tmp_path / "from16")
    LoraModel.from_pretrained(small_gpt().to(dtype).float(), tmp_path / "from16")
    with pytest.raises(ValueError, match="another base"):
        LoraModel.from_pretrained(small_gpt(seed=5).to(dtype), tmp_path / "from32")


# -- adapters in a model -----------------------------------------------------------------------------------------


def two_adapters(build=small_gpt) -> LoraModel:
    model = add_lora(build(), LoraConfig(r=2, target_modules="attention"), "a")
    model.add_adapter("b", LoraConfig(r=2, target_modules="attention"))
    for seed, name in enumerate("ab"):
        randomize_adapter(model, name, seed)
    return model.eval()


def test_resting_adapters_require_no_gradient():
    model = two_adapters()

    def training():
        return {name.rsplit(".", 1)[1] for name, p in model.named_parameters() if p.requires_grad}

    assert training() == {"a"}
    model.set_adapter("b")
    assert training() == {"b"}
    model.set_adapters(["a", "b"])
    assert training() == {"a", "b"}
    model.add_weighted_adapter(["a", "b"], [1, 1], "c")
    model.delete_adapter("a")
    assert training() == {"b"}
    model.set_adapter("c")
    assert training() == {"c"}
    assert model.trainable_parameter_count() == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_a_frozen_adapter_stays_frozen_when_it_becomes_active(tmp_path):
    model = two_adapters()
    model.save_adapter(tmp_path, "b")
    model.load_adapter(tmp_path, "frozen")
    model.set_adapter("frozen")
    assert not any(p.requires_grad for p in model.parameters())
    model.load_adapter(tmp_path, "frozen", is_trainable=True, replace=True)
    assert model.active_adapters == ["frozen"]
    assert len(model.trainable_parameters()) == 16


def test_inside_disable_adapter_changes_are_refused(tmp_path):
    model = two_adapters()
    model.save_adapter(tmp_path, "a")
    base, with_a = logits(small_gpt()), logits(model)
    changes = [
        lambda: model.set_adapter("b"),
        lambda: model.set_adapters(["b"]),
        lambda: model.set_scale("a", 2.0),
        lambda: model.add_adapter("c", LoraConfig()),
        lambda: model.load_adapter(tmp_path, "c"),
        lambda: model.load_adapter(tmp_path, "a", replace=True),
        lambda: model.delete_adapter("a"),
        lambda: model.merge_adapter(),
        lambda: model.add_weighted_adapter(["a", "b"], [1, 1], "c"),
        lambda: model(IDS, adapter_names=["a", "b"]),
    ]
    with model.disable_adapter():
        with model.disable_adapter():
            assert torch.equal(logits(model), base)
        for change in changes:
            with pytest.raises(ValueError, match="disable"):
                change()
        model.save_adapter(tmp_path / "inside", "a")
    assert torch.equal(logits(model), with_a)
    assert list(model.peft_config) == ["a", "b"]
    model.set_adapter("b")


def test_what_is_thawed_beside_lora_is_refused_before_training_and_on_saving(tmp_path):
    model = add_lora(small_gpt(), LoraConfig())
    before = model.trainable_parameter_count()
    model.base.model.norm.requires_grad_(True)
    assert model.trainable_parameter_count() == before + 64
    with pytest.raises(ValueError, match=r"model\.norm\.weight"):
        Trainer(model, counting_rows(), max_steps=1, progress=False)
    with pytest.raises(ValueError, match=r"model\.norm\.weight"):
        model.save_adapter(tmp_path)
    with torch.no_grad():
        model.base.model.norm.weight.add_(0.5)  # trained by another loop
    model.base.requires_grad_(False)
    model.save_adapter(tmp_path)
    with pytest.raises(ValueError, match="another base"):
        LoraModel.from_pretrained(small_gpt(), tmp_path)


def test_merged_models_move_between_dtypes_and_are_not_trained():
    model = two_adapters()
    model.merge_adapter()
    plain_copy = copy.deepcopy(model).merge_and_unload().to(torch.bfloat16)
    model.to(torch.bfloat16)
    assert torch.equal(logits(model), logits(plain_copy))
    assert all(
        layer.merged_weight.device.type == "meta"
        for layer in copy.deepcopy(model).to("meta").lora_layers().values()
    )
    with pytest.raises(ValueError, match="unmerge_adapter"):
        Trainer(model, counting_rows(), max_steps=1, progress=False)
    model.unmerge_adapter()
    assert not [name for name in model.state_dict() if "merged" in name]


def test_attention_in_an_encoder_decoder_is_all_attention():
    for build in (tiny_bart, tiny_t5):
        ours = add_lora(build(), LoraConfig(target_modules="attention"))
        crossing = [p for p in ours.lora_layers() if ".encoder_attn." in p or ".EncDecAttention." in p]
        assert len(crossing) == (4 if build is tiny_bart else 8)


def test_a_layer_that_others_read_the_weight_of_is_computed_whole():
    """T5 reads wo's dtype; our loss and TRL's read the output layer's weight."""
    ours = add_lora(tiny_t5(), LoraConfig(target_modules=["wo", "q"])).eval()
    randomize_adapter(ours)
    assert torch.isfinite(answer(ours, tiny_t5)).all()
    untied = add_lora(small_gpt(tie_word_embeddings=False), LoraConfig(target_modules=["lm_head"]))
    Trainer(untied, counting_rows(), max_steps=2, progress=False).train()
    layer = untied.lora_layers()["lm_head"]
    x = torch.randn(5, 64)
    assert (x @ layer.weight.T - layer(x)).abs().max() < 1e-4
    assert layer.weight.grad_fn is not None
    conv = add_lora(tiny_gpt2(), LoraConfig(target_modules=["c_attn"]))
    randomize_adapter(conv)
    layer = next(iter(conv.lora_layers().values()))
    x = torch.randn(5, 32)
    assert (x @ layer.weight + layer.base_layer.bias - layer(x)).abs().max() < 1e-5


def test_layers_whose_forward_is_bypassed_are_refused():
    encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    for name in ("linear1", "out_proj", "all-linear"):
        with pytest.raises(ValueError, match="without calling"):
            add_lora(
                nn.Sequential(copy.deepcopy(encoder), nn.Linear(16, 16)), LoraConfig(r=2, target_modules=name)
            )
    left = {"exclude_modules": r"0\..*", "target_modules": "all-linear"}
    model = add_lora(nn.Sequential(encoder, nn.Linear(16, 16)), LoraConfig(r=2, **left))
    assert list(model.lora_layers()) == ["1"]
    with pytest.raises(ValueError, match=r"MambaMixer.*without calling"):
        add_lora(tiny_mamba(), LoraConfig(target_modules=["dt_proj"]))
    mamba = add_lora(tiny_mamba(), LoraConfig(target_modules=["in_proj"])).train()
    mamba(input_ids=IDS, labels=IDS).loss.backward()


def test_one_linear_layer_alone_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"nn\.Sequential"):
        add_lora(nn.Linear(4, 4), LoraConfig(r=1, target_modules="all-linear"))


def test_experts_that_are_left_out_are_named():
    with pytest.warns(UserWarning, match=r"mixture of experts.*layers\.0\.mlp"):
        add_lora(tiny_mixtral(), LoraConfig(target_modules="all-linear"))
    _, report = quantize_model(tiny_mixtral(), block_size=32)
    assert any("experts" in path for path in report.left_out)
    assert "left out" in str(report)
    assert "experts" in str(report)
    _, report = quantize_model(small_gpt())
    assert report.left_out == []
    assert "left out" not in str(report)


def test_bitsandbytes_layers_are_counted_by_their_weights_and_not_merged():
    bnb = peer("bitsandbytes")
    base = nn.Sequential(bnb.nn.Linear4bit(64, 32, bias=False, quant_type="nf4", compute_dtype=torch.float32))
    base = base.to("cpu")
    base(torch.randn(1, 64))  # packs
    if base[0].weight.is_floating_point():
        base[0].weight = base[0].weight._quantize("cpu")
    model = add_lora(base, LoraConfig(r=2, target_modules=["0"]))
    assert model.trainable_parameter_count().total == 64 * 32 + 2 * (64 + 32)
    with pytest.raises(ValueError, match="another library"):
        model.merge_adapter()


# -- 4 bits ------------------------------------------------------------------------------------------------------


def test_t5_in_4_bits_computes_what_its_decoded_weights_compute():
    packed, report = quantize_model(tiny_t5(), block_size=32)
    assert all(not path.endswith(".wo") for path in report.layers)
    assert any(path.endswith(".wo") for path in report.left_out)
    plain_copy = copy.deepcopy(packed)
    for path, layer in list(plain_copy.named_modules()):
        if isinstance(layer, Linear4bit):
            plain_copy.set_submodule(path, layer.dequantize())
    assert (answer(packed, tiny_t5) - answer(plain_copy, tiny_t5)).abs().max() < 1e-5
    add_lora(packed, LoraConfig(target_modules=["wo", "q"]))(IDS, labels=IDS).loss.backward()


def test_a_packed_layer_refuses_whole_numbers():
    layer = Linear4bit.from_linear(nn.Linear(64, 32))
    with pytest.raises(ValueError, match=r"torch\.uint8"):
        layer(torch.ones(2, 64, dtype=torch.uint8))


def test_torchs_encoder_and_mamba_work_in_4_bits():
    encoder = nn.Sequential(nn.TransformerEncoderLayer(64, 2, 64, batch_first=True), nn.Linear(64, 64)).eval()
    packed, report = quantize_model(encoder)
    assert report.layers == ["1"]
    assert "0.linear1" in report.left_out
    with torch.no_grad():
        packed(torch.randn(2, 3, 64))
    packed, _ = quantize_model(tiny_mamba(), block_size=32)
    assert torch.isfinite(logits(packed)).all()


# -- saving ------------------------------------------------------------------------------------------------------


def test_a_wrapped_or_packed_base_is_never_written_as_a_plain_one(tmp_path):
    wrapped = add_lora(small_gpt(), LoraConfig())
    packed, _ = quantize_model(small_gpt())
    packed_llama, _ = quantize_model(tiny_llama(), block_size=32)
    wrapped_llama = add_lora(tiny_llama(), LoraConfig())
    for model in (wrapped.base, packed, packed_llama, wrapped_llama.base):
        with pytest.raises(ValueError, match="save_pretrained"):
            model.save_pretrained(tmp_path / "base")
    assert not (tmp_path / "base").exists()
    wrapped_llama.save_pretrained(tmp_path / "adapter")
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    wrapped_llama.merge_and_unload().save_pretrained(tmp_path / "merged")
    transformers.LlamaForCausalLM.from_pretrained(tmp_path / "merged")
    add_lora(packed_llama, LoraConfig()).save_pretrained(tmp_path / "qlora")


def test_an_adapted_model_survives_copy_and_pickle():
    model = two_adapters()
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(again, LoraModel)
        assert torch.equal(logits(again), logits(model))
        again.set_adapter("b")
        assert not torch.equal(logits(again), logits(model))
        assert digest(again.base) == digest(model.base)


def test_memory_of_another_layout_is_refused_by_name():
    with pytest.raises(TypeError, match="GPT2LMHeadModel"):
        measure_memory(tiny_gpt2(), sequence_length=8)


def test_the_table_of_what_works_has_no_silent_mistake_and_is_the_page():
    import interop

    result = json.loads((interop.ROOT / "benchmarks/results/interop.json").read_text(encoding="utf-8"))
    assert {*result["adapters"]} == {*interop.ADAPTERS}
    assert {*result["architectures"]} == {*interop.ARCHITECTURES}
    assert "SILENTLY WRONG" not in json.dumps(result)
    assert (interop.ROOT / "docs/interop.md").read_text(encoding="utf-8") == interop.page(result)
