"""A control group of Linux for one worker: a cap on the memory and the number of all its processes together.

Without it each process has limits of its own, which twenty processes exceed twentyfold, and what the system ends when
memory runs out may be a neighbor's. Both versions of control groups are known; where none may be made, there is none.

Not here: limits of one process (worker.py).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "minilora-"
OLD = 3600.0  # seconds; an empty group of that age is one that a killed grader left behind
# A shell's line that enters groups and becomes a command: their number, their files, the command.
ENTER = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo 0 > "$1" || exit 1; shift; n=$((n - 1)); done; exec "$@"'


class Group:
    """The folders that make up one group: one in version 2, one for each controller in version 1."""

    def __init__(self, folders: dict[str, Path], version: int):
        self.folders, self.version = folders, version

    def wrap(self, command: list[str]) -> list[str]:
        """The command, run inside of the group."""
        files = [str(folder / "cgroup.procs") for folder in dict.fromkeys(self.folders.values())]
        return ["/bin/sh", "-c", ENTER, "sh", str(len(files)), *files, *command]

    def limit(self, memory: int, processes: int) -> None:
        """Sets both caps; OSError where the system refuses."""
        names = ("memory.max", "memory.swap.max") if self.version == 2 else (
            "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")  # fmt: skip
        (self.folders["memory"] / names[0]).write_text(str(memory), encoding="ascii")
        with contextlib.suppress(OSError):  # a system without swap has no such file
            swap = 0 if self.version == 2 else memory
            _rewrite(self.folders["memory"] / names[1], str(swap))
        (self.folders["pids"] / "pids.max").write_text(str(processes), encoding="ascii")

    def ran_out_of_memory(self) -> bool:
        """True where one of its processes was ended because the group had reached its own cap."""
        memory = self.folders["memory"]
        if self.version == 2:
            events = _numbers(memory / "memory.events")
            return events.get("oom", 0) > 0 and events.get("oom_kill", 0) > 0
        ended = _numbers(memory / "memory.oom_control").get("oom_kill", 0)
        # subtle: memory.failcnt stays 0 on new kernels, so the highest use tells whose limit it was
        return ended > 0 and _number(memory / "memory.max_usage_in_bytes") >= 0.95 * _number(
            memory / "memory.limit_in_bytes"
        )

    def end(self) -> None:
        """Ends all its processes, and removes it."""
        for _ in range(100):
            for folder in dict.fromkeys(self.folders.values()):
                _kill(folder)
                with contextlib.suppress(OSError):
                    folder.rmdir()
            if not any(folder.exists() for folder in self.folders.values()):
                return
            time.sleep(0.02)  # what was ended is cleared away in a moment


def make(root: Path = ROOT, own: Path = Path("/proc/self/cgroup")) -> Group | None:
    """A new group, or None where this program may not make one."""
    name = PREFIX + secrets.token_hex(8)
    if not os.access(root, os.R_OK) or not own.exists():
        return None
    paths = _own_paths(own)
    if (root / "cgroup.controllers").exists():
        return _make_second(root, paths.get("", "/"), name)
    folders: dict[str, Path] = {}
    for controller in ("memory", "pids"):
        parents = (root / controller / paths.get(controller, "/").lstrip("/"), root / controller)
        try:
            parent = next(parent for parent in parents if (parent / "cgroup.procs").exists())
            folders[controller] = parent / name
            folders[controller].mkdir()
        except (OSError, StopIteration):
            _remove(folders)
            return None
    return Group(folders, 1)


def _make_second(root: Path, own: str, name: str) -> Group | None:
    """Version 2: a group has limits only where the one above hands its controllers down."""
    for parent in dict.fromkeys((root / own.lstrip("/"), root)):
        folder = parent / name
        folders = {"memory": folder, "pids": folder}
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / "memory.max").exists() and (folder / "pids.max").exists():
            return Group(folders, 2)
        _remove(folders)
    return None


def _own_paths(own: Path) -> dict[str, str]:
    """Controller -> the path of this program's group; "" is version 2."""
    paths: dict[str, str] = {}
    for line in own.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    return paths


def remove_old(root: Path = ROOT, now: float | None = None) -> None:
    """Removes empty groups that a killed grader left behind."""
    now = time.time() if now is None else now
    for pattern in (f"{PREFIX}*", f"*/{PREFIX}*", f"*/*/{PREFIX}*"):
        for folder in root.glob(pattern):
            with contextlib.suppress(OSError):  # one that is in use cannot be removed
                if now - folder.stat().st_mtime > OLD:
                    folder.rmdir()


def own_limit(root: Path = ROOT, own: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes that this program and its children may take together; very many where no group limits them."""
    if not own.exists():
        return 2**62
    paths = _own_paths(own)
    files = [root / paths.get("", "/").lstrip("/") / "memory.max", root / "memory.max"]
    files.append(root / "memory" / paths.get("memory", "/").lstrip("/") / "memory.limit_in_bytes")
    files.append(root / "memory" / "memory.limit_in_bytes")
    limits = [2**62]
    for file in files:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number, and no limit
            limits.append(int(file.read_text(encoding="ascii")))
    return min(limits)


def oom_kills() -> int:
    """How many processes this system has ended so far for want of memory; 0 where it does not say."""
    return _numbers(Path("/proc/vmstat")).get("oom_kill", 0)


def _numbers(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        return {name: int(value) for name, value in (line.split()[:2] for line in lines if line)}
    except (OSError, ValueError):
        return {}


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _rewrite(path: Path, text: str) -> None:
    with open(path, "r+", encoding="ascii") as file:  # never a new file
        file.write(text)


def _kill(folder: Path) -> None:
    with contextlib.suppress(OSError):
        _rewrite(folder / "cgroup.kill", "1")  # since Linux 5.14, all at once
        return
    with contextlib.suppress(OSError, ValueError):
        for pid in (folder / "cgroup.procs").read_text(encoding="ascii").split():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if int(pid) > 0:
                    os.kill(int(pid), signal.SIGKILL)


def _remove(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        with contextlib.suppress(OSError):
            folder.rmdir()
