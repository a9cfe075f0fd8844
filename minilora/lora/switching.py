"""A frozen model with adapters: add one, switch, scale, delete, and count what trains.

Many adapters may share one base. Which of them are active is one small value that all layers share, so a switch takes
microseconds. The base's own tensors are never written to.

Not here: the formula (layer.py); `add_lora` and what else a `LoraModel` does: combining, merging, files (model.py).
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from minilora.lora.files import check_name
from minilora.lora.layer import ActiveAdapters, LoraConfig, LoraLinear
from minilora.lora.mixed_batch import BASE, mixing
from minilora.lora.targets import count_weights, targets_for


class AdaptedModel(nn.Module):
    """A frozen base model with adapters. Attributes that it lacks (generate, config ...) are the base's.

    Args:
        base_model: The model to adapt. It is frozen, in place.

    Attributes:
        peft_config: Adapter name -> LoraConfig, of all adapters.
    """

    def __init__(self, base_model: nn.Module):
        super().__init__()
        self.base_model = base_model
        self.training = base_model.training
        self.active = ActiveAdapters()
        self.peft_config: dict[str, LoraConfig] = {}
        self.was_trainable = {name for name, p in base_model.named_parameters() if p.requires_grad}
        base_model.requires_grad_(False)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base_model"), name)

    def forward(self, *args: Any, adapter_names: Sequence[str] | None = None, **kwargs: Any) -> Any:
        """The base's forward pass, with the active adapters.

        Args:
            *args: The base's own arguments.
            adapter_names: One adapter for each row of the batch, instead of the active ones; "__base__" means none.
                For inference only.
            **kwargs: The base's own arguments.

        Raises:
            ValueError: `adapter_names` does not fit the batch, or is given in training mode or while merged.
        """
        if adapter_names is None:
            return self.base_model(*args, **kwargs)
        self._check_not_merged()
        if self.training:
            raise ValueError("adapter_names works for inference only; call model.eval() first")
        for name in {*adapter_names} - {BASE}:
            self._check_known(name)
        with mixing(self.lora_layers().values(), adapter_names):
            return self.base_model(*args, **kwargs)

    def lora_layers(self) -> dict[str, LoraLinear]:
        """Every adapted layer by its path in the base model."""
        return {path: m for path, m in self.base_model.named_modules() if isinstance(m, LoraLinear)}

    # -- what trains -----------------------------------------------------------------------------------------

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The matrices that training changes: those of the active adapters that were not loaded frozen."""
        return {
            f"{path}.lora_{side}.{name}": matrices[name]
            for path, layer in self.lora_layers().items()
            for side, matrices in (("A", layer.lora_A), ("B", layer.lora_B))
            for name in self.active.scales
            if name in layer.configs and matrices[name].requires_grad
        }

    def trainable_parameter_count(self) -> ParameterCount:
        """The number of trainable weights; prints as "98,304 trainable of 5,341,440 (1.84%)".

        A 4-bit layer counts with all the weights that it stands for.
        """
        trainable = sum(p.numel() for p in self.trainable_parameters().values())
        return ParameterCount(trainable, count_weights(self))

    # -- add, switch, delete -----------------------------------------------------------------------------------

    def add_adapter(self, adapter_name: str, peft_config: LoraConfig) -> None:
        """Adds a new adapter, which changes nothing until it is trained.

        The first adapter of a model becomes active; a later one does when `set_adapter` names it.

        Raises:
            ValueError: The name is taken or unusable, or the config does not fit the model; nothing was added.
        """
        self._check_new_name(adapter_name)
        self._check_not_merged()
        for path in targets_for(self.base_model, peft_config):  # all checks before the first change
            layer = self.base_model.get_submodule(path)
            if not isinstance(layer, LoraLinear):
                layer = LoraLinear(layer, self.active)
                layer.training = self.training
                self.base_model.set_submodule(path, layer)
            layer.add_adapter(adapter_name, peft_config)
        self.peft_config[adapter_name] = peft_config
        if len(self.peft_config) == 1:
            self.set_adapter(adapter_name)

    def set_adapter(self, adapter_name: str, *, scale: float = 1.0) -> None:
        """Makes one adapter the only active one. It takes microseconds and copies nothing.

        Args:
            adapter_name: An adapter of this model.
            scale: Factor of its update: 0 is the base, 1 the adapter as trained, 1.5 exaggerates it.
        """
        self.set_adapters([adapter_name], [scale])

    def set_adapters(
        self, adapter_names: Sequence[str], adapter_weights: Sequence[float] | None = None
    ) -> None:
        """Makes several adapters active at once: the output gets the weighted sum of their updates, exactly.

        Args:
            adapter_names: Adapters of this model; none at all means the base.
            adapter_weights: One factor for each, by default 1.

        Raises:
            ValueError: A name is unknown or given twice, the lengths differ, or a weight is not finite.
        """
        self._check_not_merged()
        self.active.scales = self._checked_weights(adapter_names, adapter_weights)

    def set_scale(self, adapter: str, scale: float) -> None:
        """Changes the factor of one active adapter, and leaves the others as they are."""
        if adapter in self.peft_config and adapter not in self.active.scales:
            raise ValueError(
                f"'{adapter}' is not active; set_adapter('{adapter}', scale={scale}) activates it"
            )
        self.set_adapters(*zip(*{**self.active.scales, adapter: scale}.items(), strict=True))

    @property
    def active_adapters(self) -> list[str]:
        """The names of the adapters that are active now."""
        return list(self.active.scales)

    @property
    def adapter_scales(self) -> dict[str, float]:
        """The factor of each active adapter, usually 1."""
        return dict(self.active.scales)

    def delete_adapter(self, adapter_name: str) -> None:
        """Removes an adapter. If no other was active, the first that is left becomes active, with a warning."""
        self._check_known(adapter_name)
        self._check_not_merged()
        was_active = adapter_name in self.active.scales
        self._remove(adapter_name)
        if was_active and not self.active.scales and self.peft_config:
            first = next(iter(self.peft_config))
            warnings.warn(
                f"the active adapter '{adapter_name}' is deleted; '{first}' is active now", stacklevel=2
            )
            self.set_adapter(first)

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Inside the `with` block the model is the base, bit for bit."""
        self._check_not_merged()
        before, self.active.scales = self.active.scales, {}
        try:
            yield
        finally:
            self.active.scales = before

    # -- checks ----------------------------------------------------------------------------------------------

    def _remove(self, adapter_name: str) -> None:
        for layer in self.lora_layers().values():
            layer.delete_adapter(adapter_name)
        del self.peft_config[adapter_name]
        self.active.scales = {
            name: scale for name, scale in self.active.scales.items() if name != adapter_name
        }

    def _check_known(self, adapter_name: str) -> None:
        if adapter_name not in self.peft_config:
            raise ValueError(
                f"no adapter '{adapter_name}'; there is: {', '.join(self.peft_config) or 'none'}"
            )

    def _checked_weights(self, names: Sequence[str], weights: Sequence[float] | None) -> dict[str, float]:
        """Adapter name -> weight, if these adapters exist and each has one finite weight."""
        if isinstance(names, str):
            raise TypeError(f"the adapters are given as the text {names!r}; give a list of names")
        weights = [1.0] * len(names) if weights is None else weights
        if len(names) != len(weights) or len(set(names)) != len(names):
            raise ValueError(
                f"adapters {list(names)} with weights {list(weights)}; name each once, with one weight"
            )
        for name, weight in zip(names, weights, strict=True):
            self._check_known(name)
            if not math.isfinite(weight):
                raise ValueError(
                    f"the weight of '{name}' is {weight}; give a finite number, usually 0 to 1.5"
                )
        return dict(zip(names, weights, strict=True))

    def _check_new_name(self, adapter_name: str) -> None:
        if adapter_name in self.peft_config:
            raise ValueError(
                f"an adapter '{adapter_name}' exists already; delete it, or load with replace=True"
            )
        check_name(self.base_model, adapter_name)

    def _check_not_merged(self) -> None:
        if self.active.merged:
            raise ValueError("the adapter is merged into the weights now; call unmerge_adapter() first")


class ParameterCount(int):
    """The number of trainable weights: an integer that also knows the total.

    >>> print(ParameterCount(98_304, 5_341_440))
    98,304 trainable of 5,341,440 (1.84%)
    """

    total: int

    def __new__(cls, trainable: int, total: int) -> ParameterCount:
        count = super().__new__(cls, trainable)
        count.total = total
        return count

    def __str__(self) -> str:
        return f"{int(self):,} trainable of {self.total:,} ({self / self.total:.2%})"

    __repr__ = __str__
