"""Plain data over a pipe: a length, then JSON. Read on both sides; the grader believes nothing that it reads.

A message is four bytes (its length, big-endian) and so many bytes of JSON. Numbers, text, True, False and None are
themselves; a list is ["l", ...], a dict ["d", [key, value], ...], an array ["a", type, shape, base64]. No pickle.

The worker gets a copy of this file, so it imports nothing of ours. Not here: what the messages say (session.py).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import IO, Any

import numpy as np

MAX_MESSAGE = 16 * 2**20  # bytes
MAX_VALUES = 1_000_000  # items, array elements and characters in one message
MAX_DEPTH = 24
MAX_WHOLE = 2**1000  # larger ones are no float
DTYPES = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
DTYPES |= {"bool", "float16", "float32", "float64"}


class ProtocolError(ValueError):
    """What came over the pipe is no message of ours."""


def encode(value: Any) -> Any:
    """Plain data in the form in which JSON carries it.

    >>> encode({"r": 2, "x": np.array([1, 2], np.uint8)})
    ['d', ['r', 2], ['x', ['a', 'uint8', [2], 'AQI=']]]
    """
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
        return ["a", value.dtype.name, list(value.shape), base64.b64encode(data.tobytes()).decode("ascii")]
    if isinstance(value, list | tuple):
        return ["l", *map(encode, value)]
    if isinstance(value, dict):
        return ["d", *([key, encode(item)] for key, item in value.items())]
    return value


def decode(value: Any) -> Any:
    """The plain data again, or ProtocolError: types, shapes, sizes and depth are all checked.

    >>> decode(encode([1.5, None, {"a": np.arange(3)}]))
    [1.5, None, {'a': array([0, 1, 2])}]
    """
    return _decode(value, MAX_DEPTH, [MAX_VALUES])


def _decode(value: Any, depth: int, room: list[int]) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        if abs(value) >= MAX_WHOLE:
            raise ProtocolError("a whole number that is too large")
        return value
    if isinstance(value, str):
        _use(room, len(value))
        return value
    if not isinstance(value, list) or not value or depth == 0:
        raise ProtocolError("something other than plain data, or nested too deep")
    tag, *items = value
    _use(room, len(items))
    if tag == "l":
        return [_decode(item, depth - 1, room) for item in items]
    if tag == "d":
        return dict(_pair(item, depth - 1, room) for item in items)
    if tag == "a" and len(items) == 3:
        return _array(items[0], items[1], items[2], room)
    raise ProtocolError(f"an unknown kind {str(tag)[:20]!r}")


def _pair(item: Any, depth: int, room: list[int]) -> tuple[str, Any]:
    if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str):
        raise ProtocolError("a dict whose keys are no text")
    _use(room, len(item[0]))
    return item[0], _decode(item[1], depth, room)


def _array(dtype: Any, shape: Any, text: Any, room: list[int]) -> np.ndarray:
    if (
        not isinstance(dtype, str)
        or dtype not in DTYPES
        or not isinstance(text, str)
        or not isinstance(shape, list)
        or len(shape) > 16
    ):
        raise ProtocolError("an array of a type that is not allowed")
    if not all(type(n) is int and 0 <= n <= MAX_VALUES for n in shape):
        raise ProtocolError("an array of an impossible shape")
    count = math.prod(shape)
    _use(room, count)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("an array that is not base64") from error
    kind = np.dtype(dtype)
    if len(data) != count * kind.itemsize:
        raise ProtocolError("an array whose data do not fit its shape")
    return np.frombuffer(data, kind.newbyteorder("<")).astype(kind).reshape(shape)


def _use(room: list[int], count: int) -> None:
    room[0] -= count
    if room[0] < 0:
        raise ProtocolError(f"more than {MAX_VALUES:,} values")


def write_message(pipe: IO[bytes], message: dict[str, Any]) -> None:
    """Sends a dict of plain data."""
    data = json.dumps(encode(message)).encode("ascii")
    rest = memoryview(len(data).to_bytes(4, "big") + data)
    while rest:  # a pipe takes as much as it has room for
        rest = rest[pipe.write(rest) :]
    pipe.flush()


def read_message(pipe: IO[bytes]) -> dict[str, Any] | None:
    """The next message; None where the pipe has ended."""
    length = int.from_bytes(_read(pipe, 4), "big")
    if length == 0:
        return None
    if length > MAX_MESSAGE:
        raise ProtocolError(f"a message of {length:,} bytes")
    data = _read(pipe, length)
    # subtle: before it is parsed, for ten thousand empty lists take a hundred times the memory of their text
    if sum(map(data.count, (b",", b"[", b"{"))) > 4 * MAX_VALUES:
        raise ProtocolError(f"more than {MAX_VALUES:,} values")
    try:
        message = decode(json.loads(data.decode("utf-8")))
    except ProtocolError:
        raise
    except (ValueError, RecursionError) as error:
        raise ProtocolError("a message that cannot be read") from error
    if not isinstance(message, dict):
        raise ProtocolError("a message that is no dict")
    return message


def _read(pipe: IO[bytes], count: int) -> bytes:
    """So many bytes, or none where the pipe ends before."""
    data = bytearray()
    while len(data) < count:
        piece = pipe.read(min(count - len(data), 2**20))
        if not piece:
            return b""
        data += piece
    return bytes(data)
