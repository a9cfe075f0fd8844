"""The planner against arithmetic by hand, against tensors that are alive in a real step, and against its own sense."""

import dataclasses
import importlib.util
import json
import math
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from minilora import GPT, GPTConfig, LoraConfig, add_lora, quantize_model
from minilora.memory import DTYPES, METHODS, measure_memory, plan_memory
from minilora.memory.catalog import MODELS, ModelShape

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
BY_HAND = ModelShape("by hand", 10, 8, 16, 2, 2, 1, 512, tie_word_embeddings=False)
# one block: q 8·8, k 8·4, v 8·4, o 8·8, gate, up and down 8·16 each = 576; two norms of 8
# all: 2·576 packed by QLoRA + 2·10·8 embedding and output + 5·8 norms = 1152 + 160 + 40
WEIGHTS, PACKED = 1352, 1152


def sizes(plan):
    return {name: part.largest for name, part in plan.parts.items()}


def test_full_by_hand():
    plan = plan_memory(BY_HAND, "full", dtype="bf16", sequence_length=4)
    found = sizes(plan)
    assert plan.trained == WEIGHTS
    assert found["weights"] == found["gradients"] == plan.file_bytes == 2 * WEIGHTS
    assert found["optimizer"] == 4 * WEIGHTS
    assert found["adapters"] == found["quantization constants"] == found["backup"] == 0
    # kept for the backward pass by one block, bytes per token: two norms' inputs and scales 2·(16 + 4); q and the
    # attention's output 2·16, k and v 2·8, one sum for each of two heads 2·4; gate, silu(gate), up 3·32; inputs of
    # q/k/v and of gate/up 2·16, of down_proj 32
    block = 40 + 32 + 16 + 8 + 96 + 32 + 32
    around = 2 * 4 * 4 * 2 + 4 * 16  # cosine and sine of 4 positions × 4 numbers; token numbers and targets
    last = 4 * (16 + 4 + 16 + 4 * 10)  # last norm's input, scale, output; 10 log-probabilities in fp32
    assert plan.kept_by_forward == 4 * 2 * block + around + last


@pytest.mark.parametrize(
    ("optimizer", "bytes_per_weight"),
    [("adamw", 4), ("adamw-fp32", 8), ("adamw-master", 12), ("adamw-8bit", 2), ("sgd", 0)],
)
def test_optimizers_of_bf16_weights(optimizer, bytes_per_weight):
    assert sizes(plan_memory(BY_HAND, "full", optimizer=optimizer))["optimizer"] == bytes_per_weight * WEIGHTS
    adapter = plan_memory(BY_HAND, "lora", r=1, optimizer=optimizer)
    # an adapter is fp32 whatever the base is: its moments are 4 bytes each, and it needs no second copy
    expected = {"adamw-8bit": 2, "sgd": 0}.get(optimizer, 8)
    assert sizes(adapter)["optimizer"] == expected * adapter.trained


def test_lora_by_hand():
    plan = plan_memory(BY_HAND, "lora", r=3, target_modules=["q_proj", "v_proj"], dtype="bf16")
    assert plan.trained == 2 * 3 * ((8 + 8) + (8 + 4))
    found = sizes(plan)
    assert found["weights"] == 2 * WEIGHTS
    assert found["adapters"] == found["gradients"] == found["backup"] == plan.file_bytes == 4 * plan.trained
    assert found["optimizer"] == 8 * plan.trained


def test_qlora_by_hand():
    found = sizes(plan_memory(BY_HAND, "qlora", r=1, block_size=64, dtype="bf16"))
    assert found["weights"] == PACKED // 2 + 2 * (WEIGHTS - PACKED)
    assert found["quantization constants"] == 4 * 2 * (1 + 1 + 1 + 1 + 2 + 2 + 2)
    double = sizes(plan_memory(BY_HAND, "qlora", r=1, double_quant=True))
    assert double["quantization constants"] == 2 * 10 + 4 * 2 * 7 + 4 * 2 * 7  # blocks, groups, offsets


def test_the_sizes_that_everyone_quotes():
    """16 bytes per weight in fp32, 4.5 bits in NF4 and 4.127 with double quantization, on the shapes of papers."""
    full = plan_memory("gpt3-175b", "full", dtype="fp32", sequence_length=1)
    fixed = sum(sizes(full)[name] for name in ("weights", "gradients", "optimizer"))
    assert fixed == 16 * MODELS["gpt3-175b"].parameter_count
    for double_quant, bits in ((False, 4.5), (True, 4.127)):
        packed = sizes(plan_memory("llama-65b", "qlora", double_quant=double_quant))
        rest = MODELS["llama-65b"].parameter_count - MODELS["llama-65b"].linear_weights
        stored = packed["weights"] - 2 * rest + packed["quantization constants"]
        assert 8 * stored / MODELS["llama-65b"].linear_weights == pytest.approx(bits, abs=5e-4)
    for r, trained in ((32, 9_175_040), (64, 18_350_080)):  # as in the table of PEFT's MetaMathQA benchmark
        plan = plan_memory("llama-3.2-3b", "lora", r=r, target_modules=["q_proj", "v_proj"])
        assert plan.trained == trained
        assert plan.file_bytes == 4 * trained  # its files: 36.7 and 73.4 MB


