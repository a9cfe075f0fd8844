"""A real model of 135 million weights learns to talk like a pirate, from 36 questions and answers of ours.

    python benchmarks/smollm2_pirate.py [--steps N] [--json FILE] [--asset minilora/assets/pirate_answers.json]

The same in one line, with the same settings:

    minilora finetune --base smollm2-135m-instruct --data pirate --out pirate --max-steps 30

None of the questions asked before and after is in the data. The model is fetched first, once (93 MB); where it cannot
be had, the benchmark says so and is skipped (status 77). The asset is what page 08 shows.

Not here: a search for the best settings.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from page_parts import this_machine, versions
from smollm2_support import MODEL, SKIPPED, figures, reply

from minilora.files.fetch import fetch
from minilora.finetune import FinetuneSettings, finetune

QUESTIONS = (
    "What is the capital of France?",
    "How do I boil an egg?",
    "Why is the sky blue?",
    "Can you recommend a book?",
    "What should I do on a rainy day?",
    "Who are you?",
)


def run(steps: int) -> dict[str, Any]:
    """The report of one fine-tuning, and what the model answers afterwards."""
    with tempfile.TemporaryDirectory() as work:
        out = Path(work) / "pirate"
        settings = FinetuneSettings(
            base=MODEL, data="pirate", out=str(out), max_steps=steps, sequence_length=192, no_samples=True
        )
        return figures(finetune(settings, say=lambda line: None)) | {
            "after": [reply(question, out) for question in QUESTIONS]
        }


def asset(recorded: dict[str, Any]) -> dict[str, Any]:
    """What page 08 shows: the questions about facts come last."""
    row = recorded["run"]
    answers = [
        {"question": question, "before": before, "after": after}
        for question, before, after in zip(QUESTIONS, recorded["before"], row["after"], strict=True)
    ]
    return {
        "model": recorded["model"],
        "steps": row["steps"],
        "seconds": row["seconds"],
        "answers": answers[::-1],
    }


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown, and the answers word for word."""
    row = recorded["run"]
    text = (
        f"{versions(recorded['machine'])}. {recorded['model']}, LoRA r=8 on all linear layers, {row['steps']} steps of "
        f"4 pairs: {row['seconds']:.0f} s, {row['trainable'] / row['total']:.2%} of the weights, a file of "
        f"{row['file_bytes'] / 1e6:.1f} MB, peak memory {row['peak_memory'] / 1e9:.2f} GB. The answers to questions "
        "that are not in the data; the likeliest tokens, cut after 70:\n"
    )
    for question, before, after in zip(QUESTIONS, recorded["before"], row["after"], strict=True):
        text += (
            f"\n*{question}*\n\n- before: {' '.join(before.split())}\n- after: {' '.join(after.split())}\n"
        )
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--asset", type=Path, help="also write what page 08 shows to this file")
    options = parser.parse_args()
    try:
        fetch(MODEL)
    except (OSError, ImportError) as error:
        print(f"skipped: {error}")
        return SKIPPED
    result = {
        "machine": this_machine("torch"), "model": MODEL,
        "before": [reply(question) for question in QUESTIONS], "run": run(options.steps),
    }  # fmt: skip
    print(page(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")
    if options.asset:
        text = json.dumps(asset(result), indent=1) + "\n"
        options.asset.write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
