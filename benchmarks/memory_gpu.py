"""The planner against one GPU: for each configuration, what `plan_memory` says and what the allocator's peak was.

    python benchmarks/memory_gpu.py --out memory_gpu.json

The models have published shapes and random weights, made on the GPU: memory does not depend on what they have learned.
All run in one process, one after the other; one that does not fit is recorded and the others continue. The errors are
shares of the measured peak. With --smoke a tiny shape takes the place of each on a CPU, to try the program itself.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")  # no gaps between configurations

import torch
from page_parts import table, versions
from torch import nn

from minilora import GPT, GPTConfig, LoraConfig, add_lora, quantize_model
from minilora.memory import MemoryPlan, gigabytes, measure_memory, plan_memory
from minilora.memory.catalog import ModelShape, model_shape

TORCH_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class Case:
    """One configuration; the names are those of `plan_memory`."""

    shape: str
    method: str
    batch_size: int
    sequence_length: int
    gradient_checkpointing: bool = False
    dtype: str = "bf16"
    target_modules: str | tuple[str, ...] = "attention"
    r: int = 8
    double_quant: bool = False
    activation_offloading: bool = False
    optimizer: str = "adamw"
    fitted: bool = True  # whether the planner was corrected until it fitted this case; the others test it


QV = ("q_proj", "v_proj")
CASES = (
    Case("smollm2-135m", "full", 8, 512),
    Case("smollm2-135m", "full", 4, 512, dtype="fp32"),
    Case("smollm2-135m", "lora", 8, 1024),
    Case("smollm2-135m", "qlora", 8, 1024, gradient_checkpointing=True),
    Case("smollm2-360m", "full", 4, 1024, gradient_checkpointing=True),
    Case("smollm2-360m", "lora", 4, 512, dtype="fp32"),
    Case("smollm2-360m", "qlora", 16, 512, target_modules="all-linear"),
    Case("tinyllama-1.1b", "full", 2, 1024),
    Case("tinyllama-1.1b", "full", 1, 512, gradient_checkpointing=True, dtype="fp32"),
    Case("tinyllama-1.1b", "lora", 4, 1024, target_modules="all-linear"),
    Case("tinyllama-1.1b", "lora", 2, 2048, target_modules="mlp", gradient_checkpointing=True, r=64),
    Case("tinyllama-1.1b", "qlora", 8, 512, gradient_checkpointing=True, double_quant=True),
    Case("llama-3.2-3b", "full", 4, 768),
    Case("llama-3.2-3b", "lora", 4, 768, target_modules=QV, r=32),
    Case("llama-3.2-3b", "lora", 4, 768, target_modules=QV, r=64),
    Case("llama-3.2-3b", "lora", 4, 768, target_modules="mlp", r=10),
    Case(
        "llama-3.2-3b",
        "qlora",
        1,
        2048,
        gradient_checkpointing=True,
        target_modules="all-linear",
        double_quant=True,
    ),
    Case("llama-2-7b", "full", 1, 512, gradient_checkpointing=True),
    Case("llama-2-7b", "lora", 1, 512, target_modules=QV),
    Case("llama-2-7b", "qlora", 1, 512, target_modules=QV),
    Case(
        "llama-2-7b",
        "qlora",
        4,
        1024,
        gradient_checkpointing=True,
        target_modules="all-linear",
        double_quant=True,
    ),
    Case("llama-3.1-8b", "full", 1, 512),
    Case("llama-3.1-8b", "lora", 1, 2048, gradient_checkpointing=True),
    Case(
        "llama-3.1-8b",
        "qlora",
        1,
        2048,
        gradient_checkpointing=True,
        target_modules="all-linear",
        double_quant=True,
    ),
    Case("llama-3.1-8b", "qlora", 2, 1024, target_modules="all-linear", r=16, double_quant=True),
    Case("llama-3.1-8b", "qlora", 1, 512, dtype="fp16"),
)
# Chosen before any of them was measured; the planner was never corrected because of one of these.
NEW = tuple(dataclasses.replace(case, fitted=False) for case in (
    Case("smollm2-135m", "lora", 32, 256, target_modules="mlp", r=32),
    Case("smollm2-360m", "full", 2, 2048, optimizer="adamw-8bit"),
    Case("smollm2-360m", "lora", 3, 1536, target_modules="all-linear", r=128),
    Case("tinyllama-1.1b", "full", 2, 1024, optimizer="sgd"),
    Case("tinyllama-1.1b", "lora", 6, 768, target_modules=("down_proj",), r=4, optimizer="sgd"),
    Case("tinyllama-1.1b", "qlora", 1, 2048, target_modules="all-linear", r=64),
    Case("llama-3.2-3b", "qlora", 2, 3000, target_modules="mlp", r=24, gradient_checkpointing=True),
    Case("llama-3.2-3b", "lora", 16, 512, target_modules=QV, gradient_checkpointing=True),
    Case("llama-3.2-3b", "qlora", 1, 24576, target_modules="all-linear", r=16, gradient_checkpointing=True,
         activation_offloading=True),
    Case("llama-2-7b", "qlora", 1, 4096, target_modules="attention", r=16, gradient_checkpointing=True,
         activation_offloading=True),
    Case("llama-2-7b", "lora", 2, 512, target_modules="all-linear", r=16),
    Case("llama-3.1-8b", "qlora", 3, 700, target_modules="all-linear", r=32, double_quant=True),
    Case("llama-3.1-8b", "qlora", 1, 8192, target_modules="all-linear", r=8, gradient_checkpointing=True),
    Case("llama-3.1-8b", "qlora", 1, 40960, target_modules="all-linear", r=16, gradient_checkpointing=True,
         double_quant=True, activation_offloading=True),
))  # fmt: skip


def plan(case: Case, shape: ModelShape) -> MemoryPlan:
    given = {name: value for name, value in dataclasses.asdict(case).items() if name != "fitted"}
    return plan_memory(**given | {"shape": shape})


def other_optimizer(name: str) -> contextlib.AbstractContextManager[Any]:
    """While it lasts, the Trainer gets another optimizer than its own, with the same groups."""
    if name == "adamw":
        return contextlib.nullcontext()

    def make(groups: list[dict[str, Any]], lr: float, fused: bool) -> torch.optim.Optimizer:
        if name == "sgd":
            return torch.optim.SGD(groups, lr=lr, fused=fused)
        import bitsandbytes

        return bitsandbytes.optim.AdamW8bit(groups, lr=lr)

    return mock.patch.object(torch.optim, "AdamW", make)


def build(case: Case, shape: ModelShape, device: str) -> nn.Module:
    """The model of a case, made where it will train and in the type that it will have."""
    torch.set_default_dtype(TORCH_DTYPES[case.dtype])
    try:
        with torch.device(device):
            model: nn.Module = GPT(GPTConfig.from_shape(shape))
    finally:
        torch.set_default_dtype(torch.float32)
    if case.method == "qlora":
        quantize_model(model, double_quant=case.double_quant)
    if case.method != "full":
        model = add_lora(model, LoraConfig(r=case.r, target_modules=case.target_modules))
    return model


def measure(case: Case, shape: ModelShape, device: str) -> dict[str, Any]:
    """The row of a case: what was planned, and what was measured or why not."""
    planned = plan(case, shape)
    row = dataclasses.asdict(case) | {
        "planned": planned.total,
        "planned_peak_moment": planned.peak_moment,
        "planned_moments": planned.moments,
        "planned_kept_by_forward": planned.kept_by_forward,
        "planned_parts": {name: part.largest for name, part in planned.parts.items()},
    }
    start = time.perf_counter()
    try:
        with other_optimizer(case.optimizer):
            measured = measure_memory(
                build(case, shape, device), case.batch_size, case.sequence_length,
                case.gradient_checkpointing, case.activation_offloading,
            )  # fmt: skip
        row |= {
            "measured": measured.peak,
            "measured_until": measured.peak_until,
            "measured_kept_by_forward": measured.kept_by_forward,
            "measured_parts": measured.parts,
            "error": planned.total / measured.peak - 1,
        }
    except Exception as error:  # does not fit, or anything else: it is recorded, and the others continue
        row["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
    row["seconds"] = time.perf_counter() - start
    return row


def free(device: str) -> None:
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch._C._cuda_clearCublasWorkspaces()  # each configuration starts from none, as a program of its own would


def run(cases: tuple[Case, ...], device: str, smoke: bool) -> list[dict[str, Any]]:
    rows = []
    for case in cases:
        if smoke:
            case = dataclasses.replace(case, sequence_length=32, batch_size=min(case.batch_size, 2))
        rows.append(measure(case, model_shape("tiny-gpt" if smoke else case.shape), device))
        print(line(rows[-1]), flush=True)
        free(device)
    return rows


def line(row: dict[str, Any]) -> str:
    targets = (
        row["target_modules"] if isinstance(row["target_modules"], str) else "+".join(row["target_modules"])
    )
    adapter = "" if row["method"] == "full" else f" r={row['r']} {targets}"
    checkpointing = " checkpointing" * row["gradient_checkpointing"]
    checkpointing += " offloading" * row["activation_offloading"]
    options = f"{row['dtype']} {row['optimizer']}{checkpointing}{' double' * row['double_quant']}{adapter}"
    name = f"{row['shape']:<15}{row['method']:<6}{row['batch_size']:>3} × {row['sequence_length']:<5}{options:<48}"
    if "failed" in row:
        return f"{name}{gigabytes(row['planned']):>10} planned; {row['failed'][:60]}"
    planned, measured = gigabytes(row["planned"]), gigabytes(row["measured"])
    return f"{name}{planned:>10} planned, {measured:>10} measured {row['error']:+7.1%}"


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and largest error, of the rows that ran."""
    result: dict[str, Any] = {"of": len(rows)}
    for name, chosen in (("", rows), ("new_", [row for row in rows if not row["fitted"]])):
        errors = [abs(row["error"]) for row in chosen if "error" in row]
        result[f"{name}ran"] = len(errors)
        if errors:
            result |= {f"{name}median_error": statistics.median(errors), f"{name}worst": max(errors)}
    return result


