"""Counts the bytes of live tensors while some code runs, on any device, even "meta", which stores nothing.

It inspects what each PyTorch operation returns, so the code runs several times slower. It does not see memory that an
operation allocates and frees internally, nor what NumPy allocates.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """A context manager that counts the storages which operations inside it have made.

    Attributes:
        now: Bytes alive at the moment.
        peak: The most bytes that were alive at a time.

    >>> import torch
    >>> with LiveTensors() as live:
    ...     x = torch.zeros(1000)
    ...     y = x.view(10, 100) + 1  # a view shares its storage: one new tensor
    ...     del x
    >>> live.now, live.peak
    (4000, 8000)
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def add(self, tensors: Iterable[Any]) -> None:
        """Counts these tensors too, each storage once, until it is freed."""
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                key, size = storage._cdata, storage.nbytes()
                if key not in self._known:
                    self._known[key] = weakref.ref(storage, self._forget(key, size))
                    self.now += size
        self.peak = max(self.peak, self.now)

    def _forget(self, key: int, size: int) -> Callable[[Any], None]:
        def gone(_: Any) -> None:
            del self._known[key]
            self.now -= size

        return gone

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.add(tree_leaves(result))
        return result
