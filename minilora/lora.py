"""LoRA: a frozen linear layer W beside a small trained correction B·A (Hu et al., arXiv 2106.09685).

    y = W x  +  scaling · B (A x)          A is (r, in), B is (out, r), scaling = lora_alpha / r

`add_lora` freezes a model and puts such a correction beside the layers that a `LoraConfig` names. Many adapters may
live on one base: which of them speak is one small value that all layers share, so a switch costs microseconds. The
base's own tensors are never written to, not even by `merge`.

Not here: the other methods of the family (DoRA, biases, prompts), adapters on embeddings or convolutions, a
different rank for each layer.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import hashlib
import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minilora.files import adapter_files
from minilora.memory.catalog import named_layers
from minilora.quantization import quantize_4bit
from minilora.quantization.linear4bit import Linear4bit, output_layers


@dataclasses.dataclass
class LoraConfig:
    """What to adapt and how strongly; names, defaults and meanings are PEFT's.

    r: rank, the width of the bottleneck. lora_alpha: the correction is multiplied by lora_alpha / r, or by
    lora_alpha / sqrt(r) with `use_rslora` (arXiv 2312.03732). target_modules: names of linear layers ("q_proj"), one
    of the words "attention", "mlp", "all-linear", or None for q_proj and v_proj. lora_dropout: share of the
    correction's inputs that training drops at random.

    >>> LoraConfig(r=16, lora_alpha=32).scaling
    2.0
    """

    r: int = 8
    lora_alpha: float = 8
    target_modules: str | Sequence[str] | None = None
    lora_dropout: float = 0.0
    use_rslora: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.r, int) or self.r < 1:
            raise ValueError(f"r is {self.r!r}; it is a whole number from 1 on (0 leaves nothing to train)")
        if not self.lora_alpha > 0:
            raise ValueError(f"lora_alpha is {self.lora_alpha!r}; it must be above zero, or has no effect")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout is {self.lora_dropout!r}; it is a share from 0 up to, but not, 1")

    @property
    def scaling(self) -> float:
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)


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


@dataclasses.dataclass
class Selection:
    """Which adapters speak: one object that all layers of a model share, so that switching is one assignment."""

    strengths: dict[str, float] = dataclasses.field(default_factory=dict)  # adapter name -> factor, usually 1
    mixed: bool = False  # inside rows(...): each row of a batch has its own
    merged: bool = False


class LoraLinear(nn.Module):
    """A frozen linear layer and its corrections, by adapter name.

    `base_layer` is an `nn.Linear`, a `Linear4bit`, or `transformers`' Conv1D, whose weight lies transposed.
    `lora_A[name]` is (r, in), random; `lora_B[name]` is (out, r), zero: a fresh adapter changes nothing.
    """

    def __init__(self, base_layer: nn.Module, selection: Selection):
        super().__init__()
        self.base_layer: Any = base_layer
        self.selection = selection
        self.lora_A, self.lora_B = nn.ParameterDict(), nn.ParameterDict()
        self.configs: dict[str, LoraConfig] = {}
        self.stacked: tuple[Tensor, Tensor, Tensor] | None = None  # set while a batch mixes adapters
        self.merged_weight: Tensor | None = None  # (out, in); set while merged

    def add_adapter(self, name: str, config: LoraConfig) -> None:
        in_features, out_features = layer_shape(self.base_layer)
        device = self.base_layer.weight.device
        a = torch.empty(config.r, in_features, device=device)  # fp32, also beside a bf16 or 4-bit base
        nn.init.kaiming_uniform_(a, a=math.sqrt(5))
        self.lora_A[name] = nn.Parameter(a)
        self.lora_B[name] = nn.Parameter(torch.zeros(out_features, config.r, device=device))
        self.configs[name] = config

    def remove_adapter(self, name: str) -> None:
        if name in self.configs:
            del self.lora_A[name], self.lora_B[name], self.configs[name]

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        if self.merged_weight is not None:
            return F.linear(x, self.merged_weight, self.base_layer.bias)
        out = self.base_layer(x)
        if self.stacked is not None:
            return self._add_row_corrections(out, x, *self.stacked)
        for name, strength in self.selection.strengths.items():
            if name in self.configs:
                out = self._add_correction(out, x, name, strength)
        return out

    def _add_correction(self, out: Tensor, x: Tensor, name: str, strength: float) -> Tensor:
        config = self.configs[name]
        a, b = self.lora_A[name], self.lora_B[name]
        x = x.to(a.dtype)
        if config.lora_dropout:
            x = F.dropout(x, config.lora_dropout, self.training)
        low = F.linear(x, a)  # (..., in) -> (..., r)
        return (out + F.linear(low, b) * (config.scaling * strength)).to(out.dtype)  # (..., r) -> (..., out)

    def factors(self, strengths: dict[str, float]) -> list[tuple[Tensor, Tensor, float]]:
        """A, B and strength · scaling of each named adapter that this layer has."""
        return [
            (self.lora_A[name], self.lora_B[name], self.configs[name].scaling * strength)
            for name, strength in strengths.items()
            if name in self.configs
        ]

    def joined(self, strengths: dict[str, float]) -> tuple[Tensor, Tensor]:
        """A (width, in) and B (out, width) whose product is the sum of the corrections; width sums their ranks."""
        factors = self.factors(strengths)
        no_a, no_b = next(iter(self.lora_A.values()))[:0], next(iter(self.lora_B.values()))[:, :0]  # width 0
        a = torch.cat([no_a, *(a for a, _, _ in factors)])
        b = torch.cat([no_b, *(b * factor for _, b, factor in factors)], dim=1)
        return a, b

    def delta_weight(self, strengths: dict[str, float]) -> Tensor:
        """The correction as one full matrix (out, in): the sum of strength · scaling · B A over the named adapters."""
        in_features, out_features = layer_shape(self.base_layer)
        delta = next(iter(self.lora_A.values())).new_zeros(out_features, in_features)
        for a, b, factor in self.factors(strengths):
            delta += b @ a * factor
        return delta

    @torch.no_grad()
    def merged(self) -> Tensor:
        """W + correction (out, in) in the type that the base computes in; the base itself stays as it is."""
        base = self.base_layer.dequantize() if isinstance(self.base_layer, Linear4bit) else self.base_layer
        weight = base.weight.T if is_transposed(base) else base.weight
        return (weight + self.delta_weight(self.selection.strengths)).to(weight.dtype)

    @torch.no_grad()
    def rounding_of_merged(self) -> float:
        """‖what 4 bits would make of W + correction, less that‖ / ‖correction‖; infinite for a correction of zero."""
        packed, merged = self.base_layer.quantized, self.merged()
        again = quantize_4bit(merged, packed.quant_type, packed.block_size).dequantize()
        return float((again - merged).norm() / self.delta_weight(self.selection.strengths).norm())

    @torch.no_grad()
    def stack(self, names: Sequence[str], rows: Tensor) -> None:
        """Prepares a mixed batch in which row i uses names[rows[i] - 1], or none where rows[i] is 0.

        All A lie under each other (width, in), all scaled B side by side (out, width), where width is the sum of the
        ranks; the mask (batch, width) keeps of each row only the ranks of its own adapter.
        """
        a, b = self.joined(dict.fromkeys(names, 1.0))
        owners = [
            i for i, n in enumerate(names, start=1) if n in self.configs for _ in range(self.configs[n].r)
        ]
        mask = rows[:, None] == torch.tensor(owners)
        self.stacked = (a, b, mask.to(a))

    def _add_row_corrections(self, out: Tensor, x: Tensor, a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
        """x (batch, ..., in) -> (batch, ..., out); a, b and mask as `stack` made them."""
        if len(mask) != len(x):
            raise ValueError(
                f"the batch has {len(x)} rows but rows(...) named {len(mask)}; name one for each row"
            )
        low = F.linear(x.to(a.dtype), a)  # (batch, ..., width): every adapter for every row, in one product
        low = low * mask.view(len(x), *[1] * (x.dim() - 2), -1)
        return (out + F.linear(low, b)).to(out.dtype)


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
        return base_fingerprint(self.base_model)

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
        for path in self._targets(config):  # all checks before the first change
            layer = self.base_model.get_submodule(path)
            if not isinstance(layer, LoraLinear):
                layer = LoraLinear(layer, self.selection)
                layer.training = self.training
                self.base_model.set_submodule(path, layer)
            layer.add_adapter(name, config)
        self.adapters[name] = config
        self.set_adapter(name)

    def _targets(self, config: LoraConfig) -> list[str]:
        """The paths of the layers to adapt, none of which is smaller than the rank."""
        paths = find_targets(self.base_model, config.target_modules)
        for path in paths:
            shape = layer_shape(self.base_model.get_submodule(path))
            if config.r > min(shape):
                raise ValueError(
                    f"r={config.r} is larger than layer {path} ({shape[0]} in, {shape[1]} out): "
                    f"no matrix of that shape has a rank above {min(shape)}; choose r ≤ {min(shape)}"
                )
        return paths

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
            layer.stack(distinct, place)
        try:
            yield
        finally:
            self.selection.mixed = False
            for layer in layers:
                layer.stacked = None

    @torch.no_grad()
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
        width = sum(self.adapters[part].r for part in strengths)
        rank = width if r is None else r
        if not 1 <= rank <= width:
            raise ValueError(
                f"r={r} for a blend of total rank {width}; choose 1 to {width}, or None for the exact join"
            )
        layers = {path: layer for path, layer in self.lora_layers().items() if layer.factors(strengths)}
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(layers))
        self._targets(config)  # a join that is wider than a layer could be saved, but not loaded
        lost = total = 0.0
        for layer in layers.values():
            a, b = layer.joined(strengths)
            missing = width - len(a)  # zero rows for parts that this layer lacks
            a, b = F.pad(a, (0, 0, 0, missing)), F.pad(b, (0, missing))
            if r is not None:
                a, b, layer_lost, layer_total = _truncate(a, b, rank)
                lost, total = lost + layer_lost, total + layer_total
            layer.add_adapter(name, config)
            layer.lora_A[name].copy_(a)
            layer.lora_B[name].copy_(b)
        self.adapters[name] = config
        return math.sqrt(lost / total) if total else 0.0

    # -- merge -----------------------------------------------------------------------------------------------

    def merge(self, dequantize: bool = False) -> None:
        """Computes W + correction once for every layer, so that inference pays nothing for the adapter.

        The base's tensors stay beside the merged ones, so `unmerge` is exact. On a 4-bit base the merged weights do
        not fit back into 4 bits without harm, so `dequantize=True` must say that they are kept in full precision.
        """
        self._check_free()
        layers = self.lora_layers()
        quantized = [path for path, layer in layers.items() if isinstance(layer.base_layer, Linear4bit)]
        if quantized and not dequantize:
            path = quantized[0]
            raise ValueError(
                f"{len(quantized)} adapted layers are stored in 4 bits. In {path}, for one, rounding W + B·A back to 4 "
                f"bits would move the weights {layers[path].rounding_of_merged():.1f} times as far as B·A does, and a "
                "small adapter would drown in that. Keep the adapter separate, or call merge(dequantize=True) to keep "
                "the merged weights unquantized"
            )
        for layer in self.lora_layers().values():
            layer.merged_weight = layer.merged()
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
            self.base_model.set_submodule(path, _plain_merged_layer(layer) if merged else layer.base_layer)
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
        config = self.adapters[name]
        layers = {path: layer for path, layer in self.lora_layers().items() if name in layer.configs}
        settings = dataclasses.asdict(config) | {
            "target_modules": shortest_names(self.base_model, list(layers)),
            "fan_in_fan_out": any(is_transposed(layer.base_layer) for layer in layers.values()),
        }
        tensors = {path: (layer.lora_A[name], layer.lora_B[name]) for path, layer in layers.items()}
        adapter_files.write_adapter(folder, settings, tensors, self.fingerprint)

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
        self._check_fits(folder, config, adapter.tensors)
        if replace and name in self.adapters:
            self.remove_adapter(name)
        self.add_adapter(name, config)
        layers = self.lora_layers()
        for path, (a, b) in adapter.tensors.items():
            layers[path].lora_A[name].copy_(a).requires_grad_(trainable)
            layers[path].lora_B[name].copy_(b).requires_grad_(trainable)

    def _check_fits(self, folder: Any, config: LoraConfig, tensors: dict[str, tuple[Tensor, Tensor]]) -> None:
        try:
            wanted = self._targets(config)
        except ValueError as error:
            raise ValueError(f"the adapter in {folder} does not fit this base: {error}") from None
        problems, r = [], config.r
        for path in dict.fromkeys([*wanted, *tensors]):
            if path not in tensors:
                problems.append(f"{path}: named by target_modules, but the file has no matrices for it")
            elif path not in wanted:
                problems.append(f"{path}: in the file, but no target of this model")
            else:
                in_features, out_features = layer_shape(self.base_model.get_submodule(path))
                expected = ((r, in_features), (out_features, r))
                given = tuple(tuple(matrix.shape) for matrix in tensors[path])
                if given != expected:
                    problems.append(f"{path}: A and B are {given}, this base with r={r} needs {expected}")
        if problems:
            some = "; ".join(problems[:4]) + (f" (and {len(problems) - 4} more)" if len(problems) > 4 else "")
            raise ValueError(f"the adapter in {folder} does not fit this base: {some}")

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
        taken = {part for path, _ in self.base_model.named_modules() for part in path.split(".")}
        taken |= {"lora_A", "lora_B", "base_layer"}
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in taken or hasattr(nn.ParameterDict, name):
            raise ValueError(
                f"'{name}' cannot name an adapter: use letters, digits, _ and -, and no name of a part of the model "
                "(other tools lose tensors under such names)"
            )

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


# -- details: layers and their names -------------------------------------------------------------------------


def is_transposed(layer: nn.Module) -> bool:
    """True for `transformers`' Conv1D (GPT-2), a linear layer whose weight lies (in, out)."""
    return type(layer).__name__ == "Conv1D"


