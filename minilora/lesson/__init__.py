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
from minilora.explorables.methods import advise
from minilora.explorables.three_tasks import three_tasks
from minilora.lesson import charts
from minilora.lesson.directions import keep_strongest, random_like, share_held, weight_changes
from minilora.lesson.guessing import predict, reveal
from minilora.lesson.layers import changed_tensors, fingerprints, layer_flow, look_into
from minilora.lesson.own_code import mine_or
from minilora.lesson.pictures import layer_and_additions, learned_by_rank, one_weight
from minilora.lesson.pirate import show_pirate, turn_pirate
from minilora.lesson.planning import gpu_ladder, show_recorded, with_and_without_checkpointing
from minilora.lesson.quantizing import (
    compare_schemes,
    errors_of_others,
    heavy_parts,
    level_shares,
    levels_and_weights,
    levels_for_half,
    number_in_bits,
    show_bytes,
    three_versions,
)
from minilora.lesson.saved_files import saved_tensors, scores_in_peft
from minilora.lesson.showing import show_table, show_text
from minilora.lesson.storage import embedded_sizes, saved_sizes
from minilora.lesson.stories import held_out_story
from minilora.lesson.timing import fastest, reading_times
from minilora.lesson.voices import layer_adapters, losses_by_adapter, model_change, write_together
from minilora.lesson.walls import learn_change, memorize_pairs
from minilora.lesson.watching import Snapshot, show_files, watch, write
from minilora.memory import gigabytes, measure_memory, plan_memory
from minilora.memory.catalog import DEVICES, MODELS
from minilora.memory.recorded import RECORDED
from minilora.reference.quantization import NF4
from minilora.training.corpora import STYLES
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
    "NF4",
    "RECORDED",
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
    "advise",
    "base_digest",
    "changed_tensors",
    "charts",
    "check",
    "compare_schemes",
    "embedded_sizes",
    "encode_text",
    "errors_of_others",
    "evaluate",
    "fastest",
    "fingerprints",
    "gigabytes",
    "gpu_ladder",
    "heavy_parts",
    "held_out_story",
    "hint",
    "keep_strongest",
    "layer_adapters",
    "layer_and_additions",
    "layer_flow",
    "learn_change",
    "learned_by_rank",
    "level_shares",
    "levels_and_weights",
    "levels_for_half",
    "load_text",
    "look_into",
    "lora_anatomy",
    "losses_by_adapter",
    "measure_memory",
    "memorize_pairs",
    "memory_explorer",
    "method_chooser",
    "mine_or",
    "model_change",
    "np",
    "number_in_bits",
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
    "show_bytes",
    "show_files",
    "show_pirate",
    "show_recorded",
    "show_table",
    "show_text",
    "solution",
    "style_corpus",
    "three_tasks",
    "three_versions",
    "torch",
    "training_dashboard",
    "turn_pirate",
    "watch",
    "weight_changes",
    "with_and_without_checkpointing",
    "write",
    "write_together",
]
