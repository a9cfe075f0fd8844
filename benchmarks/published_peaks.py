"""The planner against peaks that others published with their own programs: which agree, and why the others do not.

    python benchmarks/published_peaks.py [--json FILE]

Pure arithmetic. Where another engine is known to keep more or less than ours, the difference is computed beside the
plan, never inside it. A figure agrees if plan and published peak are within 10 % of each other. (*): the number of
tokens is not published; 512 are assumed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from page_parts import table

from minilora.memory import gigabytes, plan_memory
from minilora.memory.catalog import model_shape

GIB = 2**30
QV = ("q_proj", "v_proj")
AGREES = 0.10


@dataclasses.dataclass(frozen=True)
class Published:
    """One published peak in bytes, the setting as far as it is stated, and what is done otherwise there.

    differences: names of functions below. why: for those that do not agree even so.
    """

    source: str
    peak: float
    setting: dict[str, Any]
    differences: tuple[str, ...] = ()
    why: str = ""


def whole_scores(setting: dict[str, Any]) -> tuple[str, int]:
    """transformers makes all scores at once: bf16, and in fp32 log-probabilities and two gradients: 14 bytes each."""
    shape, tokens = model_shape(setting["shape"]), setting["batch_size"] * setting["sequence_length"]
    in_pieces = plan_memory(**setting).parts["logits"].largest
    return "all scores at once", 14 * shape.vocab_size * tokens - in_pieces


def norms_in_fp32(setting: dict[str, Any]) -> tuple[str, int]:
    """transformers' RMSNorm keeps its input in fp32 where the fused one has bf16, and its output if it trains."""
    shape, tokens = model_shape(setting["shape"]), setting["batch_size"] * setting["sequence_length"]
    norms = 2 * shape.num_hidden_layers + 1
    bytes_more = 4 if setting["method"] == "full" else 2
    return "norms in fp32", bytes_more * norms * shape.hidden_size * tokens


def inputs_in_fp32(setting: dict[str, Any]) -> tuple[str, int]:
    """peft keeps a float32 copy of each adapted layer's input; ours keeps such copies for float16 alone."""
    copies, none = (plan_memory(**setting | {"dtype": dtype}).kept_by_forward for dtype in ("fp16", "bf16"))
    return "fp32 copies of inputs", copies - none


def gradients_used_at_once(setting: dict[str, Any]) -> tuple[str, int]:
    """The update runs inside the backward pass, so gradients of the whole model never exist together."""
    return "no gradients kept", -plan_memory(**setting).parts["gradients"].bytes


def not_fused(setting: dict[str, Any]) -> tuple[str, int]:
    """lit-gpt's norms and rotary positions are made of small steps, each of which keeps something, and its LoRA drops.

    How much is read from its own table: by how much a second row costs more there than here, per layer and channel.
    """
    one, two = (plan_memory(**_LITGPT | {"method": "lora", "batch_size": rows}).total for rows in (1, 2))
    shape, ours = model_shape(setting["shape"]), model_shape(_LITGPT["shape"])
    scale = shape.num_hidden_layers * shape.hidden_size / (ours.num_hidden_layers * ours.hidden_size)
    rows = setting["batch_size"]
    return "more kept by its norms, positions, LoRA", int(((29.07e9 - 21.30e9) - (two - one)) * scale * rows)


def packed_inputs_kept(setting: dict[str, Any]) -> tuple[str, int]:
    """bitsandbytes 0.41 kept the input of each packed layer for the backward pass, which does not need it."""
    shape, tokens = model_shape(setting["shape"]), setting["batch_size"] * setting["sequence_length"]
    inputs = (
        2 * shape.hidden_size + shape.intermediate_size
    )  # of q/k/v, of gate/up, of down; o's is kept anyway
    return "inputs of packed layers kept", 2 * inputs * tokens * shape.num_hidden_layers