# -- against what others published, and against a GPU, as recorded -------------------------------------------------


def benchmark(name):
    """One of the programs in benchmarks/, as a module."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_published_peaks_that_state_their_setting_agree():
    published_peaks = benchmark("published_peaks")
    rows = {row["source"]: row for row in map(published_peaks.compare, published_peaks.PEAKS)}
    stated = [row for source, row in rows.items() if source.startswith(("PEFT", "lit-gpt"))]
    assert len(stated) == 10
    for row in stated:
        assert row["verdict"].startswith("agrees"), row
    assert all(len(row["verdict"]) > 20 for row in rows.values() if not row["verdict"].startswith("agrees"))


# -- against real tensors ------------------------------------------------------------------------------------------


class _FlashAttention(torch.autograd.Function):
    """Keeps what the CUDA kernel keeps: q, k, v, the output and one fp32 sum per head and token."""

    @staticmethod
    def forward(ctx, q, k, v):
        out = torch.zeros_like(q.transpose(1, 2)).transpose(1, 2)
        ctx.save_for_backward(q, k, v, out, q.new_zeros(q.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx, grad):
        return tuple(torch.zeros_like(tensor) for tensor in ctx.saved_tensors[:3])


class _FusedNorm(torch.autograd.Function):
    """Keeps its input and one fp32 scale per token."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight, x.new_zeros(x.shape[:-1], dtype=torch.float32))
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        _, weight, _ = ctx.saved_tensors
        return grad.clone(), torch.zeros_like(weight) if ctx.needs_input_grad[1] else None


@pytest.fixture
def gpu_kernels(monkeypatch):
    """On a CPU attention and norms keep other tensors than on a GPU; these stand-ins keep the GPU's."""
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda q, k, v, **_: _FlashAttention.apply(q, k, v)
    )
    monkeypatch.setattr(nn.RMSNorm, "forward", lambda self, x: _FusedNorm.apply(x, self.weight))


TINY = GPTConfig(
    vocab_size=512,
    hidden_size=128,
    intermediate_size=320,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    tie_word_embeddings=False,
)


def both(method, targets="all-linear", dtype="bf16", checkpointing=False, double_quant=False, config=TINY):
    """The plan of a step, and what it does take here."""
    torch.manual_seed(0)
    model = GPT(config).to({"bf16": torch.bfloat16, "fp32": torch.float32}[dtype])
    if method == "qlora":
        quantize_model(model, double_quant=double_quant)
    if method != "full":
        model = add_lora(model, LoraConfig(r=4, target_modules=targets))
    measured = measure_memory(model, batch_size=2, sequence_length=64, gradient_checkpointing=checkpointing)
    plan = plan_memory(
        ModelShape.from_config(config), method, 4, targets, dtype, "adamw", 2, 64, checkpointing, double_quant
    )
    return plan, measured


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("method", METHODS)
def test_what_stays_equals_the_live_tensors_to_the_byte(method, tied, dtype):
    config = GPTConfig(**{**TINY.__dict__, "tie_word_embeddings": tied})
    for double_quant in (False, True) if method == "qlora" else (False,):
        plan, measured = both(method, dtype=dtype, double_quant=double_quant, config=config)
        assert {name: sizes(plan)[name] for name in measured.parts} == measured.parts


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
@pytest.mark.parametrize("targets", ["all-linear", "attention", ["q_proj", "v_proj"], "mlp", ["down_proj"]])
@pytest.mark.parametrize("method", METHODS)
def test_kept_by_forward_and_peak(method, targets, checkpointing, gpu_kernels):
    if method == "full" and targets != "all-linear":
        return
    plan, measured = both(method, targets, checkpointing=checkpointing)
    lacking = 0 if checkpointing else 2 * 64 * lacking_in_first_block(method, targets)
    # what waits between forward and backward is known tensor by tensor: below 1 % is rounding up, scalars and seeds
    assert plan.kept_by_forward - lacking == pytest.approx(measured.kept_by_forward, rel=0.01)
    # at the peak short-lived tensors count, which the kernels of a CPU make more or fewer of
    assert plan.total - plan.parts["workspace"].bytes - lacking == pytest.approx(measured.peak, rel=0.10)


