"""A real model of 135 million weights learns to answer like our customer support: with LoRA, and with QLoRA.

    python benchmarks/smollm2_support.py [--steps N] [--json FILE]

What `minilora finetune` does for anybody's .jsonl file, on conversations of our own, each method in a process of its
own so that the peak memory is its own too. A tenth of the conversations is kept for validation. The model is fetched
first, once (93 MB); where it cannot be had, the benchmark says so and is skipped (status 77).

Not here: a search for the best settings. So few steps suffice for a voice, not for knowledge.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from page_parts import table, versions

from minilora.commands.generate import Settings, generate
from minilora.files.fetch import fetch
from minilora.finetune import FinetuneSettings, Report, finetune
from minilora.training.corpora import support_chat

MODEL = "smollm2-135m-instruct"
METHODS = ("lora", "qlora")
CONVERSATIONS = 240
BATCH_SIZE, LEARNING_RATE = 4, 2e-3
QUESTIONS = (
    "My teapot arrived with a crack. What can I do?",  # what support is asked
    "What is the capital of France?",  # and what it still knows
)
SKIPPED = 77


def reply(question: str, adapter: Path | None = None) -> str:
    """The likeliest answer, cut after 70 tokens."""
    settings = Settings(
        base=MODEL, prompt=question, chat=True, max_new_tokens=70, temperature=0.0,
        adapter=None if adapter is None else str(adapter),
    )  # fmt: skip
    return "".join(generate(settings)).split("<|im_end|>")[0].strip()


def figures(report: Report) -> dict[str, Any]:
    """What is recorded of a report: its numbers."""
    texts = ("folder", "prompt", "sample_before", "sample_after", "commands")
    return {name: value for name, value in dataclasses.asdict(report).items() if name not in texts}


def run(method: str, steps: int) -> dict[str, Any]:
    """One fine-tuning in this process: `finetune`'s report, and what the model answers afterwards."""
    with tempfile.TemporaryDirectory() as work:
        data, out = Path(work) / "support.jsonl", Path(work) / "adapter"
        lines = [json.dumps(conversation) for conversation in support_chat(examples=CONVERSATIONS)]
        data.write_text("\n".join(lines) + "\n", encoding="utf-8")
        settings = FinetuneSettings(
            base=MODEL, data=str(data), out=str(out), method=method, max_steps=steps, batch_size=BATCH_SIZE,
            sequence_length=192, learning_rate=LEARNING_RATE, target_modules=["attention"], no_samples=True,
        )  # fmt: skip
        report = finetune(settings, say=lambda line: None)  # the bar of its progress goes to stderr
        return (
            figures(report)
            | {"seconds_per_step": report.seconds / report.steps}
            | {"replies": [reply(question, out) for question in QUESTIONS]}
        )


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown, and the answers word for word."""
    rows = [
        [row["method"], f"{row['trainable']:,} ({row['trainable'] / row['total']:.2%})",
         f"{row['validation_before']:.3f}", f"{row['validation_after']:.3f}", f"{row['seconds_per_step']:.1f} s",
         f"{row['peak_memory'] / 1e9:.2f} GB", f"{row['file_bytes'] / 1e6:.2f} MB"]
        for row in recorded["rows"]
    ]  # fmt: skip
    head = ["method", "trained", "validation loss before", "after", "a step", "peak memory", "file"]
    text = (
        f"{versions(recorded['machine'])}. {recorded['model']}, {recorded['rows'][0]['steps']} steps of "
        f"{recorded['batch_size']} conversations out of {recorded['conversations']}. Loss in nats a token of the "
        "answers. The peak is that of a whole process, which holds the model in float32 before QLoRA packs it.\n\n"
    ) + table(head, rows)
    for place, question in enumerate(recorded["questions"]):
        said = [("before", recorded["replies"][place])]
        said += [(f"after {row['method']}", row["replies"][place]) for row in recorded["rows"]]
        text += f"\n*{question}*\n\n" + "".join(
            f"- {when}: {' '.join(words.split())}\n" for when, words in said
        )
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--only", choices=METHODS, help=argparse.SUPPRESS)  # one run in this process, as JSON
    options = parser.parse_args()
    if options.only:
        print(json.dumps(run(options.only, options.steps)))
        return 0
    try:
        fetch(MODEL)
    except (OSError, ImportError) as error:
        print(f"skipped: {error}")
        return SKIPPED
    machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "cores": os.cpu_count()}
    result: dict[str, Any] = {
        "machine": machine, "model": MODEL, "conversations": CONVERSATIONS, "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE, "questions": QUESTIONS,
        "replies": [reply(question) for question in QUESTIONS], "rows": [],
    }  # fmt: skip
    for method in METHODS:
        command = [sys.executable, __file__, "--steps", str(options.steps), "--only", method]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        result["rows"].append(json.loads(done.stdout.splitlines()[-1]))
    print(page(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
