"""Training on several processes against one: tokens per second, bytes on the wire, memory, and the same result.

    python benchmarks/several_processes.py --out several_processes.json [--processes 2]

Starts `torchrun` for one process and for several: on GPUs over NCCL, a process for each; without, over gloo, with a
thread for each. Full fine-tuning, LoRA and QLoRA take the same number of steps: with as many rows in each process as
one has alone (weak scaling), and with as many in all together (strong scaling). Only what trains is reduced, once a
step: what is handed to all_reduce is counted. With the same rows in all together, several processes must see the
losses of one, and end with its adapter. Last, a worker is killed midway, and one process continues from its last save.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import signal
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
from safetensors.torch import load_file, save_file
from torch import nn

from minilora import GPT, GPTConfig, Linear4bit, LoraConfig, TokenData, Trainer, add_lora, quantize_4bit
from minilora.memory import gigabytes
from minilora.memory.catalog import model_shape

WARM, STEPS = 5, 20  # steps that are not timed, and all steps
RANK, SEED, LEARNING_RATE = 16, 0, 1e-4
METHODS = ("full", "lora", "qlora")
KILLED_AFTER, SAVED_EVERY = 12, 5


@dataclasses.dataclass(frozen=True)
class Setting:
    shape: str
    qlora_shape: str
    dtype: torch.dtype
    rows: int  # in one process
    qlora_rows: int
    length: int


ON_GPU = Setting("tinyllama-1.1b", "llama-3.1-8b", torch.bfloat16, rows=8, qlora_rows=2, length=1024)
ON_CPU = Setting("tiny-gpt", "tiny-gpt", torch.float32, rows=4, qlora_rows=4, length=64)

# A sum over processes adds up a gradient in another order, so it differs by a share S of its usual size: a rounding of
# the type that it is computed in. Adam divides a gradient by its own size; averaged over all sizes, a weight's step
# then differs by the share √(2 S) (root mean square), and at the worst all steps do so to the same side.
ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 2**-8}


def farthest(dtype: torch.dtype) -> float:
    """How far the adapters of one and of several processes may be from each other: root mean square, of a matrix."""
    return (2 * ROUNDING[dtype]) ** 0.5 * STEPS * LEARNING_RATE


# -- in every process ----------------------------------------------------------------------------------------------


def build(method: str, setting: Setting, device: str) -> Any:
    """The same random weights in every process; for QLoRA each layer is packed before the next one is made."""
    torch.manual_seed(SEED)
    config = GPTConfig.from_shape(model_shape(setting.qlora_shape if method == "qlora" else setting.shape))
    torch.set_default_dtype(setting.dtype)
    with torch.device("meta" if method == "qlora" else device):
        model: Any = GPT(config)
    if method == "qlora":
        for path, layer in list(model.model.named_modules()):
            if isinstance(layer, nn.Linear):
                weight = torch.randn(layer.weight.shape, device=device) * 0.02
                model.model.set_submodule(path, Linear4bit(quantize_4bit(weight, double_quant=True)))
        for name, parameter in list(model.named_parameters()):
            module, _, leaf = name.rpartition(".")
            value = torch.randn(parameter.shape, device=device) * 0.02 if parameter.ndim > 1 else torch.ones_like(
                parameter, device=device
            )  # fmt: skip
            setattr(model.get_submodule(module), leaf, nn.Parameter(value))
        model.tie_weights()
    torch.set_default_dtype(torch.float32)
    if method == "full":
        return model
    return add_lora(model, LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear"))


def train(
    method: str, batch_size: int, setting: Setting, folder: Path, die: bool, resume: bool
) -> dict[str, Any]:
    """Trains on random tokens; returns seconds, losses, bytes and peak memory, and writes the adapter to a file."""
    gpu = torch.cuda.is_available()
    model = build(method, setting, "cuda" if gpu else "cpu")
    ids = torch.randint(
        model.config.vocab_size, (batch_size * STEPS, setting.length + 1),
        generator=torch.Generator().manual_seed(SEED),
    )  # fmt: skip
    trainer = Trainer(
        model, TokenData(ids[:, :-1], ids[:, 1:]), max_steps=STEPS, batch_size=batch_size, output_dir=folder,
        learning_rate=LEARNING_RATE, gradient_checkpointing=method == "qlora", progress=False,
        cuda_graph=gpu,
        save_steps=SAVED_EVERY if die else None,
    )  # fmt: skip
    sent, reduce = [0], dist.all_reduce

    def count(tensor: torch.Tensor) -> None:
        sent[0] += tensor.nbytes if tensor.ndim else 0  # not losses and the like
        reduce(tensor)

    dist.all_reduce = count
    if resume:
        trainer.resume()
    if die and trainer.process_rank == trainer.world_size - 1:
        trainer.on_step = lambda t: os.kill(os.getpid(), signal.SIGKILL) if t.step == KILLED_AFTER else None
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    try:
        history = trainer.train()
    finally:
        dist.all_reduce = reduce
    trained = {name: p.detach().float().cpu().contiguous() for name, p in trainer.parameters.items()}
    if trainer.process_rank == 0 and method != "full":
        save_file(trained, folder / f"{method}_{batch_size}.safetensors")
    seconds = history.seconds[WARM:]
    return {
        "method": method,
        "batch_size": batch_size,
        "processes": trainer.world_size,
        "seconds": seconds,
        "losses": history.losses,
        "tokens_per_second": batch_size * setting.length / statistics.median(seconds),
        "bytes_sent_per_step": sent[0] / STEPS,
        "trained": sum(p.numel() for p in trained.values()),
        "peak_memory": torch.cuda.max_memory_allocated() if gpu else None,
    }


def work(jobs: list[str], setting: Setting, folder: Path, die: bool, resume: bool) -> None:
    """All jobs of one launch, each "method:batch_size"; the first process writes the list of their results."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    else:
        torch.set_num_threads(1)
    results = []
    for job in jobs:
        method, batch_size = job.split(":")
        results.append(train(method, int(batch_size), setting, folder, die, resume))
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    if int(os.environ.get("RANK", 0)) == 0:
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    if dist.is_initialized():
        dist.destroy_process_group()


