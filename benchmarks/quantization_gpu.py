"""The 4-bit kernels on a GPU beside bitsandbytes' CUDA, in one process: ratios above 1 mean that ours is faster.

    python benchmarks/quantization_gpu.py [--json FILE]

Unless "called from Python", times are the GPU's own: each way is recorded once as a CUDA graph of many calls that walk
through several copies of the weight (more than its cache holds), and replayed; so no time of Python or of launching is
in them. All ways of doing one
thing take turns; the table gives each one's median, and bitsandbytes' time divided by it. Runs without bitsandbytes
too, and then says so and times ours alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from page_parts import table, versions
from torch import Tensor, nn

from minilora.quantization import blockwise, quantize_4bit
from minilora.quantization.blockwise import why_not_triton

try:
    import bitsandbytes as bnb
except ImportError:
    bnb = None

Actions = dict[str, Callable[[int], Any]]  # each is called with the number of the copy to work on
SHAPES = ((4096, 4096), (14336, 4096))  # (out, in): attention and feed-forward of a 7B or 8B model
ROWS = (1, 4, 16)  # tokens at a time when text is generated
COPIES, CALLS, ROUNDS = 8, 24, 15
THEIRS = "bitsandbytes"


class Table:
    """Prints each measurement as it is made and collects it for the file."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, title: str, actions: Actions, from_python: bool = False) -> None:
        graphs: dict[str, Callable[[], Any]] = {}
        for name, action in actions.items():
            try:
                graphs[name] = called(action) if from_python else recorded(action).replay
            except Exception as error:  # a way that fails here is reported, and the others are still timed
                print(f"  {title}: {name} failed: {type(error).__name__}: {str(error)[:200]}", flush=True)
        microseconds: dict[str, list[float]] = {name: [] for name in graphs}
        for _ in range(ROUNDS):
            for name, graph in graphs.items():
                microseconds[name].append(replayed(graph))
        base = microseconds.get(THEIRS)
        print(title)
        for name, times in microseconds.items():
            ratios = [b / t for b, t in zip(base, times, strict=True)] if base else []
            spread = (
                f"{statistics.median(ratios):6.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else ""
            )
            print(f"    {name:36}{statistics.median(times):9.1f} µs {spread}", flush=True)
            self.rows.append({"what": title, "how": name, "microseconds": times, "ratios": ratios})


def called(action: Callable[[int], Any]) -> Callable[[], None]:
    """CALLS calls from Python, as a program makes them: the time of launching counts if it is the longer one."""
    action(0)

    def run() -> None:
        for i in range(CALLS):
            action(i % COPIES)

    return run


def recorded(action: Callable[[int], Any]) -> torch.cuda.CUDAGraph:
    """A graph of CALLS calls, after some that compile and allocate."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for i in range(3):
            action(i % COPIES)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(CALLS):
            action(i % COPIES)
    return graph


def replayed(calls: Callable[[], Any]) -> float:
    """Microseconds per call."""
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    calls()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / CALLS * 1e3


def their_layer(linear: nn.Linear, double_quant: bool, code: str = "nf4") -> nn.Module:
    """bitsandbytes' 4-bit layer made from an ordinary one; tests/test_linear4bit.py compares with it too."""
    layer = bnb.nn.Linear4bit(
        linear.in_features, linear.out_features, bias=False, compute_dtype=linear.weight.dtype, quant_type=code,
        compress_statistics=double_quant,
    )  # fmt: skip
    layer.weight = bnb.nn.Params4bit(
        linear.weight.detach().cpu(), quant_type=code, compress_statistics=double_quant, module=layer
    )
    layer.bias = linear.bias
    layer.train()  # in eval mode this release rounds its absmax for good
    return layer.to(linear.weight.device)  # here it quantizes


def check(weight: Tensor) -> dict[str, Any]:
    """Counts the bytes and values that differ between our GPU and CPU paths (none should), and from bitsandbytes."""
    facts: dict[str, Any] = {"what": "bits that differ", "weights": weight.numel()}
    for code, double_quant in (("nf4", False), ("nf4", True), ("fp4", False)):
        here, there = (quantize_4bit(w, code, 64, double_quant) for w in (weight, weight.cpu()))
        pairs = [(tensor, here.tensors()[name].cpu()) for name, tensor in there.tensors().items()]
        pairs += [(there.dequantize(dtype), here.dequantize(dtype).cpu()) for dtype in (None, torch.bfloat16)]
        name = f"GPU and CPU, {code}{' double' if double_quant else ''}"
        facts[name] = sum(int((first != second).sum()) for first, second in pairs)
    if bnb is not None:
        packed, state = bnb.functional.quantize_4bit(weight, quant_type="nf4", blocksize=64)
        q = quantize_4bit(weight)
        facts["nf4 bytes, ours and bitsandbytes' CUDA"] = int((packed != q.packed).sum())
        state.absmax = q.absmax
        theirs = bnb.functional.dequantize_4bit(q.packed, state)
        facts["nf4 values decoded, likewise"] = int((theirs != q.dequantize()).sum())
    print(facts, flush=True)
    return facts


