"""LoRA beside full fine-tuning from the same base, on the legal corpus: what is gained, and what it costs.

    python benchmarks/lora_against_full.py [--steps N] [--json FILE]

Each method runs in a process of its own, so that the peak memory is its own too; both take the same steps on the same
rows. Several learning rates are tried for each, and each is judged by its best: the validation rows are combinations
that the training text does not have.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch

from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, style_corpus

RATES = {"lora": (3e-3, 1e-2), "full": (3e-4, 1e-3)}


def run(method: str, rate: float, steps: int) -> dict:
    model = GPT.from_pretrained("tiny-gpt")
    train, validation = (
        encode_text(style_corpus("legal", split), model.tokenizer, 128) for split in ("train", "validation")
    )
    if method == "lora":
        torch.manual_seed(0)
        model = add_lora(model, LoraConfig(r=8, target_modules=["attention"]))
    trainer = Trainer(
        model, train, steps=steps, validation_data=validation, learning_rate=rate, progress=False
    )
    history = trainer.train()
    return {
        "method": method,
        "learning_rate": rate,
        "trainable": sum(p.numel() for p in trainer.parameters.values()),
        "total": sum(p.numel() for p in model.parameters()),
        "before": history.validation_losses[0],
        "after": history.validation_losses[-1],
        "seconds": sum(history.seconds),
        "peak_memory": history.peak_memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument(
        "--only", nargs=2, metavar=("METHOD", "RATE"), help="one run in this process, as JSON"
    )
    options = parser.parse_args()
    if options.only:
        print(json.dumps(run(options.only[0], float(options.only[1]), options.steps)))
        return
    rows = []
    for method, rates in RATES.items():
        for rate in rates:
            command = [sys.executable, __file__, "--steps", str(options.steps), "--only", method, str(rate)]
            rows.append(
                json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            )
            row = rows[-1]
            print(
                f"{method:5} rate {rate:g}: validation loss {row['before']:.3f} -> {row['after']:.3f}, "
                f"{row['seconds']:.0f} s, peak {row['peak_memory'] / 1e6:.0f} MB, {row['trainable']:,} trained",
                flush=True,
            )
    best = {
        method: min((r for r in rows if r["method"] == method), key=lambda r: r["after"]) for method in RATES
    }
    gain = {method: row["before"] - row["after"] for method, row in best.items()}
    print(
        f"LoRA reaches {gain['lora'] / gain['full']:.1%} of full fine-tuning's gain with "
        f"{best['lora']['trainable'] / best['lora']['total']:.2%} of the weights trained"
    )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