# -- all runs ---------------------------------------------------------------------------------------------------------


def launch(processes: int, jobs: list[str], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Starts torchrun; NVLink's multicast stays off, which some hosts cannot share between virtual machines."""
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
            __file__, "--work-in", str(folder), "--jobs", *jobs, *options,
        ],
        capture_output=True, text=True, timeout=400, check=False,
        env={"OMP_NUM_THREADS": "1", "NCCL_NVLS_ENABLE": "0"} | os.environ,
    )  # fmt: skip


def results(done: subprocess.CompletedProcess[str], folder: Path) -> list[dict[str, Any]]:
    """What the workers found; an error ends the benchmark with what they said."""
    if done.returncode:
        raise SystemExit(f"the run failed\n{done.stderr[-3000:]}")
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def compare(processes: int, setting: Setting, folder: Path) -> list[dict[str, Any]]:
    """For each method: one process; several with as many rows in each; several with as many rows in all together."""
    rows_of = {method: setting.qlora_rows if method == "qlora" else setting.rows for method in METHODS}
    alone = [f"{method}:{rows}" for method, rows in rows_of.items()]
    together = [f"{method}:{batch}" for method, rows in rows_of.items() for batch in (rows * processes, rows)]
    ones = {row["method"]: row for row in results(launch(1, alone, folder / "1"), folder / "1")}
    severals = results(launch(processes, together, folder / "n"), folder / "n")
    lines = []
    for row in sorted([*ones.values(), *severals], key=lambda row: METHODS.index(row["method"])):
        one = ones[row["method"]]
        strong = row["processes"] > 1 and row["batch_size"] == one["batch_size"]
        kind = (
            "one process"
            if row is one
            else "as many rows in all together"
            if strong
            else "as many rows in each"
        )
        row = {"run": kind} | row | {"speed_against_one": row["tokens_per_second"] / one["tokens_per_second"]}
        if strong:
            pairs = zip(row["losses"], one["losses"], strict=True)
            row["largest_difference_of_a_loss"] = max(abs(a - b) / b for a, b in pairs)
        if strong and row["method"] != "full":
            name = f"{row['method']}_{row['batch_size']}.safetensors"
            a, b = (load_file(folder / place / name) for place in ("1", "n"))
            row["adapter_difference"] = max(float((a[k] - b[k]).square().mean().sqrt()) for k in a)
            row["adapter_difference_at_most"] = farthest(setting.dtype)
        lines.append(row)
        print(
            f"{row['method']:6}{row['processes']} × {kind:30}{row['tokens_per_second']:12,.0f} tokens/s "
            f"({row['speed_against_one']:.2f}×){gigabytes(row['bytes_sent_per_step']):>12} a step, peak "
            f"{gigabytes(row['peak_memory'] or 0)}, adapters differ by {row.get('adapter_difference', 0):.1e}",
            flush=True,
        )
    return lines