def in_torch(action: Callable[[int], Any]) -> Callable[[int], Any]:
    """The same without the kernels: the readable code."""

    def run(i: int) -> Any:
        with mock.patch.object(blockwise, "triton_works", return_value=False):
            return action(i)

    return run


def measure(table: Table, linear: nn.Linear) -> None:
    """One bfloat16 weight: quantized, decoded, and multiplied with a few rows."""
    size = f"{linear.out_features} x {linear.in_features}"
    weights = [linear.weight.detach() + 0 for _ in range(COPIES)]
    from minilora.quantization import triton_kernels

    actions: Actions = {
        "ours": lambda i: triton_kernels.encode(weights[i].view(-1, 64), "nf4"),
        "ours, in torch": lambda i: blockwise._encode(weights[i].view(-1, 64), "nf4"),
    }
    if bnb is not None:
        actions[THEIRS] = lambda i: bnb.functional.quantize_4bit(weights[i], quant_type="nf4", blocksize=64)
    table.add(f"quantize {size}, bfloat16, nf4, called from Python", actions, from_python=True)

    for double_quant in (False, True):
        measure_decoding(table, weights, size, double_quant)
    for count in ROWS:
        measure_product(table, linear, weights, count)


def measure_decoding(table: Table, weights: list[Tensor], size: str, double_quant: bool) -> None:
    ours = [quantize_4bit(weight, double_quant=double_quant) for weight in weights]
    actions: Actions = {
        "ours": lambda i: ours[i].dequantize(),
        "ours, in torch": in_torch(lambda i: ours[i].dequantize()),
        "a bfloat16 copy of the result": lambda i: weights[i].clone(),
    }
    if bnb is not None:
        theirs = [packed_by_them(weight, double_quant) for weight in weights]
        actions[THEIRS] = lambda i: bnb.functional.dequantize_4bit(*theirs[i])
    kind = "double quantization" if double_quant else "single quantization"
    table.add(f"dequantize {size} to bfloat16, nf4, {kind}", actions)
    table.add(f"dequantize {size}, {kind}, called from Python", actions, from_python=True)


def measure_product(table: Table, linear: nn.Linear, weights: list[Tensor], count: int) -> None:
    x = torch.randn(count, linear.in_features, dtype=torch.bfloat16, device=linear.weight.device)
    ours = [quantize_4bit(weight, double_quant=True) for weight in weights]
    actions: Actions = {
        "ours, decode and multiply": lambda i: x @ ours[i].dequantize().T,
        "an ordinary bfloat16 layer": lambda i: x @ weights[i].T,
    }
    if count <= 4:
        actions["ours, fused"] = lambda i: torch.ops.minilora.product_4bit(
            x, *ours[i].fields(), 64, linear.out_features
        )
    if bnb is not None:
        theirs = [packed_by_them(weight, True) for weight in weights]
        actions[THEIRS] = lambda i: bnb.matmul_4bit(x, theirs[i][0].t(), quant_state=theirs[i][1])
    size = f"{linear.out_features} x {linear.in_features}"
    table.add(f"{count} tokens through {size}, double quantization", actions)


def packed_by_them(weight: Tensor, double_quant: bool) -> tuple[Tensor, Any]:
    return bnb.functional.quantize_4bit(
        weight, quant_type="nf4", blocksize=64, compress_statistics=double_quant
    )


def run(device: torch.device) -> list[dict[str, Any]]:
    """All measurements; returns the rows of the table."""
    torch.manual_seed(0)
    table = Table()
    table.rows.append(check(torch.randn(*SHAPES[0], device=device)))
    for out_features, in_features in SHAPES:
        linear = nn.Linear(in_features, out_features, bias=False, dtype=torch.bfloat16, device=device)
        with torch.no_grad():
            measure(table, linear)
    return table.rows


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = recorded["rows"]
    checks = [f"{name}: {count:,}" for name, count in rows[0].items() if name not in ("what", "weights")]
    timings = [
        [f"{row['what']}: {row['how']}", f"{statistics.median(row['microseconds']):.1f} µs",
         f"{statistics.median(row['ratios']):.2f}" if row["ratios"] else "",
         f"{min(row['ratios']):.2f} to {max(row['ratios']):.2f}" if row["ratios"] else ""]
        for row in rows[1:]
    ]  # fmt: skip
    return (
        f'{versions(recorded["machine"])}. Unless "called from Python", the GPU\'s own time. '
        f"Of {rows[0]['weights']:,} weights these differ. "
        f"{'; '.join(checks)}. A ratio below 1 is lost to bitsandbytes' kernels.\n\n"
        + table(["", "median", "bitsandbytes / this", "spread"], timings)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write all timings to this file")
    options = parser.parse_args()
    if why_not_triton():
        parser.exit(1, f"this benchmark needs a GPU and Triton: {why_not_triton()}\n")
    warnings.filterwarnings("ignore")
    start = time.perf_counter()
    machine = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    machine["bitsandbytes"] = "not installed" if bnb is None else bnb.__version__
    print(machine)
    rows = run(torch.device("cuda"))
    print(f"took {time.perf_counter() - start:.0f} s")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
