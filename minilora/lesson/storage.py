"""What an adapter and a whole model take on disk.

Not here: what they take in memory (minilora/memory).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from minilora.files import ASSETS
from minilora.gpt import GPT
from minilora.lora import LoraModel


def saved_sizes(adapted: LoraModel, full: GPT) -> dict[str, int]:
    """Saves an adapter and a whole model, and returns the bytes of their weights: {"lora": ..., "full": ...}."""
    with tempfile.TemporaryDirectory() as folder:
        adapted.save_adapter(Path(folder) / "lora")
        full.save_pretrained(Path(folder) / "full")
        return {
            name: sum(file.stat().st_size for file in (Path(folder) / name).glob("*.safetensors"))
            for name in ("lora", "full")
        }


def embedded_sizes() -> tuple[int, dict[str, int]]:
    """The bytes of the weights that come with this package: of tiny-gpt, and of each adapter by name."""
    folders = {path.parent.name: path.stat().st_size for path in ASSETS.glob("adapters/*/*.safetensors")}
    return (ASSETS / "tiny-gpt" / "model.safetensors").stat().st_size, folders
