"""minilora: LoRA, 4-bit quantization and adapter swapping on a tiny GPT, from scratch, to be read and run.

from minilora import GPT, LoraConfig, Trainer, add_lora

model = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules=["attention"]))
"""

from minilora.datasets import (
    TokenData,
    encode_chat,
    encode_text,
    load_jsonl,
    load_text,
    style_corpus,
    support_chat,
)
from minilora.gpt import GPT, GPTConfig
from minilora.linear4bit import Linear4bit, quantize_model
from minilora.lora import LoraConfig, LoraLinear, LoraModel, add_lora
from minilora.quantization import quantize_4bit
from minilora.training import History, Trainer, TrainingDiverged, evaluate

__version__ = "0.1.0"

__all__ = [
    "GPT",
    "GPTConfig",
    "History",
    "Linear4bit",
    "LoraConfig",
    "LoraLinear",
    "LoraModel",
    "TokenData",
    "Trainer",
    "TrainingDiverged",
    "add_lora",
    "encode_chat",
    "encode_text",
    "evaluate",
    "load_jsonl",
    "load_text",
    "quantize_4bit",
    "quantize_model",
    "style_corpus",
    "support_chat",
]
