"""An 8-billion-weight model fine-tuned within 24 GB, and what does not fit; beside transformers, peft, bitsandbytes.

    python benchmarks/seven_billion.py --out seven_billion.json

The shape is Llama 3.1 8B's, with random weights made on the GPU: time and memory do not depend on what they have
learned. `torch.cuda.set_per_process_memory_fraction` enforces each budget, from the first tensor on; the CUDA context,
about half a GB, is beside it. Four parts, each written to the file as soon as it is done:

- QLoRA in 24 GB: 20 steps on the same few rows of text, so the loss must fall;
- what else fits, or fails to: LoRA and full fine-tuning in 24 GB, full fine-tuning in 80 GB;
- speed and peak memory in one process with the peers, turn by turn, all on the same shape, batch and length. The peers
  get their best case: no copies of norms and embeddings in fp32. Ratios above 1 mean that ours is faster.

With --smoke a tiny shape runs on a CPU, without budgets, to try the program itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch
import torch.nn.functional as F
from page_parts import table, versions
from torch import Tensor, nn

from minilora import (
    GPT,
    GPTConfig,
    Linear4bit,
    LoraConfig,
    TokenData,
    Trainer,
    add_lora,
    quantize_4bit,
)
from minilora.lora.layer import LoraLinear
from minilora.memory import gigabytes, plan_memory
from minilora.memory.catalog import MODELS, ModelShape
from minilora.quantization import blockwise
from minilora.training import loss

try:
    import bitsandbytes as bnb
    import peft
    import transformers
except Exception as error:  # a broken wheel fails in many ways; ours still runs
    bnb, WHY_NO_PEERS = None, f"{type(error).__name__}: {error}"

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
R = 16
LEARNING_RATE = 1e-3
ROUNDS, STEPS_A_ROUND = 3, 3


@dataclasses.dataclass(frozen=True)
class Setting:
    batch: int
    length: int
    checkpointing: bool


SETTINGS = (Setting(2, 1024, True), Setting(1, 1024, False))
TINY = ModelShape("tiny", 512, 64, 128, 2, 4, 2, 128, False)


class Bench:
    """The shape, the device and the text; on a CPU nothing is limited and no bytes are counted."""

    def __init__(self, shape: ModelShape, device: str):
        self.shape, self.device, self.gpu = shape, device, device == "cuda"
        self.config = GPTConfig.from_shape(shape)

    def text(self, setting: Setting) -> TokenData:
        """One batch: the bytes of this very file, so every step repeats the same rows."""
        letters = torch.tensor(list(Path(__file__).read_bytes()))
        count = setting.batch * (setting.length + 1)
        rows = letters.repeat(-(-count // len(letters)))[:count].view(setting.batch, -1)
        return TokenData(rows[:, :-1].clone(), rows[:, 1:].clone())

    def limit(self, gigabytes: float) -> None:
        """From now on the allocator may take so much and no more."""
        if self.gpu:
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, gigabytes * 1e9 / total))

    def free(self) -> None:
        gc.collect()
        if self.gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def now(self) -> int:
        return torch.cuda.memory_allocated() if self.gpu else 0

    def peak(self) -> int:
        return torch.cuda.max_memory_allocated() if self.gpu else 0

    def reserved(self) -> int:
        return torch.cuda.max_memory_reserved() if self.gpu else 0

    # -- models ----------------------------------------------------------------------------------------------

    def plain(self, dtype: torch.dtype) -> GPT:
        torch.set_default_dtype(dtype)
        try:
            with torch.device(self.device):
                return GPT(self.config)
        finally:
            torch.set_default_dtype(torch.float32)

    def packed(self) -> nn.Module:
        """The model in NF4, double quantization, with fresh adapters; each layer is packed before the next is made."""
        with torch.device("meta"):
            model = GPT(self.config).to(torch.bfloat16)
        for path, layer in list(model.model.named_modules()):
            if isinstance(layer, nn.Linear):
                packed = quantize_4bit(self.random(layer.weight.shape), double_quant=True)
                model.model.set_submodule(path, Linear4bit(packed))
        for name, parameter in list(model.named_parameters()):
            module, _, leaf = name.rpartition(".")
            value = (
                self.random(parameter.shape)
                if parameter.ndim > 1
                else torch.ones_like(parameter, device=self.device)
            )
            setattr(model.get_submodule(module), leaf, nn.Parameter(value))
        model.tie_weights()
        return add_lora(model, LoraConfig(r=R, lora_alpha=R, target_modules=TARGETS))

    def random(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, dtype=torch.bfloat16, device=self.device) * 0.02

    def peers(self) -> nn.Module:
        """The same with transformers' model, bitsandbytes' layers and peft's adapters."""
        torch.set_default_dtype(torch.bfloat16)
        try:
            with torch.device(self.device):
                config = transformers.LlamaConfig(**dataclasses.asdict(self.config), use_cache=False)
                model = transformers.LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(torch.float32)
        for path, layer in list(model.model.named_modules()):
            if isinstance(layer, nn.Linear):
                model.model.set_submodule(path, self.their_layer(layer))
                layer.weight = None
        model.is_loaded_in_4bit = True  # so that peft picks its adapter for bitsandbytes' layers
        config = peft.LoraConfig(r=R, lora_alpha=R, target_modules=TARGETS, task_type="CAUSAL_LM")
        return peft.get_peft_model(model, config)

    def their_layer(self, linear: nn.Linear) -> nn.Module:
        layer = bnb.nn.Linear4bit(
            linear.in_features, linear.out_features, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4",
            compress_statistics=True, device="meta",
        )  # fmt: skip
        layer.weight = bnb.nn.Params4bit(
            linear.weight.detach(),
            requires_grad=False,
            quant_type="nf4",
            compress_statistics=True,
            module=layer,
        )
        return layer.to(self.device)  # packs it


