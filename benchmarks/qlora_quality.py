"""What four bits cost the tiny GPT: its loss as it is, in every scheme, and what LoRA learns on top of each.

    python benchmarks/qlora_quality.py [--text FILE ...] [--json FILE] [--steps N]

The first table quantizes the pretrained model in every scheme and measures its loss on text that it never learned
from: the files given, or the validation part of our "legal" style. The second trains LoRA on that style on top of
several bases, same data, same steps, three seeds, and tells the final validation loss.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from page_parts import table
from torch import nn

from minilora.gpt import GPT
from minilora.lora import LoraConfig, add_lora
from minilora.quantization.linear4bit import Linear4bit
from minilora.quantization.model import quantize_model
from minilora.training import Trainer, evaluate
from minilora.training.corpora import style_corpus
from minilora.training.datasets import TokenData, encode_text

Scheme = tuple[
    str, int | None, bool
]  # code, block size (None: one block over the whole matrix), double quantization
SCHEMES: list[Scheme] = [("int4", None, False), ("nf4", None, False)]
SCHEMES += [(code, size, False) for size in (32, 64, 128, 256, 512, 1024) for code in ("int4", "fp4", "nf4")]
SCHEMES += [("nf4", 64, True)]
BASES: list[Scheme | None] = [
    None,
    ("nf4", 64, False),
    ("nf4", 64, True),
    ("fp4", 64, False),
    ("int4", None, False),
]
SEEDS = (0, 1, 2)
PARTS = 16  # of the text: their differences tell how sure a difference is


def title(scheme: Scheme | None) -> str:
    if scheme is None:
        return "float32"
    code, block_size, double_quant = scheme
    blocks = "per tensor" if block_size is None else f"blocks of {block_size}"
    return f"{code}, {blocks}{', double quantization' if double_quant else ''}"


def base_model(scheme: Scheme | None) -> GPT:
    model = GPT.from_pretrained("tiny-gpt")
    if scheme is not None:
        code, block_size, double_quant = scheme
        quantize_model(model, code, block_size, double_quant)
    return model


def weight_error(model: GPT) -> tuple[float, float]:
    """(root mean square error of the packed weights relative to their own, bits per weight)."""
    original = GPT.from_pretrained("tiny-gpt")
    lost = size = bits = weights = 0.0
    for path, layer in model.named_modules():
        if isinstance(layer, Linear4bit):
            weight = original.get_submodule(path).get_parameter("weight").detach()
            lost += float((layer.quantized.dequantize() - weight).square().sum())
            size += float(weight.square().sum())
            bits += 8 * layer.quantized.nbytes
            weights += weight.numel()
    return (lost / size) ** 0.5, bits / weights


def losses_by_part(model: nn.Module, data: TokenData) -> list[float]:
    parts = zip(data.input_ids.chunk(PARTS), data.targets.chunk(PARTS), strict=True)
    return [evaluate(model, TokenData(inputs, targets)) for inputs, targets in parts]


def quantized_alone(texts: list[str]) -> Iterator[dict[str, Any]]:
    """The loss of the pretrained model in each scheme, and its distance from float32 with a standard error.

    All schemes read the same parts of the text, so what makes a part easy or hard cancels in the difference.
    """
    model = base_model(None)
    data = encode_text(texts, model.tokenizer)
    plain = losses_by_part(model, data)
    row = {"scheme": title(None), "loss": statistics.mean(plain), "bits": 32.0, "error": 0.0}
    print(f"{data}\n{'':42}{'loss':>8}{'more than float32':>24}{'weight error':>15}{'bits':>8}")
    print(f"{row['scheme']:42}{row['loss']:8.4f}")
    yield row
    for scheme in SCHEMES:
        model = base_model(scheme)
        parts = losses_by_part(model, data)
        more = [loss - before for loss, before in zip(parts, plain, strict=True)]
        error, bits = weight_error(model)
        doubt = statistics.stdev(more) / len(more) ** 0.5
        row = {"scheme": title(scheme), "loss": statistics.mean(parts), "more": statistics.mean(more)}
        print(
            f"{row['scheme']:42}{row['loss']:8.4f}{row['more']:14.4f} ± {doubt:.4f}{error:14.2%}{bits:11.3f}",
            flush=True,
        )
        yield row | {"standard_error": doubt, "error": error, "bits": bits}


def trained_on_top(steps: int) -> Iterator[dict[str, Any]]:
    """Final validation losses of LoRA on each base: the same rows in the same order for the same seed."""
    tokenizer = GPT.from_pretrained("tiny-gpt").tokenizer
    train, validation = (
        encode_text(style_corpus("legal", split), tokenizer) for split in ("train", "validation")
    )
    plain: list[float] = []
    print(f"\ntrained on {train}, {steps} steps of 4 rows, LoRA r=8 on all linear layers; {validation}")
    print(f"{'':42}{'before':>8}{'after, mean':>14}{'seed by seed':>24}{'more than float32':>24}")
    for scheme in BASES:
        after, before = [], 0.0
        for seed in SEEDS:
            torch.manual_seed(seed)  # the start of A
            model = add_lora(base_model(scheme), LoraConfig(r=8, target_modules="all-linear"))
            trainer = Trainer(
                model, train, max_steps=steps, validation_data=validation, seed=seed, progress=False
            )
            history = trainer.train()
            before = history.validation_losses[0]
            after.append(history.validation_losses[-1])
        row = {"scheme": title(scheme), "before": before, "after": after, "steps": steps}
        plain = plain or after
        more = [loss - without for loss, without in zip(after, plain, strict=True)]
        seeds = " ".join(f"{loss:.4f}" for loss in after)
        print(
            f"{row['scheme']:42}{before:8.4f}{statistics.mean(after):14.4f}{seeds:>24}"
            f"{statistics.mean(more):14.4f} ± {statistics.stdev(more):.4f}",
            flush=True,
        )
        yield row


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    alone = [
        [row["scheme"], f"{row['loss']:.4f}",
         f"{row['more']:+.4f} ± {row['standard_error']:.4f}" if "more" in row else "",
         f"{row['error']:.2%}", f"{row['bits']:.3f}"]
        for row in recorded.get("quantized", [])
    ]  # fmt: skip
    trained = [
        [row["scheme"], f"{row['before']:.4f}", f"{statistics.mean(row['after']):.4f}",
         f"{min(row['after']):.4f} to {max(row['after']):.4f}"]
        for row in recorded.get("trained", [])
    ]  # fmt: skip
    return (
        f"The tiny GPT on text that it never learned from ({recorded['text']}). Loss in nats a token.\n\n"
        + table(["scheme", "loss", "more than float32", "weight error", "bits a weight"], alone)
        + "\nLoRA, r=8 on all linear layers, on top of each base; three seeds.\n\n"
        + table(["base", "before", "after, mean", "seeds"], trained)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, nargs="+", help="text that the model never learned from")
    parser.add_argument("--steps", type=int, default=160, help="training steps of each run (default: 160)")
    parser.add_argument("--json", type=Path, help="also write both tables to this file")
    options = parser.parse_args()
    texts = [path.read_text(encoding="utf-8") for path in options.text or []] or style_corpus(
        "legal", "validation"
    )
    tables: dict[str, Any] = {"text": "the files given" if options.text else "style 'legal', validation"}
    for name, rows in (("quantized", quantized_alone(texts)), ("trained", trained_on_top(options.steps))):
        tables[name] = []
        for row in rows:
            tables[name].append(row)
            if options.json:  # after every row: a long run that is interrupted keeps what it has
                options.json.write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
