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

from minilora.lora.config import LoraConfig
from minilora.lora.files import check_name
from minilora.lora.layer import ActiveAdapters, LoraLinear
from minilora.lora.mixed_batch import BASE, mixing
from minilora.lora.other_tools import (
    class_for,
    fill_in_shared_weights,
    keep_each_weight_once,
    refuse_to_save,
    unpickled,
)
from minilora.lora.targets import ParameterCount, count_weights, targets_for, warn_about_rank


class AdaptedModel(nn.Module):
    """A frozen base model with adapters. Attributes that it lacks (generate, config ...) are the base's.

    Args:
        base_model: The model to adapt. It is frozen, in place.

    Attributes:
        base: The base model, with LoRA layers in it.
        peft_config: Adapter name -> LoraConfig, of all adapters.
    """

    def __init__(self, base_model: nn.Module):
        super().__init__()
        # subtle: the class says which parameters this base's forward takes; see below
        self.__class__ = class_for(type(self), type(base_model))  # type: ignore[assignment, arg-type]
        self.base: Any = base_model
        self.training = base_model.training
        self.active = ActiveAdapters()
        self.peft_config: dict[str, LoraConfig] = {}
        self.frozen: set[str] = set()  # adapters that were loaded frozen
        self.disabled = False  # inside disable_adapter()
        if hasattr(base_model, "save_pretrained") and "save_pretrained" not in vars(base_model):
            # instead of the class's method, which would write adapted layers under names that nothing reads
            vars(base_model)["save_pretrained"] = refuse_to_save
        self.register_state_dict_post_hook(keep_each_weight_once)
        self.register_load_state_dict_pre_hook(fill_in_shared_weights)
        self.was_trainable = {name for name, p in base_model.named_parameters() if p.requires_grad}
        base_model.requires_grad_(False)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)

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
            return self.base(*args, **kwargs)
        self._check_free()
        if self.training:
            raise ValueError("adapter_names works for inference only; call model.eval() first")
        for name in {*adapter_names} - {BASE}:
            self._check_known(name)
        with mixing(self.lora_layers().values(), adapter_names):
            return self.base(*args, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickles under the name that an import finds; the class of this base is made again on loading."""
        state = super().__reduce_ex__(protocol)[2]
        return unpickled, (type(self).__mro__[1], type(self.base)), state

    def get_base_model(self) -> nn.Module:
        """The base model, with its LoRA layers in it; `unload` takes them off."""
        return self.base

    def lora_layers(self) -> dict[str, LoraLinear]:
        """Every adapted layer by its path in the base model."""
        return {path: m for path, m in self.base.named_modules() if isinstance(m, LoraLinear)}

    # -- what trains -----------------------------------------------------------------------------------------

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The matrices that training changes: those of the active adapters that were not loaded frozen.

        Raises:
            ValueError: The model is merged, or weights of the base are trainable too, which no adapter file could hold.
        """
        if self.active.merged:
            raise ValueError("merged adapters cannot be trained; call unmerge_adapter() first")
        self._check_base_is_frozen()
        return self._trainable()

    def _trainable(self) -> dict[str, nn.Parameter]:
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
        trainable = [*self._trainable().values(), *self._thawed().values()]
        return ParameterCount(sum(p.numel() for p in trainable), count_weights(self))

    def _thawed(self) -> dict[str, nn.Parameter]:
        """Weights of the base that someone made trainable by hand."""
        return {
            name: p for name, p in self.base.named_parameters() if p.requires_grad and ".lora_" not in name
        }

    def _check_base_is_frozen(self) -> None:
        thawed = self._thawed()
        if thawed:
            raise ValueError(
                f"{', '.join([*thawed][:3])} ({len(thawed)} weights of the base) are trainable beside the adapter, and "
                "an adapter's file holds no such weights. Freeze them with requires_grad_(False), after saving what "
                "they have learned yourself, or add LoRA to those layers"
            )

    # -- add, switch, delete -----------------------------------------------------------------------------------

    def add_adapter(self, adapter_name: str, peft_config: LoraConfig) -> None:
        """Adds a new adapter, which changes nothing until it is trained.

        The first adapter of a model becomes active; a later one does when `set_adapter` names it.

        Raises:
            ValueError: The name is taken or unusable, or the config does not fit the model; nothing was added.
        """
        self._check_new_name(adapter_name)
        self._check_free()
        paths = targets_for(self.base, peft_config)  # all checks before the first change
        warn_about_rank(self.base, paths, peft_config)
        for path in paths:
            layer = self.base.get_submodule(path)
            if not isinstance(layer, LoraLinear):
                layer = LoraLinear(layer, self.active)
                layer.training = self.training
                self.base.set_submodule(path, layer)
            layer.add_adapter(adapter_name, peft_config.for_layer(path))
        self.peft_config[adapter_name] = peft_config
        self._set_trainable({adapter_name}, False)
        if len(self.peft_config) == 1:
            self.set_adapter(adapter_name)

    def set_adapter(self, adapter_name: str, *, scale: float = 1.0) -> None:
        """Makes one adapter the only active one, and the only one that training changes; it copies nothing.

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
        self._check_free()
        self._activate(self._checked_weights(adapter_names, adapter_weights))

    def _activate(self, scales: dict[str, float]) -> None:
        before, self.active.scales = self.active.scales, scales
        self._set_trainable(
            {*before} - {*scales} - self.frozen, False
        )  # frozen ones already are: switching is quick
        self._set_trainable({*scales} - {*before} - self.frozen, True)

    def _set_trainable(self, adapter_names: set[str], on: bool) -> None:
        """As in PEFT, only active adapters require gradients, so that other tools count and synchronize no others."""
        for layer in self.lora_layers().values() if adapter_names else ():
            for name in adapter_names & layer.configs.keys():
                layer.lora_A[name].requires_grad_(on)
                layer.lora_B[name].requires_grad_(on)

    def set_scale(self, adapter: str, scale: float) -> None:
        """Changes the factor of one active adapter, and leaves the others as they are."""
        self._check_free()
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
        self._check_free()
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
        """Inside the `with` block the model is the base, bit for bit; adapters cannot be changed there."""
        self._check_not_merged()
        before, was_disabled = self.active.scales, self.disabled
        self.active.scales, self.disabled = {}, True
        try:
            yield
        finally:
            self.active.scales, self.disabled = before, was_disabled

    # -- checks ----------------------------------------------------------------------------------------------

    def _remove(self, adapter_name: str) -> None:
        for layer in self.lora_layers().values():
            layer.delete_adapter(adapter_name)
        del self.peft_config[adapter_name]
        self.frozen.discard(adapter_name)
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
        check_name(self.base, adapter_name)

    def _check_free(self) -> None:
        """Raises a ValueError while the adapters cannot be changed."""
        self._check_not_merged()
        if self.disabled:
            raise ValueError(
                "the adapters are disabled here, and a change would be undone at the end of the `with` block; leave "
                "disable_adapter() first"
            )

    def _check_not_merged(self) -> None:
        if self.active.merged:
            raise ValueError("the adapter is merged into the weights now; call unmerge_adapter() first")
