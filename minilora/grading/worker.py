"""The program in the sandbox: runs a learner's cells, calls the learner's functions, and answers over a private pipe.

It gets copies of the files in PROGRAM and nothing else of ours, so there is nothing in here worth stealing. Whatever it
answers is only a claim, which the grader compares outside. While a request is at work it may say where it is ("at") or
ask for a student's numbers ("want").

Not here: deadlines (session.py kills this process), and walls around it (sandbox.py).
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import IO, Any

from minilora.exercises import learner_side
from minilora.grading import learner, protocol, stand_ins

PROGRAM: tuple[str, ...] = (
    "grading/worker.py",
    "grading/learner.py",
    "grading/answers.py",
    "grading/source.py",
)
PROGRAM += ("grading/stand_ins.py", "grading/protocol.py", "exercises/learner_side.py")
# How it is started: the folder with the copies, then folders with the packages that may be imported.
START = (
    "import sys; sys.path.insert(0, sys.argv[1]); sys.path += sys.argv[2:]; "
    "from minilora.grading.worker import main; main()"
)


def main() -> None:
    """Answers requests until the pipe ends."""
    requests, replies = _private_pipes()
    worker = Worker(requests, replies, _close_the_gate())
    while (request := protocol.read_message(requests)) is not None:
        worker.answer(request)


class Worker:
    """Answers one request after the other."""

    def __init__(self, requests: IO[bytes], replies: IO[bytes], gate: stand_ins.Gate):
        self.requests, self.replies, self.gate = requests, replies, gate
        self.nonce = ""
        self.learner: learner.Learner | None = None

    def answer(self, request: dict[str, Any]) -> None:
        self.nonce = request.pop("nonce")
        what = request.pop("do")
        try:
            done = self.setup(**request) if what == "setup" else self._do(what, request)
        except BaseException as error:
            done = {"status": "error", "message": f"{type(error).__name__}: {error}"[:2000]}
        try:
            self._write(done)
        except (ValueError, RecursionError, MemoryError) as error:
            note = f"something that cannot be sent ({error})"[:2000]
            self._write({"status": learner_side.NOT_PLAIN, "message": note})

    def _do(self, what: str, request: dict[str, Any]) -> dict[str, Any]:
        assert self.learner is not None
        if what == "answers":
            return {"status": "ok"} | self.learner.book.as_dict()
        if what in ("cell", "text", "call"):
            return {"status": "ok", "missing": self.gate.missing[:20]} | getattr(self.learner, what)(
                **request
            )
        raise ValueError(f"no request is called {what!r}")

    def _write(self, answer: dict[str, Any]) -> None:
        protocol.write_message(self.replies, {"nonce": self.nonce} | answer)

    def say(self, **told: Any) -> Any:
        """Tells the grader something while a request is at work. What is wanted comes back."""
        self._write(told)
        return (protocol.read_message(self.requests) or {}).get("given") if "want" in told else None

    def setup(self, limits: dict[str, int], torch: bool, **notebook: Any) -> dict[str, Any]:
        """Sets hard limits, and gives the notebook its namespace, with what every page imports."""
        _set_limits(limits)
        import numpy as np

        self.learner = learner.Learner(say=self.say, **notebook)
        sys.modules["__main__"] = self.learner.module
        self.gate.helpers = vars(self.learner.helpers)
        vars(self.learner.module)["np"] = np
        if torch:
            import torch as loaded

            loaded.set_num_threads(1)
            vars(self.learner.module)["torch"] = loaded
        return {"status": "ok"}


def _close_the_gate() -> stand_ins.Gate:
    """From here on `minilora` is a stand-in, and the notebook's own files may be imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "minilora"]:
        del sys.modules[name]
    del sys.path[0]
    sys.path.append(os.getcwd())
    gate = stand_ins.Gate(os.getcwd())
    sys.meta_path.insert(0, gate)
    return gate


def _private_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Takes the pipes away from standard input and output; what is printed goes where errors go."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return requests, replies


def _set_limits(limits: dict[str, int]) -> None:
    """Hard limits, which nothing in here can raise again."""
    try:
        import resource
    except ImportError:  # Windows has none
        return
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):  # macOS refuses some
            continue
    with contextlib.suppress(ImportError, OSError, AttributeError):  # Linux: it ends with the grader
        import ctypes

        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    try:  # if memory runs out all the same, the system ends this process first
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass
