"""The planner against one GPU: for each configuration, what `plan_memory` says and what the allocator's peak was.

    python benchmarks/memory_gpu.py --out memory_gpu.json

The models have published shapes and random weights, made on the GPU: memory does not depend on what they have learned.
All run in one process, one after the other; one that does not fit is recorded and the others continue. The errors are
shares of the measured peak. With --smoke a tiny shape takes the place of each on a CPU, to try the program itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

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
    Case("llama-3.2-3b", "qlora", 1, 2048, gradient_checkpointing=True, target_modules="all-linear", double_quant=True),
    Case("llama-2-7b", "full", 1, 512, gradient_checkpointing=True),
    Case("llama-2-7b", "lora", 1, 512, target_modules=QV),
    Case("llama-2-7b", "qlora", 1, 512, target_modules=QV),
    Case("llama-2-7b", "qlora", 4, 1024, gradient_checkpointing=True, target_modules="all-linear", double_quant=True),
    Case("llama-3.1-8b", "full", 1, 512),
    Case("llama-3.1-8b", "lora", 1, 2048, gradient_checkpointing=True),
    Case("llama-3.1-8b", "qlora", 1, 2048, gradient_checkpointing=True, target_modules="all-linear", double_quant=True),
    Case("llama-3.1-8b", "qlora", 2, 1024, target_modules="all-linear", r=16, double_quant=True),
    Case("llama-3.1-8b", "qlora", 1, 512, dtype="fp16"),
)  # fmt: skip


def plan(case: Case, shape: ModelShape) -> MemoryPlan:
    return plan_memory(**dataclasses.asdict(case) | {"shape": shape})


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
        measured = measure_memory(
            build(case, shape, device), case.batch_size, case.sequence_length, case.gradient_checkpointing
        )
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
    options = f"{row['dtype']}{checkpointing}{' double' * row['double_quant']}{adapter}"
    name = f"{row['shape']:<15}{row['method']:<6}{row['batch_size']:>3} × {row['sequence_length']:<5}{options:<48}"
    if "failed" in row:
        return f"{name}{gigabytes(row['planned']):>10} planned; {row['failed'][:60]}"
    planned, measured = gigabytes(row["planned"]), gigabytes(row["measured"])
    return f"{name}{planned:>10} planned, {measured:>10} measured {row['error']:+7.1%}"


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and largest error, of the rows that ran."""
    errors = [abs(row["error"]) for row in rows if "error" in row]
    if not errors:
        return {"ran": 0, "of": len(rows)}
    return {
        "ran": len(errors),
        "of": len(rows),
        "median_error": statistics.median(errors),
        "worst": max(errors),
    }


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    summed = recorded["summary"]
    rows = [
        [f"{row['shape']}, {row['method']}", f"{row['batch_size']} × {row['sequence_length']}",
         row["dtype"] + " checkpointing" * row["gradient_checkpointing"], gigabytes(row["planned"]),
         gigabytes(row["measured"]) if "measured" in row else row["failed"][:60],
         f"{row['error']:+.2%}" if "error" in row else ""]
        for row in recorded["rows"]
    ]  # fmt: skip
    return (
        f"{versions(recorded['machine'])}. `plan_memory` beside the allocator's peak: {summed['ran']} of "
        f"{summed['of']} configurations ran; off by {summed['worst']:.1%} at the worst, and by "
        f"{summed['median_error']:.3%} in the median.\n\n"
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
    rows = run(CASES, "cpu" if options.smoke else "cuda", options.smoke)
    result = {"machine": machine, "summary": summary(rows), "rows": rows}
    print(f"{result['summary']}; took {time.perf_counter() - start:.0f} s")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
