"""How much memory training will take (`plan_memory`), by arithmetic alone.

A plan needs no model, no torch and well under a millisecond, so a slider may ask for one at each step. It describes
this package's engine: `GPT`, `add_lora`, `quantize_model` and `Trainer`, on one GPU whose attention kernel keeps no
table of scores (FlashAttention, arXiv 2205.14135). Units are bytes, and GB of 10^9 bytes.

Not here: memory for generating text, several devices that share a model, LoRA's dropout, the CUDA context (about half
a GB that no allocator counts). For GPT-2's layout, which our engine does not run, the activations are an estimate.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from minilora.layer_names import named_layers
from minilora.memory.activations import FP32, TrainingStep
from minilora.memory.catalog import ModelShape, model_shape
from minilora.quantization.codes import NESTED_BLOCK_SIZE

DTYPES = {"fp32": 4, "bf16": 2, "fp16": 2}  # bytes
METHODS = ("full", "lora", "qlora")
# Bytes of optimizer state per trained weight; for AdamW's two moments in the weight's own type, twice its size.
OPTIMIZERS: dict[str, int | None] = {
    "adamw": None,
    "adamw-fp32": 8,  # moments in fp32, whatever the weights are
    "adamw-master": 12,  # and a fp32 copy of the weights: what is called mixed precision
    "adamw-8bit": 2,  # arXiv 2110.02861
    "sgd": 0,
}
# What cuBLAS keeps on a Hopper GPU, for the forward thread and for the backward thread.
WORKSPACE = 2 * 32 * 2**20


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of the memory.

    Attributes:
        name: What it is.
        bytes: In use at the plan's peak.
        largest: In use at this part's own peak.
        formula: In words, with the numbers put in; what precedes a semicolon gives `largest`.
    """

    name: str
    bytes: int
    largest: int
    formula: str

    def __str__(self) -> str:
        return f"{self.name:<24}{gigabytes(self.bytes):>12}   {self.formula}"


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """The peak of a training step, as the sum of its parts.

    Attributes:
        shape: The model's shape.
        method: "full", "lora" or "qlora".
        parts: The parts, by name.
        moments: Bytes in use at each moment that can be the peak.
        kept_by_forward: Bytes that are kept between the forward and the backward pass.
        trained: Number of weights that training changes.
        file_bytes: Size of the file with what was learned.
    """

    shape: ModelShape
    method: str
    parts: dict[str, Part]
    moments: dict[str, int]
    kept_by_forward: int
    trained: int
    file_bytes: int

    @property
    def total(self) -> int:
        """Bytes in use at the peak."""
        return max(self.moments.values())

    @property
    def peak_moment(self) -> str:
        """When the peak is."""
        return max(self.moments, key=self.moments.__getitem__)

    def headroom(self, gigabytes: float) -> float:
        """Returns the GB left on a GPU with that much memory; negative if it does not fit."""
        return gigabytes - self.total / 1e9

    def cards(self, gigabytes: float) -> int:
        """Returns how many GPUs with that much memory hold this plan, if it could be divided evenly.

        Raises:
            ValueError: If gigabytes is not above zero.

        >>> plan_memory("llama-3.1-70b", "full", dtype="fp32").cards(80)
        15
        """
        if not gigabytes > 0:
            raise ValueError(f"a GPU of {gigabytes!r} GB holds nothing; give its memory in GB, above zero")
        return math.ceil(self.total / (gigabytes * 1e9))

    def __str__(self) -> str:
        title = f"{self.shape.name}, {self.method}: {gigabytes(self.total)} at the peak ({self.peak_moment})"
        rows = [str(part) for part in self.parts.values() if part.largest]
        return "\n".join([title, *rows, f"{'file with what is learned':<24}{gigabytes(self.file_bytes):>11}"])


