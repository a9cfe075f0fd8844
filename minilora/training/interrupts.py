"""Turns the first interrupt (Ctrl-C, a notebook's stop button) into a request, so that a step is never cut in half.

Not here: what stops after the step (trainer.py).
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def on_first_interrupt(action: Callable[[], None]) -> Iterator[None]:
    """Inside the `with` block the first interrupt calls `action`; a second one acts at once, as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        action()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
