"""What training will cost in memory (`plan_memory`) and what it did cost (`measure_memory`).

A plan is arithmetic alone: it needs no model, no torch and well under a millisecond, so a slider may ask for one at
each step. It describes this package's engine: `GPT`, `add_lora`, `quantize_model` and `Trainer`, on one GPU whose
attention kernel keeps no table of scores (FlashAttention, arXiv 2205.14135). Units are bytes, and GB of 10^9 bytes.

Not here: memory for generating text, several devices that share a model, LoRA's dropout, the CUDA context (about half
a GB that no allocator counts). For GPT-2's layout, which our engine does not run, the activations are an estimate.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from minilora.catalog import ModelShape, model_shape
from minilora.layer_names import named_layers

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
ADAPTER_BYTES = 4  # adapters are fp32 beside any base
LOGITS_AT_ONCE = 2**25  # as in training.py, which this module does not import: it needs torch
DECODED_AT_ONCE = 2**24  # as GPU_CHUNK in quantization.py
# What cuBLAS keeps on a Hopper card, for the thread that goes forward and the one back.
WORKSPACE = 2 * 32 * 2**20


@dataclasses.dataclass(frozen=True)
class Part:
    """One share of the memory: `bytes` of it are in use at the peak, and `largest` at its own."""

    name: str
    bytes: int
    largest: int
    formula: str  # in words, with the numbers put in; what stands before a semicolon gives `largest`

    def __str__(self) -> str:
        return f"{self.name:<24}{gigabytes(self.bytes):>12}   {self.formula}"


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """The peak of a training step, as the sum of its parts.

    moments: how much is in use at each moment that can be the peak; the largest is `total`, and `peak_moment` names it.
    kept_by_forward: bytes that wait between the forward and the backward pass. trained: weights that training changes.
    file_bytes: size of the file with what was learned.
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
        return max(self.moments.values())

    @property
    def peak_moment(self) -> str:
        return max(self.moments, key=self.moments.__getitem__)

    def headroom(self, gigabytes: float) -> float:
        """GB left on a card of that size; below zero, so many are missing."""
        return gigabytes - self.total / 1e9

    def cards(self, gigabytes: float) -> int:
        """How many cards of that size hold this much, if it could be divided evenly.

        >>> plan_memory("llama-3.1-70b", "full", dtype="fp32").cards(80)
        15
        """
        if not gigabytes > 0:
            raise ValueError(f"a card of {gigabytes!r} GB holds nothing; give its memory in GB, above zero")
        return math.ceil(self.total / (gigabytes * 1e9))

    def __str__(self) -> str:
        title = f"{self.shape.name}, {self.method}: {gigabytes(self.total)} at the peak ({self.peak_moment})"
        rows = [str(part) for part in self.parts.values() if part.largest]
        return "\n".join([title, *rows, f"{'file with what is learned':<24}{gigabytes(self.file_bytes):>11}"])


def gigabytes(number: float) -> str:
    """
    >>> gigabytes(16_060_522_496), gigabytes(2_500_000)
    ('16.06 GB', '2.5 MB')
    """
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
    checkpointing: bool = False,
    double_quant: bool = False,
    block_size: int = 64,
) -> MemoryPlan:
    """Plans the memory of one training step.

    shape: a name from the catalog, or a `ModelShape`. method: "full", "lora" or "qlora". r, target_modules: as in
    `LoraConfig`. dtype: of the base model ("fp32", "bf16", "fp16"); adapters are fp32. optimizer: one of `OPTIMIZERS`.
    batch_size rows of sequence_length tokens go through at a time. checkpointing: blocks are computed again in the
    backward pass instead of kept. double_quant, block_size: as in `quantize_4bit`. Raises ValueError, which says
    what is allowed.

    >>> plan = plan_memory("llama-3.1-8b", "qlora", target_modules="all-linear", checkpointing=True)
    >>> plan.trained, plan.cards(24)
    (20971520, 1)
    """
    shape = model_shape(shape) if isinstance(shape, str) else shape
    choices = {"method": (method, METHODS), "dtype": (dtype, DTYPES), "optimizer": (optimizer, OPTIMIZERS)}
    numbers = {"r": r, "batch_size": batch_size, "sequence_length": sequence_length, "block_size": block_size}
    _check(shape, choices, numbers)
    targets = () if method == "full" else find_targets(shape, target_modules, r)
    step = _Step(shape, method, r, targets, DTYPES[dtype], batch_size, sequence_length, checkpointing)
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


