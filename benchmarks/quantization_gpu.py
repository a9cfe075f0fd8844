"""4-bit layers on a GPU beside bitsandbytes' CUDA path, in one process: ratios above 1 mean ours is faster.

    python benchmarks/quantization_gpu.py [--json FILE]

Runs without bitsandbytes too, and then says so and times ours alone. All ways of doing one thing take turns; the
table gives each one's median, and the median and range of bitsandbytes' (eager) time divided by it, turn by turn.
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

import torch
from page_parts import table, versions
from torch import Tensor, nn

from minilora.quantization import quantize_4bit
from minilora.quantization.linear4bit import Linear4bit

try:
    import bitsandbytes as bnb
except ImportError:
    bnb = None

Actions = dict[str, Callable[[], Any]]
SHAPES = ((4096, 4096), (14336, 4096))  # (out, in): attention and feed-forward of a 7B or 8B model
TOKENS = (2048, 16)  # a training batch; a few sequences that generate
THEIRS = "bitsandbytes, eager"


class Table:
    """Prints each measurement as it is made and collects it for the file."""

    def __init__(self, device: torch.device, rounds: int):
        self.device, self.rounds = device, rounds
        self.rows: list[dict[str, Any]] = []

    def add(self, title: str, actions: Actions, repeat: int) -> None:
        """Times the actions in turns, `repeat` calls at a time."""
        milliseconds: dict[str, list[float]] = {name: [] for name in actions}
        for name, action in list(actions.items()):
            try:
                for _ in range(3):  # compiles, allocates, warms up
                    action()
            except Exception as error:  # a way that fails here is reported, and the others are still timed
                print(f"  {title}: {name} failed: {type(error).__name__}: {str(error)[:200]}", flush=True)
                del actions[name], milliseconds[name]
        for _ in range(self.rounds):
            for name, action in actions.items():
                milliseconds[name].append(self._time(action, repeat))
        base = milliseconds.get(THEIRS)
        print(title)
        for name, times in milliseconds.items():
            ratios = [b / t for b, t in zip(base, times, strict=True)] if base else []
            spread = (
                f"{statistics.median(ratios):6.2f}   {min(ratios):.2f} - {max(ratios):.2f}" if ratios else ""
            )
            print(f"    {name:44}{statistics.median(times):9.3f} ms {spread}", flush=True)
            self.rows.append({"what": title, "how": name, "milliseconds": times, "ratios": ratios})

    def _time(self, action: Callable[[], Any], repeat: int) -> float:
        self._wait()
        start = time.perf_counter()
        for _ in range(repeat):
            action()
        self._wait()
        return (time.perf_counter() - start) / repeat * 1e3

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


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
        pairs.append((there.dequantize(), here.dequantize().cpu()))
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


def forward(layer: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> Callable[[], Tensor]:
    return torch.no_grad()(lambda: layer(x))


def forward_and_backward(layer: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> Callable[[], Any]:
    return lambda: torch.autograd.grad(layer(x), x, grad)


def measure(table: Table, linear: nn.Linear, tokens: tuple[int, ...], repeat: int) -> None:
    """One bfloat16 weight: quantized, decoded, and used on different numbers of tokens."""
    ours = Linear4bit.from_linear(linear, double_quant=True)
    theirs = None if bnb is None else their_layer(linear, double_quant=True)
    q, size = ours.quantized, f"{linear.out_features} x {linear.in_features}"

    actions: Actions = {"ours": lambda: quantize_4bit(linear.weight)}
    if theirs is not None:
        actions[THEIRS] = lambda: bnb.functional.quantize_4bit(linear.weight, quant_type="nf4", blocksize=64)
    table.add(f"quantize {size}, bfloat16, nf4", actions, max(1, repeat // 5))

    actions = {"ours, eager": q.dequantize, "ours, compiled": torch.compile(q.dequantize)}
    if theirs is not None:
        actions[THEIRS] = lambda: bnb.functional.dequantize_4bit(
            theirs.weight.data, theirs.weight.quant_state
        )
    table.add(f"dequantize {size} to bfloat16, nf4, double quantization", actions, repeat)
    for name, action in list(actions.items()) if table.device.type == "cuda" else []:
        table.rows.append({"what": f"memory of decoding {size}", "how": name, "mb": peak_mb(action)})
        print(f"    {name:44}{table.rows[-1]['mb']:9.1f} MB at most while it runs, the result included")

    for count in tokens:
        x = torch.randn(
            count, linear.in_features, dtype=torch.bfloat16, device=table.device, requires_grad=True
        )
        grad = torch.randn(count, linear.out_features, dtype=torch.bfloat16, device=table.device)
        for use in (forward, forward_and_backward)[: 2 if count == max(tokens) else 1]:
            actions = {
                "ours, eager": use(ours, x, grad),
                "ours, layer compiled": use(torch.compile(ours), x, grad),
            }
            if theirs is not None:
                actions[THEIRS] = use(theirs, x, grad)
                actions["bitsandbytes, layer compiled"] = use(torch.compile(theirs), x, grad)
            actions["an ordinary bfloat16 layer"] = use(linear, x, grad)
            table.add(f"{use.__name__}, {count} tokens through {size}", actions, repeat)


def peak_mb(action: Callable[[], Any]) -> float:
    """The most memory that the action takes beside what was there, its result included."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    action()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def run(
    device: torch.device,
    shapes: tuple[tuple[int, int], ...],
    tokens: tuple[int, ...],
    rounds: int,
    repeat: int,
) -> list[dict[str, Any]]:
    """All measurements; returns the rows of the table."""
    torch.manual_seed(0)
    table = Table(device, rounds)
    table.rows.append(check(torch.randn(*shapes[0], device=device)))
    for out_features, in_features in shapes:
        linear = nn.Linear(in_features, out_features, bias=False, dtype=torch.bfloat16, device=device)
        measure(table, linear, tokens, repeat)
        torch._dynamo.reset()
    return table.rows


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = recorded["rows"]
    checks = [f"{name}: {count:,}" for name, count in rows[0].items() if name not in ("what", "weights")]
    timings = [
        [f"{row['what']}: {row['how']}", f"{statistics.median(row['milliseconds']):.3f} ms",
         f"{statistics.median(row['ratios']):.2f}" if row["ratios"] else "",
         f"{min(row['ratios']):.2f} to {max(row['ratios']):.2f}" if row["ratios"] else ""]
        for row in rows if "milliseconds" in row
    ]  # fmt: skip
    memory = [[f"{row['what']}: {row['how']}", f"{row['mb']:.0f} MB"] for row in rows if "mb" in row]
    return (
        f"{versions(recorded['machine'])}. Of {rows[0]['weights']:,} weights these differ. {'; '.join(checks)}. "
        "A ratio below 1 is lost to bitsandbytes' own kernels; ours decode in plain PyTorch.\n\n"
        + table(["", "median", "bitsandbytes / this", "spread"], timings)
        + "\nThe most memory that decoding takes, its result included:\n\n"
        + table(["", "at most"], memory)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write all timings to this file")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(1, "this benchmark needs a CUDA GPU; benchmarks/quantization.py runs on a CPU\n")
    warnings.filterwarnings("ignore")
    start = time.perf_counter()
    machine = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    machine["bitsandbytes"] = "not installed" if bnb is None else bnb.__version__
    print(machine)
    rows = run(torch.device("cuda"), SHAPES, TOKENS, rounds=15, repeat=20)
    print(f"took {time.perf_counter() - start:.0f} s")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