DIFFERENCES = {
    f.__name__: f
    for f in (
        whole_scores,
        norms_in_fp32,
        inputs_in_fp32,
        gradients_used_at_once,
        not_fused,
        packed_inputs_kept,
    )
}
LITGPT_NF4 = ("not_fused", "packed_inputs_kept")
TRANSFORMERS = ("whole_scores", "norms_in_fp32")
PEFT = (*TRANSFORMERS, "inputs_in_fp32")
_PEFT = {"shape": "llama-3.2-3b", "batch_size": 4, "sequence_length": 768}
_LITGPT = {"shape": "llama-2-7b", "target_modules": QV, "batch_size": 1, "sequence_length": 1304}
_TUNE = {
    "shape": "llama-3.1-8b", "target_modules": "all-linear", "batch_size": 2, "sequence_length": 512,
    "gradient_checkpointing": True,
}  # fmt: skip
_UNSLOTH = {
    "target_modules": "all-linear", "r": 16, "batch_size": 1, "sequence_length": 512, "gradient_checkpointing": True,
    "double_quant": True,
}  # fmt: skip
PEAKS = (
    Published("PEFT, MetaMathQA: full", 38.87e9, _PEFT | {"method": "full"}, TRANSFORMERS),
    Published("PEFT, MetaMathQA: LoRA r=32", 22.29e9, _PEFT | {"method": "lora", "r": 32, "target_modules": QV},
              PEFT),
    Published("PEFT, MetaMathQA: LoRA r=64", 22.55e9, _PEFT | {"method": "lora", "r": 64, "target_modules": QV},
              PEFT),
    Published("PEFT, MetaMathQA: r=10 on MLP", 24.70e9, _PEFT | {"method": "lora", "r": 10, "target_modules": "mlp"},
              PEFT),
    Published("lit-gpt, 7B LoRA, 1 row", 21.30e9, _LITGPT | {"method": "lora"}, ("not_fused",)),
    Published("lit-gpt, 7B LoRA, 2 rows", 29.07e9, _LITGPT | {"method": "lora", "batch_size": 2}, ("not_fused",)),
    Published("lit-gpt, 13B LoRA, 1 row", 38.12e9, _LITGPT | {"method": "lora", "shape": "llama-2-13b"},
              ("not_fused",)),
    Published("lit-gpt, 7B NF4", 14.14e9, _LITGPT | {"method": "qlora"}, LITGPT_NF4),
    Published("lit-gpt, 7B NF4, double", 13.84e9, _LITGPT | {"method": "qlora", "double_quant": True}, LITGPT_NF4),
    Published("lit-gpt, 13B NF4", 23.14e9, _LITGPT | {"method": "qlora", "shape": "llama-2-13b"}, LITGPT_NF4),
    Published("torchtune, 8B LoRA (*)", 16.2 * GIB, _TUNE | {"method": "lora"}),
    Published("torchtune, 8B QLoRA (*)", 7.4 * GIB, _TUNE | {"method": "qlora", "double_quant": True},
              why="the number of tokens is not stated, and each one more costs"),
    Published("torchtune, 8B full (*)", 18.9 * GIB, _TUNE | {"method": "full", "optimizer": "sgd"},
              ("gradients_used_at_once",),
              "8-bit moments in pages that leave the GPU, updates inside the backward pass: the plan here is for no "
              "moments at all, so what is left over is the pages that are on the GPU"),
    Published("Unsloth's minimum, 7B QLoRA (*)", 5e9, _UNSLOTH | {"shape": "llama-2-7b", "method": "qlora"}),
    Published("Unsloth's minimum, 7B LoRA (*)", 19e9, _UNSLOTH | {"shape": "llama-2-7b", "method": "lora"},
              why="a size of GPU to have, not a measured peak; 16-bit weights alone are 13.5 GB"),
    Published("Unsloth's minimum, 70B QLoRA (*)", 41e9, _UNSLOTH | {"shape": "llama-2-70b", "method": "qlora"}),
    Published("Unsloth's minimum, 70B LoRA (*)", 164e9, _UNSLOTH | {"shape": "llama-2-70b", "method": "lora"},
              why="a size of GPU to have, not a measured peak; 16-bit weights alone are 138 GB"),
    Published("LoRA paper, 175B r=4", 350e9,
              {"shape": "gpt3-175b", "method": "lora", "r": 4, "target_modules": "c_attn", "sequence_length": 1}),
    Published("QLoRA paper, 65B, 16-bit full", 780e9,
              {"shape": "llama-65b", "method": "full", "optimizer": "adamw-fp32", "sequence_length": 1}),
    Published("QLoRA paper, 65B, paged: at most", 48e9,
              {"shape": "llama-65b", "method": "qlora", "r": 64, "target_modules": "all-linear", "double_quant": True,
               "gradient_checkpointing": True, "optimizer": "sgd"},
              why="adapters there are in 16 bits, their moments in pages that leave the GPU, and no backup is "
              "kept; ours are fp32"),
)  # fmt: skip


def compare(published: Published) -> dict[str, Any]:
    """What is planned, what the known differences add, and a verdict."""
    plan = plan_memory(**published.setting)
    differences = [DIFFERENCES[name](published.setting) for name in published.differences]
    expected = plan.total + sum(size for _, size in differences)
    off = {name: size / published.peak - 1 for name, size in (("plan", plan.total), ("expected", expected))}
    if abs(off["plan"]) <= AGREES:
        verdict = "agrees"
    elif abs(off["expected"]) <= AGREES:
        verdict = "agrees with " + ", ".join(words for words, _ in differences)
    else:
        verdict = "differs: " + published.why
    return {"source": published.source, "published": published.peak, "plan": plan.total, "expected": expected,
            "off": off["expected"], "verdict": verdict}  # fmt: skip


def page(recorded: list[dict[str, Any]]) -> str:
    """Every figure as Markdown, with the reason of those that do not agree."""
    agree = sum(row["verdict"].startswith("agrees") for row in recorded)
    rows = [
        [row["source"], *(gigabytes(row[name]) for name in ("published", "plan", "expected")), f"{row['off']:+.1%}",
         row["verdict"]]
        for row in recorded
    ]  # fmt: skip
    return (
        f"{agree} of {len(recorded)} agree within {AGREES:.0%}. Expected: the plan and what that program is known to "
        "do otherwise. (*): the number of tokens is not published; 512 are assumed.\n\n"
        + table(["", "published", "planned", "expected", "off", "verdict"], rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    rows = [compare(published) for published in PEAKS]
    print(f"{'':34}{'published':>11}{'planned':>11}{'expected':>11}{'':>8}")
    for row in rows:
        sizes = "".join(f"{gigabytes(row[name]):>11}" for name in ("published", "plan", "expected"))
        print(f"{row['source']:34}{sizes}{row['off']:>+8.1%}  {row['verdict']}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