def find_targets(shape: ModelShape, target_modules: str | Sequence[str] | None, r: int) -> tuple[str, ...]:
    """The linear layers of one block that `target_modules` names, as `LoraConfig` understands it.

    >>> find_targets(model_shape("tiny-gpt"), ["attention", "up_proj"], r=8)
    ('q_proj', 'k_proj', 'v_proj', 'o_proj', 'up_proj')
    """
    if target_modules is None and shape.gpt2_layout:
        target_modules = ["c_attn"]
    attention = 2 if shape.gpt2_layout else 4  # the first layers of a block; the others are its feed-forward
    paths = {
        ("self_attn." if place < attention else "mlp.") + name: name
        for place, name in enumerate(shape.linear_layers)
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
            raise ValueError(f"{name} is {value!r}; it must be a whole number from 1 on")
    length, most = numbers["sequence_length"], shape.max_position_embeddings
    if length > most:
        raise ValueError(f"sequence_length {length} is longer than the {most} tokens that {shape.name} reads")


@dataclasses.dataclass(frozen=True)
class MeasuredMemory:
    """What a training step did use, in bytes.

    parts: each at its own largest; they are not all there at the same time. kept_by_forward, peak: as in `MemoryPlan`.
    peak_until: the peak up to the end of the forward and of the backward pass; the update may still go beyond.
    resident: the most main memory that this process has held so far, with Python and all libraries.
    """

    parts: dict[str, int]
    kept_by_forward: int
    peak_until: dict[str, int]
    peak: int
    resident: int

    def __str__(self) -> str:
        rows = self.parts | {
            "kept by forward": self.kept_by_forward,
            "peak": self.peak,
            "whole process": self.resident,
        }
        return "\n".join(f"{name:<24}{gigabytes(size):>12}" for name, size in rows.items())


def measure_memory(
    model: Any, batch_size: int = 1, sequence_length: int = 512, checkpointing: bool = False
) -> MeasuredMemory:
    """Takes two real training steps with learning rate zero, and measures the second; the weights stay as they are.

    model: a `GPT`, or the `LoraModel` around one; the steps run where it is. On a GPU the figures are the allocator's;
    on a CPU they are the sum of the tensors that are alive, without the workspaces of single operations.

    >>> from minilora import GPT, GPTConfig
    >>> measured = measure_memory(GPT(GPTConfig(num_hidden_layers=1)), sequence_length=8)
    >>> measured.parts["optimizer"] == 2 * measured.parts["weights"]
    True
    """
    import torch

    from minilora.datasets import TokenData
    from minilora.linear4bit import Linear4bit
    from minilora.training import Trainer, peak_memory

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocab_size, (batch_size, sequence_length), generator=generator)
    decoder = model.model  # also through a LoraModel
    before = decoder.gradient_checkpointing
    trainer = Trainer(
        model, TokenData(ids, ids), steps=1, batch_size=batch_size, learning_rate=0.0, progress=False,
        gradient_checkpointing=checkpointing, device=decoder.embed_tokens.weight.device,
    )  # fmt: skip
    trainer.train()  # the first step makes the optimizer's state
    trainer.steps = 2
    meter = _AllocatorMeter(trainer.device) if trainer.device.type == "cuda" else _tensor_meter(trainer)
    seen: dict[str, int] = {}

    def after_forward(*_: Any) -> None:
        seen.update(kept=meter.now - seen["before"], forward=meter.peak)

    def after_backward(*_: Any) -> None:
        gradients = sum(p.grad.nbytes for p in trainer.parameters.values() if p.grad is not None)
        seen.update(gradients=gradients, backward=meter.peak)

    hooks = [
        trainer.loss.register_forward_pre_hook(lambda *_: seen.update(before=meter.now)),
        trainer.loss.register_forward_hook(after_forward),
        trainer.optimizer.register_step_pre_hook(after_backward),
    ]
    try:
        with meter:
            trainer.train()
    finally:
        decoder.gradient_checkpointing = before
        for hook in hooks:
            hook.remove()
    packed = [layer.quantized for layer in model.modules() if isinstance(layer, Linear4bit)]
    adapters = sum(p.nbytes for name, p in model.named_parameters() if ".lora_" in name)
    plain = sum(p.nbytes for p in model.parameters()) - adapters
    parts = {
        "weights": plain + sum(q.packed.nbytes for q in packed),
        "quantization constants": sum(q.nbytes - q.packed.nbytes for q in packed),
        "adapters": adapters,
        "optimizer": sum(t.nbytes for s in trainer.optimizer.state.values() for t in s.values() if t.ndim),
        "safety copy": sum(t.nbytes for t in trainer.last_good.values()),
        "gradients": seen["gradients"],
    }
    peak_until = {moment: seen[moment] for moment in ("forward", "backward")}
    return MeasuredMemory(parts, seen["kept"], peak_until, meter.peak, peak_memory(torch.device("cpu")))


