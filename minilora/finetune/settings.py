"""What can be chosen in a fine-tuning run, and for a model that is loaded: declared once, for commands and Python.

Not here: what the choices do (run.py and the engine), and how they are read from a command line (options.py).
"""

from __future__ import annotations

import dataclasses

from minilora.options import REQUIRED, Options, option

METHODS = ("lora", "qlora", "full")
DTYPES = ("fp32", "bf16", "fp16")
SCHEDULES = ("cosine", "linear", "constant")
BASE = "tiny-gpt, smollm2-135m-instruct, a checkpoint folder, or org/name on the Hugging Face hub"
DEVICE = "auto, cpu, cuda, cuda:1, mps; auto is a GPU if PyTorch finds one"


@dataclasses.dataclass(kw_only=True)
class ModelSettings(Options):
    """Which model a command loads, and how."""

    base: str | None = option(None, "model", f"{BASE} (default: the adapter's own, or tiny-gpt)")
    adapter: str | None = option(
        None, "model", "folder of an adapter, ours or PEFT's; or legal, code, support"
    )
    any_base: bool = option(False, "model", "load the adapter even if it was trained on another base")
    load_in_4bit: bool = option(False, "model", "pack the base's linear layers into 4 bits (nf4)")
    dtype: str = option("fp32", "model", "type of the base's weights", choices=DTYPES)
    device: str = option("auto", "model", DEVICE)


@dataclasses.dataclass(kw_only=True)
class FinetuneSettings(Options):
    """The settings of a run; those that are None depend on the data and the method."""

    out: str = option(
        REQUIRED,
        "data and model",
        "folder for the adapter (with --method full, a checkpoint)",
        metavar="FOLDER",
    )
    data: str | None = option(
        None,
        "data and model",
        "a .txt, .md or .jsonl file, or a folder of them; lines of .jsonl hold messages, prompt and completion, "
        "instruction and output (Alpaca), or text. 'pirate' comes with the package",
    )
    validation_data: str | None = option(
        None, "data and model", "held-out data of the same kind (default: a tenth of --data)", metavar="DATA"
    )
    base: str = option("tiny-gpt", "data and model", BASE)

    method: str = option("lora", "method", "lora, qlora (the base in 4 bits) or full", choices=METHODS)
    target_modules: list[str] = option(
        ["all-linear"], "method", "layers with an adapter: all-linear, attention, mlp, or names"
    )
    r: int = option(8, "method", "rank of the adapter", least=1)
    lora_alpha: float | None = option(
        None, "method", "the update is multiplied by alpha / r (default: twice the rank)", least=0
    )
    lora_dropout: float = option(
        0.0, "method", "share of an adapter's inputs set to zero", least=0, most=0.99
    )
    use_rslora: bool = option(False, "method", "multiply by alpha / sqrt(r) instead, for high ranks")

    epochs: int | None = option(
        None,
        "training",
        "times to go through the data (default: 3, more where that is under 60 steps)",
        least=1,
    )
    max_steps: int | None = option(None, "training", "steps, instead of --epochs", least=1)
    batch_size: int = option(4, "training", "rows per step", least=1)
    gradient_accumulation_steps: int = option(
        1, "training", "parts that a batch is computed in, to need less memory", least=1
    )
    sequence_length: int | None = option(
        None,
        "training",
        "tokens per row (default: 128, conversations up to 512; less for a short text)",
        least=1,
    )
    learning_rate: float | None = option(
        None, "training", "the highest rate (default: 5e-3 for adapters, 5e-4 for full)", least=0
    )
    lr_scheduler_type: str = option(
        "cosine", "training", "how the rate falls after warmup", choices=SCHEDULES
    )
    warmup_ratio: float = option(
        0.05, "training", "share of the steps over which the rate rises", least=0, most=1
    )
    weight_decay: float = option(0.0, "training", "AdamW's, on matrices", least=0)
    max_grad_norm: float = option(1.0, "training", "longer gradients are scaled down to this norm", least=0)
    seed: int = option(0, "training", "of the split, the adapter's start and the order of the data", least=0)

    dtype: str = option("fp32", "memory and device", "type of the base's weights", choices=DTYPES[:2])
    device: str = option("auto", "memory and device", DEVICE)
    gradient_checkpointing: bool = option(
        False, "memory and device", "recompute activations instead of keeping them"
    )
    activation_offloading: bool = option(
        False,
        "memory and device",
        "with --gradient-checkpointing: keep what it saves in main memory, for very long rows on a GPU",
    )
    cuda_graph: bool = option(
        False, "memory and device", "replay each step as a CUDA graph: much faster where kernels are small"
    )

    eval_steps: int | None = option(
        None, "while it runs", "validate and print a sample every N steps (default: five times)", least=1
    )
    save_steps: int | None = option(
        None,
        "while it runs",
        "save for --resume every N steps (default: ten times, at least every 50)",
        least=1,
    )
    sample_prompt: str | None = option(
        None, "while it runs", "what samples continue (default: the start of a held-out text)", metavar="TEXT"
    )
    no_samples: bool = option(False, "while it runs", "print no samples")
    tensorboard: bool = option(False, "while it runs", "log to FOLDER/tensorboard too, where it is installed")
    resume: bool = option(False, "while it runs", "continue the run in --out, with its settings")
    format: str = option("text", "while it runs", "of the report at the end", choices=("text", "json"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs is not None and self.max_steps is not None:
            raise ValueError(f"epochs={self.epochs}, max_steps={self.max_steps}: give one of the two")
        if self.data is None and not self.resume:
            raise ValueError("--data is missing: name a text to learn from, or --resume a run")