def lacking_in_first_block(method, targets) -> int:
    """Bytes per token of TINY in bf16 that the plan counts for the first block, but autograd need not keep there.

    With a frozen embedding nothing before the first adapter needs a gradient. In a model of 16 layers or more that is
    below 2 %, so the plan leaves it out; in one of three it shows.
    """
    norm, attention, feed_forward = 2 * 128 + 4, 2 * (2 * 128 + 2 * 64) + 4 * 4, 3 * 2 * 320
    if method == "full":
        return 0
    if targets in ("mlp", ["down_proj"]):
        return 2 * norm + attention + (0 if targets == "mlp" else feed_forward)
    return norm


def test_measuring_changes_nothing():
    model = add_lora(GPT(TINY), LoraConfig(r=4))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    measure_memory(model, sequence_length=8, gradient_checkpointing=True)
    assert not model.model.gradient_checkpointing
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


# -- sense ---------------------------------------------------------------------------------------------------------

choices = st.fixed_dictionaries(
    {
        "shape": st.sampled_from([name for name in MODELS if not MODELS[name].gpt2_layout]),
        "method": st.sampled_from(METHODS),
        "r": st.sampled_from([1, 8, 32]),
        "target_modules": st.sampled_from(["attention", "mlp", "all-linear", "down_proj"]),
        "dtype": st.sampled_from(list(DTYPES)),
        "batch_size": st.integers(1, 8),
        "sequence_length": st.integers(1, 500),
        "gradient_checkpointing": st.booleans(),
        "double_quant": st.booleans(),
        "activation_offloading": st.booleans(),
    }
).filter(lambda chosen: chosen["gradient_checkpointing"] or not chosen["activation_offloading"])


@settings(max_examples=150, deadline=None)
@given(chosen=choices)
def test_more_of_anything_never_takes_less(chosen):
    total = plan_memory(**chosen).total
    for change in (
        {"batch_size": chosen["batch_size"] + 1},
        {"sequence_length": chosen["sequence_length"] + 1},
        {"r": 2 * chosen["r"]},
        {"dtype": "fp32"},
    ):
        assert plan_memory(**chosen | change).total >= total, change
    assert plan_memory(**chosen | {"optimizer": "sgd"}).total <= total


def worth(formula: str) -> int:
    """What a formula comes to: a sum of products of the numbers in it, up to a semicolon or a colon."""
    arithmetic = re.split("[;:]", formula)[0]
    total = 0.0
    for term in arithmetic.split(" + "):
        numbers = re.findall(r"(?<![\w-])(\d[\d,]*|½)(?![\w])", term)
        total += math.prod(0.5 if number == "½" else int(number.replace(",", "")) for number in numbers)
    return int(total)


@settings(max_examples=150, deadline=None)
@given(chosen=choices)
def test_the_parts_add_up_and_explain_themselves(chosen):
    plan = plan_memory(**chosen)
    assert sum(part.bytes for part in plan.parts.values()) == plan.total == plan.moments[plan.peak_moment]
    for part in plan.parts.values():
        assert 0 <= part.bytes <= part.largest
        assert not part.largest or worth(part.formula) == part.largest, part
    for card in (8, 24, 80):
        assert (plan.cards(card) == 1) == (plan.headroom(card) >= 0)


def test_each_saving_saves():
    long = {"batch_size": 4, "sequence_length": 2048}
    full, lora, qlora = (plan_memory("llama-3.1-8b", method, **long) for method in METHODS)
    assert full.total > lora.total > qlora.total
    assert plan_memory("llama-3.1-8b", "lora", gradient_checkpointing=True, **long).total < lora.total
    assert plan_memory("llama-3.1-8b", "qlora", double_quant=True, **long).total < qlora.total
    checkpointing = plan_memory("llama-3.1-8b", "qlora", gradient_checkpointing=True, **long)
    offloading = plan_memory(
        "llama-3.1-8b", "qlora", gradient_checkpointing=True, activation_offloading=True, **long
    )
    # the inputs of 32 blocks, 8,192 bytes a token each, and more, as no block is recomputed as a whole
    assert checkpointing.total - offloading.total > 4 * 2048 * 32 * 8192


