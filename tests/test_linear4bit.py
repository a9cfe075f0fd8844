"""The packed layer against an ordinary one, autograd and bitsandbytes; whole models, ours and transformers'."""

import copy
import gc
import json

import bitsandbytes as bnb
import peft
import pytest
import torch
import transformers
from quantization_gpu import their_layer
from safetensors.torch import load_file, save_file
from torch import nn

from minilora.lora import LoraConfig, add_lora
from minilora.lora.merging import merged_weight
from minilora.quantization import CODES, quantize_4bit, tables
from minilora.quantization.linear4bit import Linear4bit
from minilora.quantization.model import quantize_model
from tests.helpers import randomize_adapter, small_gpt

FORMS = [(code, dq) for code in CODES for dq in (False, True)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in [*model.named_parameters(), *model.named_buffers()]}


def assert_equal_tensors(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype, name
        assert torch.equal(tensor, second[name]), name


# -- one layer ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("code", "double_quant"), FORMS)
def test_forward_and_backward_equal_a_linear_layer_on_the_decoded_weight(code, double_quant, bias):
    ordinary = nn.Linear(48, 37, bias=bias)  # 1776 weights: the last block of 64 is short
    packed = Linear4bit.from_linear(ordinary, code, double_quant=double_quant)
    decoded = quantize_4bit(ordinary.weight, code, double_quant=double_quant).dequantize()
    assert not torch.equal(decoded, ordinary.weight)
    for shape in ((48,), (5, 48), (2, 3, 48), (0, 48)):
        x, x2 = (
            torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in "ab"
        )
        bias2 = ordinary.bias.detach().clone().requires_grad_() if bias else None
        y, y2 = packed(x), nn.functional.linear(x2, decoded, bias2)
        assert torch.equal(y, y2)
        g = torch.randn_like(y)
        packed.zero_grad()
        y.backward(g)
        y2.backward(g)
        torch.testing.assert_close(x.grad, x2.grad)
        if bias:
            torch.testing.assert_close(packed.bias.grad, bias2.grad)
    assert packed.weight.grad is None
    assert not any(buffer.requires_grad for buffer in packed.buffers())


@pytest.mark.parametrize("bias", [False, True])
def test_gradients_equal_differences_in_float64(bias):
    layer = Linear4bit.from_linear(nn.Linear(7, 5, bias=bias))
    layer.to(torch.float64)
    x = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    inputs = (x, layer.bias) if bias else (x,)

    def forward(x, *_):
        return layer(x)

    assert torch.autograd.gradcheck(forward, inputs)
    assert torch.autograd.gradgradcheck(forward, inputs)


def test_an_input_that_needs_no_gradient_gets_none_and_a_frozen_bias_too():
    layer = Linear4bit.from_linear(nn.Linear(16, 8).requires_grad_(False))
    assert not layer(torch.randn(2, 16)).requires_grad
    x = torch.randn(2, 16, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert layer.bias.grad is None


def test_between_the_passes_only_the_packed_weight_is_held():
    layer = Linear4bit.from_linear(nn.Linear(256, 512, bias=False))
    x = torch.randn(4, 256, requires_grad=True)
    own = {t.untyped_storage().data_ptr() for t in [x, *layer.buffers()]}
    saved = []

    def note(tensor):
        saved.append(tensor)
        return tensor

    gc.collect()
    before = {id(o) for o in gc.get_objects() if issubclass(type(o), torch.Tensor)}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        y = layer(x)
    # What autograd keeps, and every tensor that Python can reach anew: none as large as a decoded weight.
    gc.collect()
    new = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor) and id(o) not in before]
    held = [t for t in saved + new if t.untyped_storage().data_ptr() not in own and t is not y]
    assert sum(t.untyped_storage().nbytes() for t in held) < 4096  # of 524,288 for the weight in float32
    y.sum().backward()
    assert x.grad.shape == x.shape
    # The same measure does see what an ordinary layer keeps.
    saved.clear()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        layer.dequantize()(x)
    assert max(t.untyped_storage().nbytes() for t in saved) == 524_288


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_moving_and_converting_a_model_never_touches_the_packed_weight(dtype):
    layer = Linear4bit.from_linear(nn.Linear(64, 64), double_quant=dtype == torch.float64)
    before = tensors_of(layer)
    x = torch.randn(3, 64)
    y = layer(x)
    model = nn.Sequential(layer).to(dtype)
    after = tensors_of(layer)
    assert after.pop("bias").dtype == dtype
    before.pop("bias")
    assert_equal_tensors(before, after)
    assert model(x.to(dtype)).dtype == dtype
    model.float()
    tolerance = {torch.float16: 1e-3, torch.bfloat16: 1e-2, torch.float64: 0}[dtype]  # the bias was rounded
    torch.testing.assert_close(model(x), y, rtol=0, atol=tolerance)
    model.to("meta")
    assert {t.device.type for t in [*model.parameters(), *model.buffers()]} == {"meta"}
    assert layer.absmax.dtype == before["absmax"].dtype


