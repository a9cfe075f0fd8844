"""Does the small code compute what the libraries compute? The largest differences, on the same weights and texts.

    python benchmarks/faithfulness.py [--json FILE]

The tests hold many more cases to tolerances; this records the figures themselves. Not here: speed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bitsandbytes
import bitsandbytes.functional as bnb
import peft
import torch
import transformers
from page_parts import table, versions

from minilora import GPT, LoraConfig, add_lora, quantize_4bit, style_corpus
from minilora.files.checkpoints import EMBEDDED

TOKENS = 256
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj"]


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    return f"{versions(recorded['machine'])}.\n\n" + table(
        ["what is compared", "the largest difference"], recorded["rows"]
    )


def inputs(model: GPT) -> torch.Tensor:
    """(1, TOKENS) of a text in a style of ours."""
    return torch.tensor(
        [model.tokenizer.encode("\n\n".join(style_corpus("legal", documents=20))).ids[:TOKENS]]
    )


def theirs() -> transformers.LlamaForCausalLM:
    return transformers.AutoModelForCausalLM.from_pretrained(EMBEDDED["tiny-gpt"], dtype=torch.float32).eval()


def farthest(ours: torch.Tensor, other: torch.Tensor) -> str:
    """The largest difference, beside the largest value."""
    return f"{(ours - other).abs().max():.2g} in logits up to {other.abs().max():.0f}"


@torch.no_grad()
def base() -> str:
    model = GPT.from_pretrained("tiny-gpt").eval()
    ids = inputs(model)
    return farthest(model(ids), theirs()(ids).logits)


def filled(model):
    """An adapter that does something: a fresh one has B = 0."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


@torch.no_grad()
def adapter_to_peft() -> str:
    model = filled(
        add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS))
    )
    ids = inputs(GPT.from_pretrained("tiny-gpt"))
    with tempfile.TemporaryDirectory() as folder:
        model.save_adapter(folder)
        return farthest(model(ids), peft.PeftModel.from_pretrained(theirs(), folder).eval()(ids).logits)


@torch.no_grad()
def adapter_from_peft() -> str:
    config = peft.LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS, task_type="CAUSAL_LM")
    other = filled(peft.get_peft_model(theirs(), config))
    base_model = GPT.from_pretrained("tiny-gpt")
    ids = inputs(base_model)
    with tempfile.TemporaryDirectory() as folder:
        other.save_pretrained(folder)
        model = add_lora(base_model, LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS), "ours")
        model.load_adapter(folder, "theirs")
        model.set_adapter("theirs")
        return farthest(model.eval()(ids), other(ids).logits)


def bits(code: str, double_quant: bool) -> str:
    x = torch.randn(4096, 4096, generator=torch.Generator().manual_seed(0))
    ours = quantize_4bit(x, code, 64, double_quant)
    packed, state = bnb.quantize_4bit(x, quant_type=code, blocksize=64, compress_statistics=double_quant)
    bytes_off = int((ours.packed.flatten() != packed.flatten()).sum())
    values_off = int((ours.dequantize() != bnb.dequantize_4bit(packed, state)).sum())
    return f"{bytes_off} of {packed.numel():,} bytes, {values_off} of {x.numel():,} values"


def rows() -> Iterator[tuple[str, str]]:
    yield "the tiny GPT, beside transformers' Llama", base()
    yield "an adapter that we saved, opened by peft", adapter_to_peft()
    yield "an adapter that peft saved, opened by us", adapter_from_peft()
    for code in ("nf4", "fp4"):
        for double_quant in (False, True):
            name = f"{code}{', double quantization' * double_quant}, beside bitsandbytes on a CPU"
            yield name, bits(code, double_quant)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    machine = {module.__name__: module.__version__ for module in (torch, transformers, peft, bitsandbytes)}
    result: dict[str, Any] = {"machine": machine, "rows": []}
    for row in rows():
        result["rows"].append(row)
        print(f"{row[0]:56}{row[1]}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
