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
from typing import Any

import torch
from page_parts import table, this_machine, versions

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


def page(recorded: dict[str, Any] | list[dict[str, Any]]) -> str:
    """The figures as Markdown, the best learning rate of each method last."""
    machine = f" {versions(recorded['machine'])}." if isinstance(recorded, dict) else ""
    recorded = (
        recorded["rows"] if isinstance(recorded, dict) else recorded
    )  # older records hold the rows alone
    rows = [
        [f"{row['method']}, rate {row['learning_rate']:g}", f"{row['trainable']:,}",
         f"{row['trainable'] / row['total']:.2%}",
         f"{row['before']:.3f}", f"{row['after']:.3f}", f"{row['seconds']:.0f} s",
         f"{row['peak_memory'] / 1e6:.0f} MB"]
        for row in recorded
    ]  # fmt: skip
    head = ["method", "trained", "share", "loss before", "after", "time", "peak memory"]
    share, weights = gain(recorded)
    return (
        "The legal corpus; validation loss in nats a token. The validation texts are combinations that no training "
        f"text has. LoRA reaches {share:.0%} of full fine-tuning's gain with {weights:.2%} of the weights trained."
        f"{machine}\n\n" + table(head, rows)
    )


def gain(recorded: list[dict[str, Any]]) -> tuple[float, float]:
    """(LoRA's share of full fine-tuning's gain, the share of weights that it trains), each at its best rate."""
    best = {
        method: min((row for row in recorded if row["method"] == method), key=lambda row: row["after"])
        for method in RATES
    }
    gained = {method: row["before"] - row["after"] for method, row in best.items()}
    return gained["lora"] / gained["full"], best["lora"]["trainable"] / best["lora"]["total"]


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
    share, weights = gain(rows)
    print(f"LoRA reaches {share:.1%} of full fine-tuning's gain with {weights:.2%} of the weights trained")
    if options.json:
        options.json.write_text(
            json.dumps({"machine": this_machine("torch"), "rows": rows}, indent=2),
            encoding="utf-8",
            newline="\n",
        )


if __name__ == "__main__":
    main()