def test_compute_dtype_decides_the_product_and_not_the_output():
    linear = nn.Linear(64, 32)
    layer = Linear4bit.from_linear(linear, compute_dtype=torch.bfloat16)
    x = torch.randn(3, 64)
    decoded = layer.dequantize().to(torch.bfloat16)
    linear.bias.data = linear.bias.data.bfloat16()
    assert layer(x).dtype == torch.float32
    assert torch.equal(layer(x), decoded(x.bfloat16()).float())


def test_autocast_computes_as_for_an_ordinary_layer():
    layer = Linear4bit.from_linear(nn.Linear(64, 32))
    x, x2 = (torch.linspace(-1, 1, 128).view(2, 64).requires_grad_() for _ in "ab")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, y2 = layer(x), layer.dequantize()(x2)
    assert torch.equal(y.float(), y2.float())
    y.sum().backward()
    y2.sum().backward()
    torch.testing.assert_close(
        x.grad, x2.grad, rtol=2**-7, atol=2**-7
    )  # one of the two rounded W to bfloat16


def test_copies_are_independent_and_equal():
    layer = Linear4bit.from_linear(nn.Linear(64, 32), double_quant=True)
    twin = copy.deepcopy(layer)
    x = torch.randn(2, 64)
    assert torch.equal(twin(x), layer(x))
    twin.weight.zero_()
    assert not torch.equal(twin(x), layer(x))


def test_decoded_layer_is_frozen_and_of_the_original_type():
    ordinary = nn.Linear(64, 32).to(torch.bfloat16)
    decoded = Linear4bit.from_linear(ordinary).dequantize()
    assert type(decoded) is nn.Linear
    assert decoded.weight.dtype == torch.bfloat16
    assert not decoded.weight.requires_grad
    assert decoded.bias is ordinary.bias


def test_a_weight_that_is_no_matrix_is_refused():
    with pytest.raises(ValueError, match=r"\(out, in\).*\(2, 3, 4\)"):
        Linear4bit(quantize_4bit(torch.randn(2, 3, 4)))


@pytest.mark.parametrize("double_quant", [False, True])
def test_forward_and_backward_compile_whole(double_quant, monkeypatch):
    monkeypatch.setattr(tables, "_TABLES", {})
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 64))
    model, _ = quantize_model(model, double_quant=double_quant)
    x = torch.randn(2, 64, requires_grad=True)
    tables._TABLES.clear()  # cold, as after a move to another device
    torch._dynamo.reset()
    y = torch.compile(model, fullgraph=True, backend="aot_eager")(x)
    (compiled,) = torch.autograd.grad(y.square().sum(), x)
    y2 = model(x)
    (eager,) = torch.autograd.grad(y2.square().sum(), x)
    assert torch.equal(y, y2)
    assert torch.equal(compiled, eager)