def gigabytes(number: float) -> str:
    """Writes a number of bytes in GB, or in MB below one GB.

    >>> gigabytes(16_060_522_496), gigabytes(2_500_000), gigabytes(1.128e12)
    ('16.06 GB', '2.5 MB', '1,128 GB')
    """
    if number >= 100e9:
        return f"{number / 1e9:,.0f} GB"
    return f"{number / 1e9:,.2f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"


def plan_memory(
    shape: ModelShape | str,
    method: str = "lora",
    r: int = 8,
    target_modules: str | Sequence[str] | None = "attention",
    dtype: str = "bf16",
    optimizer: str = "adamw",
    batch_size: int = 1,
    sequence_length: int = 512,
    gradient_checkpointing: bool = False,
    double_quant: bool = False,
    block_size: int = 64,
    activation_offloading: bool = False,
) -> MemoryPlan:
    """Plans the memory of one training step.

    Args:
        shape: A name from the catalog, or a `ModelShape`.
        method: "full", "lora" or "qlora".
        r: Rank, as in `LoraConfig`.
        target_modules: As in `LoraConfig`.
        dtype: Type of the base model: "fp32", "bf16" or "fp16"; adapters are always fp32.
        optimizer: One of `OPTIMIZERS`.
        batch_size: Rows that are computed at a time.
        sequence_length: Tokens per row.
        gradient_checkpointing: Whether blocks are recomputed in the backward pass instead of kept.
        double_quant: As in `quantize_4bit`.
        block_size: As in `quantize_4bit`.
        activation_offloading: As in `Trainer`; needs gradient_checkpointing.

    Returns:
        The plan.

    Raises:
        TypeError: If shape is neither a name nor a `ModelShape`.
        ValueError: If another argument is not allowed; the message says what is.

    >>> plan = plan_memory("llama-3.1-8b", "qlora", target_modules="all-linear", gradient_checkpointing=True)
    >>> plan.trained, plan.cards(24)
    (20971520, 1)
    """
    shape = model_shape(shape) if isinstance(shape, str) else shape
    choices = {"method": (method, METHODS), "dtype": (dtype, DTYPES), "optimizer": (optimizer, OPTIMIZERS)}
    numbers = {"r": r, "batch_size": batch_size, "sequence_length": sequence_length, "block_size": block_size}
    _check(shape, choices, numbers)
    if activation_offloading and not gradient_checkpointing:
        raise ValueError("activation_offloading needs gradient_checkpointing=True")
    targets = () if method == "full" else adapted_layers(shape, target_modules, r)
    step = TrainingStep(
        shape, method, r, targets, DTYPES[dtype], batch_size, sequence_length, gradient_checkpointing,
        activation_offloading, adapter_bytes=FP32 if dtype == "fp16" else DTYPES[dtype],
    )  # fmt: skip
    fixed = _fixed_parts(step, dtype, optimizer, double_quant, block_size)
    moments = step.moments()
    base = sum(part.bytes for part in fixed)
    totals = {moment: base + sum(parts.values()) for moment, parts in moments.items()}
    at_peak = moments[max(totals, key=totals.__getitem__)]
    changing = [
        Part(name, at_peak.get(name, 0), max(parts.get(name, 0) for parts in moments.values()), formula)
        for name, formula in step.formulas(moments).items()
    ]
    parts = {part.name: part for part in [*fixed, *changing]}
    file_bytes = step.trained * step.trained_bytes
    return MemoryPlan(shape, method, parts, totals, step.kept_by_forward(), step.trained, file_bytes)