def layer_shape(layer: Any) -> tuple[int, int]:
    """(in_features, out_features) of an adaptable layer."""
    if isinstance(layer, LoraLinear):
        return layer_shape(layer.base_layer)
    if is_transposed(layer):
        return tuple(layer.weight.shape)
    return layer.in_features, layer.out_features


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every layer that LoRA can adapt, by path; what sits inside a LoraLinear counts as that LoraLinear."""
    return {
        path: module
        for path, module in model.named_modules()
        if (isinstance(module, nn.Linear | Linear4bit | LoraLinear) or is_transposed(module))
        and not path.endswith("base_layer")
    }


def find_targets(model: nn.Module, target_modules: str | Sequence[str] | None) -> list[str]:
    """The paths of the layers that `target_modules` names (see `catalog.named_layers`); never a shared output layer."""
    output = output_layers(model)
    found = named_layers(target_modules, list(linear_layers(model)), output)
    for path in found:
        if output.get(path):
            raise ValueError(
                f"{path} shares its weight with the token embedding: a correction there would change what tokens "
                "mean when it is merged. Leave it out of target_modules"
            )
    return found


def shortest_names(model: nn.Module, paths: list[str]) -> list[str]:
    """Names for PEFT that pick exactly these paths: last parts where these suffice, else whole paths."""
    names = sorted({path.split(".")[-1] for path in paths})
    return names if set(find_targets(model, names)) == set(paths) else sorted(paths)


def count_weights(model: nn.Module) -> int:
    """All weights of a model, each shared tensor once, and those of a 4-bit layer as the numbers they stand for."""
    packed = sum(m.in_features * m.out_features for m in model.modules() if isinstance(m, Linear4bit))
    return packed + sum(p.numel() for p in model.parameters())


def some_values(tensor: Tensor) -> Tensor:
    """1,024 values of a tensor at even distances, or all if it has fewer; enough to tell it from another."""
    flat = tensor.detach().flatten()
    return flat[:: max(1, flat.numel() // 1024)][:1024].cpu().contiguous()


def base_fingerprint(model: nn.Module) -> str:
    """A short digest that tells one base from another, and is the same for its bf16 and its 4-bit copy.

    It covers the names and shapes of all layers, and 1,024 values of each tensor that quantization leaves alone
    (embeddings, norms, biases), rounded to bf16. Adapters do not count, so a base that one was merged into, whose
    linear layers alone have changed, passes for the base that it was.
    """
    digest = hashlib.sha256()
    layers = linear_layers(model)
    for path, layer in layers.items():
        digest.update(f"{path} {layer_shape(layer)}".encode())
    for full_name, value in model.named_parameters():
        name = full_name.replace(".base_layer.", ".")
        if ".lora_" not in name and name.removesuffix(".weight") not in layers:
            some = some_values(value).to(torch.bfloat16)
            digest.update(f"{name} {tuple(value.shape)}".encode() + some.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:32]


# -- details: blends and merged layers -----------------------------------------------------------------------


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


def _plain_merged_layer(layer: LoraLinear) -> nn.Module:
    base = layer.base_layer.dequantize() if isinstance(layer.base_layer, Linear4bit) else layer.base_layer
    plain = copy.copy(base)
    plain._parameters = dict(base._parameters)  # the copy shares this table with the untouched base layer
    weight: Any = layer.merged_weight
    plain.weight = nn.Parameter(weight.T.contiguous() if is_transposed(base) else weight, requires_grad=False)
    return plain