# -- checkpoints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_state_dict_is_that_of_bitsandbytes_in_both_directions(code, double_quant, dtype):
    linear = nn.Linear(128, 48).to(dtype)
    theirs = their_layer(linear, double_quant, code)
    ours = Linear4bit.from_linear(linear, code, double_quant=double_quant)
    state = ours.state_dict()
    assert_equal_tensors(dict(sorted(theirs.state_dict().items())), dict(sorted(state.items())))

    other = Linear4bit.from_linear(
        nn.Linear(128, 48).to(dtype)
    )  # another weight, and always nf4 without nesting
    other.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 128).to(dtype)
    assert torch.equal(other(x), ours(x))
    assert other.quant_type == code
    assert_equal_tensors(other.state_dict(), state)

    stats = {name: t for name, t in state.items() if name.startswith("weight.")}
    read = bnb.nn.Params4bit.from_prequantized(state["weight"], stats, device="cpu", module=theirs)
    theirs.weight = read
    torch.testing.assert_close(theirs(x), ours(x))


@pytest.mark.parametrize(("code", "double_quant"), FORMS)
def test_a_saved_layer_loads_again_in_every_form(code, double_quant, tmp_path):
    layer = Linear4bit.from_linear(nn.Linear(50, 30), code, None if code == "int4" else 32, double_quant)
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other = Linear4bit.from_linear(nn.Linear(50, 30))
    loaded = load_file(tmp_path / "layer.safetensors")
    other.load_state_dict(loaded)
    x = torch.randn(2, 50)
    assert torch.equal(other(x), layer(x))
    before = tensors_of(other)
    for tensor in loaded.values():
        tensor.zero_()  # the layer holds copies
    assert_equal_tensors(before, tensors_of(other))


def changed(state: dict, **changes) -> dict:
    """A state dict with other settings in its JSON entry."""
    (key,) = (name for name in state if "quant_state" in name)
    settings = json.loads(bytes(state[key].tolist())) | changes
    return state | {key: torch.tensor(list(json.dumps(settings).encode()), dtype=torch.uint8)}


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    layer = Linear4bit.from_linear(nn.Linear(64, 32), double_quant=True)
    before = tensors_of(layer)
    good = layer.state_dict()
    (key,) = (name for name in good if "quant_state" in name)
    cases = [
        (nn.Linear(64, 32).state_dict(), "no packed 4-bit weight.*quantize_model afterwards"),
        (Linear4bit.from_linear(nn.Linear(32, 64)).state_dict(), r"\(64, 32\).*\(32, 64\)"),
        (good | {"weight": good["weight"][:-1]}, "1023 values of torch.uint8, but needs 1024"),
        (
            good | {"weight.absmax": good["weight.absmax"].float()},
            "torch.float32, but needs 32 of torch.uint8",
        ),
        (good | {"weight.quant_map": good["weight.quant_map"] * 2}, "quant_map is not the table"),
        (good | {"weight.nested_quant_map": torch.ones(256)}, "nested_quant_map is not the table"),
        ({k: v for k, v in good.items() if k != "weight.nested_absmax"}, "damaged.*nested_absmax"),
        (good | {key: good[key][:-5]}, "damaged"),
        (changed(good, blocksize=128), "32 values of torch.uint8, but needs 16"),
        (changed(good, blocksize=0), "damaged"),
        (changed(good, nested_blocksize=128), "nested_blocksize is 128"),
        (changed(good, quant_type="nf5"), "damaged.*nf5"),
        (changed(good, dtype="float8"), "damaged.*float8"),
    ]
    for state, message in cases:
        state = {"bias": good["bias"]} | {k: v for k, v in state.items() if k != "bias"}
        with pytest.raises(RuntimeError, match=message):
            layer.load_state_dict(state)
        assert_equal_tensors(before, tensors_of(layer))
    with pytest.raises(RuntimeError, match=r'Missing key.*"weight"'):
        layer.load_state_dict({"bias": good["bias"]})
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"weight_extra"'):
        layer.load_state_dict(good | {"weight_extra": good["bias"]})


# -- whole models ------------------------------------------------------------------------------------------------------


