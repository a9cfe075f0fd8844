"""Which layers LoRA adapts and how strongly, in the words of PEFT.

Not here: finding these layers in a model (targets.py), and the arithmetic (layer.py).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(kw_only=True)
class LoraConfig:
    """Which layers to adapt, and how strongly. Names, defaults and meanings are those of `peft.LoraConfig`.

    Args:
        r: Rank of the update, the width between A and B.
        lora_alpha: The update is multiplied by lora_alpha / r.
        target_modules: Names of linear layers (["q_proj"]); "attention", "mlp" or "all-linear"; None means q_proj
            and v_proj.
        lora_dropout: Fraction of A's inputs that training sets to zero at random, 0 ≤ lora_dropout < 1.
        use_rslora: Multiply by lora_alpha / √r instead, which suits high ranks (arXiv 2312.03732).
        rank_pattern: Another rank for some layers: layer name, or regular expression for the end of its path -> r.
        alpha_pattern: The same for lora_alpha.
        exclude_modules: Layers to leave out: a list of names, or one regular expression for whole paths.
        layers_to_transform: Adapt only the blocks with these numbers; target_modules is a list then.
        layers_pattern: Names of the list of blocks, if it is not the first one in a path.

    Raises:
        ValueError: A value is out of range.

    >>> LoraConfig(r=16, lora_alpha=32).scaling
    2.0
    """

    r: int = 8
    lora_alpha: float = 8
    target_modules: str | Sequence[str] | None = None
    lora_dropout: float = 0.0
    use_rslora: bool = False
    rank_pattern: dict[str, int] = dataclasses.field(default_factory=dict)
    alpha_pattern: dict[str, float] = dataclasses.field(default_factory=dict)
    exclude_modules: str | Sequence[str] | None = None
    layers_to_transform: int | Sequence[int] | None = None
    layers_pattern: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        for r in (self.r, *self.rank_pattern.values()):
            if not isinstance(r, int) or r < 1:
                raise ValueError(f"r is {r!r}; it must be a whole number, at least 1")
        for alpha in (self.lora_alpha, *self.alpha_pattern.values()):
            if not alpha > 0:
                raise ValueError(f"lora_alpha is {alpha!r}; it must be positive")
        if self.layers_to_transform is not None and isinstance(self.target_modules, str):
            raise ValueError(
                f"layers_to_transform needs target_modules as a list, as in PEFT: [{self.target_modules!r}]"
            )
        if self.layers_pattern and self.layers_to_transform is None:
            raise ValueError(
                "layers_pattern has no effect without layers_to_transform; name the blocks there"
            )
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout is {self.lora_dropout!r}; it must be at least 0 and less than 1")

    @property
    def scaling(self) -> float:
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    def for_layer(self, path: str) -> LoraConfig:
        """The config of one layer: with the rank and alpha that the patterns give it.

        >>> LoraConfig(r=8, rank_pattern={"v_proj": 2}).for_layer("layers.0.v_proj").r
        2
        """
        r = self.rank_pattern.get(pattern_for(path, self.rank_pattern), self.r)
        alpha = self.alpha_pattern.get(pattern_for(path, self.alpha_pattern), self.lora_alpha)
        return dataclasses.replace(self, r=r, lora_alpha=alpha, rank_pattern={}, alpha_pattern={})


def pattern_for(path: str, patterns: Sequence[str] | dict[str, Any]) -> str:
    """The first of `patterns` that fits the end of `path`, as in PEFT; the path itself if none does."""
    try:
        return next((pattern for pattern in patterns if re.match(rf"(.*\.)?({pattern})$", path)), path)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"rank_pattern or alpha_pattern {list(patterns)}: {error}") from None