# -- the parts ---------------------------------------------------------------------------------------------------------


def qlora_in_budget(bench: Bench, setting: Setting, budget: float, steps: int) -> dict[str, Any]:
    """Builds and trains under the budget; the loss of each step, and the peaks of building and training together."""
    bench.free()
    bench.limit(budget)
    start = time.perf_counter()
    model = bench.packed()
    built, built_peak = time.perf_counter() - start, bench.peak()
    trainer = Trainer(
        model, bench.text(setting), max_steps=steps, batch_size=setting.batch, learning_rate=LEARNING_RATE,
        gradient_checkpointing=setting.checkpointing, progress=False,
    )  # fmt: skip
    history = trainer.train()
    plan = plan_memory(
        bench.shape, "qlora", R, "all-linear", "bf16", "adamw", setting.batch, setting.length,
        setting.checkpointing, double_quant=True,
    )  # fmt: skip
    return dataclasses.asdict(setting) | {
        "budget_gb": budget,
        "trained": int(model.trainable_parameter_count()),
        "losses": history.losses,
        "falls": history.losses[-1] < history.losses[0],
        "seconds_to_build": built,
        "peak_while_building": built_peak,
        "peak": bench.peak(),
        "reserved": bench.reserved(),
        "planned": plan.total,
    }


def attempt(bench: Bench, method: str, dtype: str, setting: Setting, budget: float) -> dict[str, Any]:
    """Two steps, which need everything; the peak, or what ended it."""
    plan = plan_memory(
        bench.shape,
        method,
        R,
        "all-linear",
        dtype,
        "adamw",
        setting.batch,
        setting.length,
        setting.checkpointing,
    )
    row = {"method": method, "dtype": dtype, "budget_gb": budget, "planned": plan.total} | dataclasses.asdict(
        setting
    )
    bench.free()
    bench.limit(budget)
    stage = "building the model"
    try:
        model: nn.Module = bench.plain({"bf16": torch.bfloat16, "fp32": torch.float32}[dtype])
        if method == "lora":
            model = add_lora(model, LoraConfig(r=R, lora_alpha=R, target_modules=TARGETS))
        stage = "training"
        trainer = Trainer(
            model, bench.text(setting), max_steps=2, batch_size=setting.batch, learning_rate=1e-5,
            gradient_checkpointing=setting.checkpointing, progress=False,
        )  # fmt: skip
        trainer.train()
        return row | {"fits": True, "peak": bench.peak()}
    except torch.OutOfMemoryError as error:
        return row | {"fits": False, "ended_while": stage, "message": str(error)[:300]}


