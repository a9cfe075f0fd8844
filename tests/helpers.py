"""What several tests build: small models with weights large enough that every part matters."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from minilora.gpt import GPT, GPTConfig
from minilora.training.datasets import IGNORE, TokenData


def jupyter_apart(folder: Path) -> dict[str, str]:
    """The environment, with all that Jupyter, IPython and Matplotlib keep in `folder`, and this Python first."""
    kept = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | dict.fromkeys(kept, str(folder)) | {"PATH": path}


class Absent:
    """Stands for a library that is not installed: what uses it is skipped, and the other tests of a file run."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # asked by those who look for doctests
            raise AttributeError(attribute)
        pytest.skip(f"{self._name} is not installed")


def peer(name: str) -> Any:
    """A library that the engine is compared with. The oldest PyTorch is tested without: they ask for a newer one."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return Absent(name)


def small_gpt(seed: int = 0, **changes) -> GPT:
    """A GPT of a few thousand weights; its attention and its output are far from uniform."""
    torch.manual_seed(seed)
    shape = {
        "vocab_size": 100,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    model = GPT(GPTConfig(**shape | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2) if parameter.ndim > 1 else parameter.uniform_(0.5, 1.5)
    return model.eval()


def randomize_adapter(model, name: str = "default", seed: int = 0, scale: float = 0.3) -> None:
    """Fills A and B with noise, as if trained: with B at zero an adapter could hide any mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.lora_layers().values():
            if name in layer.configs:
                layer.lora_A[name].normal_(std=scale, generator=generator)
                layer.lora_B[name].normal_(std=scale, generator=generator)


def counting_rows(rows: int = 20, length: int = 12, seed: int = 0) -> TokenData:
    """A task that can be learned: each token is its row's step size after the one before; row ends are masked."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(0, 50, (rows, 1), generator=generator)
    ids = (start + torch.arange(length + 1) * torch.randint(1, 4, (rows, 1), generator=generator)) % 100
    targets = ids[:, 1:].clone()
    targets[::3, -4:] = IGNORE
    return TokenData(ids[:, :-1].clone(), targets)