@pytest.mark.parametrize(
    ("given_values", "words"),
    [
        ({"shape": "llama-9"}, "there is no model 'llama-9' in the catalog; it has tiny-gpt"),
        ({"method": "adapter"}, "method is 'adapter'; choose one of full, lora, qlora"),
        ({"dtype": "int8"}, "choose one of fp32, bf16, fp16"),
        ({"optimizer": "lion"}, "optimizer is 'lion'"),
        ({"r": 0}, "r is 0; it must be a whole number of at least 1"),
        ({"r": 2.5}, "r is 2.5"),
        ({"r": 257}, r"r=257 is larger than q_proj \(256, 256\)"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"sequence_length": True}, "sequence_length is True"),
        ({"sequence_length": 1025}, "longer than the 1024 tokens"),
        ({"block_size": 0}, "block_size is 0"),
        ({"target_modules": "atention"}, "this model has q_proj, k_proj"),
        ({"target_modules": []}, "target_modules is empty"),
        ({"activation_offloading": True}, "activation_offloading needs gradient_checkpointing=True"),
    ],
)
def test_bad_values_say_what_is_allowed(given_values, words):
    with pytest.raises(ValueError, match=words):
        plan_memory(**{"shape": "tiny-gpt"} | given_values)


def test_other_errors():
    with pytest.raises(TypeError, match=r"ModelShape.from_config"):
        plan_memory(GPTConfig())
    with pytest.raises(ValueError, match="a GPU of 0 GB holds nothing"):
        plan_memory("tiny-gpt").cards(0)


def test_a_plan_needs_neither_torch_nor_numpy():
    """The package imports torch; these two modules must not, so a page without it can use them."""
    program = (
        "import sys\n"
        "from minilora.memory import plan_memory\n"
        "plan_memory('llama-3.1-8b', 'qlora').total\n"
        "print([name for name in ('torch', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_measured_memory_prints():
    text = str(measure_memory(GPT(TINY), sequence_length=8))
    assert "optimizer" in text
    assert "whole process" in text


def test_the_planner_holds_against_the_recorded_gpu():
    """Plans made now, not those in the file, against the allocator's peaks of one H200."""
    memory_gpu = benchmark("memory_gpu")
    recorded = json.loads((BENCHMARKS / "results" / "memory_gpu.json").read_text(encoding="utf-8"))
    fields = {field.name for field in dataclasses.fields(memory_gpu.Case)}
    errors, unseen = {}, []
    for row in recorded["rows"]:
        if "measured" in row:
            targets = row["target_modules"]
            case = memory_gpu.Case(
                **{k: v for k, v in row.items() if k in fields}
                | {"target_modules": tuple(targets) if isinstance(targets, list) else targets}
            )
            plan = memory_gpu.plan(case, MODELS[case.shape])
            errors[case] = abs(plan.total / row["measured"] - 1)
            unseen += [errors[case]] * (not case.fitted)
    assert len(errors) >= 40
    assert len(unseen) >= 14, "configurations that the planner was not fitted to"
    assert statistics.median(unseen) <= 0.03
    assert statistics.median(errors.values()) <= 0.03
    assert max(errors.values()) <= 0.10, max(errors, key=errors.get)


def test_the_whole_context_of_an_8b_model_was_one_row_within_24_gb():
    """As recorded on a GPU, and as planned now."""
    recorded = json.loads((BENCHMARKS / "results" / "long_rows.json").read_text(encoding="utf-8"))
    fits = {(row["how"], row["tokens"]): "peak" in row for row in recorded["rows"]}
    assert not fits["gradient checkpointing", 40960]
    assert fits["activation offloading", 131072]
    for row in recorded["rows"]:
        plan = plan_memory(
            recorded["shape"], "qlora", recorded["r"], "all-linear", sequence_length=row["tokens"], double_quant=True,
            gradient_checkpointing=True, activation_offloading=row["how"] == "activation offloading",
        ).total  # fmt: skip
        assert ("peak" in row) == (plan < recorded["budget_gb"] * 1e9)
        if "peak" in row:
            assert row["peak"] <= row["reserved"] < recorded["budget_gb"] * 1e9
            assert plan == pytest.approx(row["peak"], rel=0.03)


def test_a_model_of_8_billion_weights_was_trained_within_24_gb():
    """What the chapter claims, as recorded on a GPU whose allocator was held to each budget."""
    recorded = json.loads((BENCHMARKS / "results" / "seven_billion.json").read_text(encoding="utf-8"))
    assert MODELS[recorded["shape"]].parameter_count > 7e9
    qlora = recorded["qlora_in_24_gb"]
    assert qlora["peak"] <= qlora["reserved"] < 24e9
    assert len(qlora["losses"]) >= 20
    assert qlora["losses"][-1] < 0.5 * qlora["losses"][0], "it learns: the rows are the same in each step"
    others = {(row["method"], row["dtype"], row["budget_gb"]): row for row in recorded["what_else_fits"]}
    assert not others["full", "fp32", 80]["fits"]
    assert not others["full", "bf16", 24]["fits"]
    for row in others.values():  # the planner knew it
        assert (row["planned"] < row["budget_gb"] * 1e9) == row["fits"], row
        if row["fits"]:
            assert row["planned"] == pytest.approx(row["peak"], rel=0.10)
