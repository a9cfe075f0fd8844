"""What page 05 measures of a model in few bits: a number's bits, the use of the levels, and what rounding costs.

Not here: quantizing itself (minilora/quantization), and the drawings (minilora/figures).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

from minilora.figures import levels, number_bits
from minilora.gpt import GPT
from minilora.lesson.pictures import Picture
from minilora.lesson.showing import show_table, show_text
from minilora.lesson.watching import write
from minilora.memory import MeasuredMemory, MemoryPlan, Part, gigabytes
from minilora.quantization import CODES, Linear4bit, quantize_4bit, quantize_model
from minilora.training.datasets import TokenData
from minilora.training.loss import evaluate

BINS = 64
LEARNS = ("adapters", "gradients", "optimizer", "backup")


def heavy_parts(memory: MeasuredMemory | MemoryPlan) -> dict[str, int]:
    """Bytes of what is frozen, of all that serves learning, and of the activations, each at its own peak."""
    sizes = {name: part.largest if isinstance(part, Part) else part for name, part in memory.parts.items()}
    return {
        "frozen weights": sizes["weights"],
        "adapters and their training": sum(sizes[name] for name in LEARNS),
        "activations": memory.kept_by_forward,
    }


def show_bytes(columns: Mapping[str, Mapping[str, int]]) -> None:
    """Shows sizes side by side: one column for each name, one row for each part."""
    parts = next(iter(columns.values()))
    show_table(
        ["", *columns], [[part, *(gigabytes(sizes[part]) for sizes in columns.values())] for part in parts]
    )


def number_in_bits(weight: Tensor) -> Picture:
    """Draws the first number of a weight tensor in 32, 16 and 4 bits."""
    stored = quantize_4bit(weight)
    code = int(stored.indices().flatten()[0])
    absmax = float(stored.block_absmax()[0])
    return Picture(*number_bits.draw(float(weight.flatten()[0]), code, CODES["nf4"][code], absmax))


def level_shares(weight: Tensor, quant_type: str, block_size: int = 64) -> dict[float, float]:
    """Share of the weights (0 … 1) that is rounded to each level of a code.

    Args:
        weight: A tensor of any shape.
        quant_type: Name of the code, as in `quantize_4bit`.
        block_size: Weights per block.

    Returns:
        Level -> share, in ascending order of the levels.

    >>> shares = level_shares(torch.tensor([1.0, -1.0, 0.01, 0.0]), "nf4")
    >>> {level: share for level, share in shares.items() if share}
    {-1.0: 0.25, 0.0: 0.5, 1.0: 0.25}
    """
    indices = quantize_4bit(weight, quant_type, block_size).indices().flatten()
    counts = torch.bincount(indices.int(), minlength=16) / len(indices)
    pairs = zip(CODES[quant_type], counts.tolist(), strict=True)
    return {level: share for level, share in sorted(pairs) if abs(level) <= 1}


def levels_for_half(shares: dict[float, float]) -> int:
    """How many of the levels, the fullest first, get half of all weights.

    >>> levels_for_half({-1.0: 0.2, 0.0: 0.4, 1.0: 0.4})
    2
    """
    total = 0.0
    for count, share in enumerate(sorted(shares.values(), reverse=True), 1):
        total += share
        if total >= 0.5:
            return count
    return len(shares)


def levels_and_weights(weight: Tensor, block_size: int = 64) -> Picture:
    """Draws a histogram of the weights, and below it the levels of nf4 and of int4 with the share that each gets."""
    blocks = weight.detach().flatten().view(-1, block_size)
    normalized = blocks / blocks.abs().amax(dim=1, keepdim=True)
    bins = torch.histc(normalized, BINS, -1, 1) / normalized.numel()
    shares = {
        name: level_shares(weight, code, block_size) for name, code in (("NF4", "nf4"), ("int4", "int4"))
    }
    places = {name: list(each) for name, each in shares.items()}
    return Picture(
        *levels.draw(bins.tolist(), places, {name: list(s.values()) for name, s in shares.items()})
    )


def errors_of_others(weights: Tensor, block_size: int, times: float) -> tuple[float, float]:
    """Relative rounding error (nf4) of all weights but the first: as they are, and when the first is an outlier.

    Args:
        weights: A tensor of any shape.
        block_size: As in `quantize_4bit`.
        times: The outlier's size, as a multiple of the standard deviation.

    Returns:
        The error without the outlier, and with it.
    """
    x = weights.detach().flatten()
    spoiled = torch.cat([times * x.std()[None], x[1:]])
    wrong = []
    for numbers in (x, spoiled):
        off = quantize_4bit(numbers, "nf4", block_size).dequantize() - numbers
        wrong.append(float(off[1:].norm() / numbers[1:].norm()))
    return wrong[0], wrong[1]


class Texts(NamedTuple):
    """Continuations of one opening by versions A, B and C of a model, and which of them is the original."""

    texts: dict[str, str]
    original: str


def three_versions(name: str, opening: str, seed: int = 2) -> Texts:
    """Shows what a model makes of an opening: as it is, well rounded to 4 bits, and badly, but not which is which.

    Args:
        name: As in `GPT.from_pretrained`.
        opening: The first words.
        seed: The random seed, the same for all three.

    Returns:
        The three texts, and which of them is the original's.
    """
    versions = {"A": ("int4", None), "B": None, "C": ("nf4", 64)}
    texts = {}
    for letter, scheme in versions.items():
        model = GPT.from_pretrained(name)
        if scheme:
            quantize_model(model, *scheme)
        texts[letter] = write(model, opening, seed=seed)
        show_text({letter: texts[letter]})
    return Texts(texts, "B")


class Rounded(NamedTuple):
    """What rounding did to a whole model: its loss, the relative error of its weights, bits per weight."""

    loss: float
    error: float
    bits: float


def compare_schemes(
    name: str, held_out: TokenData, schemes: Iterable[tuple[str, int | None]]
) -> dict[tuple[str, int | None], Rounded]:
    """Rounds all linear layers of a model by each scheme, and shows and returns what that costs.

    Args:
        name: As in `GPT.from_pretrained`.
        held_out: Text to measure the loss on.
        schemes: `quant_type` and `block_size` of each; None is one block per matrix.

    Returns:
        What each scheme costs, by scheme; the model as it is comes first, as ("float32", None).
    """
    original = GPT.from_pretrained(name)
    exact = {path: weight.detach() for path, weight in original.named_parameters()}
    found: dict[tuple[str, int | None], Rounded] = {}
    found["float32", None] = Rounded(evaluate(original, held_out), 0.0, 32.0)
    for quant_type, block_size in schemes:
        model, report = quantize_model(GPT.from_pretrained(name), quant_type, block_size)
        loss, error = evaluate(model, held_out), _weight_error(model, exact)
        found[quant_type, block_size] = Rounded(loss, error, report.bits_per_weight)
        print(f"{len(found) - 1} measured;", end=" ", flush=True)
    rows = []
    for (quant_type, block_size), each in found.items():
        blocks = f"blocks of {block_size:,}" if block_size else "per tensor"
        words = quant_type if quant_type == "float32" else f"{quant_type}, {blocks}"
        rows.append([words, f"{each.bits:.4g}", f"{each.error:.1%}", f"{each.loss:.3f}"])
    show_table(["", "bits per weight", "error of the weights", "loss"], rows)
    return found


def _weight_error(model: Module, exact: Mapping[str, Tensor]) -> float:
    """Size of all rounding errors, relative to the size of all weights that were rounded."""
    off = size = 0.0
    for path, layer in model.named_modules():
        if isinstance(layer, Linear4bit):
            weight = exact[f"{path}.weight"]
            off += float((layer.quantized.dequantize() - weight).square().sum())
            size += float(weight.square().sum())
    return (off / size) ** 0.5
