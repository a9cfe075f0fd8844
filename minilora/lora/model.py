"""A frozen model with adapters: add, switch, blend, merge, save.

`add_lora` freezes a model and puts a small trained update beside the layers that a `LoraConfig` names. Many adapters
may live on one base: which of them are active is one small value that all layers share, so a switch costs
microseconds. The base's own tensors are never written to, not even by `merge`.

Not here: the formula (layer.py), and how the longer verbs work: merging.py, combining.py, mixed_batch.py, files.py.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from minilora import adapter_files
from minilora.lora import combining, files, merging
from minilora.lora.layer import LoraConfig, LoraLinear, Selection
from minilora.lora.mixed_batch import MixedBatch
from minilora.lora.targets import count_weights, targets_for


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


class LoraModel(nn.Module):
    """A frozen base model with adapters. Anything it does not know (generate, config ...) the base answers."""

    def __init__(self, base_model: nn.Module):
        super().__init__()
        self.base_model = base_model
        self.training = base_model.training
        self.selection = Selection()
        self.adapters: dict[str, LoraConfig] = {}
        self.was_trainable = {name for name, p in base_model.named_parameters() if p.requires_grad}
        base_model.requires_grad_(False)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base_model"), name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model(*args, **kwargs)

    @functools.cached_property
    def fingerprint(self) -> str:
        """What tells this base from another; computed when a file asks for it."""
        return files.base_fingerprint(self.base_model)

    def lora_layers(self) -> dict[str, LoraLinear]:
        """Every adapted layer by its path in the base model."""
        return {path: m for path, m in self.base_model.named_modules() if isinstance(m, LoraLinear)}

    # -- what trains -----------------------------------------------------------------------------------------

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The matrices that training would change: those of the adapters that speak now and were not loaded frozen."""
        return {
            f"{path}.lora_{side}.{name}": matrices[name]
            for path, layer in self.lora_layers().items()
            for side, matrices in (("A", layer.lora_A), ("B", layer.lora_B))
            for name in self.selection.strengths
            if name in layer.configs and matrices[name].requires_grad
        }

    def trainable_parameter_count(self) -> ParameterCount:
        """Trainable weights; prints as "98,304 trainable of 5,341,440 (1.84%)". A 4-bit layer counts in full."""
        trainable = sum(p.numel() for p in self.trainable_parameters().values())
        return ParameterCount(trainable, count_weights(self))

    # -- adapters: add, choose, blend, remove ----------------------------------------------------------------

    def add_adapter(self, name: str, config: LoraConfig) -> None:
        """Adds a fresh adapter, which changes nothing until it is trained, and lets it speak alone."""
        self._check_new_name(name)
        self._check_free()
        for path in targets_for(self.base_model, config):  # all checks before the first change
            layer = self.base_model.get_submodule(path)
            if not isinstance(layer, LoraLinear):
                layer = LoraLinear(layer, self.selection)
                layer.training = self.training
                self.base_model.set_submodule(path, layer)
            layer.add_adapter(name, config)
        self.adapters[name] = config
        self.set_adapter(name)

    def set_adapter(self, name: str, strength: float = 1.0) -> None:
        """Lets one adapter speak; strength 0 … 1.5 weakens or exaggerates it. Costs microseconds, copies nothing."""
        self.blend({name: strength})

    def blend(self, strengths: dict[str, float]) -> None:
        """Lets several adapters speak at once: the output gets the weighted sum of their corrections, exactly."""
        self._check_free()
        self._check_strengths(strengths)
        self.selection.strengths = dict(strengths)

    @property
    def active_adapters(self) -> dict[str, float]:
        """The adapters that speak now, with their strengths."""
        return dict(self.selection.strengths)

    def remove_adapter(self, name: str) -> None:
        self._check_known(name)
        self._check_free()
        for layer in self.lora_layers().values():
            layer.remove_adapter(name)
        del self.adapters[name]
        self.selection.strengths = {n: s for n, s in self.selection.strengths.items() if n != name}

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Inside the `with` block the model is the base, bit for bit."""
        self._check_free()
        before, self.selection.strengths = self.selection.strengths, {}
        try:
            yield
        finally:
            self.selection.strengths = before

    @contextlib.contextmanager
    def rows(self, names: Sequence[str | None]) -> Iterator[None]:
        """Inside the block, row i of each batch uses adapter names[i], or none where that is None. For inference."""
        self._check_free()
        distinct = sorted({name for name in names if name is not None})
        for name in distinct:
            self._check_known(name)
        place = torch.tensor([0 if name is None else distinct.index(name) + 1 for name in names])
        layers = list(self.lora_layers().values())
        self.selection.mixed = True
        for layer in layers:
            layer.mixed_batch = MixedBatch.prepare(layer, distinct, place)
        try:
            yield
        finally:
            self.selection.mixed = False
            for layer in layers:
                layer.mixed_batch = None

    def add_blend(self, name: str, strengths: dict[str, float], r: int | None = None) -> float:
        """Makes a blend into one new adapter that can be saved; returns its relative error (0 … 1).

        With r=None the matrices are joined, A under A and B beside B: exact, and as wide as all ranks together. With
        r the sum is cut to its r strongest directions per layer (truncated singular value decomposition, the best
        possible at that rank); the error is ‖lost‖ / ‖sum‖ over all layers, in the Frobenius norm.
        """
        self._check_new_name(name)
        self._check_free()
        self._check_strengths(strengths)
        if not strengths:
            raise ValueError("nothing to blend; give at least one adapter with its strength")
        config, error = combining.add_combination(self.base_model, self.lora_layers(), name, strengths, r)
        self.adapters[name] = config
        return error

    # -- merge -----------------------------------------------------------------------------------------------

    def merge(self, dequantize: bool = False) -> None:
        """Computes W + correction once for every layer, so that inference pays nothing for the adapter.

        The base's tensors stay beside the merged ones, so `unmerge` is exact. On a 4-bit base the merged weights do
        not fit back into 4 bits without harm, so `dequantize=True` must say that they are kept in full precision.
        """
        self._check_free()
        merging.merge_layers(self.lora_layers(), dequantize)
        self.selection.merged = True

    def unmerge(self) -> None:
        """Back to base and separate adapters; the base never changed, so there is nothing to subtract."""
        for layer in self.lora_layers().values():
            layer.merged_weight = None
        self.selection.merged = False

    def unload(self, merged: bool = False, dequantize: bool = False) -> nn.Module:
        """Takes the LoRA layers out and returns the base: as it was, or with new, merged weights."""
        if merged and not self.selection.merged:
            self.merge(dequantize)
        for path, layer in self.lora_layers().items():
            self.base_model.set_submodule(path, merging.plain_layer(layer) if merged else layer.base_layer)
        for name, parameter in self.base_model.named_parameters():
            parameter.requires_grad_(name in self.was_trainable)
        return self.base_model

    # -- files -----------------------------------------------------------------------------------------------

    def save_adapter(self, folder: str | os.PathLike, name: str | None = None) -> None:
        """Writes the adapter alone, in PEFT's format; `peft.PeftModel.from_pretrained(base, folder)` loads it."""
        if name is None:
            active = list(self.selection.strengths)
            if len(active) != 1:
                raise ValueError(
                    f"{len(active)} adapters are active; say which to save: save_adapter(folder, name)"
                )
            name = active[0]
        self._check_known(name)
        files.write_adapter(
            folder, self.base_model, self.lora_layers(), name, self.adapters[name], self.fingerprint
        )

    @torch.no_grad()
    def load_adapter(
        self,
        folder: str | os.PathLike,
        name: str = "default",
        trainable: bool = False,
        replace: bool = False,
        any_base: bool = False,
    ) -> None:
        """Loads an adapter that we or PEFT saved, and lets it speak. Anything wrong leaves the model as it was.

        trainable=True goes on training it. replace=True takes the place of an adapter of that name. any_base=True
        loads although the adapter was trained on another base.
        """
        adapter = adapter_files.read_adapter(folder)
        if adapter.fingerprint not in (None, self.fingerprint) and not any_base:
            raise ValueError(
                f"the adapter in {folder} was trained on another base model; load that base, or pass any_base=True "
                "if you know that this one is meant"
            )
        config = LoraConfig(**adapter.settings)
        files.check_fits(self.base_model, folder, config, adapter.tensors)
        if replace and name in self.adapters:
            self.remove_adapter(name)
        self.add_adapter(name, config)
        layers = self.lora_layers()
        for path, (a, b) in adapter.tensors.items():
            layers[path].lora_A[name].copy_(a).requires_grad_(trainable)
            layers[path].lora_B[name].copy_(b).requires_grad_(trainable)

    # -- checks ----------------------------------------------------------------------------------------------

    def _check_known(self, name: str) -> None:
        if name not in self.adapters:
            raise ValueError(f"no adapter '{name}'; there is: {', '.join(self.adapters) or 'none'}")

    def _check_strengths(self, strengths: dict[str, float]) -> None:
        for name, strength in strengths.items():
            self._check_known(name)
            if not math.isfinite(strength):
                raise ValueError(
                    f"the strength of '{name}' is {strength}; give a finite number, usually 0 to 1.5"
                )

    def _check_new_name(self, name: str) -> None:
        if name in self.adapters:
            raise ValueError(f"an adapter '{name}' exists already; remove it, or load with replace=True")
        files.check_name(self.base_model, name)

    def _check_free(self) -> None:
        """Nothing may be switched while the choice is fixed: in merged weights, or row by row."""
        if self.selection.mixed:
            raise ValueError(
                "inside rows(...) each row has its adapter already; leave the `with` block first"
            )
        if self.selection.merged:
            raise ValueError("the adapter is merged into the weights now; call unmerge() first")


def add_lora(model: nn.Module, config: LoraConfig, adapter_name: str = "default") -> LoraModel:
    """Freezes `model`, in place, and puts a fresh trainable adapter beside the layers that `config` names.

    >>> base = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
    >>> model = add_lora(base, LoraConfig(r=2, target_modules=["0"]))
    >>> model.trainable_parameter_count()  # 2 · (10 + 20) beside 325 frozen
    60 trainable of 385 (15.58%)
    """
    if isinstance(model, LoraModel) or any(isinstance(module, LoraLinear) for module in model.modules()):
        raise ValueError(
            "this model carries LoRA already: a second layer around the first would train the wrong thing. Use "
            "model.add_adapter(name, config) for one more adapter, model.unload() to take LoRA off, or a fresh base"
        )
    adapted = LoraModel(model)
    try:
        adapted.add_adapter(adapter_name, config)
    except Exception:
        adapted.unload()  # a refused configuration leaves the model as it came, trainable again
        raise
    return adapted
