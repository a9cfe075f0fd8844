"""Full fine-tuning, LoRA and QLoRA on three tasks, several seeds, and long enough to be honest about the difference.

    python benchmarks/three_tasks.py [--steps N] [--json minilora/assets/three_tasks.json]

All take the same steps on the same rows; validation text holds combinations that the training text does not have. The
learning rates are the better ones of several tried for each method. Page 09 shows the file that this writes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, quantize_model, style_corpus
from minilora.training.corpora import STYLES

RATES = {"full": 5e-4, "LoRA": 5e-3, "QLoRA": 5e-3}
CONFIG = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
SEEDS = (0, 1, 2)
EVERY = 20  # steps between two validation losses


def run(style: str, method: str, seed: int, steps: int) -> list[float]:
    """Validation losses, the first of them before any training."""
    model = GPT.from_pretrained("tiny-gpt")
    tokenizer = model.tokenizer
    train = encode_text(style_corpus(style, documents=240), tokenizer, 128)
    validation = encode_text(style_corpus(style, "validation", documents=24), tokenizer, 128)
    if method == "QLoRA":
        quantize_model(model)
    torch.manual_seed(seed)  # the start of A
    adapted = model if method == "full" else add_lora(model, CONFIG)
    trainer = Trainer(
        adapted, train, max_steps=steps, learning_rate=RATES[method], seed=seed, progress=False,
        validation_data=validation, eval_steps=EVERY,
    )  # fmt: skip
    return trainer.train().validation_losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    result = {
        "about": f"tiny-gpt, r=8 on all linear layers, {options.steps} steps of 4 rows of 128 tokens",
        "steps": [*range(0, options.steps, EVERY), options.steps],
        "losses": {style: {method: [] for method in RATES} for style in STYLES},
    }
    for seed in SEEDS:
        for style in STYLES:
            for method in RATES:
                losses = [round(loss, 4) for loss in run(style, method, seed, options.steps)]
                result["losses"][style][method].append(losses)
                print(f"{style:8} {method:6} seed {seed}: {losses[0]:.3f} -> {losses[-1]:.3f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(result) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