ADD_UPDATE, TRITON_WORKS, TRAINS = LoraLinear._add_update, blockwise.triton_works, loss._trains


def update_in_float32(layer: LoraLinear, out: Tensor, x: Tensor, name: str, scale: float) -> Tensor:
    """LoRA's update as peft computes it, by autograd."""
    low = F.linear(x.float(), layer.lora_A[name])  # (..., in) -> (..., r)
    return (out + F.linear(low, layer.lora_B[name]) * (layer.configs[name].scaling * scale)).to(out.dtype)


class Ours:
    """The packed model and its Trainer, a few steps at a time."""

    name = "ours"

    def __init__(self, bench: Bench):
        self.bench, self.model = bench, bench.packed()
        self.blocks = []
        for block in self.model.model.layers:
            block.compile(dynamic=False)
            self.blocks.append(block._compiled_call_impl)
        self.compile_blocks(False)

    def prepare(self, setting: Setting) -> None:
        self.trainer = Trainer(
            self.model, self.bench.text(setting), max_steps=1, batch_size=setting.batch, learning_rate=LEARNING_RATE,
            gradient_checkpointing=setting.checkpointing, progress=False,
        )  # fmt: skip

    def steps(self, count: int) -> list[float]:
        self.trainer.max_steps = self.trainer.step + 1 + count  # a graph is recorded in the first step
        return self.trainer.train().seconds[-count:]

    def ways(self) -> list[tuple[str, Callable[[], None]]]:
        return [
            (", eager", lambda: self.switch()),
            (", eager, decoding in torch", lambda: self.switch(kernels=False)),
            (", eager, LoRA in float32", lambda: self.switch(bfloat16=False)),
            (", eager, logits recomputed", lambda: self.switch(one_pass=False)),
            (", blocks compiled", lambda: self.switch(compiled=True)),
            (", CUDA graph", lambda: self.switch(graph=True)),
            (", blocks compiled, CUDA graph", lambda: self.switch(compiled=True, graph=True)),
        ][: None if self.bench.gpu else -2]

    def switch(
        self,
        compiled: bool = False,
        graph: bool = False,
        kernels: bool = True,
        bfloat16: bool = True,
        one_pass: bool = True,
    ) -> None:
        """Turns on or off, each alone, what makes the step fast."""
        self.compile_blocks(compiled)
        self.trainer.cuda_graph = graph
        blockwise.triton_works = TRITON_WORKS if kernels else (lambda: False)
        LoraLinear._add_update = ADD_UPDATE if bfloat16 else update_in_float32
        loss._trains = TRAINS if one_pass else (lambda layer: True)

    def compile_blocks(self, on: bool) -> None:
        """What `block.compile()` does, and back again."""
        for block, program in zip(self.model.model.layers, self.blocks, strict=True):
            block._compiled_call_impl = program if on else None


