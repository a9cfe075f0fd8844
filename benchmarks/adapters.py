"""Adapters side by side with peft and transformers, in one process and one run: ratios above 1 mean ours is faster.

    python benchmarks/adapters.py [--json FILE]

Each pair of measurements alternates (ours, theirs, ours, theirs ...), so that a machine that gets busier slows both
alike; the table gives the median of the ratios and their range.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import peft
import torch
from page_parts import side_by_side_table, versions
from side_by_side import compare
from transformers import LlamaConfig, LlamaForCausalLM

from minilora.gpt import GPT, GPTConfig
from minilora.lora import LoraConfig, LoraModel, add_lora
from minilora.memory.catalog import MODELS

CONFIG = GPTConfig.from_shape(MODELS["tiny-gpt"])  # what the lessons run
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj"]
LAYERS = len(TARGETS) * CONFIG.num_hidden_layers
NAMES = [f"adapter-{i}" for i in range(10)]


def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**dataclasses.asdict(CONFIG))).eval()


def ours_with(names: list[str]) -> LoraModel:
    model = add_lora(llama(), LoraConfig(r=8, target_modules=TARGETS), names[0])
    for name in names[1:]:
        model.add_adapter(name, LoraConfig(r=8, target_modules=TARGETS))
    return fill(model)


def theirs_with(names: list[str]) -> peft.PeftModel:
    config = peft.LoraConfig(r=8, target_modules=TARGETS)
    model = peft.get_peft_model(llama(), config, adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, config)
    return fill(model.eval())


def fill(model):
    """Noise in every B: a zero matrix could be multiplied faster on some machines."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    return model


def switching():
    ours, theirs = ours_with(NAMES), theirs_with(NAMES)
    return compare(
        lambda: [ours.set_adapter(name) for name in NAMES],
        lambda: [theirs.set_adapter(name) for name in NAMES],
        repeat=1000,
        theirs_repeat=3,
    )


def wrapping():
    """Puts LoRA on the attention layers of a model, and takes it off again outside the clock."""

    def clocked(wrap, unwrap) -> float:
        base = llama()
        start = time.perf_counter()
        model = wrap(base)
        spent = time.perf_counter() - start
        unwrap(model)
        return spent

    pairs = []
    for _ in range(9):
        a = clocked(
            lambda base: add_lora(base, LoraConfig(r=8, target_modules=TARGETS)), lambda m: m.unload()
        )
        b = clocked(
            lambda base: peft.get_peft_model(base, peft.LoraConfig(r=8, target_modules=TARGETS)),
            lambda m: m.unload(),
        )
        pairs.append((a, b))
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        [b / a for a, b in pairs],
    )


def mixed_batch():
    """16 rows of 64 tokens, four adapters in turn."""
    ours, theirs = ours_with(NAMES[:4]), theirs_with(NAMES[:4])
    ids = torch.randint(0, CONFIG.vocab_size, (16, 64))
    rows = [NAMES[i % 4] for i in range(16)]
    ours.eval()
    with torch.no_grad():
        difference = (
            (
                ours(ids, adapter_names=rows).logits
                - theirs_with_same_weights(ours, theirs)(ids, adapter_names=rows).logits
            )
            .abs()
            .max()
        )
        assert difference < 1e-4, difference
        return compare(
            lambda: ours(ids, adapter_names=rows), lambda: theirs(ids, adapter_names=rows), repeat=3
        )


def theirs_with_same_weights(ours: LoraModel, theirs: peft.PeftModel) -> peft.PeftModel:
    with torch.no_grad():
        for path, layer in ours.lora_layers().items():
            other = theirs.get_submodule("base_model.model." + path)
            for name in layer.configs:
                other.lora_A[name].weight.copy_(layer.lora_A[name])
                other.lora_B[name].weight.copy_(layer.lora_B[name])
    return theirs


def training_step():
    """Forward, backward and AdamW on 16 x 128 tokens, the adapters of both on the very same transformers model."""

    def stepper(model):
        model.train()
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
        ids = torch.randint(0, CONFIG.vocab_size, (16, 129))

        def step():
            logits = model(ids[:, :-1]).logits
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    return compare(stepper(ours_with(NAMES[:1])), stepper(theirs_with(NAMES[:1])), rounds=9, repeat=2)


def generation():
    """100 greedy tokens after a prompt of 32, each with its key/value cache."""
    theirs = llama()
    ours = GPT(CONFIG).eval()
    ours.load_state_dict(theirs.state_dict())
    prompt = torch.randint(3, CONFIG.vocab_size, (1, 32))
    theirs.generation_config.eos_token_id = None  # both must make all 100

    def our_tokens():
        return list(ours.generate_tokens(prompt[0].tolist(), 100, temperature=0))

    def their_tokens():
        mask = torch.ones_like(prompt)
        return theirs.generate(
            prompt, attention_mask=mask, max_new_tokens=100, do_sample=False, pad_token_id=0
        )

    assert our_tokens() == their_tokens()[0, 32:].tolist()
    return compare(our_tokens, their_tokens, rounds=7)


def importing():
    """A new interpreter each time: `import minilora` against `import torch` (the aim is at most 1.3 times as long)."""

    def run(statement: str):
        return lambda: subprocess.run([sys.executable, "-c", statement], check=True)

    return compare(run("import minilora"), run("import torch"), rounds=7)


MEASUREMENTS = {
    "switching among 10 adapters": (switching, 100),
    f"wrapping {LAYERS} layers": (wrapping, 5),
    "a batch of 4 mixed adapters": (mixed_batch, 1.3),
    "a LoRA training step": (training_step, 1 / 1.05),
    "generation against transformers": (generation, 1),
    "import minilora against import torch": (importing, 1 / 1.3),
}


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    return f"{versions(recorded['machine'])}.\n\n{side_by_side_table(recorded['rows'])}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    rows = []
    print(f"{'':38}{'ours':>11}{'theirs':>11}{'ratio':>9}   range            aim")
    for name, (measure, aim) in MEASUREMENTS.items():
        ours, theirs, ratios = measure()
        ratio = statistics.median(ratios)
        rows.append(
            {"name": name, "ours": ours, "theirs": theirs, "ratio": ratio, "ratios": ratios, "aim": aim}
        )
        print(
            f"{name:38}{ours * 1e3:8.3f} ms{theirs * 1e3:8.2f} ms{ratio:9.2f}   "
            f"{min(ratios):.2f} - {max(ratios):<8.2f} >= {aim:.2f}"
        )
    if options.json:
        machine = {"threads": torch.get_num_threads(), "torch": torch.__version__, "peft": peft.__version__}
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
