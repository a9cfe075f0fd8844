"""User ids for workers, which no one else on the machine has; and the end of all that such a user left behind.

Only root can give a worker another user. Not here: who needs one (sandbox.py).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import tempfile
from pathlib import Path

FIRST_USER, LAST_USER = 20_000, 60_000  # containers often know none above 65535
IS_WORKER = f'[ "$1" -ge {FIRST_USER} ] && [ "$(id -u)" = "$1" ] && [ "$(id -ru)" = "$1" ]'
KILL_ALL = "kill -KILL -1"
SHARED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # where every user may write


def become(user: int) -> list[str]:
    """The words before a command that let it run as this user, and end with its parent.

    subtle: bubblewrap's own --uid would leave root's real user id in place outside; this one changes it.
    """
    ids = [f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--inh-caps=-all"]
    return ["setpriv", *ids, "--bounding-set=-all", "--pdeathsig=KILL", "--"]


def end_all_of(user: int) -> None:
    """Every process of a worker's user, also one that left its group.

    subtle: `kill -1` from root would end everything on the machine, so the shell looks who it is before it does.
    """
    _make_sure(user)
    command = [*become(user), "/bin/sh", "-c", f"{IS_WORKER} && {KILL_ALL}", "sh", str(user)]
    subprocess.run(command, check=False, capture_output=True)


def remove_all_of(user: int) -> None:
    """What a worker without walls left where every user may write: files, shared memory, message queues."""
    _make_sure(user)
    folders = [folder for folder in SHARED_FOLDERS if os.path.isdir(folder)]
    find = ["find", *folders, "-xdev", "-user", str(user), "-delete"]
    subprocess.run(find, check=False, capture_output=True)
    for name, option in (("shm", "-m"), ("msg", "-q"), ("sem", "-s")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            head, *rows = Path("/proc/sysvipc", name).read_text(encoding="ascii").splitlines()
            owner, number = head.split().index("uid"), 1  # columns; the second one is the id
            for row in map(str.split, rows):
                if row[owner] == str(user):
                    subprocess.run(["ipcrm", option, row[number]], check=False, capture_output=True)


def _make_sure(user: int) -> None:
    if user < FIRST_USER:
        raise ValueError(f"user {user} is no worker's; nothing of theirs is ended")


def free_user() -> tuple[int, int]:
    """A user id that no one has, and the lock that keeps it for this worker alone, with its limits and signals.

    The search begins anywhere: a container beside this one has the same numbers, and knows nothing of our locks.
    subtle: what a killed worker leaves counts among its user's processes until the system has cleared it away. A user
    who still has some is not given to the next submission, which could start none.
    """
    import fcntl
    import pwd

    locks = Path(tempfile.gettempdir()) / "minilora-users"
    locks.mkdir(mode=0o700, exist_ok=True)
    if locks.is_symlink() or locks.stat().st_uid != os.getuid():
        raise OSError(f"{locks} belongs to someone else; remove it")
    count = LAST_USER - FIRST_USER
    start = secrets.randbelow(count)
    for step in range(count):
        user = FIRST_USER + (start + step) % count
        with contextlib.suppress(KeyError):
            pwd.getpwuid(user)
            continue
        lock = os.open(locks / str(user), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # subtle: the file may be another one by now, if its last user gave it back just before
            ours = _same_file(lock, locks / str(user))
            if ours and user not in users_with_processes():
                return user, lock
        os.close(lock)
    raise OSError(f"no user id between {FIRST_USER} and {LAST_USER} is free")


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def give_back(user: int, lock: int) -> None:
    """Ends the use of an id; its lock's file goes too, because there may be thousands of them."""
    with contextlib.suppress(OSError):
        os.unlink(Path(tempfile.gettempdir()) / "minilora-users" / str(user))
    os.close(lock)


def users_with_processes() -> set[int]:
    """Also those whose processes have ended and are not cleared away yet."""
    users = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it is gone just now
            users.add(process.stat().st_uid)
    return users