def tiny_llama(**changes) -> transformers.LlamaForCausalLM:
    shape = {
        "vocab_size": 96,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": None,
    }
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape | changes)).eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("build", [small_gpt, tiny_llama])
def test_all_linear_layers_but_the_output_are_packed(build, tied):
    model = build(tie_word_embeddings=tied)
    plain = copy.deepcopy(model)
    linear = {path for path, m in model.named_modules() if type(m) is nn.Linear}
    result, report = quantize_model(model, double_quant=True)
    assert result is model
    packed = {path for path, m in model.named_modules() if isinstance(m, Linear4bit)}
    assert packed == linear - {"lm_head"}
    assert sorted(packed) == sorted(report.layers)
    assert type(model.lm_head) is nn.Linear
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert all(not m.training for m in model.modules())

    # The same model with the decoded weights put in by hand.
    with torch.no_grad():
        for path in packed:
            weight = plain.get_submodule(path).weight
            weight.copy_(quantize_4bit(weight, double_quant=True).dequantize())
    ids = torch.randint(0, 90, (2, 10))
    ours, theirs = (m(ids) for m in (model, plain))
    if build is tiny_llama:
        ours, theirs = ours.logits, theirs.logits
    assert torch.equal(ours, theirs)


def test_output_layers_of_other_names_are_found():
    class Speaker(nn.Sequential):
        def get_output_embeddings(self):  # transformers' way to ask
            return self[-1]

    model = Speaker(nn.Embedding(50, 32), nn.Linear(32, 32), nn.Linear(32, 50))
    assert quantize_model(model)[1].layers == ["1"]

    ours = nn.ModuleDict(
        {"embed": nn.Embedding(50, 32), "mix": nn.Linear(32, 32), "scores": nn.Linear(32, 50)}
    )
    ours["scores"].weight = ours["embed"].weight
    _, report = quantize_model(ours)
    assert report.layers == ["mix"]
    assert report.model_after == sum(t.nbytes for t in [*ours.parameters(), *ours.buffers()])


def test_the_report_is_measured():
    model = nn.Sequential(nn.Linear(256, 512), nn.LayerNorm(512), nn.Linear(512, 128, bias=False))
    _, report = quantize_model(model, block_size=128)
    weights = 256 * 512 + 512 * 128
    assert report.weights == weights
    assert report.bytes_before == 4 * (weights + 512)
    assert report.bytes_after == weights // 2 + 4 * weights // 128 + 4 * 512  # packed, absmax, the first bias
    assert report.model_before - report.bytes_before == report.model_after - report.bytes_after == 4 * 1024
    assert report.bits_per_weight == 8 * report.bytes_after / weights
    assert str(report).startswith(
        "2 linear layers: 0.79 MB -> 0.11 MB (4.333 bits per weight); the whole model: 0.79"
    )


def test_models_that_cannot_be_packed_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"quantize_model\(base\) first, then add_lora"):
        quantize_model(add_lora(small_gpt(), LoraConfig()))
    with pytest.raises(ValueError, match="quantize_model"):
        quantize_model(peft.get_peft_model(tiny_llama(), peft.LoraConfig()))
    with pytest.raises(ValueError, match="already in 4 bits"):
        quantize_model(quantize_model(small_gpt())[0])
    with pytest.raises(ValueError, match=r"Embedding holds no nn.Linear"):
        quantize_model(nn.Embedding(3, 4))
    with pytest.raises(ValueError, match=r"single layer.*from_linear"):
        quantize_model(nn.Linear(3, 4))


def test_an_error_leaves_the_model_as_it_was_and_names_the_layer():
    model = small_gpt()
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    before = list(model.modules())
    with pytest.raises(ValueError, match=r"layer model.layers.1.mlp.down_proj: x holds 1 infinite or NaN"):
        quantize_model(model)
    with pytest.raises(ValueError, match="nf5"):
        quantize_model(model, quant_type="nf5")
    assert before == list(model.modules())


