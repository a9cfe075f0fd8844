"""A message for those who wait while PyTorch loads.

It has a file of its own, which imports nothing slow, so that it can be printed before the others are imported.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

PATIENCE = 1.0  # seconds


@contextlib.contextmanager
def say_if_slow(words: str) -> Iterator[None]:
    """Prints the words if the block takes longer than PATIENCE."""
    timer = threading.Timer(PATIENCE, lambda: print(words, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
