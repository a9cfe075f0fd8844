"""Several adapters combined into one: exactly, as wide as all of them together, or truncated to a rank.

Not here: several adapters active at once (`LoraModel.set_adapters`), which needs no new matrices; and PEFT's other
ways to combine ("linear", "ties", "dare" ...), which are refused by name.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from minilora.lora.config import LoraConfig
from minilora.lora.layer import LoraLinear

COMBINATION_TYPES = ("cat", "svd")


def scaled_factors(layer: LoraLinear, weights: dict[str, float]) -> list[tuple[Tensor, Tensor, float]]:
    """A, B and weight · scaling of each named adapter that this layer has."""
    return [
        (layer.lora_A[name], layer.lora_B[name], layer.configs[name].scaling * weight)
        for name, weight in weights.items()
        if name in layer.configs
    ]


def concatenated(layer: LoraLinear, weights: dict[str, float]) -> tuple[Tensor, Tensor]:
    """A (width, in) and B (out, width) whose product is the weighted sum of the updates; width sums their ranks."""
    factors = scaled_factors(layer, weights)
    no_a, no_b = next(iter(layer.lora_A.values()))[:0], next(iter(layer.lora_B.values()))[:, :0]  # width 0
    a = torch.cat([no_a, *(a for a, _, _ in factors)])
    b = torch.cat([no_b, *(b * factor for _, b, factor in factors)], dim=1)
    return a, b


def delta_weight(layer: LoraLinear, weights: dict[str, float]) -> Tensor:
    """The weighted sum of the updates as one matrix (out, in)."""
    delta = next(iter(layer.lora_A.values())).new_zeros(layer.out_features, layer.in_features)
    for a, b, factor in scaled_factors(layer, weights):
        delta += b @ a * factor
    return delta


@torch.no_grad()
def add_combination(
    layers: dict[str, LoraLinear],
    weights: dict[str, float],
    adapter_name: str,
    combination_type: str,
    svd_rank: int | None,
) -> tuple[LoraConfig, float]:
    """Adds to `layers` an adapter that is the weighted sum of others.

    Returns:
        The new adapter's config, and its relative error: ‖lost‖ / ‖sum‖ over all layers, in the Frobenius norm.
    """
    layers = {path: layer for path, layer in layers.items() if scaled_factors(layer, weights)}
    ranks: dict[str, int] = {}  # each adapter's largest, where its layers differ
    for layer in layers.values():
        for name in weights.keys() & layer.configs.keys():
            ranks[name] = max(ranks.get(name, 0), layer.configs[name].r)
    width = sum(ranks.values())
    rank = _rank(ranks, combination_type, svd_rank)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(layers))  # scaling 1
    lost = total = 0.0
    for layer in layers.values():
        a, b = concatenated(layer, weights)
        missing = width - len(
            a
        )  # an adapter that leaves this layer alone, or is narrower here, counts as zero
        a, b = F.pad(a, (0, 0, 0, missing)), F.pad(b, (0, missing))
        if combination_type == "svd":
            a, b, layer_lost, layer_total = _truncate(a, b, rank)
            lost, total = lost + layer_lost, total + layer_total
            missing = rank - len(a)  # where a side of the layer is smaller than the rank
            a, b = F.pad(a, (0, 0, 0, missing)), F.pad(b, (0, missing))
        layer.add_adapter(adapter_name, config)
        layer.lora_A[adapter_name].copy_(a)
        layer.lora_B[adapter_name].copy_(b)
    return config, math.sqrt(lost / total) if total else 0.0


def _rank(ranks: dict[str, int], combination_type: str, svd_rank: int | None) -> int:
    """The rank of the combination of adapters of these ranks."""
    width = sum(ranks.values())
    if combination_type not in COMBINATION_TYPES:
        raise ValueError(
            f"combination_type is {combination_type!r}; supported are 'cat' (exact, rank {width} here) and 'svd' "
            "(truncated to svd_rank)"
        )
    if combination_type == "cat":
        if svd_rank is not None:
            raise ValueError(
                f"svd_rank={svd_rank} has no effect with 'cat', which has rank {width}; choose 'svd'"
            )
        return width
    rank = max(ranks.values()) if svd_rank is None else svd_rank
    if not 1 <= rank <= width:
        raise ValueError(f"svd_rank is {svd_rank}; choose 1 to {width}, the sum of the adapters' ranks")
    return rank


def _truncate(a: Tensor, b: Tensor, r: int) -> tuple[Tensor, Tensor, float, float]:
    """The best rank-r factors of b @ a, the squared norm that is lost, and the whole squared norm.

    The product (out, in) is never built: with b = Qb Rb and aᵀ = Qa Ra, only Rb Raᵀ (width, width) is decomposed.
    """
    qb, rb = torch.linalg.qr(b.double())
    qa, ra = torch.linalg.qr(a.double().T)
    u, s, vt = torch.linalg.svd(rb @ ra.T, full_matrices=False)
    root = s[:r].sqrt()
    new_a = (root[:, None] * vt[:r]) @ qa.T  # (r, in)
    new_b = qb @ (u[:, :r] * root)  # (out, r)
    return new_a.to(a.dtype), new_b.to(b.dtype), float((s[r:] ** 2).sum()), float((s**2).sum())