def test_layers_that_torch_reads_as_bare_weights_are_left_alone():
    # In evaluation mode torch's encoder reads its layers' weights and calls none: packed, it would compute nonsense.
    model = nn.Sequential(nn.Linear(32, 32), nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)).eval()
    x = torch.randn(2, 5, 32)
    wanted = model[1](x)
    quantize_model(model)
    assert isinstance(model[0], Linear4bit)
    assert torch.equal(model[1](x), wanted)
    with pytest.raises(ValueError, match="nothing to pack"):
        quantize_model(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True))


def test_transformers_opens_our_4_bit_checkpoint_with_bitsandbytes(tmp_path):
    model = tiny_llama(tie_word_embeddings=True)
    model.generation_config = None
    model.config.save_pretrained(tmp_path)
    quantize_model(model, double_quant=True)
    state = {name: t for name, t in model.state_dict().items() if name != "lm_head.weight"}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": "float32",
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path, device_map="cpu", dtype=torch.float32)
    assert isinstance(theirs.model.layers[0].mlp.down_proj, bnb.nn.Linear4bit)
    theirs.train()  # in eval mode this release rounds its absmax for good
    ids = torch.randint(0, 90, (2, 10))
    torch.testing.assert_close(theirs(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-6)
    model.load_state_dict(theirs.state_dict())  # and back


# -- QLoRA -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("double_quant", [False, True])
def test_lora_on_a_packed_base_trains_the_adapter_alone(double_quant, tmp_path):
    base, _ = quantize_model(small_gpt(), double_quant=double_quant)
    ids = torch.randint(0, 100, (2, 12))
    logits = base(ids)
    before = tensors_of(base)
    model = add_lora(base, LoraConfig(r=4, target_modules="all-linear"))
    assert torch.equal(model(ids), logits)

    base.model.gradient_checkpointing = True
    model.train()
    optimizer = torch.optim.AdamW(model.trainable_parameters().values(), lr=1e-2)
    losses = []
    for _ in range(5):
        loss = nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in model.trainable_parameters().values())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]

    model.eval()
    adapted = model(ids)
    model.save_adapter(tmp_path / "adapter")
    model.state_dict()
    with model.disable_adapter():
        assert torch.equal(model(ids), logits)
    assert not torch.equal(adapted, logits)
    assert_equal_tensors(before, tensors_of(model.unload()))


def test_merging_into_4_bits_is_explained_and_the_decoded_merge_is_exact():
    base, _ = quantize_model(small_gpt())
    model = add_lora(base, LoraConfig(r=4))
    randomize_adapter(model)
    ids = torch.randint(0, 100, (2, 12))
    separate = model(ids)
    with pytest.raises(ValueError, match=r"4 bits.*dequantize=True") as refused:
        model.merge_adapter()
    path, layer = next(iter(model.lora_layers().items()))
    merged, update = merged_weight(layer), layer.get_delta_weight("default")
    moved = (quantize_4bit(merged).dequantize() - merged).norm() / update.norm()
    assert f"In {path}, " in str(refused.value)
    assert f"{moved:.1f} times as far" in str(refused.value)
    model.merge_adapter(dequantize=True)
    torch.testing.assert_close(model(ids), separate, rtol=1e-4, atol=1e-4)
    model.unmerge_adapter()
    assert torch.equal(model(ids), separate)
    plain = model.merge_and_unload(dequantize=True)
    torch.testing.assert_close(plain(ids), separate, rtol=1e-4, atol=1e-4)


def test_rounding_a_merged_weight_to_4_bits_would_erase_a_usual_adapter():
    # An update of 1.2% of the weight, a usual size after training: the rounding moves the merged weight by about
    # as much as the adapter does, or more, so what is left of it is mostly noise.
    linear = nn.Linear(512, 512, bias=False)
    base = quantize_4bit(linear.weight).dequantize()
    delta = torch.randn(512, 8) @ torch.randn(8, 512)
    delta *= 0.012 * base.norm() / delta.norm()
    merged = quantize_4bit(base + delta).dequantize()
    lost = (merged - (base + delta)).norm() / delta.norm()
    assert lost > 1.0
