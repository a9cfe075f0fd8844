"""How bitsandbytes lays a packed 4-bit weight out in a state_dict: written, and read with a check of every entry.

Not here: bitsandbytes' 8-bit layouts.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from minilora.quantization.blockwise import Quantized4bit
from minilora.quantization.codes import CODES, NESTED_BLOCK_SIZE
from minilora.quantization.tables import dynamic_map

SETTINGS = "weight.quant_state.bitsandbytes__"  # + the code: JSON, as UTF-8 bytes
PLACES = {"weight": "packed"} | {f"weight.{name}": name for name in ("absmax", "minimum", "nested_absmax")}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def to_state(quantized: Quantized4bit) -> dict[str, Tensor]:
    """The entries that bitsandbytes writes for a weight; "weight.minimum" and the int4 codes are ours alone."""
    tensors, device = quantized.tensors(), quantized.packed.device
    state = {place: tensors[name] for place, name in PLACES.items() if name in tensors}
    state["weight.quant_map"] = torch.tensor(CODES[quantized.code], device=device)
    settings: dict[str, Any] = {
        "quant_type": quantized.code,
        "blocksize": quantized.block_size,
        "dtype": str(quantized.dtype).removeprefix("torch."),
        "shape": list(quantized.shape),
    }
    if quantized.nested_offset is not None:
        state["weight.nested_quant_map"] = dynamic_map(device).clone()  # safetensors refuses shared tensors
        settings |= {"nested_blocksize": NESTED_BLOCK_SIZE, "nested_dtype": "float32"}
        settings["nested_offset"] = quantized.nested_offset.item()
    text = json.dumps(settings).encode()
    state[SETTINGS + quantized.code] = torch.tensor(list(text), dtype=torch.uint8)
    return state


def from_state(state: dict[str, Tensor], shape: tuple[int, int], device: torch.device) -> Quantized4bit:
    """Copies what `to_state` or bitsandbytes wrote for a weight of this shape; ValueError says what does not fit."""
    entries = [value for name, value in state.items() if name.startswith(SETTINGS)]
    if len(entries) != 1:
        raise ValueError(
            "the checkpoint holds no packed 4-bit weight here (no quant_state entry); "
            "load an ordinary checkpoint first and call quantize_model afterwards"
        )
    try:
        settings = json.loads(bytes(entries[0].tolist()))
        code, block_size, dtype = settings["quant_type"], settings["blocksize"], DTYPES[settings["dtype"]]
        stored = tuple(settings["shape"])
        if stored != shape:
            raise ValueError(f"it is a weight of {stored}, this layer's is {shape} (out, in)")
        tensors = _checked_tensors(state, settings, shape[0] * shape[1])
    except (KeyError, TypeError, ZeroDivisionError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"its quant_state entry is damaged ({error!r})") from None
    tensors = {name: tensor.to(device, copy=True) for name, tensor in tensors.items()}
    if "nested_absmax" in tensors:
        tensors["nested_offset"] = torch.tensor(settings["nested_offset"], device=device)
    return Quantized4bit(code=code, block_size=block_size, shape=torch.Size(shape), dtype=dtype, **tensors)


def _checked_tensors(state: dict[str, Tensor], settings: dict[str, Any], n: int) -> dict[str, Tensor]:
    """The stored tensors by our names, after a look at their sizes, types and tables."""
    code, nested = settings["quant_type"], "nested_offset" in settings
    blocks = -(-n // settings["blocksize"])
    tables = {"weight.quant_map": torch.tensor(CODES[code])}
    expected = {"weight": (torch.uint8, -(-n // 2))}
    expected["weight.absmax"] = (torch.uint8 if nested else torch.float32, blocks)
    if nested:
        tables["weight.nested_quant_map"] = dynamic_map(torch.device("cpu"))
        expected["weight.nested_absmax"] = (torch.float32, -(-blocks // NESTED_BLOCK_SIZE))
    if code == "int4-affine":
        expected["weight.minimum"] = (torch.float32, blocks)
    for place, (dtype, count) in expected.items():
        if state[place].dtype != dtype or state[place].numel() != count:
            given = f"{state[place].numel()} values of {state[place].dtype}"
            raise ValueError(f"{place} has {given}, where {count} of {dtype} belong")
    if nested and settings["nested_blocksize"] != NESTED_BLOCK_SIZE:
        raise ValueError(f"nested_blocksize is {settings['nested_blocksize']}, not {NESTED_BLOCK_SIZE}")
    for place, table in tables.items():
        if not torch.equal(state[place].cpu(), table):
            raise ValueError(f"{place} is not the table that minilora decodes with")
    state = state | {"weight": state["weight"].view(-1, 1)}
    return {PLACES[place]: state[place] for place in expected}
