"""What happens where the learner's code runs: plain data in, one call, plain data out.

A notebook uses it in its own process; the grader copies this file alone into a closed-off one. So it imports nothing of
ours, holds no expected values, and knows no exercise. Plain data is None, True and False, numbers, text, lists, dicts
with text keys, and NumPy arrays of numbers: it travels as JSON and bytes, and comparing it runs no code of the
learner's (an object that claims to equal everything does not get through).

Not here: comparing (compare.py), deadlines and memory limits (a process that runs this sets them).
"""

from __future__ import annotations

import dataclasses
import dis
import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

RETURNED = "returned"
RAISED = "raised"
UNTOUCHED = "untouched"  # the stub, as it was handed out
SIGNATURE = "signature"  # takes other arguments than the exercise says
NOT_PLAIN = "not plain"  # returned something that is not plain data
STOPPED = "stopped"  # said by a grader: the call took too long, or its process died

MAX_VALUES = 500_000  # numbers and characters that one answer may hold
MAX_DEPTH = 12


@dataclasses.dataclass
class Reply:
    """What came of one call.

    Attributes:
        status: RETURNED, RAISED, UNTOUCHED, SIGNATURE, NOT_PLAIN or STOPPED.
        value: What the function returned, as plain data.
        changed: The arguments that the function wrote to, as they are afterwards.
        message: Of the error, or what is wrong with the value.
        error_type: Name of the exception's class.
        lines: (line number, code) of the learner's own code on the way to the error.
        after: All arguments as they are afterwards; a grader compares them itself.
    """

    status: str
    value: Any = None
    changed: dict[str, Any] = dataclasses.field(default_factory=dict)
    message: str = ""
    error_type: str = ""
    lines: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    after: dict[str, Any] = dataclasses.field(default_factory=dict)


class NotPlain(TypeError):
    """A value that is not plain data and so cannot be checked; the message says what it is."""


def call(
    function: Callable, arguments: dict[str, Any], takes: dict[str, str] | None = None, gives: str = "value"
) -> Reply:
    """Calls `function` on copies of plain arguments, by position, and describes what happened as plain data.

    Args:
        function: The learner's.
        arguments: By name, in the order of its parameters.
        takes: Argument -> name of its conversion in TAKES, for arguments that are not passed as they are.
        gives: Name of the result's conversion in GIVES.

    >>> call(lambda x: x + 1, {"x": 2}).value
    3
    >>> call(lambda x: 1 / x, {"x": 0}).message
    'division by zero'
    """
    takes = takes or {}
    given = {
        name: TAKES[takes[name]](value) if name in takes else copy_plain(value)
        for name, value in arguments.items()
    }
    if is_stub(function):
        return Reply(UNTOUCHED)
    mismatch = _signature_problem(function, list(arguments))
    if mismatch:
        return Reply(SIGNATURE, message=mismatch)
    try:
        value = function(*given.values())
    except NotImplementedError:
        return Reply(UNTOUCHED)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also sys.exit(): it must not end the notebook or the grader's worker
        return Reply(
            RAISED,
            message=str(error)[:2000],
            error_type=type(error).__name__,
            lines=_own_lines(error, function),
        )
    try:
        plain = GIVES[gives](value, given)
        after = {name: to_plain(given[name]) for name in arguments if name not in takes}
    except NotPlain as error:
        return Reply(NOT_PLAIN, message=str(error))
    return Reply(RETURNED, plain, changes(after, arguments), after=after)


