"""Several adapters in one: exactly, as wide as all of them together, or cut to a rank.

Not here: a blend that is computed anew at each step (LoraModel.blend), which needs no new matrices.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minilora.lora.layer import LoraConfig, LoraLinear
from minilora.lora.targets import targets_for


def scaled_factors(layer: LoraLinear, strengths: dict[str, float]) -> list[tuple[Tensor, Tensor, float]]:
    """A, B and strength · scaling of each named adapter that this layer has."""
    return [
        (layer.lora_A[name], layer.lora_B[name], layer.configs[name].scaling * strength)
        for name, strength in strengths.items()
        if name in layer.configs
    ]


def concatenated(layer: LoraLinear, strengths: dict[str, float]) -> tuple[Tensor, Tensor]:
    """A (width, in) and B (out, width) whose product is the sum of the corrections; width sums their ranks."""
    factors = scaled_factors(layer, strengths)
    no_a, no_b = next(iter(layer.lora_A.values()))[:0], next(iter(layer.lora_B.values()))[:, :0]  # width 0
    a = torch.cat([no_a, *(a for a, _, _ in factors)])
    b = torch.cat([no_b, *(b * factor for _, b, factor in factors)], dim=1)
    return a, b


def delta_weight(layer: LoraLinear, strengths: dict[str, float]) -> Tensor:
    """The correction as one full matrix (out, in): the sum of strength · scaling · B A over the named adapters."""
    delta = next(iter(layer.lora_A.values())).new_zeros(layer.out_features, layer.in_features)
    for a, b, factor in scaled_factors(layer, strengths):
        delta += b @ a * factor
    return delta


@torch.no_grad()
def add_combination(
    model: nn.Module,
    layers: dict[str, LoraLinear],
    name: str,
    strengths: dict[str, float],
    r: int | None,
) -> tuple[LoraConfig, float]:
    """Adds to `layers` of `model` the adapter `name`, the weighted sum of others; its config and relative error."""
    layers = {path: layer for path, layer in layers.items() if scaled_factors(layer, strengths)}
    ranks = {
        part: layer.configs[part].r
        for layer in layers.values()
        for part in strengths
        if part in layer.configs
    }
    width = sum(ranks.values())
    rank = width if r is None else r
    if not 1 <= rank <= width:
        raise ValueError(
            f"r={r} for a blend of total rank {width}; choose 1 to {width}, or None for the exact join"
        )
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(layers))
    targets_for(model, config)  # a join that is wider than a layer could be saved, but not loaded
    lost = total = 0.0
    for layer in layers.values():
        a, b = concatenated(layer, strengths)
        missing = width - len(a)  # zero rows for parts that this layer lacks
        a, b = F.pad(a, (0, 0, 0, missing)), F.pad(b, (0, missing))
        if r is not None:
            a, b, layer_lost, layer_total = _truncate(a, b, rank)
            lost, total = lost + layer_lost, total + layer_total
        layer.add_adapter(name, config)
        layer.lora_A[name].copy_(a)
        layer.lora_B[name].copy_(b)
    return config, math.sqrt(lost / total) if total else 0.0


def _truncate(a: Tensor, b: Tensor, r: int) -> tuple[Tensor, Tensor, float, float]:
    """Best rank-r factors of b @ a, with the squared norm lost and the whole one.

    The product (out, in) is never built: b = Qb Rb and aᵀ = Qa Ra, so only Rb Raᵀ (width, width) is decomposed.
    """
    qb, rb = torch.linalg.qr(b.double())
    qa, ra = torch.linalg.qr(a.double().T)
    u, s, vt = torch.linalg.svd(rb @ ra.T)
    root = s[:r].sqrt()
    new_a = (root[:, None] * vt[:r]) @ qa.T  # (r, in)
    new_b = qb @ (u[:, :r] * root)  # (out, r)
    return new_a.to(a.dtype), new_b.to(b.dtype), float((s[r:] ** 2).sum()), float((s**2).sum())