class Theirs:
    """The peers' model in the usual loop: their own loss, the same optimizer and clipping."""

    name = "transformers + peft + bitsandbytes"

    def __init__(self, bench: Bench):
        self.bench, self.model = bench, bench.peers().train()

    def ways(self) -> list[tuple[str, Callable[[], None]]]:
        return [("", lambda: None)]

    def prepare(self, setting: Setting) -> None:
        if setting.checkpointing:
            self.model.base_model.model.gradient_checkpointing_enable({"use_reentrant": False})
        else:
            self.model.base_model.model.gradient_checkpointing_disable()
        self.data = self.bench.text(setting)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=LEARNING_RATE, weight_decay=0.0, fused=True)

    def steps(self, count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            start = time.perf_counter()
            ids, targets = (t.to(self.bench.device) for t in (self.data.input_ids, self.data.targets))
            # shift_labels are what our targets are: moved by one already
            mean = self.model(input_ids=ids, labels=targets, shift_labels=targets).loss
            mean.backward()
            torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            mean.item()  # waits for the GPU, as our Trainer does
            seconds.append(time.perf_counter() - start)
        return seconds


def peak_of(bench: Bench, side: Ours | Theirs, at_rest: int) -> int:
    """Peak bytes of one side's steps while the other side rests beside it."""
    if not bench.gpu:
        return 0
    before = bench.now()
    torch.cuda.reset_peak_memory_stats()
    side.steps(2)
    return bench.peak() - before + at_rest


def side_by_side(
    bench: Bench, settings: tuple[Setting, ...], save: Callable[[Any], None]
) -> list[dict[str, Any]]:
    """Tokens per second and peak memory of each way to run the same step."""
    bench.free()
    bench.limit(80)
    sides: list[tuple[Any, int]] = []
    failed: list[dict[str, Any]] = []
    for make in (Ours, Theirs):
        before = bench.now()
        try:
            if make is Theirs and bnb is None:
                raise RuntimeError(WHY_NO_PEERS)
            side = make(bench)
            side.prepare(settings[0])
            side.steps(2)
            bench.free()
            sides.append((side, bench.now() - before))
        except Exception as error:  # the peers may not run here; ours is still measured
            failed.append({"how": make.name, "failed": f"{type(error).__name__}: {str(error)[:500]}"})
            print(failed[-1], flush=True)
    rows = []
    for setting in settings:
        # each way: its name, its side, the side's memory at rest, and what must be done before it runs
        ways = [
            (f"{side.name}{how}", side, rest, prepare) for side, rest in sides for how, prepare in side.ways()
        ]
        seconds: dict[str, list[float]] = {name: [] for name, *_ in ways}
        peaks: dict[str, int] = {}
        torch._dynamo.reset()
        for side, _ in sides:
            side.prepare(setting)
        for name, side, rest, prepare in ways:
            prepare()
            try:
                side.steps(2)  # compiles, and makes the optimizer's state
                peaks[name] = peak_of(bench, side, rest)
            except Exception as error:
                failed.append({"how": name, "failed": f"{type(error).__name__}: {str(error)[:500]}"})
                print(failed[-1], flush=True)
                del seconds[name]
        for _ in range(ROUNDS):
            for name, side, _rest, prepare in ways:
                if name in seconds:
                    prepare()
                    seconds[name] += side.steps(STEPS_A_ROUND)
        rows += [row(setting, name, times, seconds, peaks) for name, times in seconds.items()]
        save([*rows, *failed])
    return [*rows, *failed]


def row(
    setting: Setting, name: str, times: list[float], seconds: dict[str, list[float]], peaks: dict[str, int]
) -> dict[str, Any]:
    result = dataclasses.asdict(setting) | {
        "how": name,
        "tokens_per_second": setting.batch * setting.length / statistics.median(times),
        "seconds": times,
        "peak": peaks[name],
    }
    if Theirs.name in seconds:
        theirs = seconds[Theirs.name]
        result["speed_ratio"] = statistics.median(t / o for t, o in zip(theirs, times, strict=True))
        result["peak_ratio"] = peaks[name] / peaks[Theirs.name] if peaks[Theirs.name] else None
    print(
        f"{setting.batch} × {setting.length}{' checkpointing' * setting.checkpointing}, {name}: "
        f"{result['tokens_per_second']:,.0f} tokens/s, peak {gigabytes(result['peak'])}, "
        f"speed {result.get('speed_ratio', 1):.2f}×, memory {result.get('peak_ratio') or 1:.2f}×",
        flush=True,
    )
    return result


def run(bench: Bench, settings: tuple[Setting, ...], steps: int, out: Path | None) -> dict[str, Any]:
    machine = {"gpu": torch.cuda.get_device_name() if bench.gpu else "none", "torch": torch.__version__}
    for name in ("transformers", "peft", "bnb"):
        machine[name] = getattr(globals().get(name), "__version__", "not installed")
    result: dict[str, Any] = {"machine": machine, "shape": bench.shape.name, "r": R, "targets": "all-linear"}
    print(machine, flush=True)

    def save(part: str, value: Any) -> None:
        result[part] = value
        if out:
            out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    torch.manual_seed(0)
    save("qlora_in_24_gb", qlora_in_budget(bench, settings[0], 24, steps))
    print({key: value for key, value in result["qlora_in_24_gb"].items() if key != "losses"}, flush=True)
    print("losses", *(f"{loss:.3f}" for loss in result["qlora_in_24_gb"]["losses"]), flush=True)
    attempts = []
    one_row = Setting(1, settings[0].length // 2, True)
    for method, dtype, budget in (
        ("lora", "bf16", 24), ("full", "bf16", 24), ("full", "bf16", 80), ("full", "fp32", 80)
    ):  # fmt: skip
        attempts.append(attempt(bench, method, dtype, one_row, budget))
        print(attempts[-1], flush=True)
        save("what_else_fits", attempts)
    save("side_by_side", side_by_side(bench, settings, lambda rows: save("side_by_side", rows)))
    return result


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    done = recorded["qlora_in_24_gb"]
    attempts = [
        [f"{row['method']}, {row['dtype']}", f"{row['budget_gb']} GB", gigabytes(row["planned"]),
         gigabytes(row["peak"]) if row["fits"] else f"does not fit ({row['ended_while']})"]
        for row in recorded["what_else_fits"]
    ]  # fmt: skip
    ways = [
        [f"{row['batch']} × {row['length']}{', checkpointing' * row['checkpointing']}: {row['how']}",
         f"{row['tokens_per_second']:,.0f}", f"{row['speed_ratio']:.2f}" if "speed_ratio" in row else "",
         f"{row['batch'] * row['length'] / max(row['seconds']):,.0f} to "
         f"{row['batch'] * row['length'] / min(row['seconds']):,.0f}",
         gigabytes(row["peak"]), f"{row['peak_ratio']:.2f}" if row.get("peak_ratio") else ""]
        if "failed" not in row else [row["how"], row["failed"], "", "", "", ""]
        for row in recorded["side_by_side"]
    ]  # fmt: skip
    return (
        f"{versions(recorded['machine'])}. {recorded['shape']}, r={recorded['r']} on {recorded['targets']}. QLoRA "
        f"within {done['budget_gb']} GB: {done['batch']} × {done['length']} tokens a step, {gigabytes(done['peak'])} "
        f"at the peak ({gigabytes(done['planned'])} planned), loss {done['losses'][0]:.2f} to {done['losses'][-1]:.2f} "
        f"on one batch in {len(done['losses'])} steps.\n\n"
        + table(["what else fits, one row of 512 tokens", "within", "planned", "measured"], attempts)
        + f"\nOf full fine-tuning {outcome('full', recorded['what_else_fits'])}.\n"
        + "\nThe same step with the peers. A speed below 1 is slower than theirs. Compiled blocks: `block.compile()` "
        "on each block of the model, a line of the user's program; the peers run as their users run them.\n\n"
        + table(["", "tokens/s", "speed", "spread, tokens/s", "peak", "memory"], ways)
    )


def outcome(method: str, attempts: list[dict[str, Any]]) -> str:
    """In words, what fits on the largest GPU that was tried: a textbook expects that full fine-tuning never does."""
    largest = max(row["budget_gb"] for row in attempts)
    found = [row for row in attempts if row["method"] == method and row["budget_gb"] == largest]
    return " and ".join(
        f"{row['dtype']} {'fits' if row['fits'] else 'does not fit'} in {largest} GB" for row in found
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the results to this file, as JSON")
    parser.add_argument("--smoke", action="store_true", help="a tiny shape on a CPU, to try the program")
    options = parser.parse_args()
    start = time.perf_counter()
    if options.smoke:
        run(Bench(TINY, "cpu"), (Setting(2, 64, True), Setting(1, 64, False)), 20, options.out)
    elif torch.cuda.is_available():
        run(Bench(MODELS["llama-3.1-8b"], "cuda"), SETTINGS, 20, options.out)
    else:
        parser.exit(1, "this benchmark needs a CUDA GPU; --smoke tries the program without one\n")
    print(f"took {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
