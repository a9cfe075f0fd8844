"""What other tools expect of a model, so that their trainers and checkpoints work on a `LoraModel` as on its base.

HF Trainer, accelerate and TRL look at the parameters of forward(), pickle models, and write checkpoints of a model's
whole state_dict with safetensors, which refuses two names for one tensor.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn


def refuse_to_save(*args: Any, **kwargs: Any) -> None:
    """Stands in for the `save_pretrained` of a base that has LoRA layers in it."""
    raise ValueError(
        "this base has LoRA layers in it, and save_pretrained would write them into a checkpoint that nothing opens. "
        "Call save_pretrained of the LoraModel for the adapters, or merge_and_unload() first for a plain model"
    )


@functools.cache
def class_for(cls: type, base: type) -> type:
    """A subclass of `cls` whose forward() has the parameters of `base`'s, and adapter_names.

    HF Trainer drops the columns of a data set that forward() does not name, and finds the labels by their names; it
    and accelerate look at the class or at the model.
    """

    def forward(self: Any, *args: Any, adapter_names: Sequence[str] | None = None, **kwargs: Any) -> Any:
        return cls.forward(self, *args, adapter_names=adapter_names, **kwargs)  # type: ignore[attr-defined]

    forward.__doc__ = cls.forward.__doc__  # type: ignore[attr-defined]
    own = inspect.signature(forward).parameters["adapter_names"]
    parameters = list(inspect.signature(base.forward).parameters.values())  # type: ignore[attr-defined]
    if own.name not in [parameter.name for parameter in parameters]:
        parameters.insert(len(parameters) - (parameters[-1].kind is own.VAR_KEYWORD), own)
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    name = f"{cls.__name__}[{base.__name__}]"  # HF Trainer reads "QuestionAnswering" in it
    return type(name, (cls,), {"forward": forward, "__module__": cls.__module__, "__doc__": cls.__doc__})


def unpickled(cls: type, base: type) -> Any:
    """An empty object of the class that `class_for` makes, to be filled by pickle."""
    made: Any = class_for(cls, base)
    return made.__new__(made)


def keep_each_weight_once(model: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """After `state_dict`: of tied weights, an embedding that is also the output layer, the first name stays."""
    for name, first in _shared(model).items():
        if prefix + name in state and prefix + first in state:
            del state[prefix + name]


def fill_in_shared_weights(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before `load_state_dict`: what `keep_each_weight_once` left out is the same tensor under its other name."""
    for name, first in _shared(model).items():
        if prefix + first in state:
            state.setdefault(prefix + name, state[prefix + first])


def _shared(model: nn.Module) -> dict[str, str]:
    """Further names of a parameter -> its first name."""
    first: dict[nn.Parameter, str] = {}
    everything = model.named_parameters(remove_duplicate=False)
    return {name: first[p] for name, p in everything if first.setdefault(p, name) != name}
