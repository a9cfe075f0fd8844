"""LoRA, file by file. Read it in this order:

layer.py        LoraLinear: the formula, y = W x + scaling · B (A x)
config.py       LoraConfig: which layers, which rank
model.py        add_lora and LoraModel: what an adapted model can do
switching.py    many adapters on one frozen base: add, switch, scale, delete
targets.py      which layers `target_modules` names
merging.py      W + B·A as one matrix, and back
combining.py    several adapters combined into one
mixed_batch.py  one batch, a different adapter for each row
files.py        saving, loading, and telling one base from another
"""

from minilora.lora.config import LoraConfig
from minilora.lora.files import base_fingerprint, some_values
from minilora.lora.layer import LoraLinear, layer_shape
from minilora.lora.model import LoraModel, add_lora
from minilora.lora.targets import ParameterCount, count_weights, find_targets

__all__ = [
    "LoraConfig",
    "LoraLinear",
    "LoraModel",
    "ParameterCount",
    "add_lora",
    "base_fingerprint",
    "count_weights",
    "find_targets",
    "layer_shape",
    "some_values",
]