def kill_and_resume(processes: int, setting: Setting, folder: Path, expected: list[float]) -> dict[str, Any]:
    """LoRA with all rows together: one worker dies, and a single process continues from the last save."""
    job = [f"lora:{setting.rows}"]
    died = launch(processes, job, folder, "--die")
    if died.returncode == 0 or "Signal 9" not in died.stderr:
        raise SystemExit(f"a worker was killed, and the job does not say so\n{died.stderr[-3000:]}")
    (row,) = results(launch(1, job, folder, "--resume"), folder)
    saved = KILLED_AFTER // SAVED_EVERY * SAVED_EVERY
    pairs = list(zip(row["losses"], expected, strict=True))
    said = next(line.strip() for line in died.stderr.splitlines() if "Signal 9" in line)
    result = {"killed_after": KILLED_AFTER, "resumed_from": saved, "said": said.partition("traceback : ")[2],
              "largest_difference_of_a_loss": max(abs(a - b) / b for a, b in pairs)}  # fmt: skip
    print(result, flush=True)
    return result


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    setting = recorded["setting"]
    rows = [
        [f"{row['method']}, {row['processes']}: {row['run']}", f"{row['tokens_per_second']:,.0f}",
         f"{row['speed_against_one']:.2f}", gigabytes(row["bytes_sent_per_step"]),
         gigabytes(row["peak_memory"]) if row["peak_memory"] else "",
         f"{row['largest_difference_of_a_loss']:.0e}" if "largest_difference_of_a_loss" in row else "",
         f"{row['adapter_difference']:.0e} of {row['adapter_difference_at_most']:.0e}"
         if "adapter_difference" in row else ""]
        for row in recorded["rows"]
    ]  # fmt: skip
    text = (
        f"{versions(recorded['machine'])}; {setting['shape']} with {setting['rows']} rows in one process, QLoRA: "
        f"{setting['qlora_shape']} with {setting['qlora_rows']} and checkpointing; {setting['dtype']}, "
        f"{setting['length']} tokens a row, r={setting['r']}, {STEPS} steps. Speed: against one process. The last "
        "two columns compare with one process on the same rows: the largest difference of a loss, and of the adapters "
        "after all steps (root mean square), beside what rounding may do.\n\n"
        + table(["", "tokens/s", "speed", "sent a step", "peak", "losses", "adapters"], rows)
    )
    killed = recorded.get("killed")  # the last part; a run that ended before has none
    if killed is None:
        return text
    return text + (
        f"\nA worker killed after step {killed['killed_after']} ends the job ({killed['said']}). One process continues "
        f"from step {killed['resumed_from']}, with losses within {killed['largest_difference_of_a_loss']:.0e} of those "
        "of an uninterrupted run"
        # the record of two GPUs; benchmarks/several_processes.json has the present code's on a CPU
        f"{' (measured when hooks of DistributedDataParallel summed the gradients)' * killed.get('by_hooks', False)}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the table to this file, as JSON")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work-in", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--jobs", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--die", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    gpus = torch.cuda.device_count()
    setting = ON_GPU if gpus else ON_CPU
    if options.jobs:
        work(options.jobs, setting, options.work_in, options.die, options.resume)
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
    described = dataclasses.asdict(setting) | {"dtype": str(setting.dtype).removeprefix("torch."), "r": RANK}
    result: dict[str, Any] = {"machine": machine, "setting": described}

    def save() -> None:
        if options.out:
            options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result["rows"] = compare(options.processes, setting, folder)
        save()
        one = next(row for row in result["rows"] if row["method"] == "lora")
        result["killed"] = kill_and_resume(options.processes, setting, folder / "killed", one["losses"])
        save()
    print(f"took {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
