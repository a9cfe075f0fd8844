"""`add_lora` and the `LoraModel` that it returns: adapters that can be switched, combined, merged and saved.

Methods that PEFT has too are named as there, take the same arguments and do the same; arguments that PEFT lacks can
only be passed by keyword (docs/peft.md). No method ever writes to the base's own tensors, not even `merge_adapter`.

Not here: the formula (layer.py), adding and switching (switching.py), and the details of the longer operations
(combining.py, merging.py, files.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from minilora.files import adapter_files
from minilora.lora import combining, files, merging
from minilora.lora.config import LoraConfig
from minilora.lora.layer import LoraLinear
from minilora.lora.switching import AdaptedModel
from minilora.quantization.linear4bit import Linear4bit


def add_lora(model: nn.Module, peft_config: LoraConfig, adapter_name: str = "default") -> LoraModel:
    """Freezes `model`, in place, and puts a new trainable adapter beside the layers that the config names.

    Args:
        model: Any module with linear layers: our GPT, a `transformers` model, an `nn.Sequential`.
        peft_config: Which layers, and at which rank.
        adapter_name: Letters, digits, _ and -.

    Returns:
        The model with the adapter, active; its outputs are unchanged until the adapter is trained.

    Raises:
        ValueError: The model has LoRA layers already, or the config does not fit it. The model is left as it was.

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
        adapted.add_adapter(adapter_name, peft_config)
    except Exception:
        adapted.unload()  # a refused config leaves the model as it came, trainable again
        raise
    return adapted


