"""What a fine-tuning does to what the model knew: the loss on a story that it never read, before and after.

    python benchmarks/forgetting.py [--json FILE]            about two minutes on two processor cores

Each style is learned with LoRA (r=8 on all linear layers) and with full fine-tuning, in the same steps on the
same rows. Page 09 runs the first of these.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from page_parts import table, this_machine, versions

from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, evaluate, style_corpus
from minilora.lesson.stories import held_out_story
from minilora.training.corpora import STYLES

METHODS = ("LoRA", "full")  # each at Trainer's own learning rate for it, the best in results/rates_sweep.json
STEPS, LENGTH, SEED = 40, 64, 0


def measure(style: str, method: str) -> dict[str, float]:
    """Losses on held-out text of the style and on the story; for LoRA, on the story without the adapter too."""
    model: Any = GPT.from_pretrained("tiny-gpt")
    train, validation, story = (
        encode_text(texts, model.tokenizer, LENGTH)
        for texts in (
            style_corpus(style, documents=160),
            style_corpus(style, "validation", 8),
            held_out_story(),
        )
    )
    losses = {"style before": evaluate(model, validation), "story before": evaluate(model, story)}
    torch.manual_seed(SEED)
    if method == "LoRA":
        model = add_lora(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    Trainer(model, train, max_steps=STEPS, seed=SEED, progress=False).train()
    losses |= {"style after": evaluate(model, validation), "story after": evaluate(model, story)}
    if method == "LoRA":
        with model.disable_adapter():
            losses["story, adapter off"] = evaluate(model, story)
    return losses


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    kinds = ("style before", "style after", "story before", "story after", "story, adapter off")
    lines = [
        [f"{style}, {method}", *(f"{losses[kind]:.2f}" if kind in losses else "" for kind in kinds)]
        for style, methods in recorded["rows"].items()
        for method, losses in methods.items()
    ]
    head = ["", "held-out text of the style, before", "after", "a story, before", "after", "adapter off"]
    about = (
        f"{versions(recorded['machine'])}. tiny-gpt, {recorded['steps']} steps, LoRA with r=8 on all linear layers, "
        "one run each; losses in nats per token. The story is one that the model never read. Full fine-tuning has no "
        "adapter to switch off."
    )
    return f"{about}\n\n{table(head, lines)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": this_machine("torch"), "steps": STEPS, "rows": {}}
    for style in STYLES:
        result["rows"][style] = {}
        for method in METHODS:
            losses = {kind: round(loss, 4) for kind, loss in measure(style, method).items()}
            result["rows"][style][method] = losses
            print(f"{style}, {method}: {losses}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
