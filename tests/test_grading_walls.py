"""The walls themselves: groups that cap memory and processes, the filter of system calls, what lies below /usr."""

import ctypes
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from minilora.grading import cgroup, sandbox, seccomp, users
from minilora.grading.batch import share_of_memory
from minilora.grading.grade import grade
from minilora.grading.marks import GRADED, Course
from minilora.grading.session import Deadlines
from minilora.grading.submission import Submission, read_notebook
from tests.test_grading import ALSO_GOOD, BOXES, COURSE, RIGHT, as_notebook, earned, graded, merge_that

needs_bubblewrap = pytest.mark.skipif("bubblewrap" not in BOXES, reason="needs bubblewrap")
SLOW_CALLS = Course(COURSE.secret, COURSE.names, Deadlines(call=60))


@pytest.fixture
def group():
    made = cgroup.make()
    if made is None:
        pytest.skip("this program may not make control groups here")
    yield made
    made.end()


# -- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_group_caps_the_memory_of_all_its_processes_together(group):
    group.limit(200 * 2**20, 64)
    eat = (
        "import os, time\nfor _ in range(6):\n    if not os.fork():\n"
        "        x = b'x' * (80 * 2**20); time.sleep(3); os._exit(0)\ntime.sleep(3)"
    )
    done = subprocess.run(group.wrap([sys.executable, "-c", eat]), check=False, timeout=60)
    assert done.returncode in (0, -9, 137)
    assert group.ran_out_of_memory()
    group.end()
    assert not any(folder.exists() for folder in group.folders.values())


def test_a_group_caps_processes_and_ends_them_all(group):
    group.limit(2**30, 10)
    fork = (
        "import os, time\nn = 0\ntry:\n    for _ in range(50):\n        if not os.fork(): time.sleep(100)\n"
        "        n += 1\nexcept OSError: pass\nprint(n, flush=True)\ntime.sleep(100)"
    )
    command = group.wrap([sys.executable, "-c", fork])
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert int(running.stdout.readline()) < 10
    assert not group.ran_out_of_memory()
    group.end()
    running.wait(20)
    running.stdout.close()
    assert not any(folder.exists() for folder in group.folders.values())


def second_version(root, controllers=("memory.max", "pids.max"), own="0::/a/b\n"):
    """A folder that looks like version 2, whose new groups have these files."""
    (root / "a" / "b").mkdir(parents=True)
    (root / "cgroup.controllers").write_text("cpu memory pids\n")
    (root.parent / "own").write_text(own)
    made = cgroup.Path.mkdir

    def mkdir(path, *arguments, **options):
        made(path, *arguments, **options)
        if path.name.startswith(cgroup.PREFIX):
            for name in controllers:
                (path / name).touch()

    return mkdir


def test_version_2_is_known_and_left_alone_without_its_controllers(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup.Path, "mkdir", second_version(tmp_path / "cg"))
    found = cgroup.make(tmp_path / "cg", tmp_path / "own")
    assert found.version == 2
    folder = found.folders["memory"]
    assert folder.parent == tmp_path / "cg" / "a" / "b"
    found.limit(1000, 7)
    assert ((folder / "memory.max").read_text(), (folder / "pids.max").read_text()) == ("1000", "7")
    for events, expected in (
        ("oom 0\noom_kill 0", False),
        ("oom 0\noom_kill 1", False),
        ("oom 2\noom_kill 1", True),
    ):
        (folder / "memory.events").write_text(events)
        assert found.ran_out_of_memory() is expected
    words = found.wrap(["true"])
    assert str(folder / "cgroup.procs") in words
    assert words.count("1") == 1, "one file to enter"


def test_where_groups_have_no_limits_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup.Path, "mkdir", second_version(tmp_path / "cg", controllers=()))
    assert cgroup.make(tmp_path / "cg", tmp_path / "own") is None
    assert cgroup.make(tmp_path / "nothing", tmp_path / "own") is None
    assert cgroup.make(tmp_path / "cg", tmp_path / "no-such-file") is None


def test_limits_of_the_machine_are_seen(tmp_path):
    (tmp_path / "memory" / "x").mkdir(parents=True)
    (tmp_path / "memory" / "x" / "memory.limit_in_bytes").write_text("4000000000\n")
    (tmp_path / "own").write_text("4:memory:/x\n0::/\n")
    assert cgroup.own_limit(tmp_path, tmp_path / "own") == 4_000_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert cgroup.own_limit(tmp_path, tmp_path / "own") == 4_000_000_000


def test_workers_share_the_machines_memory(monkeypatch):
    monkeypatch.setattr(cgroup, "own_limit", lambda: 4 * 2**30)
    assert share_of_memory(1) == int(0.8 * 4 * 2**30)
    assert 2 * share_of_memory(2) <= 0.8 * 4 * 2**30
    assert share_of_memory(100) == 768 * 2**20