def how(row: dict[str, Any]) -> str:
    words = [row["dtype"], "" if row["optimizer"] == "adamw" else row["optimizer"]]
    words += ["checkpointing" * row["gradient_checkpointing"], "offloading" * row["activation_offloading"]]
    return " ".join(word for word in [*words, "" if row["fitted"] else "(new)"] if word)


def at_first(summed: dict[str, Any]) -> str:
    """The new configurations' errors before corrections that other rows led to; only the record can know them."""
    if "new_worst_at_first" not in summed:
        return ""
    return f" ({summed['new_worst_at_first']:.1%} and {summed['new_median_error_at_first']:.2%} as measured)"


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    summed = recorded["summary"]
    rows = [
        [f"{row['shape']}, {row['method']}", f"{row['batch_size']} × {row['sequence_length']}",
         how(row), gigabytes(row["planned"]),
         gigabytes(row["measured"]) if "measured" in row else row["failed"][:60],
         f"{row['error']:+.2%}" if "error" in row else ""]
        for row in recorded["rows"]
    ]  # fmt: skip
    return (
        f"{versions(recorded['machine'])}. `plan_memory` beside the allocator's peak: {summed['ran']} of "
        f"{summed['of']} configurations ran; off by {summed['worst']:.1%} at the worst, and by "
        f"{summed['median_error']:.3%} in the median. The planner was not fitted to {summed['new_ran']} of them, "
        f"marked new: there {summed['new_worst']:.1%} and {summed['new_median_error']:.3%}{at_first(summed)}.\n\n"
        + table(["model, method", "rows × tokens", "how", "planned", "measured", "error"], rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the table to this file, as JSON")
    parser.add_argument("--smoke", action="store_true", help="tiny shapes on a CPU, to try the program")
    options = parser.parse_args()
    if not options.smoke and not torch.cuda.is_available():
        parser.exit(1, "this benchmark needs a CUDA GPU; --smoke tries the program without one\n")
    machine = {"gpu": "none" if options.smoke else torch.cuda.get_device_name(), "torch": torch.__version__}
    print(machine, flush=True)
    start = time.perf_counter()
    rows = run(CASES + NEW, "cpu" if options.smoke else "cuda", options.smoke)
    result = {"machine": machine, "summary": summary(rows), "rows": rows}
    print(f"{result['summary']}; took {time.perf_counter() - start:.0f} s")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