def adapted_layers(shape: ModelShape, target_modules: str | Sequence[str] | None, r: int) -> tuple[str, ...]:
    """Returns the names of the linear layers of one block that `target_modules` selects, as `LoraConfig` reads it.

    >>> adapted_layers(model_shape("tiny-gpt"), ["attention", "up_proj"], r=8)
    ('q_proj', 'k_proj', 'v_proj', 'o_proj', 'up_proj')
    """
    if target_modules is None and shape.gpt2_layout:
        target_modules = ["c_attn"]
    attention = 2 if shape.gpt2_layout else 4  # the first layers of a block; the others are its feed-forward
    paths = {
        ("self_attn." if i < attention else "mlp.") + name: name for i, name in enumerate(shape.linear_layers)
    }
    targets = tuple(paths[path] for path in named_layers(target_modules, list(paths)))
    for name in targets:
        if r > min(shape.linear_layers[name]):
            raise ValueError(f"r={r} is larger than {name} {shape.linear_layers[name]}; choose a lower rank")
    return targets


def _check(shape: Any, choices: dict[str, tuple[str, Any]], numbers: dict[str, Any]) -> None:
    """choices: name -> (what was given, what is allowed). numbers: name -> what was given."""
    if not isinstance(shape, ModelShape):
        raise TypeError(
            f"shape is a {type(shape).__name__}; give a name from the catalog, a ModelShape, or "
            "ModelShape.from_config(model.config)"
        )
    for name, (value, allowed) in choices.items():
        if value not in list(allowed):
            raise ValueError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")
    length, most = numbers["sequence_length"], shape.max_position_embeddings
    if length > most:
        raise ValueError(
            f"sequence_length {length} is longer than the {most} tokens that {shape.name} can read"
        )


# -- what is there all the time ----------------------------------------------------------------------------------------


def _fixed_parts(
    step: TrainingStep, dtype: str, optimizer: str, double_quant: bool, block_size: int
) -> list[Part]:
    shape, bytes_per_number, trained = step.shape, step.bytes_per_number, step.trained
    packed = shape.linear_weights if step.method == "qlora" else 0
    rest = shape.parameter_count - packed
    weights_words = f"{rest:,} weights × {bytes_per_number} bytes ({dtype})"
    constants, constants_words = 0, "nothing is packed"
    if packed:
        weights_words = (
            f"{packed:,} weights in blocks × ½ byte + {rest:,} others × {bytes_per_number} bytes ({dtype})"
        )
        constants, constants_words = _quantization_constants(shape, double_quant, block_size)
    state = OPTIMIZERS[optimizer]
    if state is None:
        state = 2 * step.trained_bytes
    if not step.full:
        state = min(state, 2 * FP32)  # adapters are fp32 already: no other moments, no master copy
    adapters = 0 if step.full else trained * FP32
    parts = {
        "weights": (packed // 2 + rest * bytes_per_number, weights_words),
        "quantization constants": (constants, constants_words),
        "adapters": (adapters, f"{trained:,} weights × {FP32} bytes (fp32)"),
        "optimizer": (trained * state, f"{trained:,} trained weights × {state} bytes ({optimizer})"),
        "backup": (adapters, f"{trained:,} weights × {FP32} bytes: the last good adapter"),
        "workspace": (WORKSPACE, f"2 threads × {WORKSPACE // 2:,} bytes: scratch space of matrix products"),
    }
    return [Part(name, size, size, formula) for name, (size, formula) in parts.items()]


def _quantization_constants(shape: ModelShape, double_quant: bool, block_size: int) -> tuple[int, str]:
    """Bytes and formula. Each matrix has its own blocks, and groups of 256 blocks; the last one may be shorter."""
    blocks = [math.ceil(i * o / block_size) for i, o in shape.linear_layers.values()]
    groups = [math.ceil(count / NESTED_BLOCK_SIZE) for count in blocks]
    layers = shape.num_hidden_layers
    words = f"{layers * sum(blocks):,} blocks"
    if not double_quant:
        return 4 * layers * sum(blocks), f"{words} × 4 bytes; {block_size} weights to a block"
    size = layers * (sum(blocks) + 4 * sum(groups) + 4 * len(blocks))
    more = f"{layers * sum(groups):,} groups × 4 bytes + {layers * len(blocks):,} matrices × 4 bytes"
    return size, f"{words} × 1 byte + {more}; {block_size} weights to a block, 256 blocks to a group"
