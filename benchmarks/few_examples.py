"""How many examples a fine-tuning needs: the validation loss that LoRA reaches with few and with many documents.

    python benchmarks/few_examples.py [--steps N] [--json minilora/assets/few_examples.json]

Every run takes the same number of steps from the same base; with few documents it reads them again and again. The
best validation loss on the way counts, as if training were stopped in time, and the last one shows what happens if not.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, style_corpus

DOCUMENTS = (10, 100, 640)
PARTS = 8  # validation losses taken on the way


def run(documents: int, steps: int) -> dict[str, float]:
    model = GPT.from_pretrained("tiny-gpt")
    torch.manual_seed(0)
    tokenizer = model.tokenizer
    model = add_lora(model, LoraConfig(r=8, target_modules=["attention"]))
    train = encode_text(style_corpus("legal", documents=documents), tokenizer, 128)
    validation = encode_text(style_corpus("legal", "validation"), tokenizer, 128)
    trainer = Trainer(
        model, train, max_steps=steps, validation_data=validation, eval_steps=steps // PARTS,
        progress=False,
    )  # fmt: skip
    losses = trainer.train().validation_losses
    return {"base": losses[0], "best": min(losses), "last": losses[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=320)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    result: dict = {
        "about": f"tiny-gpt, LoRA r=8 on attention, legal corpus, {options.steps} steps",
        "losses": {},
    }
    for documents in DOCUMENTS:
        result["losses"][documents] = {k: round(v, 4) for k, v in run(documents, options.steps).items()}
        print(f"{documents:4} documents: {result['losses'][documents]}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
