"""What a fine-tuning does to what the model knew: the loss on a story that it never read, before and after.

    python benchmarks/forgetting.py [--json FILE]            about ten minutes on two processor cores

Each style is learned with LoRA (r=8 on all linear layers) and with full fine-tuning, in the same steps on the
same rows. Page 09 runs the first of these.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from page_parts import table, this_machine, versions

from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, evaluate, style_corpus
from minilora.lesson.stories import held_out_story
from minilora.training.datasets import STYLES

RATES = {"LoRA": 5e-3, "full": 5e-4}  # those of three_tasks.py
STEPS, SEEDS, LENGTH = 60, (0, 1), 64


def measure(style: str, method: str, seed: int) -> dict[str, float]:
    """Losses on held-out text of the style and on the story; for LoRA, on the story without the adapter too."""
    model: Any = GPT.from_pretrained("tiny-gpt")
    train, validation, story = (
        encode_text(texts, model.tokenizer, LENGTH)
        for texts in (
            style_corpus(style, documents=240),
            style_corpus(style, "validation", 8),
            held_out_story(),
        )
    )
    losses = {"style before": evaluate(model, validation), "story before": evaluate(model, story)}
    torch.manual_seed(seed)
    if method == "LoRA":
        model = add_lora(model, LoraConfig(r=8, target_modules="all-linear"))
    Trainer(model, train, max_steps=STEPS, learning_rate=RATES[method], seed=seed, progress=False).train()
    losses |= {"style after": evaluate(model, validation), "story after": evaluate(model, story)}
    if method == "LoRA":
        with model.disable_adapter():
            losses["story, adapter off"] = evaluate(model, story)
    return losses


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows, kinds = recorded["rows"], ("style before", "style after", "story before", "story after")
    lines = []
    for style in STYLES:
        for method in RATES:
            runs = rows[style][method]
            means = [f"{statistics.mean(run[kind] for run in runs):.2f}" for kind in kinds]
            off = [f"{run['story, adapter off']:.2f}" for run in runs[:1] if method == "LoRA"] or [""]
            lines.append([f"{style}, {method}", *means, *off])
    head = ["", "held-out text of the style, before", "after", "a story, before", "after", "adapter off"]
    about = (
        f"{versions(recorded['machine'])}. tiny-gpt, {recorded['steps']} steps, LoRA with r=8 on all linear layers, "
        f"the mean of {len(SEEDS)} seeds; losses in nats per token. The story is one that the model never read. Full "
        "fine-tuning has no adapter to switch off."
    )
    return f"{about}\n\n{table(head, lines)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": this_machine("torch"), "steps": STEPS, "rows": {}}
    for style in STYLES:
        result["rows"][style] = {method: [] for method in RATES}
        for method in RATES:
            for seed in SEEDS:
                losses = {kind: round(loss, 4) for kind, loss in measure(style, method, seed).items()}
                result["rows"][style][method].append(losses)
                print(f"{style}, {method}, seed {seed}: {losses}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
