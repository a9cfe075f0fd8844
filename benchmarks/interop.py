"""What works with what is installed, as data: adapters by feature, architectures by operation, checkpoints.

    python benchmarks/interop.py          # writes benchmarks/results/interop.json and docs/interop.md

Every cell is measured on tiny random models: "same" (the largest difference of the logits is at most 1e-5 of what they
measure, or 1e-5), "refused" (an error that says so), "warned", or "SILENTLY WRONG", which must appear nowhere.
"""

from __future__ import annotations

import copy
import json
import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes
import peft
import torch
import transformers

from minilora.gpt import GPT
from minilora.lora import LoraConfig, LoraModel, add_lora
from minilora.quantization import Linear4bit, quantize_model

ROOT = Path(__file__).parents[1]
IDS = torch.arange(1, 31).view(2, 15)
WIDTHS = {"vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
WIDTHS |= {"num_attention_heads": 4, "num_key_value_heads": 2}
SMALL = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
}

# class in transformers -> settings of its config
ARCHITECTURES: dict[str, dict] = {
    "LlamaForCausalLM": WIDTHS,
    "Qwen2ForCausalLM": WIDTHS,
    "Qwen3ForCausalLM": WIDTHS | {"head_dim": 16},
    "MistralForCausalLM": WIDTHS | {"sliding_window": None},
    "Gemma2ForCausalLM": WIDTHS | {"head_dim": 16, "pad_token_id": 0},
    "Phi3ForCausalLM": WIDTHS | {"pad_token_id": 0},
    "OPTForCausalLM": {"vocab_size": 100, "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2}
    | {"num_attention_heads": 4, "word_embed_proj_dim": 32},
    "GPTNeoXForCausalLM": {k: v for k, v in WIDTHS.items() if k != "num_key_value_heads"},
    "GPT2LMHeadModel": {"vocab_size": 100, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "MixtralForCausalLM": WIDTHS | {"num_local_experts": 4},
    "MambaForCausalLM": {"vocab_size": 100, "hidden_size": 32, "state_size": 4, "num_hidden_layers": 2},
    "BertForSequenceClassification": {k: v for k, v in WIDTHS.items() if k != "num_key_value_heads"},
    "T5ForConditionalGeneration": {"vocab_size": 100, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2}
    | {"num_heads": 4, "decoder_start_token_id": 0},
    "BartForConditionalGeneration": {"vocab_size": 100, "encoder_attention_heads": 4} | SMALL
    | {"decoder_attention_heads": 4},
    "GemmaForCausalLM": WIDTHS | {"head_dim": 16, "pad_token_id": 0},
    "GraniteForCausalLM": WIDTHS,
    "SmolLM3ForCausalLM": WIDTHS | {"pad_token_id": 0},
    "Olmo2ForCausalLM": WIDTHS | {"pad_token_id": 0},
    "OlmoeForCausalLM": WIDTHS | {"num_experts": 4, "num_experts_per_tok": 2, "pad_token_id": 0},
    "StableLmForCausalLM": WIDTHS,
    "Starcoder2ForCausalLM": WIDTHS,
    "CohereForCausalLM": WIDTHS | {"pad_token_id": 0},
    "PhiForCausalLM": WIDTHS | {"pad_token_id": 0},
    "BloomForCausalLM": {"vocab_size": 100, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "FalconForCausalLM": {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "RobertaForSequenceClassification": {k: v for k, v in WIDTHS.items() if k != "num_key_value_heads"},
    "DistilBertForSequenceClassification": {"vocab_size": 100, "dim": 32, "hidden_dim": 48}
    | {"n_layers": 2, "n_heads": 4},
    "ViTForImageClassification": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    | {"num_attention_heads": 4, "image_size": 8, "patch_size": 4},
    "WhisperForConditionalGeneration": {"vocab_size": 100, "encoder_attention_heads": 4} | SMALL
    | {"decoder_attention_heads": 4, "num_mel_bins": 8, "max_source_positions": 8, "decoder_start_token_id": 0}
    | {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "suppress_tokens": None, "begin_suppress_tokens": None},
}  # fmt: skip
IMAGE, SOUND = (
    torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8),
    torch.linspace(-1, 1, 2 * 8 * 16).view(2, 8, 16),
)

TWO = {"target_modules": ["q_proj", "v_proj"]}
ADAPTERS: dict[str, dict] = {
    "plain": TWO,
    "rsLoRA": TWO | {"use_rslora": True, "lora_alpha": 3},
    "all-linear": {"target_modules": "all-linear"},
    "a regular expression": {"target_modules": r".*\.(q_proj|up_proj)"},
    "rank_pattern": TWO | {"rank_pattern": {"v_proj": 2}},
    "alpha_pattern": TWO | {"alpha_pattern": {"v_proj": 2}},
    "layers_to_transform": TWO | {"layers_to_transform": [1]},
    "exclude_modules": TWO | {"exclude_modules": ["layers.0.self_attn.q_proj"]},
    "init gaussian": TWO | {"init_lora_weights": "gaussian"},
    "init orthogonal": TWO | {"init_lora_weights": "orthogonal"},
    "PiSSA": TWO | {"init_lora_weights": "pissa"},
    "OLoRA": TWO | {"init_lora_weights": "olora"},
    "DoRA": TWO | {"use_dora": True},
    "bias": TWO | {"bias": "lora_only"},
    "lora_bias": TWO | {"lora_bias": True},
    "modules_to_save": TWO | {"modules_to_save": ["lm_head"]},
    "trainable tokens": TWO | {"trainable_token_indices": [1, 2]},
    "aLoRA": TWO | {"alora_invocation_tokens": [3], "task_type": "CAUSAL_LM"},
    "layer_replication": TWO | {"layer_replication": [[0, 2], [1, 2]]},
}


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    cls = getattr(transformers, name)
    model = cls(cls.config_class(**ARCHITECTURES[name])).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)  # so that attention and output are far from uniform
    return model


def inputs(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What the model reads: token ids, but for those that look or listen."""
    decoder = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    first = {"pixel_values": IMAGE, "input_features": SOUND}.get(model.main_input_name, IDS)
    return {model.main_input_name: first} | decoder


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs(model)).logits


def compare(ours: torch.Tensor, theirs: torch.Tensor) -> str:
    bound = 1e-5 * max(1.0, float(theirs.abs().max()))
    return "same" if float((ours - theirs).abs().max()) <= bound else "SILENTLY WRONG"


def cell(measure: Callable[[], str]) -> str:
    """The word for one cell: what `measure` returns, or that it was refused."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = measure()
        left_out = any("mixture of experts" in str(w.message) for w in caught)
        return result + ", experts left out with a warning" if left_out else result
    except (ValueError, TypeError, FileNotFoundError) as error:
        message = re.sub(r"\S*[/\\](\w+\.json)", r"\1", str(error))  # no path of this machine
        return f"refused: {message.split(';')[0][:110]}"


def noise(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def read_adapter(settings: dict) -> str:
    theirs = peft.get_peft_model(build("LlamaForCausalLM"), peft.LoraConfig(**settings)).eval()
    noise(theirs)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        if settings.get("alora_invocation_tokens"):  # peft applies it to some tokens only
            return compare(
                logits(LoraModel.from_pretrained(build("LlamaForCausalLM"), folder)), logits(theirs)
            )
        return compare(logits(LoraModel.from_pretrained(build("LlamaForCausalLM"), folder)), logits(theirs))


def write_adapter(settings: dict) -> str:
    if set(settings) - {f for f in LoraConfig.__dataclass_fields__}:
        return "not offered"
    ours = add_lora(build("LlamaForCausalLM"), LoraConfig(**settings)).eval()
    noise(ours)
    return _peft_reads(ours, "LlamaForCausalLM")


def _peft_reads(ours: LoraModel, name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        ours.save_adapter(folder)
        return compare(logits(ours), logits(peft.PeftModel.from_pretrained(build(name), folder).eval()))


def adapted(name: str) -> LoraModel:
    ours = add_lora(build(name), LoraConfig(r=2, target_modules="all-linear")).eval()
    noise(ours)
    return ours


def four_bits(name: str) -> str:
    packed, report = quantize_model(build(name), block_size=32)
    plain = copy.deepcopy(packed)
    for path, layer in list(plain.named_modules()):
        if isinstance(layer, Linear4bit):
            plain.set_submodule(path, layer.dequantize())
    result = compare(logits(packed), logits(plain))
    return f"{result}, names {len(report.left_out)} that it leaves out" if report.left_out else result


def train(name: str) -> str:
    model = adapted(name).train()
    labels = torch.tensor([0, 1]) if "Classification" in name else IDS
    read = {name: value for name, value in inputs(model).items() if name != "decoder_input_ids"}
    model(**read, labels=labels).loss.backward()
    grads = [p.grad for p in model.trainable_parameters().values()]
    return "all gradients" if all(g is not None for g in grads) else "SILENTLY WRONG"


def merge(name: str) -> str:
    ours = adapted(name)
    separate = logits(ours)
    return compare(logits(ours.merge_and_unload()), separate)


OPERATIONS: dict[str, Callable[[str], str]] = {
    "fresh adapter": lambda name: compare(
        logits(add_lora(build(name), LoraConfig(r=2, target_modules="all-linear"))), logits(build(name))
    ),
    "peft reads it": lambda name: _peft_reads(adapted(name), name),
    "merge": merge,
    "training step": train,
    "4 bits": four_bits,
}


def checkpoint_in(name: str) -> str:
    theirs = build(name)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = GPT.from_pretrained(folder)
    with torch.no_grad():
        return compare(ours(IDS), logits(theirs))


def checkpoint_back(name: str) -> str:
    theirs = build(name)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder + "/theirs")
        GPT.from_pretrained(folder + "/theirs").save_pretrained(folder + "/ours")
        back = transformers.AutoModelForCausalLM.from_pretrained(folder + "/ours").eval()
    return compare(logits(back), logits(theirs))


DIRECTIONS = {"into GPT": checkpoint_in, "and back": checkpoint_back}


def bitsandbytes_layers() -> tuple[Any, Linear4bit]:
    """The same layer, packed by both."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 32)
    theirs = bitsandbytes.nn.Linear4bit(64, 32, quant_type="nf4", compute_dtype=torch.float32)
    theirs.load_state_dict(linear.state_dict())
    return theirs.to("cpu"), Linear4bit.from_linear(linear, double_quant=True)


def from_bitsandbytes() -> str:
    theirs, ours = bitsandbytes_layers()
    other = Linear4bit.from_linear(torch.nn.Linear(64, 32), double_quant=True)
    other.load_state_dict(theirs.state_dict())
    return compare(other.quantized.dequantize(), ours.quantized.dequantize())


def to_bitsandbytes() -> str:
    theirs, ours = bitsandbytes_layers()
    state = ours.state_dict()
    stats = {key: value for key, value in state.items() if key.startswith("weight.")}
    read = bitsandbytes.nn.Params4bit.from_prequantized(state["weight"], stats, device="cpu", module=theirs)
    decoded = bitsandbytes.functional.dequantize_4bit(read.data, read.quant_state)
    return compare(ours.quantized.dequantize(), decoded)


# Trainers and llama.cpp have tests and a benchmark of their own: tests/test_interop_trainers.py, gguf_texts.py.
TOOLS: dict[str, dict[str, Callable[[], str]]] = {
    "peft, adapters": {
        "from there to here": lambda: read_adapter(ADAPTERS["all-linear"]),
        "from here to there": lambda: write_adapter(ADAPTERS["all-linear"]),
    },
    "transformers, checkpoints": {
        "from there to here": lambda: checkpoint_in("LlamaForCausalLM"),
        "from here to there": lambda: checkpoint_back("LlamaForCausalLM"),
    },
    "bitsandbytes, 4-bit layers": {
        "from there to here": from_bitsandbytes,
        "from here to there": to_bitsandbytes,
    },
}

FEATURES = {"read from peft": read_adapter, "written for peft": write_adapter}


def measure() -> dict:
    adapters = {
        name: {what: cell(lambda f=f, s=s: f(s)) for what, f in FEATURES.items()}
        for name, s in ADAPTERS.items()
    }
    models = {
        name: {what: cell(lambda n=name, f=f: f(n)) for what, f in OPERATIONS.items()}
        for name in ARCHITECTURES
    }
    files = {
        name: {what: cell(lambda n=name, f=f: f(n)) for what, f in DIRECTIONS.items()}
        for name in ARCHITECTURES
        if name.endswith("CausalLM")
    }
    versions = {m.__name__: m.__version__ for m in (torch, peft, transformers, bitsandbytes)}
    tools = {name: {what: cell(f) for what, f in directions.items()} for name, directions in TOOLS.items()}
    return {
        "versions": versions,
        "adapters": adapters,
        "architectures": models,
        "checkpoints": files,
        "tools": tools,
    }


def page(result: dict) -> str:
    lines = [
        "# What works with what",
        "",
        "Written by `python benchmarks/interop.py`: tiny random models, logits compared. The data are in",
        "benchmarks/results/interop.json. A refusal is an error that names what is not computed.",
        "",
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
    ]
    titles = {
        "adapters": "Adapters by feature (a Llama)",
        "architectures": "Architectures by operation (LoRA on all linear layers)",
        "checkpoints": "Checkpoints by direction (`GPT.from_pretrained`, `GPT.save_pretrained`)",
        "tools": "Tools by direction",
    }
    for key, title in titles.items():
        columns = list(next(iter(result[key].values())))
        lines += ["", f"## {title}", "", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        for name, cells in result[key].items():
            words = [cells[column].split(": ")[0] for column in columns]
            lines.append(f"| {name} | {' | '.join(words)} |")
    lines += [
        "",
        "HF Trainer, accelerate and TRL: `tests/test_interop_trainers.py`. llama.cpp: `benchmarks/gguf_texts.py` and",
        "[its record](../benchmarks/RESULTS.md).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    found = measure()
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (ROOT / "benchmarks/results/interop.json").write_text(text, encoding="utf-8", newline="\n")
    (ROOT / "docs/interop.md").write_text(page(found), encoding="utf-8", newline="\n")
    print(page(found))
