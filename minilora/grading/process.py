"""A worker that has been started: its pipes, its folder, how it ended, and the end of all that it started.

Not here: the walls around it (sandbox.py), and what is said to it (line.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import minilora
from minilora.grading import cgroup, users, worker

if TYPE_CHECKING:
    from minilora.grading.sandbox import Sandbox

ALIVE: set[Worker] = set()  # of this process, so that it can end them when it is ended itself
KILLED = (-signal.SIGKILL if os.name == "posix" else 1, 128 + 9)  # as bubblewrap says it


@dataclasses.dataclass(frozen=True)
class End:
    """How a worker ended. killed: by force. machine: because others had used the memory."""

    words: str
    killed: bool = False
    machine: bool = False


class Worker:
    """A started worker: its pipes, its folder, and its end."""

    def __init__(self, sandbox: Sandbox):
        self.sandbox = sandbox
        self.user, self.lock = users.free_user() if sandbox.own_user else (-1, -1)
        self.group = _make_group(sandbox)
        self.kills_before = cgroup.oom_kills()
        self.folder = Path(tempfile.mkdtemp(prefix="minilora-worker-"))
        ALIVE.add(self)
        work, program = self.folder / "work", self.folder / "program"
        copy_program(program)
        work.mkdir()
        self.folder.chmod(0o755)
        if sandbox.own_user:
            os.chown(work, self.user, self.user)
        self.process = self._start(work, program)

    def _start(self, work: Path, program: Path) -> subprocess.Popen:
        with self.sandbox.filter() as descriptor:
            command = self.sandbox.command(program, self.user, descriptor)
            return subprocess.Popen(
                self.group.wrap(command) if self.group else command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=work,
                env=_environment(work if self.sandbox.name != "bubblewrap" else Path("/tmp")),
                start_new_session=True,
                bufsize=0,  # subtle: a buffer's lock would make closing wait for a thread that still reads
                pass_fds=() if descriptor is None else (descriptor,),
            )

    def limits(self) -> dict[str, int]:
        """Those of each process. A limit on a user's processes counts in other containers too, so a group is better."""
        limits = self.sandbox.limits()
        return {name: value for name, value in limits.items() if not (self.group and name == "NPROC")}

    def why_it_ended(self) -> End | None:
        """What its end was due to; None where it did not end, and only closed its pipes."""
        try:
            code = self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return None
        if self.group and self.group.ran_out_of_memory():
            return End(f"it took more than {self.sandbox.memory // 2**20:,} MB of memory")
        if code not in KILLED:
            return None
        return End("its process ended", killed=True, machine=cgroup.oom_kills() > self.kills_before)

    def kill(self) -> None:
        """Ends the worker and all that it started, as far as the sandbox can find it; removes its folder."""
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        if self.group:
            self.group.end()
        elif self.sandbox.own_user and self.sandbox.name != "bubblewrap":  # its own namespace ends all there
            users.end_all_of(self.user)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        if self.sandbox.own_user and self.sandbox.name == "setpriv":
            users.remove_all_of(self.user)
        remove(self.folder)
        if self.lock >= 0:
            users.give_back(self.user, self.lock)
        ALIVE.discard(self)


def _make_group(sandbox: Sandbox) -> cgroup.Group | None:
    group = cgroup.make() if sandbox.groups else None
    try:
        if group:
            group.limit(sandbox.memory, sandbox.processes + 8)  # and those that build the walls
    except OSError:
        assert group is not None
        group.end()
        return None
    return group


def _environment(home: Path) -> dict[str, str]:
    """Nothing of the grader's: no secrets, no paths."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    places = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"}
    pictures = {"MPLBACKEND": "Agg", "MPLCONFIGDIR": str(home)}
    return kept | threads | places | pictures | {"PYTHONHASHSEED": "0", "TORCHINDUCTOR_CACHE_DIR": str(home)}


def copy_program(folder: Path) -> None:
    """The worker and the files that it needs, in a package of the same name, readable by every user."""
    package = Path(minilora.__file__).parent
    for name in worker.PROGRAM:
        target = folder / "minilora" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package / name, target)
    for inner in [folder, *folder.rglob("*")]:
        if inner.is_dir() and inner != folder:
            (inner / "__init__.py").touch()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)


def remove(folder: Path) -> None:
    """Removes a folder that a submission wrote to, however deep it is."""
    if shutil.which(
        "rm"
    ):  # Python's own removal is recursive, and gives up where folders are nested 1,000 deep
        subprocess.run(["rm", "-rf", "--", str(folder)], check=False, capture_output=True)
    else:
        with contextlib.suppress(RecursionError):
            shutil.rmtree(folder, ignore_errors=True)
