"""Files written so that an interruption leaves the old ones whole, and read so that a damaged one says so.

Not here: what the files mean (checkpoints.py, adapter_files.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


def replace_files(folder: str | os.PathLike[str], writers: dict[str, Callable[[Path], object]]) -> None:
    """Writes several files of a folder so that a full disk or an interruption leaves the old ones intact.

    All files are first written under temporary names. Only when all are on disk are they renamed, in the given order:
    put the file that decides last.

    Args:
        folder: Created if missing.
        writers: File name -> function that writes the file at the path that it is given.

    Raises:
        OSError: If a file cannot be written.
    """
    folder = Path(folder)
    partial = {name: folder / f".{name}.partial" for name in writers}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, write in writers.items():
            write(partial[name])
            partial[name].chmod(folder.stat().st_mode & 0o666)  # who may read the folder may read the file
            with open(partial[name], "rb+") as file:
                os.fsync(file.fileno())  # a rename must not reach the disk before the bytes it names
        for name, path in partial.items():
            os.replace(path, folder / name)
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"could not write {', '.join(writers)} in {folder}: {error}. The previous files are unchanged; "
            "check the free space and your write permission, or choose another folder"
        ) from error
    finally:
        for path in partial.values():
            if path.exists():
                path.unlink()


def json_writer(value: dict[str, Any]) -> Callable[[Path], object]:
    """Returns a writer for `replace_files` that writes value as JSON."""
    text = json.dumps(value, indent=2, sort_keys=True) + "\n"
    return lambda path: path.write_text(text, encoding="utf-8", newline="\n")


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Writes one safetensors file, the same bytes for the same content.

    The library writes the metadata in an order that differs from process to process; here it is sorted.
    """
    save_file(tensors, path, metadata=metadata)
    with open(path, "rb+") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:  # the library pads with blanks, too
            file.seek(8)
            file.write(text.ljust(size))


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, or not an object.
    """
    _check_exists(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # RecursionError: brackets nested thousands deep
        raise ValueError(f"{path} is not valid JSON ({error}); was it cut off or edited?") from None
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise ValueError(f"{path} holds a {kind}, not a JSON object")
    return value


def read_tensors(path: Path, dtype: torch.dtype | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads one safetensors file.

    Args:
        path: The file.
        dtype: If given, floating-point tensors are converted to it.

    Returns:
        The tensors by name, and the metadata.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or cannot be converted.
    """
    _check_exists(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no plain iteration)
            metadata = file.metadata() or {}
    except Exception as error:  # many kinds, for a type that torch does not have for example
        raise ValueError(f"{path} is not a valid safetensors file ({error}); copy or save it again") from None
    try:
        return {
            n: t.to(dtype or t.dtype) if t.is_floating_point() else t for n, t in tensors.items()
        }, metadata
    except (RuntimeError, NotImplementedError) as error:  # float types that torch can hold but not convert
        raise ValueError(f"{path} holds numbers of a type that cannot be read as {dtype}: {error}") from None


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; is this the right folder, and complete?")