class _AllocatorMeter:
    """The CUDA allocator's bytes: now, and at most since the `with` block began."""

    def __init__(self, device: Any):
        import torch

        self.cuda, self.device = torch.cuda, device

    def __enter__(self) -> None:
        self.cuda.reset_peak_memory_stats(self.device)

    def __exit__(self, *_: Any) -> None:
        pass

    @property
    def peak(self) -> int:
        return self.cuda.max_memory_allocated(self.device)

    @property
    def now(self) -> int:
        return self.cuda.memory_allocated(self.device)


def _tensor_meter(trainer: Any) -> Any:
    from minilora.live_tensors import LiveTensors

    meter = LiveTensors()
    meter.add([*trainer.model.parameters(), *trainer.model.buffers()])
    meter.add(t for state in trainer.optimizer.state.values() for t in state.values())
    meter.add(trainer.last_good.values())
    return meter


# -- what is there all the time ----------------------------------------------------------------------------------------


def _fixed_parts(step: _Step, dtype: str, optimizer: str, double_quant: bool, block_size: int) -> list[Part]:
    shape, e, trained = step.shape, step.e, step.trained
    packed = shape.linear_weights if step.packed else 0
    rest = shape.parameter_count - packed
    weights_words = f"{rest:,} weights × {e} bytes ({dtype})"
    constants, constants_words = 0, "nothing is packed"
    if step.packed:
        weights_words = f"{packed:,} weights in blocks × ½ byte + {rest:,} others × {e} bytes ({dtype})"
        constants, constants_words = _quantization_constants(shape, double_quant, block_size)
    state = OPTIMIZERS[optimizer]
    if state is None:
        state = 2 * step.trained_bytes
    if not step.full:
        state = min(state, 2 * ADAPTER_BYTES)  # adapters are fp32 already: no other moments, no master copy
    adapters = 0 if step.full else trained * ADAPTER_BYTES
    parts = {
        "weights": (packed // 2 + rest * e, weights_words),
        "quantization constants": (constants, constants_words),
        "adapters": (adapters, f"{trained:,} weights × {ADAPTER_BYTES} bytes (fp32)"),
        "optimizer": (trained * state, f"{trained:,} trained weights × {state} bytes ({optimizer})"),
        "safety copy": (adapters, f"{trained:,} weights × {ADAPTER_BYTES} bytes: the last good adapter"),
        "workspace": (
            WORKSPACE,
            f"2 threads × {WORKSPACE // 2:,} bytes: what matrix products keep for themselves",
        ),
    }
    return [Part(name, size, size, formula) for name, (size, formula) in parts.items()]


def _quantization_constants(shape: ModelShape, double_quant: bool, block_size: int) -> tuple[int, str]:
    """Each matrix has its own blocks, and groups of 256 blocks; its last one may be shorter."""
    blocks = [math.ceil(i * o / block_size) for i, o in shape.linear_layers.values()]
    groups = [math.ceil(count / 256) for count in blocks]
    layers = shape.num_hidden_layers
    words = f"{layers * sum(blocks):,} blocks"
    if not double_quant:
        return 4 * layers * sum(blocks), f"{words} × 4 bytes; {block_size} weights to a block"
    size = layers * (sum(blocks) + 4 * sum(groups) + 4 * len(blocks))
    more = f"{layers * sum(groups):,} groups × 4 bytes + {layers * len(blocks):,} matrices × 4 bytes"
    return size, f"{words} × 1 byte + {more}; {block_size} weights to a block, 256 blocks to a group"


# -- what comes and goes -----------------------------------------------------------------------------------------------


class _Step:
    """One training step. Sizes in `kept_by` methods, `block`, `missing_in_first_block` and `arriving` are per token.

    e: bytes of a number of the base. n: tokens. d, f, kv: numbers in a token's state, in the middle of the
    feed-forward, in all keys of a token. g = d · e: bytes of a token's state between two blocks, or of its gradient.
    """

    def __init__(
        self, shape: ModelShape, method: str, r: int, targets: tuple[str, ...], e: int, batch: int, length: int,
        checkpointing: bool,
    ):  # fmt: skip
        self.shape, self.r, self.targets, self.e = shape, r, targets, e
        self.length, self.checkpointing = length, checkpointing
        self.full, self.packed = method == "full", method == "qlora"
        self.n = batch * length
        self.d, self.f, self.kv = shape.hidden_size, shape.intermediate_size, shape.key_value_size
        self.g = self.d * e
        self.layers, self.heads = shape.num_hidden_layers, shape.num_attention_heads
        self.vocab = shape.vocab_size
        self.rows = min(self.n, max(1, LOGITS_AT_ONCE // self.vocab))  # tokens that the loss takes together
        self.in_pieces = self.rows < self.n
        # PyTorch has no frugal attention kernel for fp32 with shared key/value heads: it keeps every score.
        self.scores_kept = e == 4 and shape.num_key_value_heads != self.heads
        self.qkv_adapted = self.adapted("q_proj", "k_proj", "v_proj", "c_attn")
        self.gate_up_adapted = self.adapted("gate_proj", "up_proj", "c_fc")
        self.down_adapted = self.adapted("down_proj", "mlp.c_proj")
        sizes = shape.linear_layers
        adapters = self.layers * sum(r * sum(sizes[name]) for name in targets)
        self.trained = shape.parameter_count if self.full else adapters
        self.trained_bytes = e if self.full else ADAPTER_BYTES

    def adapted(self, *names: str) -> bool:
        return any(name in self.targets for name in names)

    # What one block keeps for its backward pass, bytes per token. Each is the input of an operation that needs it
    # again: norms, the three of attention, and the products that a trained matrix takes part in.

    def kept_by_norms(self) -> int:
        return 2 * (self.g + 4)  # inputs, and one fp32 scale each

    def kept_by_attention(self) -> int:
        if self.scores_kept:
            return 4 * (3 * self.d + self.heads * self.length)  # q, k and v at full width, all scores
        return self.e * (2 * self.d + 2 * self.kv) + 4 * self.heads  # q, output, k, v, and a sum per head

    def kept_by_gate(self) -> int:
        return (1 if self.shape.gpt2_layout else 3) * self.f * self.e  # GELU's input; or gate, silu(gate), up

    def kept_by_products(self) -> int:
        """Inputs of the layers that train: in the base's type for full training, in fp32 for an adapter."""
        d, f = self.d, self.f
        if self.full:
            return self.e * (2 * d + f) + (4 * d if self.scores_kept else 0)  # o_proj's is attention's output
        low = 4 * self.r * len(self.targets)
        if self.e != 4:  # a copy for each adapted layer
            return low + 4 * sum(self.shape.linear_layers[name][0] for name in self.targets)
        o_proj = self.scores_kept and self.adapted("o_proj")  # otherwise attention's output serves
        return low + 4 * (d * (self.qkv_adapted + self.gate_up_adapted + o_proj) + f * self.down_adapted)

    def block(self) -> int:
        """All that one block keeps."""
        return self.kept_by_norms() + self.kept_by_attention() + self.kept_by_gate() + self.kept_by_products()

    def missing_in_first_block(self) -> int:
        """With a frozen embedding nothing before the first adapter needs a gradient, so the first block keeps less."""
        if self.full:
            return 0
        norm = self.g + 4
        if self.qkv_adapted:
            return norm
        if self.adapted("o_proj", "c_proj"):
            output = 4 * self.d if self.e == 4 and not self.scores_kept else 0  # kept for the adapter itself
            return norm + self.kept_by_attention() - output
        used = 3 if self.shape.gpt2_layout else 2 * self.adapted("gate_proj") + self.adapted("up_proj")
        return 2 * norm + self.kept_by_attention() + self.kept_by_gate() * (3 - used) // 3

    # From here on bytes of the whole step.

    def activations(self) -> int:
        """Kept from forward to backward by all blocks."""
        if self.checkpointing:
            return self.n * self.layers * self.g + self.around_blocks()
        return self.n * (self.layers * self.block() - self.missing_in_first_block()) + self.around_blocks()

    def around_blocks(self) -> int:
        tables = 2 * self.length * self.shape.head_dim * self.e  # rotary cosine and sine
        return tables + 16 * self.n  # token numbers and targets, 8 bytes each

    def one_block_again(self) -> int:
        """With checkpointing: what the block in its backward pass keeps besides its input."""
        if not self.checkpointing:
            return 0
        kept = self.block() - (self.missing_in_first_block() if self.layers == 1 else 0)
        return self.n * (kept - self.g)

    def working_set(self) -> int:
        """Largest sum of short-lived tensors in a block, beyond what the block keeps, over the places that can win."""
        n, e, d, f, g = self.n, self.e, self.d, self.f, self.g
        # down_proj's adapter has let go of its fp32 input where the other layers of the feed-forward are at work
        released = 4 * f if self.down_adapted else 0
        places = [n * (g + (2 if self.full else 3) * e * f - released)]
        if self.down_adapted:
            places.append(n * (g * (1 if e == 4 else 2) + 4 * f))  # its gradient, in fp32
        if e != 4 and self.gate_up_adapted:
            # an adapter's output in fp32 twice, before and after scaling; at gate_proj, up_proj's is not there yet
            earlier = 0 if self.adapted("up_proj", "c_fc") else 2 * e * f
            places.append(n * (8 * f - earlier - released + g + max(g, self.arriving())))
        if self.scores_kept:
            places.append(n * (8 * self.heads * self.length + 16 * d - self.kept_by_gate()))
        if self.packed:
            places.append(self.decoding())
        return max(places)

    def arriving(self) -> int:
        """Gradients that wait while checkpointing computes a block again."""
        if not self.checkpointing:
            return 0
        if self.down_adapted:  # the gradient, for base and adapter each in its type, and scaled
            return self.g * (1 if self.e == 4 else 2) + 4 * self.d
        return self.g + (self.e * self.f if self.packed else 0)

    def decoding(self) -> int:
        """While a packed weight is decoded: the whole of it, and the pieces that are being looked up."""
        n, e, f, g, weights = self.n, self.e, self.f, self.g, self.d * self.f
        # the norm's output, where no adapter keeps it
        norm = 0 if e == 4 and self.adapted("gate_proj", "up_proj") else g
        if self.down_adapted:
            arrived = norm + self.arriving() if self.checkpointing else g * (1 if e == 4 else 2)
            waiting = arrived + (e - 4) * f
        else:
            waiting = g + (norm if self.checkpointing else e * f)
        return n * waiting + weights * e + max(6 * min(weights, DECODED_AT_ONCE), n * e * f)

    def logits(self) -> int:
        """At the loss: three fp32 numbers per score (log-probability, two gradients), in pieces if they are many."""
        return 12 * self.vocab * self.rows

    def kept_by_last_norm(self) -> int:
        """Its input and scale; its output too, if the output layer trains or is computed again in pieces."""
        return self.n * (self.g + 4 + (self.g if self.full or self.in_pieces else 0))

    def kept_by_forward(self) -> int:
        """All that the forward pass leaves for the backward pass."""
        scores = 0 if self.in_pieces else 4 * self.vocab * self.n  # their log-probabilities
        return self.activations() + self.kept_by_last_norm() + scores

    def at_the_loss(self) -> dict[str, int]:
        head = self.vocab * self.g if self.full else 0  # gradient of the output layer
        # gradients of the pieces before
        earlier = (self.n - self.rows) * self.g + (head if self.in_pieces else 0)
        product = self.e * self.vocab * self.rows + head
        return {
            "activations": self.activations(),
            "logits": self.logits(),
            "working set": self.kept_by_last_norm() + earlier + max(0, product - self.logits()),
        }

    def moments(self) -> dict[str, dict[str, int]]:
        """What comes and goes, at each moment that can be the peak."""
        n, g, tied = self.n, self.g, self.shape.tie_word_embeddings
        in_block = {"working set": self.working_set() + self.one_block_again()}
        last_block = in_block | {"activations": self.activations()}
        moments = {"at the loss": self.at_the_loss(), "in the last block's backward pass": last_block}
        if not self.full:
            adapters = self.trained * ADAPTER_BYTES
            # the new safety copy is made before the old one goes
            return moments | {"at the update": {"gradients": adapters, "working set": adapters}}
        embedding, down = self.vocab * g, self.f * g
        block = self.e * (self.trained - self.shape.embedding_weights) // self.layers
        last_block["gradients"] = embedding + down
        moments["in the first block's backward pass"] = in_block | {
            "activations": self.around_blocks() + n * (g if self.checkpointing else self.block()),
            "gradients": self.e * self.trained - block + down - (0 if tied else embedding),
        }
        moments["at the end of the backward pass"] = {
            "gradients": self.e * self.trained,
            # a shared matrix has two gradients, and their sum
            "working set": n * g + self.around_blocks() + (2 * embedding if tied else 0),
        }
        return moments

    def formulas(self, moments: dict[str, dict[str, int]]) -> dict[str, str]:
        return {
            "gradients": f"{self.trained:,} trained weights × {self.trained_bytes} bytes",
            "activations": self.formula_of_activations(),
            "logits": f"{self.rows:,} tokens at a time × {self.vocab:,} words × 3 numbers × 4 bytes",
            "working set": self.formula_of_working_set(moments),
        }

    def formula_of_activations(self) -> str:
        around = f"{self.around_blocks():,} bytes of rotary tables and token numbers"
        if self.checkpointing:
            return (
                f"{self.n:,} tokens × {self.layers} blocks × {self.g:,} bytes + {around}; each block's input"
            )
        missing = self.missing_in_first_block()
        block = (
            f"{self.block():,} bytes in a block: norms {self.kept_by_norms():,}, attention "
            f"{self.kept_by_attention():,}, gate {self.kept_by_gate():,}, inputs of what trains "
            f"{self.kept_by_products():,}"
        )
        less = f"; {missing:,} fewer in the first" if missing else ""
        return f"{self.n:,} tokens × {self.layers * self.block() - missing:,} bytes + {around}; {block}{less}"

    def formula_of_working_set(self, moments: dict[str, dict[str, int]]) -> str:
        moment = max(moments, key=lambda name: moments[name].get("working set", 0))
        if "block" not in moment:
            return f"{moments[moment]['working set']:,} bytes {moment}"
        again = (
            f" + {self.one_block_again():,} bytes of the block computed again" if self.checkpointing else ""
        )
        return f"{self.working_set():,} bytes of gradients on their way{again}; {moment}"
