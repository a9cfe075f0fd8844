"""The two pipes of one worker: a request out, what it says on the way, and an answer back, within a deadline.

At most one message is read ahead, and none while nothing is asked, so that a worker that floods its pipe waits instead
of filling the grader's memory. Threads do the reading and writing, so that waiting can end on every system.

Not here: what is asked (session.py), and the form of a message (protocol.py).
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from minilora.grading import protocol
from minilora.grading.sandbox import Sandbox

KEPT_OUTPUT = 2000  # bytes of what was printed last
MAX_ASKED = 10_000  # messages on the way to one answer


class Ended(Exception):
    """The worker is no more, or broke the rules; why, in words.

    at: the statement that ran. killed: something ended it by force, perhaps it itself. machine: for want of memory that
    others used.
    """

    at: int | None = None
    killed = machine = False


class Line:
    """One worker, from its start to its end. numbers: gives a student's numbers for a question, where it wants some."""

    def __init__(self, sandbox: Sandbox, numbers: Callable[[str, str], Any]):
        self.worker = sandbox.start()
        self.numbers = numbers
        self.may_read = threading.Semaphore(0)
        self.answers: queue.Queue[dict[str, Any] | str] = queue.Queue(maxsize=1)
        self.tail = b""
        for target in (self._read_answers, self._drain):
            threading.Thread(target=target, daemon=True).start()

    def ask(self, request: dict[str, Any], seconds: float, until: float | None = None) -> dict[str, Any]:
        """The answer. seconds: to wait for it; with `until` for each sign that the work goes on, and until then."""
        until = time.monotonic() + seconds if until is None else until
        nonce = secrets.token_hex(8)
        at: int | None = None
        self._send({"nonce": nonce} | request)
        try:
            for _ in range(MAX_ASKED):
                answer = self._next(min(seconds, until - time.monotonic()))
                if answer.get("nonce") != nonce:
                    raise Ended("its process sent what was not asked for")
                if type(answer.get("at")) is int:
                    at = answer["at"]
                elif "want" in answer:
                    self._send({"given": self._given(answer["want"])})
                else:
                    return answer
            raise Ended("its process said too much")
        except Ended as reason:
            reason.at = at
            raise

    def _next(self, seconds: float) -> dict[str, Any]:
        self.may_read.release()
        try:
            answer = self.answers.get(timeout=max(seconds, 0))
        except queue.Empty:
            raise Ended(f"it took more than {seconds:.4g} seconds") from None
        if not isinstance(answer, str):
            return answer
        reason = self.worker.why_it_ended() if answer == ENDED else None
        ended = Ended(reason.words if reason else answer)
        if reason:
            ended.killed, ended.machine = reason.killed, reason.machine
        raise ended

    def _given(self, wanted: Any) -> Any:
        if not (isinstance(wanted, list) and len(wanted) == 2 and all(isinstance(w, str) for w in wanted)):
            return {}
        return self.numbers(wanted[0][:100], wanted[1][:200])

    def _send(self, message: dict[str, Any]) -> None:
        # subtle: a worker that does not read would block the writing, so a thread does that
        threading.Thread(target=self._write, args=(message,), daemon=True).start()

    def _write(self, message: dict[str, Any]) -> None:
        try:
            assert self.worker.process.stdin is not None
            protocol.write_message(self.worker.process.stdin, message)
        except (OSError, ValueError):
            pass  # it has ended; reading says so

    def _read_answers(self) -> None:
        pipe = self.worker.process.stdout
        assert pipe is not None
        try:
            while self.may_read.acquire() and (answer := protocol.read_message(pipe)) is not None:
                self.answers.put(answer)
            self.answers.put(ENDED)
        except (protocol.ProtocolError, OSError, ValueError, MemoryError) as error:
            self.answers.put(f"its process sent {error}")

    def _drain(self) -> None:
        """Reads all that is printed, so that printing never blocks, and keeps the end."""
        pipe = self.worker.process.stderr
        assert pipe is not None
        try:
            while data := pipe.read(65536):
                self.tail = (self.tail + data)[-KEPT_OUTPUT:]
        except (OSError, ValueError):
            pass

    def output(self) -> str:
        """The end of what was printed."""
        time.sleep(0.05)  # what is on its way
        return self.tail.decode("utf-8", errors="replace").strip()

    def close(self) -> None:
        self.may_read.release()  # the reading thread ends with the pipe
        self.worker.kill()


ENDED = "its process ended"
