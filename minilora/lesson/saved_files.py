"""What is in an adapter's file, and the same adapter in the PEFT library.

Not here: the files themselves (minilora/files/adapter_files.py).
"""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from minilora.gpt import GPT


def saved_tensors(folder: str | os.PathLike[str]) -> dict[str, int]:
    """The tensors in an adapter's file: name -> how many numbers it holds."""
    with safe_open(Path(folder) / "adapter_model.safetensors", framework="pt") as file:
        names = file.keys()
        return {name: file.get_tensor(name).numel() for name in names}


def scores_in_peft(folder: str | os.PathLike[str], input_ids: torch.Tensor) -> torch.Tensor | None:
    """Computes the scores of tiny-gpt and an adapter with `transformers` and `peft`.

    Args:
        folder: Folder of the adapter.
        input_ids: (rows, tokens).

    Returns:
        The scores (rows, tokens, vocabulary); None, and a line that says so, if the libraries are not installed.
    """
    print("Loading PEFT; this takes a few seconds ...")
    try:
        import transformers
        from peft import PeftModel
    except ImportError as error:
        print(f"Skipped: {error.name} is not installed here (pip install peft transformers).")
        return None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as base, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the libraries say about their own plans
        GPT.from_pretrained("tiny-gpt").save_pretrained(base)
        theirs: Any = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        theirs = PeftModel.from_pretrained(theirs, folder)
        with torch.no_grad():
            return theirs(input_ids).logits
