"""Walls around the worker: three ways to start it, from the strongest to none.

    bubblewrap  sees its packages and an empty folder in memory; no network, no other process, a user of its own
    setpriv     runs as a user of its own, without privileges; sees every file that all users may read, and the network
    plain       an ordinary process with limits of its own: it catches accidents, and is NOT A SECURITY BOUNDARY

The strongest that works here is found by trying: each must start a worker that answers.

Not here: what is said to the worker, and deadlines (session.py). Limits of memory and size are set by the worker
itself, before anything of the learner's runs (worker.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import glob
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import minilora
from minilora.grading import seccomp, stand_ins, users, worker
from minilora.grading.process import Worker

MEGABYTE = 2**20
SCRATCH = 64 * MEGABYTE  # of files that a submission may write under bubblewrap
LIMITS = {"AS": 4096 * MEGABYTE, "FSIZE": 32 * MEGABYTE, "NOFILE": 256, "CORE": 0, "CPU": 900}
PROCESSES = 24  # threads count; a control group counts them, else the system does for a user of its own
PYTHON = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


@dataclasses.dataclass(frozen=True)
class Sandbox:
    """One way to start a worker. note: what it does not keep out, for the result.

    packages: folders and files, one for each; empty: those of this installation. hidden: what the walls must cover
    wherever it lies, besides this package. memory: bytes, of all processes together where control groups work.
    """

    name: str
    note: str = ""
    python: str = PYTHON
    packages: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    memory: int = LIMITS["AS"]
    processes: int = PROCESSES
    groups: bool = True

    @property
    def own_user(self) -> bool:
        return self.name != "plain" and os.name == "posix" and os.getuid() == 0

    def limits(self) -> dict[str, int]:
        """Name of the resource limit -> value, in bytes, files, processes or seconds of computing."""
        counted = self.own_user or self.name == "bubblewrap"
        return LIMITS | ({"NPROC": self.processes} if counted else {})

    def start(self) -> Worker:
        """Starts a worker that waits for its first message."""
        return Worker(self)

    @contextlib.contextmanager
    def filter(self) -> Iterator[int | None]:
        """A descriptor from which bubblewrap reads the filter of system calls, or None."""
        program = seccomp.program() if self.name == "bubblewrap" else None
        if program is None:
            yield None
            return
        reading, writing = os.pipe()
        try:
            os.write(writing, program)
            os.close(writing)
            yield reading
        finally:
            os.close(reading)

    def command(self, program: Path, user: int, filter: int | None = None) -> list[str]:
        """What starts a worker. filter: the descriptor of the filter of system calls."""
        packages = self.packages or tuple(find_packages())
        walled = self.name == "bubblewrap"
        sites = ["/site"] if walled else sorted({str(Path(package).parent) for package in packages})
        run = [
            self.python,
            "-I",
            "-S",
            "-B",
            "-c",
            worker.START,
            "/program" if walled else str(program),
            *sites,
        ]
        if self.own_user:
            run = [*users.become(user), *run]
        if walled:
            run = [*_bubblewrap(self.python, program, packages, self.hidden, filter), *run]
        return run


@functools.lru_cache(maxsize=1)
def find_packages() -> list[str]:
    """Folders and files of the packages that a submission may import, and of the libraries beside them."""
    found = []
    for name in sorted(stand_ins.ALLOWED):
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or []) if spec else []
        found += places or ([spec.origin] if spec and spec.origin else [])
    beside = [library for place in found for library in (f"{place}.libs",) if os.path.isdir(library)]
    return [os.path.realpath(place) for place in found + beside]


# -- bubblewrap and another user -----------------------------------------------------------------------------------


def _bubblewrap(
    python: str, program: Path, packages: tuple[str, ...], hidden: tuple[str, ...], filter: int | None
) -> list[str]:
    prefix = str(Path(python).parent.parent)
    options = [
        "bwrap",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
    ]
    options += ["--die-with-parent", "--new-session"]
    if os.getuid() != 0:
        options += ["--unshare-user", "--disable-userns"]
    if filter is not None:
        options += ["--seccomp", str(filter)]
    # subtle: what is mounted later lies on top, so the empty folders come first and what is hidden last
    options += ["--tmpfs", "/", "--proc", "/proc", "--dev", "/dev"]
    shown = [place for place in _system_folders(prefix) if os.path.isdir(place)]
    for place in shown:
        for parent in reversed(Path(place).parents[:-1]):
            options += ["--perms", "0755", "--dir", str(parent)]
        options += ["--ro-bind", place, place]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        options += (
            ["--symlink", os.readlink(name), name] if os.path.islink(name) else ["--ro-bind-try", name, name]
        )
    options += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    for place in _installed_packages({"/usr", "/usr/local", prefix}):
        options += ["--tmpfs", place]
    options += _hide(hidden, shown)
    options += ["--perms", "0755", "--dir", "/site"]
    for package in packages:
        options += ["--ro-bind", package, f"/site/{Path(package).name}"]
    options += ["--ro-bind", str(program), "/program"]
    for scratch in ("/tmp", "/dev/shm"):
        options += ["--perms", "1777", "--size", str(SCRATCH), "--tmpfs", scratch]
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--"]


def _system_folders(prefix: str) -> list[str]:
    """Programs and libraries, and not what people keep beside them, such as /usr/src."""
    places = [f"/usr/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "share/zoneinfo")]
    roots = dict.fromkeys(("/usr/local", prefix))
    return places + [f"{root}/{name}" for root in roots if root != "/usr" for name in ("bin", "lib", "lib64")]


def _hide(hidden: tuple[str, ...], shown: list[str]) -> list[str]:
    """Covers this package, and whatever else must not be seen, where it lies inside of what is shown."""
    options = []
    package = Path(minilora.__file__).resolve().parent
    project = [package.parent] if (package.parent / "pyproject.toml").exists() else []
    for place in dict.fromkeys([package, *project, *(Path(name).resolve() for name in hidden)]):
        if any(place.is_relative_to(folder) and str(place) != folder for folder in shown):
            options += (
                ["--tmpfs", str(place)] if place.is_dir() else ["--ro-bind-try", "/dev/null", str(place)]
            )
    return options


def _installed_packages(prefixes: set[str]) -> Iterator[str]:
    """Folders where packages are installed: peft may be in there, or this very project."""
    for prefix in sorted(prefixes):
        for kind in ("site-packages", "dist-packages"):
            yield from glob.glob(f"{prefix}/lib*/python3*/{kind}")


# -- which one -----------------------------------------------------------------------------------------------------

NOTES = {
    "bubblewrap": "",
    "setpriv": "The submission ran as a user of its own, but could see the network and files that all users may read.",
    "plain": "The submission ran as an ordinary process. This is not a security boundary: it could read and "
    "change what you can. Grade only submissions that you trust, or install bubblewrap.",
}


def available() -> dict[str, Sandbox | str]:
    """Name -> the sandbox, or why it does not work here; the strongest first."""
    return {name: _try(name) for name in NOTES}


@functools.lru_cache(maxsize=8)
def _try(name: str) -> Sandbox | str:
    program = {"bubblewrap": "bwrap", "setpriv": "setpriv"}.get(name)
    if program and not (sys.platform == "linux" and shutil.which(program)):
        return f"there is no program {program}"
    if name == "setpriv" and os.getuid() != 0:
        return "only root can become another user"
    if name == "bubblewrap" and os.getuid() == 0 and not shutil.which("setpriv"):
        return "as root it needs setpriv besides"
    python = _python_for_others() if name == "setpriv" else PYTHON
    if python is None:
        return f"another user may not read {PYTHON}, and there is no such Python in /usr/bin"
    return works(Sandbox(name, NOTES[name], python))


def _python_for_others() -> str | None:
    """This Python, or the system's of the same version, whichever every user may run."""
    same = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    for candidate in (PYTHON, same):
        open_to_all = (
            os.path.exists(parent) and os.stat(parent).st_mode & 1 for parent in Path(candidate).parents
        )
        if os.path.exists(candidate) and all(open_to_all):
            return candidate
    return None


def works(sandbox: Sandbox) -> Sandbox | str:
    """The sandbox, if a worker in it answers; else what it said."""
    from minilora.grading.session import GraderFailure, Session

    try:
        with Session(sandbox, []) as session:
            session.open()
    except GraderFailure as failure:
        return str(failure)
    return sandbox


def choose(name: str = "auto") -> Sandbox:
    """The strongest sandbox that works here, or the one named; OSError says what is missing."""
    if name != "auto":
        found = _try(name)
        if isinstance(found, str):
            raise OSError(f"the sandbox {name} does not work here: {found}")
        return found
    for candidate in NOTES:
        found = _try(candidate)
        if isinstance(found, Sandbox):
            return found
    raise OSError(f"no worker starts here: {found}")
