"""Trains the three adapters that ship with minilora: legal writing, a coding assistant, customer support.

    python tools/train_style_adapters.py [--steps N] [--out FOLDER]      ten minutes on two processor cores

All three are trained on one base object, which is never written to. Each must then have the lowest perplexity on its
own corpus, on held-out combinations. The table is written beside the adapters, once for programs and once for people,
and checked by the tests.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch

from minilora import GPT, LoraConfig, Trainer, encode_text, evaluate, style_corpus
from minilora.files import ASSETS
from minilora.lora import LoraModel
from minilora.training.corpora import STYLES

CONFIG = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
LEARNING_RATE = 5e-3
BATCH_SIZE = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--out", type=Path, default=ASSETS / "adapters")
    options = parser.parse_args()
    model = LoraModel(GPT.from_pretrained("tiny-gpt"))
    tokenizer = model.tokenizer
    for style in STYLES:
        torch.manual_seed(0)
        model.add_adapter(style, CONFIG)
        model.set_adapter(style)
        rows = encode_text(style_corpus(style), tokenizer, 128)
        history = Trainer(
            model, rows, max_steps=options.steps, batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE
        ).train()
        model.save_adapter(options.out / style, style)
        print(f"{style}: {model.trainable_parameter_count()}, {sum(history.seconds):.0f} s")
    figures = {"steps": options.steps, "perplexity": perplexities(model)}
    for name, text in (
        ("figures.json", json.dumps(figures, indent=2) + "\n"),
        ("README.md", card(model, **figures)),
    ):
        (options.out / name).write_text(text, encoding="utf-8", newline="\n")


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


def card(model: LoraModel, steps: int, perplexity: dict[str, dict[str, float]]) -> str:
    """What a person should know who finds these files."""
    names = ["base", *STYLES]
    best = {style: min(row, key=lambda name: row[name]) for style, row in perplexity.items()}
    rows = [
        f"| {style} | "
        + " | ".join(f"**{row[name]:.2f}**" if name == best[style] else f"{row[name]:.2f}" for name in names)
        + " |"
        for style, row in perplexity.items()
    ]
    head = [f"| perplexity on text of style | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    return CARD.format(
        trained=sum(p.numel() for name, p in model.named_parameters() if f".{STYLES[0]}" in name),
        steps=steps,
        table="\n".join([*head, *rows]),
        config=CONFIG,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
    )


CARD = """\
# Three adapters for the tiny GPT

Legal writing, a coding assistant, customer support: three styles for one base, `tiny-gpt`. They exist to be swapped
and combined in minilora's lessons, and are good for nothing else: the tiny GPT knows old children's books, so what they
write has the sound of a style and no sense.

```python
from minilora import GPT, LoraModel

model = LoraModel(GPT.from_pretrained("tiny-gpt"))
for style in ("legal", "code", "support"):
    model.load_adapter(style, style)
model.set_adapter("legal")
print(model.generate("The little dog ran to the garden and", seed=1))
```

| | |
|---|---|
| method | LoRA, rank {config.r}, alpha {config.lora_alpha}, on {config.target_modules}; {trained:,} weights each |
| data | `minilora.style_corpus`: text of our own, in [`../corpora`](../corpora/README.md) |
| training | {steps} steps of {batch_size} rows of 128 tokens, rate {learning_rate:g}; `tools/train_style_adapters.py` |
| license | MIT, as the project; the base's data is described in [its card](../tiny-gpt/MODEL_CARD.md) |

Perplexity (e to the mean loss per token; lower is better) on validation text, whose combinations of words do not occur
in the training text:

{table}
"""


if __name__ == "__main__":
    main()
