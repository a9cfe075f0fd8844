"""Trains the three adapters that ship with minilora: legal writing, a coding assistant, customer support.

    python tools/train_style_adapters.py [--steps N] [--out FOLDER]      a few minutes on two processor cores

All three are trained on one base object, which is never written to. Each must then have the lowest perplexity on its
own corpus, on held-out combinations; the table is written beside the adapters and checked by the tests.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch

from minilora import GPT, LoraConfig, Trainer, encode_text, evaluate, style_corpus
from minilora.checkpoints import ASSETS
from minilora.datasets import STYLES
from minilora.lora import LoraModel

CONFIG = LoraConfig(r=8, lora_alpha=16, target_modules="attention")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=ASSETS / "adapters")
    options = parser.parse_args()
    model = LoraModel(GPT.from_pretrained("tiny-gpt"))
    tokenizer = model.tokenizer
    for style in STYLES:
        torch.manual_seed(0)
        model.add_adapter(style, CONFIG)
        rows = encode_text(style_corpus(style), tokenizer, 128)
        history = Trainer(model, rows, steps=options.steps).train()
        model.save_adapter(options.out / style, style)
        print(f"{style}: {model.trainable_parameter_count()}, {sum(history.seconds):.0f} s")
    (options.out / "figures.json").write_text(
        json.dumps({"steps": options.steps, "perplexity": perplexities(model)}, indent=2) + "\n",
        encoding="utf-8",
        newline="\n",
    )


def perplexities(model: LoraModel) -> dict[str, dict[str, float]]:
    """Corpus -> base and each adapter -> perplexity on the corpus's validation documents; printed as it comes."""
    table: dict[str, dict[str, float]] = {}
    for corpus in STYLES:
        rows = encode_text(style_corpus(corpus, "validation"), model.tokenizer, 128)
        with model.disable_adapter():
            table[corpus] = {"base": math.exp(evaluate(model, rows))}
        for style in STYLES:
            model.set_adapter(style)
            table[corpus][style] = math.exp(evaluate(model, rows))
        table[corpus] = {name: round(value, 2) for name, value in table[corpus].items()}
        print(
            f"perplexity on {corpus:8}",
            "  ".join(f"{name} {value:8.2f}" for name, value in table[corpus].items()),
        )
    return table


if __name__ == "__main__":
    main()
