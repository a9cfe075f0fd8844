"""minilora: LoRA, 4-bit quantization and adapter swapping on a tiny GPT, from scratch, to be read and run.

from minilora import GPT, LoraConfig, Trainer, add_lora

model = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules=["attention"]))

Importing this package loads nothing heavy: each name below is imported when it is first used.
"""

from typing import TYPE_CHECKING

from minilora._lazy import lazy_names

if TYPE_CHECKING:  # the same names once more, for editors and type checkers
    from minilora.gpt import GPT as GPT
    from minilora.gpt_config import GPTConfig as GPTConfig
    from minilora.lora import LoraConfig as LoraConfig
    from minilora.lora import LoraLinear as LoraLinear
    from minilora.lora import LoraModel as LoraModel
    from minilora.lora import add_lora as add_lora
    from minilora.quantization import Linear4bit as Linear4bit
    from minilora.quantization import quantize_4bit as quantize_4bit
    from minilora.quantization import quantize_model as quantize_model
    from minilora.training import History as History
    from minilora.training import TokenData as TokenData
    from minilora.training import Trainer as Trainer
    from minilora.training import TrainingDiverged as TrainingDiverged
    from minilora.training import encode_chat as encode_chat
    from minilora.training import encode_text as encode_text
    from minilora.training import evaluate as evaluate
    from minilora.training import load_jsonl as load_jsonl
    from minilora.training import load_text as load_text
    from minilora.training import style_corpus as style_corpus
    from minilora.training import support_chat as support_chat

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "gpt": ["GPT"],
        "gpt_config": ["GPTConfig"],
        "lora": ["LoraConfig", "LoraLinear", "LoraModel", "add_lora"],
        "quantization": ["Linear4bit", "quantize_4bit", "quantize_model"],
        "training": [
            "History", "TokenData", "Trainer", "TrainingDiverged", "encode_chat", "encode_text", "evaluate",
            "load_jsonl", "load_text", "style_corpus", "support_chat",
        ],
    },
)  # fmt: skip
