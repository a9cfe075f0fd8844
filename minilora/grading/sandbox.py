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
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from minilora.exercises import learner_side
from minilora.grading import protocol, worker

MEGABYTE = 2**20
SCRATCH = 64 * MEGABYTE  # of files that a submission may write under bubblewrap
LIMITS = {"AS": 4096 * MEGABYTE, "FSIZE": 32 * MEGABYTE, "NOFILE": 256, "CORE": 0, "CPU": 900}
FIRST_USER, LAST_USER = 20_000, 60_000  # ids for workers; containers often know none above 65535
PROCESSES = 24  # threads count; enforced where the worker has a user of its own
PYTHON = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


@dataclasses.dataclass(frozen=True)
class Sandbox:
    """One way to start a worker. note: what it does not keep out, for the result."""

    name: str
    note: str = ""
    python: str = PYTHON
    packages: tuple[str, ...] = ()  # folders and files, one for each; empty: those of this installation

    @property
    def own_user(self) -> bool:
        return self.name != "plain" and os.name == "posix" and os.getuid() == 0

    def limits(self) -> dict[str, int]:
        """Name of the resource limit -> value, in bytes, files, processes or seconds of computing."""
        counted = self.own_user or self.name == "bubblewrap"
        return LIMITS | ({"NPROC": PROCESSES} if counted else {})

    def start(self) -> Worker:
        """Starts a worker that waits for its first message."""
        return Worker(self)

    def command(self, program: Path, user: int) -> list[str]:
        packages = self.packages or tuple(find_packages())
        sites = sorted({str(Path(package).parent) for package in packages})
        if self.name == "bubblewrap":
            sites = ["/site"]
        run = [
            self.python,
            "-I",
            "-S",
            "-B",
            "/program/worker.py" if self.name == "bubblewrap" else str(program),
        ]
        if self.own_user:
            run = [*_other_user(user), *run]
        if self.name == "bubblewrap":
            run = [*_bubblewrap(self.python, program.parent, packages), *run]
        return [*run, *sites]


class Worker:
    """A started worker: its pipes, its folder, and its end."""

    def __init__(self, sandbox: Sandbox):
        self.user, self.lock = _free_user() if sandbox.own_user else (-1, -1)
        self.sandbox = sandbox
        self.folder = Path(tempfile.mkdtemp(prefix="minilora-worker-"))
        work, program = self.folder / "work", self.folder / "program"
        _copy_program(program)
        work.mkdir()
        self.folder.chmod(0o755)
        if sandbox.own_user:
            os.chown(work, self.user, self.user)
        self.process = subprocess.Popen(
            sandbox.command(program / "worker.py", self.user),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=work,
            env=_environment(work if sandbox.name != "bubblewrap" else Path("/tmp")),
            start_new_session=True,
            bufsize=0,  # subtle: a buffer's lock would make closing wait for a thread that still reads
        )

    def kill(self) -> None:
        """Ends the worker and all that it started, as far as the sandbox can find it; removes its folder."""
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        if self.sandbox.own_user:
            _kill_all_of(self.user)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.lock >= 0:
            os.close(self.lock)


