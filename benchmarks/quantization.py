"""Four bits on a CPU beside bitsandbytes, in one process and one run: ratios above 1 mean ours is faster.

    python benchmarks/quantization.py [--json FILE]

Every pair gives the same bits, which is checked before it is timed. The two take turns; the table gives the median of
the ratios and their range.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes
import bitsandbytes.functional as bnb
import torch
from page_parts import side_by_side_table, versions
from side_by_side import compare

from minilora.gpt import GPT
from minilora.lora import LoraConfig, add_lora
from minilora.quantization import blockwise, cpu, quantize_4bit
from minilora.quantization.model import quantize_model

Timing = tuple[float, float, list[float]]


def matrix(dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(4096, 4096, generator=torch.Generator().manual_seed(0)).to(dtype)


def quantizing(code: str, dtype: torch.dtype = torch.float32, double_quant: bool = False) -> Timing:
    x = matrix(dtype)

    def theirs():
        return bnb.quantize_4bit(x, quant_type=code, blocksize=64, compress_statistics=double_quant)

    assert torch.equal(quantize_4bit(x, code, 64, double_quant).packed, theirs()[0])
    return compare(lambda: quantize_4bit(x, code, 64, double_quant), theirs)


def dequantizing(code: str, dtype: torch.dtype = torch.float32, double_quant: bool = False) -> Timing:
    x = matrix(dtype)
    q = quantize_4bit(x, code, 64, double_quant)
    packed, state = bnb.quantize_4bit(x, quant_type=code, blocksize=64, compress_statistics=double_quant)
    assert torch.equal(q.dequantize(), bnb.dequantize_4bit(packed, state))
    return compare(q.dequantize, lambda: bnb.dequantize_4bit(packed, state), rounds=25)


def readable_twins() -> dict[str, Timing]:
    """Our fast functions beside our readable ones, which run on any device."""
    blocks = matrix(torch.float32).view(-1, 64)
    q = quantize_4bit(blocks)
    arguments = (q.packed.flatten(), q.absmax, q.pairs, 64, torch.float32)
    return {
        "quantize nf4, beside our readable one": compare(
            lambda: cpu.encode(blocks, "nf4"),
            lambda: blockwise._encode(blocks, "nf4"),
            5,
        ),
        "dequantize nf4, beside our readable one": compare(
            lambda: cpu.decode(*arguments), lambda: blockwise._decode(*arguments), 5
        ),
    }


def training_step(double_quant: bool) -> Timing:
    """QLoRA (ours) beside LoRA ("theirs") on the tiny GPT: forward, backward, AdamW on 16 x 128 tokens."""

    def stepper(quantized: bool) -> Callable[[], None]:
        torch.manual_seed(0)
        base = GPT.from_pretrained("tiny-gpt")
        if quantized:
            quantize_model(base, double_quant=double_quant)
        model = add_lora(base, LoraConfig(r=8, target_modules="all-linear")).train()
        optimizer = torch.optim.AdamW(model.trainable_parameters().values(), lr=1e-4, fused=True)
        ids = torch.randint(0, base.config.vocab_size, (16, 129))

        def step() -> None:
            logits = model(ids[:, :-1])
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    return compare(stepper(quantized=True), stepper(quantized=False), rounds=9, repeat=2)


def measurements() -> dict[str, tuple[Timing, float | None]]:
    """Name -> the timing and the ratio that it should reach."""
    bf16 = torch.bfloat16
    return {
        "quantize nf4, float32": (quantizing("nf4"), 3),
        "quantize fp4, float32": (quantizing("fp4"), 3),
        "quantize nf4, bfloat16": (quantizing("nf4", bf16), None),
        "quantize nf4, double quantization": (quantizing("nf4", double_quant=True), None),
        "dequantize nf4, float32": (dequantizing("nf4"), 1),
        "dequantize fp4, float32": (dequantizing("fp4"), 1),
        "dequantize nf4, bfloat16": (dequantizing("nf4", bf16), None),
        "dequantize nf4, double quantization": (dequantizing("nf4", double_quant=True), None),
        **{name: (timing, None) for name, timing in readable_twins().items()},
        "QLoRA step beside LoRA step": (training_step(double_quant=False), 1 / 1.15),
        "QLoRA step, double quantization": (training_step(double_quant=True), 1 / 1.15),
    }


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    return (
        f'4096 × 4096, blocks of 64, on a CPU; {versions(recorded["machine"])}. In the last two rows "theirs" is our '
        "own LoRA step with a base that is not quantized.\n\n" + side_by_side_table(recorded["rows"])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    machine |= {"cpu": torch.backends.cpu.get_cpu_capability(), "bitsandbytes": bitsandbytes.__version__}
    print(f"4096 x 4096, blocks of 64; {machine}")
    print(f"{'':40}{'ours':>11}{'theirs':>12}{'ratio':>8}   range            aim")
    rows = []
    for name, ((ours, theirs, ratios), aim) in measurements().items():
        ratio = statistics.median(ratios)
        rows.append(
            {"name": name, "ours": ours, "theirs": theirs, "ratio": ratio, "ratios": ratios, "aim": aim}
        )
        spread = f"{min(ratios):.2f} - {max(ratios):.2f}"
        goal = "" if aim is None else f">= {aim:.2f}"
        print(f"{name:40}{ours * 1e3:8.2f} ms{theirs * 1e3:9.2f} ms{ratio:8.2f}   {spread:15}  {goal}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