@pytest.mark.slow
@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_many_small_processes_cost_themselves_alone(box, group):
    import dataclasses

    box = dataclasses.replace(box, memory=700 * 2**20)
    eat = merge_that(
        "for _ in range(15):\n    if not os.fork():\n        x = b'x' * (90 * 2**20); time.sleep(20); os._exit(0)\n"
        "time.sleep(5)\nreturn W",
        "import os, time",
    )
    result = graded(box, eat, ALSO_GOOD, course=SLOW_CALLS)
    assert (result.status, earned(result)) == (GRADED, [0, 1]), result


def test_two_graders_begin_with_different_users(monkeypatch):
    if os.name != "posix" or os.getuid() != 0:
        pytest.skip("only root can give a worker a user of its own")
    found = set()
    for _ in range(4):
        user, lock = users.free_user()
        found.add(user)
        users.give_back(user, lock)
    assert len(found) > 1
    assert not list((Path(users.tempfile.gettempdir()) / "minilora-users").glob(str(next(iter(found)))))


@needs_bubblewrap
def test_a_container_beside_this_one_may_have_the_same_users(monkeypatch):
    """bubblewrap ends what it started by its own namespace; no signal goes to a user's processes elsewhere."""
    monkeypatch.setattr(users, "end_all_of", lambda user: pytest.fail("a signal to every process of a user"))
    assert graded(BOXES["bubblewrap"], merge_that(f"return {RIGHT}"), ALSO_GOOD).score == 3


@pytest.mark.slow
@needs_bubblewrap
def test_processes_of_another_container_with_the_same_user_take_nothing(group, monkeypatch):
    """Limits of a user count over the whole kernel; with a group they are not needed."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    user = users.FIRST_USER + 4321
    command = [
        *users.become(user),
        sys.executable if os.access("/usr/bin/sleep", os.X_OK) is False else "/usr/bin/sleep",
        "30",
    ]
    others = [subprocess.Popen(command) for _ in range(20)]
    try:
        monkeypatch.setattr(users, "users_with_processes", set)
        monkeypatch.setattr(users.secrets, "randbelow", lambda count: 4321)
        threads = merge_that(
            "ts = [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(8)]\n[t.start() for t in ts]\n"
            f"[t.join() for t in ts]\nreturn {RIGHT}",
            "import threading, time",
        )
        assert graded(BOXES["bubblewrap"], threads, ALSO_GOOD).score == 3
        assert all(other.poll() is None for other in others), "and none of theirs is ended"
    finally:
        for other in others:
            other.kill()
            other.wait()


# -- system calls ----------------------------------------------------------------------------------------------------


def run_filter(program, number, argument=0, architecture=0xC000003E):
    """The kernel's packet machine, as far as the filter uses it."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, argument, 0, 0, 0, 0, 0)
    steps = [struct.unpack_from("=HBBI", program, place) for place in range(0, len(program), 8)]
    value, place = 0, 0
    while True:
        code, yes, no, operand = steps[place]
        place += 1
        if code == seccomp.LOAD:
            (value,) = struct.unpack_from("=I", data, operand)
        elif code == seccomp.RETURN:
            return operand
        else:
            holds = {
                seccomp.JUMP_EQUAL: value == operand,
                seccomp.JUMP_AT_LEAST: value >= operand,
                seccomp.JUMP_ANY_BIT: bool(value & operand),
            }[code]
            place += yes if holds else no


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_the_filter_refuses_what_is_listed_and_nothing_else(machine):
    program = seccomp.program(machine)
    architecture, column = seccomp.MACHINES[machine]
    answers = {n: run_filter(program, n, architecture=architecture) for n in range(600)}
    refused = {numbers[column]: seccomp.FAIL | seccomp.NOT_PERMITTED for numbers in seccomp.CALLS.values()}
    refused |= {
        numbers[column]: seccomp.FAIL | seccomp.NOT_IMPLEMENTED for numbers in seccomp.MISSING.values()
    }
    assert answers == {n: refused.get(n, seccomp.ALLOW) for n in range(600)}
    clone = seccomp.CLONE[column]
    assert run_filter(program, clone, 0x10000011, architecture) == seccomp.FAIL | seccomp.NOT_PERMITTED
    assert run_filter(program, clone, 0x003D0F00, architecture) == seccomp.ALLOW, "a thread"
    assert run_filter(program, 0, architecture=0x40000003) == seccomp.KILL, "a call by the numbers of 32 bits"
    assert (
        run_filter(program, seccomp.X32 + 1, architecture=architecture)
        == seccomp.FAIL | seccomp.NOT_PERMITTED
    )


def test_an_unknown_machine_has_no_filter():
    assert seccomp.program("riscv64") is None


