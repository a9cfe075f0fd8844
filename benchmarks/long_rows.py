"""How many tokens of one row fit into 24 GB, fine-tuning an 8-billion-weight model with QLoRA.

    python benchmarks/long_rows.py --out long_rows.json

The shape is Llama 3.1 8B's, whose context of 131,072 tokens is the longest row that is tried. The weights are random:
time and memory do not depend on them. `torch.cuda.set_per_process_memory_fraction` enforces the budget from the first
tensor on; the CUDA context, about half a GB, is beside it. Two steps for each
length; each way ends at its first row that does not fit.

With --smoke a tiny shape runs on a CPU, without a budget, to try the program itself.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from page_parts import table, versions
from seven_billion import LEARNING_RATE, TINY, Bench, R, Setting

from minilora import Trainer
from minilora.memory import gigabytes, plan_memory
from minilora.memory.catalog import MODELS, ModelShape

BUDGET = 24
PLAIN, OFFLOADED = "gradient checkpointing", "activation offloading"
LENGTHS = {PLAIN: (8192, 16384, 24576, 32768, 40960), OFFLOADED: (8192, 32768, 65536, 98304, 131072)}


def planned(shape: ModelShape, length: int, how: str) -> int:
    return plan_memory(
        shape, "qlora", R, "all-linear", "bf16", "adamw", 1, length, True, double_quant=True,
        activation_offloading=how == OFFLOADED,
    ).total  # fmt: skip


def longest(shape: ModelShape, how: str) -> int:
    """The longest row whose plan fits the budget, or the model's context."""
    low, high = 1, shape.max_position_embeddings
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if planned(shape, middle, how) <= BUDGET * 1e9 else (low, middle - 1)
    return low


def run_way(bench: Bench, model: Any, how: str, lengths: tuple[int, ...]) -> list[dict[str, Any]]:
    """Two steps for each length, as far as they fit."""
    trainer = Trainer(
        model, bench.text(Setting(1, 64, True)), max_steps=1, batch_size=1, learning_rate=LEARNING_RATE,
        gradient_checkpointing=True, activation_offloading=how == OFFLOADED, progress=False,
        lr_scheduler_type="constant",
    )  # fmt: skip
    trainer.train()  # makes the optimizer's state
    rows = []
    for length in lengths:
        row: dict[str, Any] = {"how": how, "tokens": length, "planned": planned(bench.shape, length, how)}
        bench.free()
        trainer.train_data = bench.text(Setting(1, length, True))
        trainer.max_steps = trainer.step + 2
        try:
            trainer.train()
            seconds = trainer.history.seconds[-1]  # the first one also takes main memory from the system
            row |= {
                "peak": bench.peak(), "reserved": bench.reserved(), "losses": trainer.history.losses[-2:],
                "seconds": trainer.history.seconds[-2:], "tokens_per_second": length / seconds,
            }  # fmt: skip
            if row["peak"]:
                row["error"] = row["planned"] / row["peak"] - 1
        except torch.OutOfMemoryError as error:
            row["failed"] = str(error)[:200]
        rows.append(row)
        print(row, flush=True)
        if "failed" in row:
            break
    return rows


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = [
        [f"{row['how']}, {row['tokens']:,} tokens", gigabytes(row["planned"]),
         *([gigabytes(row["peak"]), f"{row['error']:+.1%}", f"{row['tokens_per_second']:,.0f}"]
           if "peak" in row else ["does not fit", "", ""])]
        for row in recorded["rows"]
    ]  # fmt: skip
    fits = {how: longest(MODELS[recorded["shape"]], how) for how in (PLAIN, OFFLOADED)}
    return (
        f"{versions(recorded['machine'])}. {recorded['shape']}, QLoRA with r={recorded['r']} on all linear layers, "
        f"within {recorded['budget_gb']} GB. By plan {fits[PLAIN]:,} tokens of one row fit with checkpointing alone, "
        f"and {fits[OFFLOADED]:,} with activation offloading too.\n\n"
        + table(["one row", "planned", "measured", "error", "tokens/s"], rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the results to this file, as JSON")
    parser.add_argument("--smoke", action="store_true", help="a tiny shape on a CPU, to try the program")
    options = parser.parse_args()
    if not options.smoke and not torch.cuda.is_available():
        parser.exit(1, "this benchmark needs a CUDA GPU; --smoke tries the program without one\n")
    start = time.perf_counter()
    bench = Bench(TINY, "cpu") if options.smoke else Bench(MODELS["llama-3.1-8b"], "cuda")
    machine = {"gpu": "none" if options.smoke else torch.cuda.get_device_name(), "torch": torch.__version__}
    result: dict[str, Any] = {
        "machine": machine,
        "shape": bench.shape.name,
        "r": R,
        "budget_gb": BUDGET,
        "rows": [],
    }
    torch.manual_seed(0)
    bench.limit(BUDGET)
    model = bench.packed()
    for how, lengths in LENGTHS.items():
        result["rows"] += run_way(bench, model, how, (32, 64) if options.smoke else lengths)
        if options.out:
            options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"took {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
