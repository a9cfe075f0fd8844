"""All that a page needs, in its one import line: `from minilora.lesson import *`.

The engine's names, `np` and `torch`, charts, tables and texts in one call each, the explorables, and what makes a page
a lesson: predict and reveal, check and hint, mine_or. docs/writing-pages.md shows them in use.
"""

from minilora.lesson.loading import say_if_slow

with say_if_slow("Loading PyTorch ..."):
    import torch

import numpy as np

from minilora import (
    GPT,
    GPTConfig,
    Linear4bit,
    LoraConfig,
    LoraModel,
    TokenData,
    Trainer,
    add_lora,
    encode_text,
    evaluate,
    load_text,
    quantize_4bit,
    quantize_model,
    style_corpus,
)
from minilora.exercises import check, hint, solution
from minilora.figures import charts
from minilora.lesson.directions import keep_strongest, random_like, share_held, weight_changes
from minilora.lesson.guessing import predict, reveal
from minilora.lesson.layers import changed_tensors, fingerprints, layer_flow, look_into
from minilora.lesson.other_tools import saved_tensors, scores_in_peft
from minilora.lesson.own_code import mine_or
from minilora.lesson.pictures import layer_and_additions, one_weight
from minilora.lesson.pirate import show_pirate, turn_pirate
from minilora.lesson.showing import show_table, show_text
from minilora.lesson.storage import embedded_sizes, saved_sizes
from minilora.lesson.timing import fastest, reading_times
from minilora.lesson.voices import layer_adapters, losses_by_adapter, model_change, speak_together
from minilora.lesson.watching import Snapshot, show_files, watch, write
from minilora.memory import gigabytes, measure_memory, plan_memory
from minilora.memory.catalog import DEVICES, MODELS
from minilora.training.datasets import STYLES
from minilora.widgets import (
    adapter_switcher,
    lora_anatomy,
    memory_explorer,
    method_chooser,
    parameter_explorer,
    pattern_builder,
    quantization_explorer,
    rank_explorer,
    training_dashboard,
)
from minilora.widgets.adapters import base_digest

__all__ = [
    "DEVICES",
    "GPT",
    "MODELS",
    "STYLES",
    "GPTConfig",
    "Linear4bit",
    "LoraConfig",
    "LoraModel",
    "Snapshot",
    "TokenData",
    "Trainer",
    "adapter_switcher",
    "add_lora",
    "base_digest",
    "changed_tensors",
    "charts",
    "check",
    "embedded_sizes",
    "encode_text",
    "evaluate",
    "fastest",
    "fingerprints",
    "gigabytes",
    "hint",
    "keep_strongest",
    "layer_adapters",
    "layer_and_additions",
    "layer_flow",
    "load_text",
    "look_into",
    "lora_anatomy",
    "losses_by_adapter",
    "measure_memory",
    "memory_explorer",
    "method_chooser",
    "mine_or",
    "model_change",
    "np",
    "one_weight",
    "parameter_explorer",
    "pattern_builder",
    "plan_memory",
    "predict",
    "quantization_explorer",
    "quantize_4bit",
    "quantize_model",
    "random_like",
    "rank_explorer",
    "reading_times",
    "reveal",
    "saved_sizes",
    "saved_tensors",
    "scores_in_peft",
    "share_held",
    "show_files",
    "show_pirate",
    "show_table",
    "show_text",
    "solution",
    "speak_together",
    "style_corpus",
    "torch",
    "training_dashboard",
    "turn_pirate",
    "watch",
    "weight_changes",
    "write",
]