TRIES = {
    "a user namespace": "libc.syscall(56 if platform.machine() == 'x86_64' else 220, 0x10000011, 0, 0, 0, 0)",
    "a mount namespace": "libc.unshare(0x00020000)",
    "memory files": "libc.memfd_create(b'x', 0)",
    "io_uring": "libc.syscall(425, 8, ctypes.create_string_buffer(200))",
    "userfaultfd": "libc.syscall(323 if platform.machine() == 'x86_64' else 282, 0)",
    "a keyring": "libc.syscall(250 if platform.machine() == 'x86_64' else 219, 0, -3, 1)",
    "ptrace": "libc.ptrace(0, 0, 0, 0)",
    "bpf": "libc.syscall(321 if platform.machine() == 'x86_64' else 280, 0, 0, 0)",
    "chroot": "libc.chroot(b'/tmp')",
}


@needs_bubblewrap
@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in seccomp.MACHINES, reason="no filter for this machine")
def test_what_breaks_out_of_caps_is_refused_by_the_kernel():
    lines = [f"assert {call} < 0 and ctypes.get_errno() in (1, 38), {name!r}" for name, call in TRIES.items()]
    cell = merge_that(
        "\n".join(lines) + f"\nreturn {RIGHT}",
        "import ctypes, platform\nlibc = ctypes.CDLL(None, use_errno=True)",
    )
    assert graded(BOXES["bubblewrap"], cell, ALSO_GOOD).score == 3
    assert ctypes.sizeof(ctypes.c_void_p) == 8


# -- what lies below /usr --------------------------------------------------------------------------------------------


@needs_bubblewrap
def test_the_package_the_class_and_the_marks_are_covered_wherever_they_lie(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox.minilora, "__file__", "/usr/lib/app/minilora/__init__.py")
    folder, file = Path("/usr/lib/os-release"), Path("/usr/lib")
    options = sandbox._hide(
        ("/usr/local/lib/class", str(tmp_path), str(folder)), ["/usr/lib", "/usr/local/lib"]
    )
    pairs = [options[n : n + 2] for n in range(len(options))]
    assert ["--ro-bind-try", "/dev/null"] in pairs
    assert str(tmp_path) not in options, "it is not shown at all"
    assert str(file) not in options, "what the system needs is not covered"
    assert "/usr/lib/app/minilora" in options


@needs_bubblewrap
@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or not os.access("/usr/lib", os.W_OK), reason="writes below /usr")
@pytest.mark.parametrize("place", ["/usr/src", "/usr/local/src", "/usr/lib", "/usr/local/lib", "/usr/share"])
def test_a_class_below_usr_is_not_seen(place):
    """Docker's habit is /usr/src/app; what is given on the command line is covered in other places too."""
    import dataclasses

    folder = Path(place) / f"minilora-test-{os.getpid()}"
    made_parent = not folder.parent.exists()
    (folder / "class").mkdir(parents=True)
    try:
        (folder / "class" / "bob.ipynb").write_text("the work of another one")
        look = merge_that(
            f"import os, glob\nassert not glob.glob({str(folder)!r} + '/**/*.ipynb', recursive=True)\n"
            f"for _, _, files in os.walk('/usr'):\n    assert 'bob.ipynb' not in files\nreturn {RIGHT}"
        )
        box = dataclasses.replace(BOXES["bubblewrap"], hidden=(str(folder / "class"),))
        submission = Submission("a", {"a.ipynb": read_notebook(as_notebook(look, ALSO_GOOD))})
        assert grade(submission, SLOW_CALLS, box).score == 3
    finally:
        sandbox.shutil.rmtree(folder)
        if made_parent:
            folder.parent.rmdir()


# -- what a worker leaves --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif("setpriv" not in BOXES, reason="needs setpriv and root")
def test_setpriv_leaves_no_files_and_no_shared_memory():
    name = f"left-{os.getpid()}"
    leave = merge_that(
        f"for folder in ('/tmp', '/var/tmp', '/dev/shm'):\n    open(f'{{folder}}/{name}', 'w').write('x')\n"
        "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.shmget(0, 2**20, 0o1600) >= 0\n"
        f"assert libc.msgget(0, 0o1600) >= 0\nreturn {RIGHT}"
    )

    def left():
        owners = [
            row.split()
            for kind in ("shm", "msg")
            for row in Path("/proc/sysvipc", kind).read_text().splitlines()[1:]
        ]
        users_of = [int(row[7]) for row in owners]
        files = [Path(folder, name) for folder in ("/tmp", "/var/tmp", "/dev/shm")]
        return [f for f in files if f.exists()], [
            u for u in users_of if users.FIRST_USER <= u < users.LAST_USER
        ]

    before = left()
    assert graded(BOXES["setpriv"], leave, ALSO_GOOD).score == 3
    assert left() == before == ([], before[1])
