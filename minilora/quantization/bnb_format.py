"""bitsandbytes' layout of a packed 4-bit weight in a state_dict: `to_state` writes it, `from_state` checks and reads.

Not here: bitsandbytes' 8-bit layouts. The "int4" code is ours alone, in the same layout.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from minilora.quantization.blockwise import Quantized4bit
from minilora.quantization.codes import CODES, NESTED_BLOCK_SIZE
from minilora.quantization.tables import dynamic_map

SETTINGS = "weight.quant_state.bitsandbytes__"  # + the code's name; the entry is JSON, as UTF-8 bytes
ENTRIES = {"weight": "packed", "weight.absmax": "absmax", "weight.nested_absmax": "nested_absmax"}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def to_state(quantized: Quantized4bit) -> dict[str, Tensor]:
    """Returns the entries that bitsandbytes writes for a weight, by name."""
    tensors, device = quantized.tensors(), quantized.packed.device
    state = {entry: tensors[name] for entry, name in ENTRIES.items() if name in tensors}
    state["weight.quant_map"] = torch.tensor(CODES[quantized.quant_type], device=device)
    settings: dict[str, Any] = {
        "quant_type": quantized.quant_type,
        "blocksize": quantized.block_size,
        "dtype": str(quantized.dtype).removeprefix("torch."),
        "shape": list(quantized.shape),
    }
    if quantized.nested_offset is not None:
        state["weight.nested_quant_map"] = dynamic_map(device).clone()  # safetensors refuses shared tensors
        settings |= {"nested_blocksize": NESTED_BLOCK_SIZE, "nested_dtype": "float32"}
        settings["nested_offset"] = quantized.nested_offset.item()
    text = json.dumps(settings).encode()
    state[SETTINGS + quantized.quant_type] = torch.tensor(list(text), dtype=torch.uint8)
    return state


def from_state(state: dict[str, Tensor], shape: tuple[int, int], device: torch.device) -> Quantized4bit:
    """Copies what `to_state` or bitsandbytes wrote for a weight.

    Args:
        state: The entries, by name.
        shape: (out, in) of the weight that is expected.
        device: Where the copies go.

    Returns:
        The packed weight.

    Raises:
        ValueError: If entries are missing or damaged, or describe another shape, code or table.
    """
    entries = [value for name, value in state.items() if name.startswith(SETTINGS)]
    if len(entries) != 1:
        raise ValueError(
            "the checkpoint holds no packed 4-bit weight here (no quant_state entry); "
            "load an ordinary checkpoint first and call quantize_model afterwards"
        )
    try:
        settings = json.loads(bytes(entries[0].tolist()))
        quant_type, block_size, dtype = (
            settings["quant_type"],
            settings["blocksize"],
            DTYPES[settings["dtype"]],
        )
        stored = tuple(settings["shape"])
        if stored != shape:
            raise ValueError(f"its shape is {stored}, but this layer's is {shape} (out, in)")
        tensors = _checked_tensors(state, settings, shape[0] * shape[1])
    except (KeyError, TypeError, ZeroDivisionError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"its quant_state entry is damaged ({error!r})") from None
    tensors = {name: tensor.to(device, copy=True) for name, tensor in tensors.items()}
    if "nested_absmax" in tensors:
        tensors["nested_offset"] = torch.tensor(settings["nested_offset"], device=device)
    return Quantized4bit(
        quant_type=quant_type, block_size=block_size, shape=torch.Size(shape), dtype=dtype, **tensors
    )


def _checked_tensors(state: dict[str, Tensor], settings: dict[str, Any], n: int) -> dict[str, Tensor]:
    """The stored tensors by our names, after a look at their sizes, types and tables."""
    nested = "nested_offset" in settings
    blocks = -(-n // settings["blocksize"])
    tables = {"weight.quant_map": torch.tensor(CODES[settings["quant_type"]])}
    expected = {
        "weight": (torch.uint8, -(-n // 2)),
        "weight.absmax": (torch.uint8 if nested else torch.float32, blocks),
    }
    if nested:
        tables["weight.nested_quant_map"] = dynamic_map(torch.device("cpu"))
        expected["weight.nested_absmax"] = (torch.float32, -(-blocks // NESTED_BLOCK_SIZE))
    for entry, (dtype, count) in expected.items():
        if state[entry].dtype != dtype or state[entry].numel() != count:
            given = f"{state[entry].numel()} values of {state[entry].dtype}"
            raise ValueError(f"{entry} holds {given}, but needs {count} of {dtype}")
    if nested and settings["nested_blocksize"] != NESTED_BLOCK_SIZE:
        raise ValueError(f"nested_blocksize is {settings['nested_blocksize']}, not {NESTED_BLOCK_SIZE}")
    for entry, table in tables.items():
        if not torch.equal(state[entry].cpu(), table):
            raise ValueError(f"{entry} is not the table that minilora decodes with")
    state = state | {"weight": state["weight"].view(-1, 1)}
    return {ENTRIES[entry]: state[entry] for entry in expected}