def _environment(home: Path) -> dict[str, str]:
    """Nothing of the grader's: no secrets, no paths."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    places = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"}
    return kept | threads | places | {"PYTHONHASHSEED": "0", "TORCHINDUCTOR_CACHE_DIR": str(home)}


def _copy_program(folder: Path) -> None:
    """The worker and the two files that it needs, readable by every user."""
    folder.mkdir()
    for module in (worker, protocol, learner_side):
        shutil.copyfile(str(module.__file__), folder / Path(str(module.__file__)).name)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)


@functools.lru_cache(maxsize=1)
def find_packages() -> list[str]:
    """Folders and files of the packages that a submission may import, and of the libraries beside them."""
    found = []
    for name in sorted(worker.ALLOWED):
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or []) if spec else []
        found += places or ([spec.origin] if spec and spec.origin else [])
    beside = [library for place in found for library in (f"{place}.libs",) if os.path.isdir(library)]
    return [os.path.realpath(place) for place in found + beside]


# -- bubblewrap and another user -----------------------------------------------------------------------------------


def _bubblewrap(python: str, program: Path, packages: tuple[str, ...]) -> list[str]:
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
    # subtle: what is mounted later lies on top, so the empty folders come first and what is hidden last
    options += ["--tmpfs", "/", "--proc", "/proc", "--dev", "/dev", "--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        options += (
            ["--symlink", os.readlink(name), name] if os.path.islink(name) else ["--ro-bind-try", name, name]
        )
    options += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    if not prefix.startswith("/usr"):
        for parent in reversed(Path(prefix).parents[:-1]):
            options += ["--perms", "0755", "--dir", str(parent)]
        options += ["--ro-bind", prefix, prefix]
    for hidden in _installed_packages({"/usr", "/usr/local", prefix}):
        options += ["--tmpfs", hidden]
    options += ["--perms", "0755", "--dir", "/site"]
    for package in packages:
        options += ["--ro-bind", package, f"/site/{Path(package).name}"]
    options += ["--ro-bind", str(program), "/program"]
    for scratch in ("/tmp", "/dev/shm"):
        options += ["--perms", "1777", "--size", str(SCRATCH), "--tmpfs", scratch]
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--"]


def _installed_packages(prefixes: set[str]) -> Iterator[str]:
    """Folders where packages are installed: peft may be in there, or this very project."""
    for prefix in sorted(prefixes):
        for kind in ("site-packages", "dist-packages"):
            yield from glob.glob(f"{prefix}/lib*/python3*/{kind}")


def _other_user(user: int) -> list[str]:
    """subtle: bubblewrap's own --uid would leave root's real user id in place outside; this one changes it."""
    return [
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups",
        "--no-new-privs",
        "--inh-caps=-all",
        "--bounding-set=-all",
        "--",
    ]


IS_WORKER = f'[ "$1" -ge {FIRST_USER} ] && [ "$(id -u)" = "$1" ] && [ "$(id -ru)" = "$1" ]'
KILL_ALL = "kill -KILL -1"


def _kill_all_of(user: int) -> None:
    """Every process of a worker's user, also one that left its group.

    subtle: `kill -1` from root would end everything on the machine, so the shell looks who it is before it does.
    """
    if user < FIRST_USER:
        raise ValueError(f"user {user} is no worker's; nothing of theirs is ended")
    command = [*_other_user(user), "/bin/sh", "-c", f"{IS_WORKER} && {KILL_ALL}", "sh", str(user)]
    subprocess.run(command, check=False, capture_output=True)


def _free_user() -> tuple[int, int]:
    """A user id that no one has, and the lock that keeps it for this worker alone, with its limits and signals.

    subtle: what a killed worker leaves counts among its user's processes until the system has cleared it away. A user
    who still has some is not given to the next submission, which could start none.
    """
    import fcntl
    import pwd

    locks = Path(tempfile.gettempdir()) / "minilora-users"
    locks.mkdir(mode=0o700, exist_ok=True)
    if locks.is_symlink() or locks.stat().st_uid != os.getuid():
        raise OSError(f"{locks} belongs to someone else; remove it")
    for user in range(FIRST_USER, LAST_USER):
        with contextlib.suppress(KeyError):
            pwd.getpwuid(user)
            continue
        lock = os.open(locks / str(user), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if user not in _users_with_processes():
                return user, lock
        os.close(lock)
    raise OSError(f"no user id between {FIRST_USER} and {LAST_USER} is free")


def _users_with_processes() -> set[int]:
    """Also those whose processes have ended and are not cleared away yet."""
    users = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it is gone just now
            users.add(process.stat().st_uid)
    return users


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