def changes(after: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The values that are not what they were."""
    return {name: value for name, value in after.items() if not same(value, before[name])}


def is_stub(function: Callable) -> bool:
    """True where nothing but a docstring, `pass` or `...` is written yet.

    >>> def untouched(x): ...
    >>> is_stub(untouched), is_stub(lambda x: x)
    (True, False)
    """
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    if len(code.co_code) > 64:  # a stub is a few instructions; looking at all of a long function takes time
        return False
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("RESUME", "NOP", "CACHE")]
    if [step.opname for step in steps] not in (["LOAD_CONST", "RETURN_VALUE"], ["RETURN_CONST"]):
        return False
    return steps[0].argval in (None, ...)


# -- plain data --------------------------------------------------------------------------------------------------------


def to_plain(value: Any) -> Any:
    """Any value as plain data of exact types, or NotPlain. Tensors become arrays, tuples become lists.

    >>> to_plain((np.float32(0.5), {"r": 4}))
    [0.5, {'r': 4}]
    """
    return _to_plain(value, MAX_DEPTH, [MAX_VALUES])


def _to_plain(value: Any, depth: int, room: list[int]) -> Any:
    # subtle: a subclass may lie about itself, so values are read with the base type's own methods
    if depth == 0:
        raise NotPlain(f"something nested more than {MAX_DEPTH} deep")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        value = _array_of(value, torch)
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, np.ndarray):
        return _plain_array(value, room)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, int):
        return int.__add__(value, 0)
    if isinstance(value, float):
        return float.__add__(value, 0.0)
    if isinstance(value, str):
        _use(room, len(value))
        return str.__str__(value)
    if isinstance(value, list | tuple):
        kind: Any = list if isinstance(value, list) else tuple
        _use(room, kind.__len__(value))
        return [_to_plain(item, depth - 1, room) for item in kind.__iter__(value)]
    if isinstance(value, dict):
        _use(room, dict.__len__(value))
        return {_key(key): _to_plain(item, depth - 1, room) for key, item in dict.items(value)}
    raise NotPlain(f"a {type(value).__name__}")


def _array_of(tensor: Any, torch: Any) -> Any:
    try:
        tensor = torch.Tensor.detach(tensor).cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    except (RuntimeError, TypeError, AttributeError) as error:
        raise NotPlain(f"a tensor that is no array of numbers ({error})") from error


def _plain_array(value: np.ndarray, room: list[int]) -> Any:
    array = np.array(value, subok=False, copy=True, order="C")
    if array.dtype.kind not in "biuf":
        raise NotPlain(f"an array of {array.dtype}")
    if array.dtype.itemsize > 8:  # long double, which no file format knows
        array = array.astype(np.float64)
    _use(room, array.size)
    array = array.astype(array.dtype.newbyteorder("="))
    return array.item() if array.ndim == 0 else array


def _use(room: list[int], count: int) -> None:
    room[0] -= count
    if room[0] < 0:
        raise NotPlain(f"something with more than {MAX_VALUES:,} values")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise NotPlain(f"a dict with {type(key).__name__} keys")
    return str.__str__(key)


def copy_plain(value: Any) -> Any:
    """A copy that shares no array, list or dict with `value`."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list):
        return [copy_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: copy_plain(item) for key, item in value.items()}
    return value


def same(a: Any, b: Any) -> bool:
    """Equal in kind, shape and bits; for plain data alone.

    >>> same(np.zeros(2), np.zeros((1, 2))), same([1.0], [1.0])
    (False, True)
    """
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return a == b or (a != a and b != b)


# -- conversions: from plain arguments to what the learner's function takes, and back ----------------------------------


def build_model(weights: dict[str, np.ndarray]) -> Any:
    """Dotted name -> array becomes a `torch.nn.Module` with parameters of these names, all trainable."""
    import torch
    from torch import nn

    model = nn.Module()
    for path, array in weights.items():
        *parents, name = path.split(".")
        module = model
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, nn.Module())
            module = getattr(module, parent)
        module.register_parameter(name, nn.Parameter(torch.from_numpy(array.copy())))
    return model


def observe_model(model: Any) -> dict[str, Any]:
    """The names that would train, and every weight's value."""
    parameters = dict(model.named_parameters())
    return {
        "trainable": sorted(name for name, p in parameters.items() if p.requires_grad),
        "weights": {name: to_plain(p) for name, p in parameters.items()},
    }


def _tensor(value: Any) -> Any:
    import torch

    return torch.from_numpy(value.copy())


TAKES: dict[str, Callable[[Any], Any]] = {
    "tensor": _tensor,
    "generator": lambda seed: np.random.default_rng(seed),
    "model": build_model,
}
GIVES: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "value": lambda value, given: to_plain(value),
    "model": lambda value, given: observe_model(next(iter(given.values()))),  # what became of the argument
}


# -- reports -----------------------------------------------------------------------------------------------------------


def _signature_problem(function: Callable, names: list[str]) -> str:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions do not tell
        return ""
    try:
        signature.bind(*names)
    except TypeError:
        return f"it takes {signature}, and is called with ({', '.join(names)})"
    return ""


def _own_lines(error: BaseException, function: Callable) -> list[tuple[int, str]]:
    """The lines of the learner's own code on the way to the error, outermost first, at most five."""
    code = getattr(function, "__code__", None)
    if code is None:
        return []
    frames = traceback.extract_tb(error.__traceback__)
    lines = [(f.lineno or 0, f.line or "") for f in frames if f.filename == code.co_filename]
    return lines if len(lines) <= 5 else [*lines[:2], (0, "…"), *lines[-2:]]
