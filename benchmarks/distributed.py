"""Training on several processes against one: tokens per second, and the bytes that each step sends.

    python benchmarks/distributed.py --out distributed.json [--processes 2]

Starts `torchrun` once for each run: on GPUs over NCCL, a process for each; without, over gloo, with a thread for each.
Only what trains is reduced, once a step, so LoRA sends the adapter where full fine-tuning sends the model: a hook in
DistributedDataParallel counts it. With the same rows in all together, several processes must see the losses of one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from page_parts import table, versions
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from minilora import GPT, GPTConfig, LoraConfig, TokenData, Trainer, add_lora
from minilora.memory import gigabytes
from minilora.memory.catalog import model_shape

WARM, STEPS = 3, 12
RANK, SEED = 16, 0


@dataclasses.dataclass(frozen=True)
class Setting:
    shape: str
    dtype: torch.dtype
    rows: int  # in one process
    length: int


ON_GPU = Setting("tinyllama-1.1b", torch.bfloat16, rows=8, length=1024)
ON_CPU = Setting("tiny-gpt", torch.float32, rows=4, length=64)


# -- one run, in every process ------------------------------------------------------------------------------------


def train(method: str, batch_size: int, setting: Setting, out: Path) -> None:
    """Trains on random tokens; the first process writes seconds, losses and bytes of the steps after the warm-up."""
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        torch.set_num_threads(1)
    shape = model_shape(setting.shape)
    torch.manual_seed(SEED)  # the same weights in every process
    torch.set_default_dtype(setting.dtype)
    with torch.device("cuda" if gpu else "cpu"):
        model: Any = GPT(GPTConfig.from_shape(shape))
    torch.set_default_dtype(torch.float32)
    if method == "lora":
        model = add_lora(model, LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear"))
    ids = torch.randint(
        shape.vocab_size,
        (batch_size * (WARM + STEPS), setting.length + 1),
        generator=torch.Generator().manual_seed(SEED),
    )
    trainer = Trainer(
        model, TokenData(ids[:, :-1], ids[:, 1:]), max_steps=WARM + STEPS, batch_size=batch_size,
        learning_rate=1e-4, progress=False,
    )  # fmt: skip
    sent = [0]
    if trainer.world_size > 1:

        def count(state, bucket):
            sent[0] += bucket.buffer().nbytes
            return allreduce_hook(state, bucket)

        trainer.loss.register_comm_hook(None, count)
    history = trainer.train()
    if trainer.process_rank == 0:
        result = {
            "seconds": history.seconds[WARM:],
            "losses": history.losses,
            "tokens_per_second": batch_size * setting.length / statistics.median(history.seconds[WARM:]),
            "bytes_sent_per_step": sent[0] / (WARM + STEPS),
            "trained": sum(p.numel() for p in trainer.parameters.values()),
        }
        out.write_text(json.dumps(result), encoding="utf-8")
    if dist.is_initialized():
        dist.destroy_process_group()


# -- all runs ---------------------------------------------------------------------------------------------------------


def launch(processes: int, method: str, batch_size: int) -> dict[str, Any]:
    """One run under torchrun; an error ends the benchmark with what the worker said."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        done = subprocess.run(
            [
                sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
                __file__, "--worker", method, "--batch-size", str(batch_size), "--out", str(out),
            ],
            capture_output=True, text=True, timeout=300, check=False, env={"OMP_NUM_THREADS": "1"} | os.environ,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{processes} processes, {method}: the run failed\n{done.stderr[-3000:]}")
        return json.loads(out.read_text(encoding="utf-8"))


def compare(method: str, processes: int, rows: int) -> list[dict[str, Any]]:
    """One process; several with as many rows in each; several with as many rows in all together."""
    one = launch(1, method, rows)
    runs = [("one process", 1, rows, one)]
    for name, batch in (("as many rows in each", rows * processes), ("as many rows in all together", rows)):
        runs.append((f"{processes} processes, {name}", processes, batch, launch(processes, method, batch)))
    lines = []
    for name, count, batch, result in runs:
        row = {"method": method, "run": name, "processes": count, "batch_size": batch} | result
        row["speed_against_one"] = result["tokens_per_second"] / one["tokens_per_second"]
        if count > 1 and batch == rows:
            pairs = zip(result["losses"], one["losses"], strict=True)
            row["largest_difference_of_a_loss"] = max(abs(a - b) / b for a, b in pairs)
        lines.append(row)
        print(
            f"{method:5} {name:44}{result['tokens_per_second']:12,.0f} tokens/s ({row['speed_against_one']:.2f}×)"
            f"{gigabytes(result['bytes_sent_per_step']):>12} a step",
            flush=True,
        )
    return lines


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    setting = recorded["setting"]
    rows = [
        [f"{row['method']}, {row['run']}", f"{row['tokens_per_second']:,.0f}", f"{row['speed_against_one']:.2f}",
         gigabytes(row["bytes_sent_per_step"])]
        for row in recorded["rows"]
    ]  # fmt: skip
    return (
        f"{versions(recorded['machine'])}; {setting['shape']}, {setting['dtype']}, {setting['rows']} rows of "
        f"{setting['length']} tokens in one process. Speed: against one process.\n\n"
        + table(["", "tokens/s", "speed", "sent a step"], rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the table to this file, as JSON")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--worker", choices=("full", "lora"), help=argparse.SUPPRESS)
    parser.add_argument("--batch-size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    gpus = torch.cuda.device_count()
    setting = ON_GPU if gpus else ON_CPU
    if options.worker:
        train(options.worker, options.batch_size, setting, options.out)
        return
    if options.processes < 2 or (gpus and options.processes > gpus):
        parser.error(
            f"--processes is {options.processes}; from 2 on, and not above the {gpus} GPUs of this machine"
        )
    start = time.perf_counter()
    machine = {
        "gpu": torch.cuda.get_device_name() if gpus else "none", "torch": torch.__version__,
        "backend": "nccl" if gpus else "gloo",
    }  # fmt: skip
    print(machine, setting, flush=True)
    rows = [row for method in ("full", "lora") for row in compare(method, options.processes, setting.rows)]
    print(f"took {time.perf_counter() - start:.0f} s")
    if options.out:
        described = dataclasses.asdict(setting) | {
            "dtype": str(setting.dtype).removeprefix("torch."),
            "r": RANK,
        }
        result = {"machine": machine, "setting": described, "rows": rows}
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