class LoraModel(AdaptedModel):
    """A frozen model with adapters that can be combined, merged, saved and loaded."""

    # -- combine ---------------------------------------------------------------------------------------------

    def add_weighted_adapter(
        self,
        adapters: Sequence[str],
        weights: Sequence[float],
        adapter_name: str,
        combination_type: str = "svd",
        svd_rank: int | None = None,
    ) -> float:
        """Makes the weighted sum of several adapters into one new adapter, which can be saved.

        Args:
            adapters: Adapters of this model.
            weights: One factor for each.
            adapter_name: Name of the new adapter, which does not become active.
            combination_type: "cat" concatenates the matrices, A under A and B beside B: exact, and the rank is the sum
                of the ranks. "svd" keeps the strongest directions of the sum in each layer (truncated singular value
                decomposition, the best approximation of that rank).
            svd_rank: Rank for "svd", by default the largest rank among `adapters`.

        Returns:
            The relative error, ‖lost‖ / ‖sum‖ over all layers in the Frobenius norm: 0 for "cat".

        Raises:
            ValueError: A name, weight, type or rank is impossible; nothing was added.
        """
        self._check_new_name(adapter_name)
        self._check_free()
        checked = self._checked_weights(adapters, weights)
        if not checked:
            raise ValueError("adapters is empty; give at least one adapter and its weight")
        config, error = combining.add_combination(
            self.lora_layers(), checked, adapter_name, combination_type, svd_rank
        )
        self.peft_config[adapter_name] = config
        self._set_trainable({adapter_name}, False)
        return error

    # -- merge -----------------------------------------------------------------------------------------------

    def merge_adapter(self, *, dequantize: bool = False) -> None:
        """Computes W + update once for every layer, so that inference is as fast as without an adapter.

        The base's tensors stay beside the merged ones, so `unmerge_adapter` is exact.

        Args:
            dequantize: Allow a 4-bit base. Its merged weights do not fit back into 4 bits without harm, so they are
                kept in full precision.

        Raises:
            ValueError: The base is stored in 4 bits and `dequantize` is not set, or the model is merged already.
        """
        self._check_free()
        merging.merge_layers(self.lora_layers(), dequantize)
        self.active.merged = True

    def unmerge_adapter(self) -> None:
        """Back to base and separate adapters. The base never changed, so there is nothing to subtract."""
        for layer in self.lora_layers().values():
            layer.merged_weight = None
        self.active.merged = False

    def unload(self) -> nn.Module:
        """Removes the LoRA layers and returns the base model as it was before, trainable again."""
        return self._replace_layers(lambda layer: layer.base_layer)

    def merge_and_unload(self, *, dequantize: bool = False) -> nn.Module:
        """Removes the LoRA layers and returns the base model with merged weights; `dequantize` as in merge_adapter."""
        if not self.active.merged:
            self.merge_adapter(dequantize=dequantize)
        return self._replace_layers(merging.plain_layer)

    def _replace_layers(self, replacement: Callable[[LoraLinear], nn.Module]) -> nn.Module:
        for path, layer in self.lora_layers().items():
            self.base.set_submodule(path, replacement(layer))
        if not any(isinstance(module, Linear4bit) for module in self.base.modules()):
            vars(self.base).pop("save_pretrained", None)  # a plain model can be saved again
        for name, parameter in self.base.named_parameters():
            parameter.requires_grad_(name in self.was_trainable)
        return self.base

    # -- files -----------------------------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str:
        """Tells this base from another; computed from the weights as they are now."""
        return files.base_fingerprint(self.base)

    def save_adapter(self, folder: str | os.PathLike, adapter_name: str | None = None) -> None:
        """Writes one adapter alone, in PEFT's format; `peft.PeftModel.from_pretrained(base, folder)` loads it.

        llama.cpp's converter takes the folder too, but it ignores use_rslora: for llama.cpp, train with lora_alpha / r.

        Args:
            folder: Where to write adapter_config.json and adapter_model.safetensors.
            adapter_name: By default the active adapter, if there is exactly one.

        Raises:
            ValueError: No such adapter, or weights of the base are trainable too, which the file could not hold.
        """
        self._check_base_is_frozen()
        if adapter_name is None:
            if len(self.active.scales) != 1:
                raise ValueError(
                    f"{len(self.active.scales)} adapters are active; say which to save: save_adapter(folder, name)"
                )
            [adapter_name] = self.active.scales
        self._check_known(adapter_name)
        config = self.peft_config[adapter_name]
        files.write_adapter(folder, self.base, self.lora_layers(), adapter_name, config)

    def save_pretrained(
        self, save_directory: str | os.PathLike, *, selected_adapters: Sequence[str] | None = None
    ) -> None:
        """Writes the adapters, not the base: "default" into the folder itself, any other into a subfolder of its name.

        Args:
            save_directory: The folder.
            selected_adapters: By default all adapters.
        """
        names = list(self.peft_config) if selected_adapters is None else selected_adapters
        for name in names:
            self._check_known(name)
        for name in names:
            self.save_adapter(Path(save_directory) if name == "default" else Path(save_directory, name), name)

    @torch.no_grad()
    def load_adapter(
        self,
        model_id: str | os.PathLike,
        adapter_name: str,
        is_trainable: bool = False,
        *,
        replace: bool = False,
        any_base: bool = False,
    ) -> None:
        """Adds an adapter that we or PEFT saved. As with `add_adapter`, only the first of a model becomes active.

        Args:
            model_id: The adapter's folder, or the name of an adapter that comes with the package.
            adapter_name: Its name in this model.
            is_trainable: Continue to train it; otherwise it is frozen, and the model is set to evaluation mode.
            replace: Replace an adapter of that name.
            any_base: Load it even if it was trained on another base.

        Raises:
            FileNotFoundError, ValueError: The files are missing or wrong, or do not fit; the model is as it was.
        """
        adapter = adapter_files.read_adapter(model_id)
        if not any_base and not files.same_base(adapter.fingerprint, self.base):
            raise ValueError(
                f"the adapter in {model_id} was trained on another base model; load that base, or pass any_base=True "
                "if you know that this is the right one"
            )
        config = LoraConfig(**adapter.settings)
        files.check_fits(self.base, model_id, config, adapter.tensors)
        before = self.active.scales
        if replace and adapter_name in self.peft_config:
            self._check_free()
            self._remove(adapter_name)
        self.add_adapter(adapter_name, config)
        if not is_trainable:
            self.frozen.add(adapter_name)
            self._set_trainable({adapter_name}, False)
            self.eval()
        if adapter_name in before:  # a replaced adapter stays active
            self._activate(before)
        layers = self.lora_layers()
        for path, (a, b) in adapter.tensors.items():
            layers[path].lora_A[adapter_name].copy_(a)
            layers[path].lora_B[adapter_name].copy_(b)

    @classmethod
    def from_pretrained(
        cls,
        model: nn.Module,
        model_id: str | os.PathLike,
        adapter_name: str = "default",
        is_trainable: bool = False,
        *,
        any_base: bool = False,
    ) -> LoraModel:
        """A base model with a saved adapter, active: `LoraModel(model)`, then `load_adapter` with these arguments."""
        adapted = cls(model)
        try:
            adapted.load_adapter(model_id, adapter_name, is_trainable, any_base=any_base)
        except Exception:
            adapted.unload()
            raise
        return adapted
