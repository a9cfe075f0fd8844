"""LoRA against peft and autograd: equal outputs, equal gradients, an untouched base, and loud errors."""

import hashlib
import math

import pytest
import torch
from torch import nn

from minilora.lora import LoraConfig, LoraLinear, LoraModel, add_lora, base_fingerprint, find_targets
from minilora.lora.combining import delta_weight
from minilora.lora.layer import ActiveAdapters
from minilora.quantization.model import quantize_model
from tests.helpers import peer, randomize_adapter, small_gpt

peft, transformers = peer("peft"), peer("transformers")

IDS = torch.arange(1, 31).view(2, 15)  # (batch, tokens)


def tiny_llama() -> nn.Module:
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return transformers.LlamaForCausalLM(config).eval()


def tiny_gpt2() -> nn.Module:
    torch.manual_seed(1)
    config = transformers.GPT2Config(vocab_size=100, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    return transformers.GPT2LMHeadModel(config).eval()


def digest(model: nn.Module) -> str:
    """Every bit of the base: names, types and bytes of all parameters that are not an adapter's."""
    h = hashlib.sha256()
    for name, value in model.state_dict().items():
        if ".lora_" not in name:
            h.update(
                f"{name.replace('base_layer.', '')} {value.dtype}".encode()
                + value.contiguous().view(torch.uint8).numpy().tobytes()
            )
    return h.hexdigest()


def logits(model: nn.Module, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        out = model(ids)
    return out if isinstance(out, torch.Tensor) else out.logits


# -- the formula ---------------------------------------------------------------------------------------------


def test_a_hand_worked_layer():
    """W = [[1, 2]], A = [[1, 1]], B = [[3]], alpha 4, r 1: y = (1·5 + 2·7) + 4 · 3 · (5 + 7) = 163."""
    base = nn.Linear(2, 1, bias=False)
    base.weight.data = torch.tensor([[1.0, 2.0]])
    model = add_lora(nn.Sequential(base), LoraConfig(r=1, lora_alpha=4, target_modules=["0"]))
    layer = model.base[0]
    layer.lora_A["default"].data = torch.tensor([[1.0, 1.0]])
    layer.lora_B["default"].data = torch.tensor([[3.0]])
    assert model(torch.tensor([[5.0, 7.0]])).item() == 163


@pytest.mark.parametrize("use_rslora", [False, True])
def test_outputs_and_gradients_are_those_of_peft_bit_for_bit(use_rslora):
    settings = {
        "r": 3,
        "lora_alpha": 7,
        "use_rslora": use_rslora,
        "target_modules": ["q_proj", "o_proj", "up_proj"],
    }
    ours = add_lora(tiny_llama(), LoraConfig(**settings))
    theirs = peft.get_peft_model(tiny_llama(), peft.LoraConfig(**settings))
    randomize_adapter(ours)
    their_layers = {
        name: m for name, m in theirs.named_modules() if hasattr(m, "lora_A") and hasattr(m, "base_layer")
    }
    for path, layer in ours.lora_layers().items():
        other = their_layers["base_model.model." + path]
        other.lora_A["default"].weight.data = layer.lora_A["default"].data.clone()
        other.lora_B["default"].weight.data = layer.lora_B["default"].data.clone()
    assert torch.equal(logits(ours), logits(theirs))
    ours(IDS).logits.logsumexp(-1).sum().backward()
    theirs(IDS).logits.logsumexp(-1).sum().backward()
    for path, layer in ours.lora_layers().items():
        other = their_layers["base_model.model." + path]
        assert torch.equal(layer.lora_A["default"].grad, other.lora_A["default"].weight.grad)
        assert torch.equal(layer.lora_B["default"].grad, other.lora_B["default"].weight.grad)


def test_dropout_is_pefts_and_only_in_training():
    settings = {"r": 2, "lora_alpha": 6, "lora_dropout": 0.5, "target_modules": ["q_proj"]}
    ours = add_lora(tiny_llama(), LoraConfig(**settings)).train()
    theirs = peft.get_peft_model(tiny_llama(), peft.LoraConfig(**settings)).train()
    randomize_adapter(ours)
    for path, layer in ours.lora_layers().items():
        other = theirs.get_submodule("base_model.model." + path)
        other.lora_A["default"].weight.data = layer.lora_A["default"].data.clone()
        other.lora_B["default"].weight.data = layer.lora_B["default"].data.clone()
    torch.manual_seed(5)
    dropped = logits(ours)
    torch.manual_seed(5)
    assert torch.equal(dropped, logits(theirs))
    assert not torch.equal(dropped, logits(ours))
    assert torch.equal(logits(ours.eval()), logits(theirs.eval()))


@pytest.mark.parametrize(
    "build", [small_gpt, tiny_llama, tiny_gpt2], ids=["our GPT", "Llama", "GPT-2 with Conv1D"]
)
@pytest.mark.parametrize("targets", ["attention", "mlp", "all-linear"])
def test_a_fresh_adapter_changes_nothing_and_trains_alone(build, targets):
    base = build()
    before, bits = logits(base), digest(base)
    model = add_lora(base, LoraConfig(r=4, target_modules=targets))
    assert torch.equal(logits(model), before)
    randomize_adapter(model)
    assert not torch.allclose(logits(model), before, atol=1e-3)
    out = model(IDS)
    (out if isinstance(out, torch.Tensor) else out.logits).sum().backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == {name for name, _ in model.named_parameters() if ".lora_" in name}
    assert digest(base) == bits
    with model.disable_adapter():
        assert torch.equal(logits(model), before)


def test_a_bf16_base_keeps_its_type_and_fp32_adapters():
    base = tiny_llama().to(torch.bfloat16)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    model = add_lora(base, LoraConfig(**settings))
    theirs = peft.get_peft_model(tiny_llama().to(torch.bfloat16), peft.LoraConfig(**settings))
    randomize_adapter(model)
    for path, layer in model.lora_layers().items():
        assert layer.lora_A["default"].dtype == torch.float32
        other = theirs.get_submodule("base_model.model." + path)
        other.lora_A["default"].weight.data = layer.lora_A["default"].data.clone()
        other.lora_B["default"].weight.data = layer.lora_B["default"].data.clone()
    assert logits(model).dtype == torch.bfloat16
    assert torch.equal(logits(model), logits(theirs))


def test_training_beside_a_bf16_base_differs_by_its_rounding_alone():
    """With gradients, products run in bfloat16; the update and all gradients stay within that type's rounding."""
    torch.manual_seed(0)
    tokens, width, r, scaling = 60, 96, 8, 0.5
    x, out, grad = (torch.randn(2, tokens // 2, width).bfloat16() for _ in range(3))
    layer = LoraLinear(torch.nn.Linear(width, width, bias=False).bfloat16(), ActiveAdapters({"a": 1.0}))
    layer.add_adapter("a", LoraConfig(r=r, lora_alpha=scaling * r))
    a, b = layer.lora_A["a"], layer.lora_B["a"]
    torch.nn.init.normal_(b)
    inputs = (out.requires_grad_(), x.requires_grad_(), a, b)
    ours = layer._add_update(out, x, "a", 1.0)
    doubles = [t.detach().double().requires_grad_() for t in inputs]
    exact = doubles[0] + doubles[1] @ doubles[2].T @ doubles[3].T * scaling
    assert ours.dtype == torch.bfloat16
    # each of the few steps rounds to 8 bits, off by 2⁻⁹ at the worst; the errors are independent
    assert (ours - exact).norm() < 2**-8 * exact.norm()
    for ours_grad, exact_grad, tensor in zip(
        torch.autograd.grad(ours, inputs, grad),
        torch.autograd.grad(exact, doubles, grad.double()),
        inputs,
        strict=True,
    ):
        assert ours_grad.dtype == tensor.dtype
        assert (ours_grad - exact_grad).norm() < 2**-7 * exact_grad.norm()
    with torch.no_grad():  # as peft computes it, bit for bit
        low = torch.nn.functional.linear(x.float(), a)
        update = torch.nn.functional.linear(low, b) * scaling
        assert torch.equal(layer._add_update(out, x, "a", 1.0), (out + update).bfloat16())


# -- counting and targets ------------------------------------------------------------------------------------


def test_the_count_is_an_integer_and_says_its_share():
    model = add_lora(small_gpt(), LoraConfig(r=4, target_modules=["attention"]))
    count = model.trainable_parameter_count()
    per_layer = 4 * ((64 + 64) + (64 + 32) + (64 + 32) + (64 + 64))  # r (in + out) for q, k, v, o
    total = sum(p.numel() for p in model.parameters())
    assert count == 2 * per_layer == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert str(count) == f"{2 * per_layer:,} trainable of {total:,} ({2 * per_layer / total:.2%})"
    theirs = peft.get_peft_model(tiny_llama(), peft.LoraConfig(r=4, target_modules=["q_proj", "k_proj"]))
    ours = add_lora(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj", "k_proj"]))
    assert (
        ours.trainable_parameter_count(),
        ours.trainable_parameter_count().total,
    ) == theirs.get_nb_trainable_parameters()


@pytest.mark.parametrize(
    "targets", [["q_proj"], "all-linear", r".*layers\.1\..*_proj", None, ["layers.0.mlp.up_proj"]]
)
def test_target_modules_pick_the_layers_that_peft_picks(targets):
    theirs = peft.get_peft_model(tiny_llama(), peft.LoraConfig(target_modules=targets))
    picked = {name.removeprefix("base_model.model.") for name in theirs.targeted_module_names}
    assert set(find_targets(tiny_llama(), targets)) == picked


def test_the_plain_words():
    model = small_gpt()
    ends = {path.split(".")[-1] for path in find_targets(model, "attention")}
    assert ends == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert {path.split(".")[-1] for path in find_targets(model, ["mlp"])} == {
        "gate_proj",
        "up_proj",
        "down_proj",
    }
    assert set(find_targets(model, ["attention", "mlp"])) == set(find_targets(model, "all-linear"))


# -- several adapters ----------------------------------------------------------------------------------------


@pytest.fixture
def three() -> LoraModel:
    """Adapters of different ranks, scales and targets on one base."""
    model = add_lora(small_gpt(), LoraConfig(r=2, lora_alpha=5, target_modules=["attention"]), "legal")
    model.add_adapter("code", LoraConfig(r=4, lora_alpha=3, target_modules=["q_proj", "mlp"]))
    model.add_adapter("support", LoraConfig(r=3, use_rslora=True, target_modules=["v_proj"]))
    for seed, name in enumerate(("legal", "code", "support")):
        randomize_adapter(model, name, seed)
    return model


def only(model: LoraModel, name: str) -> torch.Tensor:
    model.set_adapter(name)
    return logits(model)


def test_switching_changes_the_output_and_not_one_bit_of_the_base(three):
    bits = digest(three.base)
    seen = [only(three, name) for name in ("legal", "code", "support", "legal")]
    assert torch.equal(seen[0], seen[3])
    assert not torch.allclose(seen[0], seen[1])
    assert not torch.allclose(seen[1], seen[2])
    assert digest(three.base) == bits


def test_adapters_added_later_do_not_disturb_earlier_ones():
    model = add_lora(small_gpt(), LoraConfig(r=2), "first")
    randomize_adapter(model, "first")
    before = logits(model)
    model.add_adapter("second", LoraConfig(r=3, target_modules="all-linear"))
    assert torch.equal(only(model, "first"), before)
    model.delete_adapter("second")
    assert torch.equal(only(model, "first"), before)


def test_scale_multiplies_the_update_and_zero_is_the_base(three):
    layer = three.lora_layers()["model.layers.0.self_attn.q_proj"]
    x = torch.randn(5, 64)
    base = layer.base_layer(x)
    three.set_adapter("legal")
    full = layer(x) - base
    three.set_adapter("legal", scale=0.5)
    assert torch.allclose(layer(x) - base, 0.5 * full, atol=1e-5)
    three.set_scale("legal", 0.25)
    assert torch.allclose(layer(x) - base, 0.25 * full, atol=1e-5)
    three.set_adapter("legal", scale=0.0)
    assert torch.equal(layer(x), base)
    with pytest.raises(ValueError, match="'code' is not active"):
        three.set_scale("code", 1.0)
    assert three.adapter_scales == {"legal": 0.0}


def test_several_active_adapters_give_the_weighted_sum_of_their_updates(three):
    weights = {"legal": 0.7, "code": -0.4, "support": 1.5}
    x = torch.randn(5, 64, dtype=torch.float64)
    three.double()
    for layer in three.lora_layers().values():
        rows = x if layer.base_layer.in_features == 64 else torch.randn(5, 96, dtype=torch.float64)
        base, expected = layer.base_layer(rows), 0.0
        for name, weight in weights.items():
            three.set_adapter(name)
            expected = expected + weight * (layer(rows) - base)
        three.set_adapters(list(weights), list(weights.values()))
        assert torch.allclose(layer(rows) - base, expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["cat", "svd"])
def test_a_combination_with_an_undefined_weight_adds_nothing(kind, three):
    names = set(three.state_dict())
    with pytest.raises(ValueError, match="the weight of 'code' is nan"):
        three.add_weighted_adapter(["legal", "code"], [1.0, float("nan")], "both", kind)
    assert set(three.state_dict()) == names


def test_cat_is_exact_and_svd_says_its_error(three):
    names, weights = ["legal", "code"], [0.7, 0.4]
    three.set_adapters(names, weights)
    expected = logits(three)
    assert three.add_weighted_adapter(names, weights, "joined", "cat") == 0.0
    # float32, the products are added in another order: some 1e-6 of logits of size ten
    assert torch.allclose(only(three, "joined"), expected, atol=1e-4)
    assert three.peft_config["joined"].r == 6
    errors = {r: three.add_weighted_adapter(names, weights, f"rank{r}", svd_rank=r) for r in (1, 2, 4, 6)}
    assert errors[6] < 1e-6 < errors[4] < errors[2] < errors[1] < 1
    # the stated error is that of the full matrices, and no other matrix of that rank does better (Eckart-Young)
    lost = whole = best = 0.0
    for layer in three.lora_layers().values():
        delta = delta_weight(layer, dict(zip(names, weights, strict=True))).detach()
        lost += float((layer.get_delta_weight("rank2").detach() - delta).square().sum())
        whole += float(delta.square().sum())
        best += float(torch.linalg.svdvals(delta.double())[2:].square().sum())
    assert math.sqrt(lost / whole) == pytest.approx(errors[2], rel=1e-4)
    assert lost == pytest.approx(best, rel=1e-3)


def test_a_concatenation_may_be_wider_than_a_layer():
    model = LoraModel(small_gpt())  # k_proj: 64 in, 32 out
    for name in ("a", "b"):
        model.add_adapter(name, LoraConfig(r=20, target_modules=["k_proj"]))
    for seed, name in enumerate("ab"):
        randomize_adapter(model, name, seed)
    model.set_adapters(["a", "b"])
    summed = logits(model)
    assert model.add_weighted_adapter(["a", "b"], [1.0, 1.0], "cat", "cat") == 0
    assert model.add_weighted_adapter(["a", "b"], [1.0, 1.0], "svd", svd_rank=32) < 1e-5
    for name in ("cat", "svd"):
        model.set_adapter(name)
        assert (logits(model) - summed).abs().max() < 1e-4


def test_each_row_of_a_mixed_batch_uses_its_own_adapter(three):
    names = ["legal", "__base__", "code", "support", "code"]
    ids = torch.randint(0, 100, (5, 12))
    bits = digest(three.base)
    with torch.no_grad():
        mixed = three(ids, adapter_names=names)
    for row, name in enumerate(names):
        if name == "__base__":
            with three.disable_adapter():
                assert torch.equal(mixed[row : row + 1], logits(three, ids[row : row + 1]))
        else:
            three.set_adapter(name)
            # the products are summed by another routine: float32 rounding on logits of size ten
            assert torch.allclose(mixed[row : row + 1], logits(three, ids[row : row + 1]), atol=1e-4)
    with torch.no_grad():
        nobody = three(ids, adapter_names=["__base__"] * 5)
    with three.disable_adapter():
        assert torch.equal(nobody, logits(three, ids))
    assert digest(three.base) == bits
    alone = logits(three, ids)
    with pytest.raises(ValueError, match="give one for each row"):
        three(ids, adapter_names=["legal"])
    assert torch.equal(logits(three, ids), alone), "an error leaves nothing behind"
    with pytest.raises(ValueError, match="inference only"):
        three.train()(ids, adapter_names=names)


def test_deleting_the_active_adapter_activates_the_first_that_is_left(three):
    three.set_adapters(["code", "support"])
    three.delete_adapter("code")
    assert three.active_adapters == ["support"]
    with pytest.warns(UserWarning, match="'legal' is active now"):
        three.delete_adapter("support")
    assert three.active_adapters == ["legal"]
    three.delete_adapter("legal")
    assert three.active_adapters == []
    with pytest.raises(ValueError, match="no adapter 'legal'; there is: none"):
        three.delete_adapter("legal")


@pytest.mark.parametrize("build", [small_gpt, tiny_gpt2], ids=["Linear", "Conv1D"])
def test_merging_gives_equal_outputs_and_unmerging_the_very_base(build):
    model = add_lora(build(), LoraConfig(r=4, lora_alpha=3, target_modules="all-linear"))
    randomize_adapter(model, scale=0.1)
    separate, bits = logits(model), digest(model.base)
    model.merge_adapter()
    assert torch.allclose(logits(model), separate, atol=1e-4)
    assert digest(model.base) == bits, "even merged, the base's own tensors are untouched"
    with pytest.raises(ValueError, match="unmerge"):
        model.set_adapter("default")
    with pytest.raises(ValueError, match="unmerge"):
        model.merge_adapter()
    model.unmerge_adapter()
    assert torch.equal(logits(model), separate)
    assert digest(model.base) == bits


def test_unload_returns_the_base_as_it_came_or_with_merged_weights():
    base = small_gpt()
    before, bits = logits(base), digest(base)
    model = add_lora(base, LoraConfig(r=4))
    randomize_adapter(model)
    adapted = logits(model)
    assert model.unload() is base
    assert torch.equal(logits(base), before)
    assert digest(base) == bits
    assert all(p.requires_grad for p in base.parameters())
    model = add_lora(base, LoraConfig(r=4))
    randomize_adapter(model)
    merged = model.merge_and_unload()
    assert not any(isinstance(m, LoraLinear) for m in merged.modules())
    assert torch.allclose(logits(merged), adapted, atol=1e-4)


# -- the fingerprint -----------------------------------------------------------------------------------------


def test_the_fingerprint_knows_the_base_and_survives_rounding():
    assert base_fingerprint(small_gpt(0)) == base_fingerprint(small_gpt(0))
    assert base_fingerprint(small_gpt(0)) != base_fingerprint(small_gpt(1))
    assert base_fingerprint(small_gpt(0)) == base_fingerprint(small_gpt(0).to(torch.bfloat16))
    assert add_lora(small_gpt(0), LoraConfig()).fingerprint == base_fingerprint(small_gpt(0))
    assert add_lora(tiny_gpt2(), LoraConfig(target_modules="all-linear")).fingerprint == base_fingerprint(
        tiny_gpt2()
    )
    assert base_fingerprint(quantize_model(small_gpt(0))[0]) == base_fingerprint(small_gpt(0))


def test_a_merged_base_keeps_its_fingerprint_as_the_docstring_says():
    model = add_lora(small_gpt(), LoraConfig(r=4))
    randomize_adapter(model)
    assert base_fingerprint(model.merge_and_unload()) == base_fingerprint(small_gpt())
    assert "merged into" in base_fingerprint.__doc__


# -- bad input -----------------------------------------------------------------------------------------------


def test_a_second_add_lora_is_refused_and_leaves_the_first_whole():
    base = small_gpt()
    model = add_lora(base, LoraConfig(r=2))
    randomize_adapter(model)
    before = logits(model)
    for again in (base, model):
        with pytest.raises(ValueError, match="carries LoRA already"):
            add_lora(again, LoraConfig(r=2))
    assert torch.equal(logits(model), before)


def test_a_refused_configuration_leaves_the_model_as_it_came():
    base = small_gpt()
    bits = digest(base)
    with pytest.raises(ValueError, match="leave none"):
        add_lora(base, LoraConfig(exclude_modules=["q_proj", "v_proj"]))
    with pytest.raises(
        ValueError, match=r"q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, lm_head"
    ):
        add_lora(base, LoraConfig(target_modules=["c_attn"]))
    with pytest.raises(
        ValueError, match=r"no linear layer is called '\*_proj'"
    ):  # no regular expression either
        add_lora(base, LoraConfig(target_modules="*_proj"))
    assert digest(base) == bits
    assert all(p.requires_grad for p in base.parameters())
    assert not any(isinstance(m, LoraLinear) for m in base.modules())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 0}, "at least 1"),
        ({"r": -3}, "at least 1"),
        ({"r": 2.5}, "whole number"),
        ({"lora_alpha": 0}, "must be positive"),
        ({"lora_dropout": 1.0}, "less than 1"),
    ],
)
def test_impossible_settings_say_why(settings, message):
    with pytest.raises(ValueError, match=message):
        LoraConfig(**settings)


def test_the_tied_output_layer_is_refused():
    with pytest.raises(ValueError, match="shares its weight with the token embedding"):
        add_lora(small_gpt(tie_word_embeddings=True), LoraConfig(target_modules=["lm_head"]))
    add_lora(small_gpt(tie_word_embeddings=False), LoraConfig(target_modules=["lm_head"]))


@pytest.mark.parametrize("name", ["", "a.b", "mlp", "layers", "lora_A", "keys", "a b", "q_proj", "0"])
def test_awkward_adapter_names_are_refused(name):
    model = add_lora(small_gpt(), LoraConfig())
    with pytest.raises(ValueError, match="cannot name an adapter"):
        model.add_adapter(name, LoraConfig())


def test_the_names_that_are_awkward_are_those_of_the_base_at_hand():
    """GPT-2 keeps its blocks in "h"; ours has nothing of that name."""
    add_lora(small_gpt(), LoraConfig(), "h")
    with pytest.raises(ValueError, match="'h' cannot name an adapter"):
        add_lora(tiny_gpt2(), LoraConfig(target_modules="attention"), "h")


def test_unknown_and_doubled_adapters(three):
    with pytest.raises(ValueError, match="no adapter 'poet'; there is: legal, code, support"):
        three.set_adapter("poet")
    with pytest.raises(ValueError, match="no adapter 'poet'"):
        three(IDS, adapter_names=["poet", "legal"])
    with pytest.raises(ValueError, match="exists already"):
        three.add_adapter("legal", LoraConfig())
    with pytest.raises(ValueError, match="finite"):
        three.set_adapter("legal", scale=float("nan"))
    three.set_adapters(["legal", "code"], [0.5, 0.5])
    with pytest.raises(ValueError, match="say which to save"):
        three.save_adapter("nowhere")
