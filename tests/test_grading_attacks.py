"""Attacks beyond those of test_grading.py, and what docs/grading/attacks.md says of each sandbox."""

import os
import re
import socket
from pathlib import Path

import pytest

from minilora.grading.grade import grade
from minilora.grading.marks import GRADED, Course
from minilora.grading.session import Deadlines
from minilora.grading.submission import Submission, read_notebook
from tests.grading_cases.attacks import NEW
from tests.test_grading import (
    ALSO_GOOD,
    BOXES,
    COURSE,
    GOOD,
    OURS,
    RIGHT,
    STRONGEST,
    as_notebook,
    earned,
    graded,
    merge_that,
)

pytestmark = pytest.mark.slow
QUICK = Course(COURSE.secret, COURSE.names, Deadlines(cell=4, call=4, all=60))


def written(template):
    text = (
        template.replace("{ours}", OURS)
        .replace("{merge}", GOOD.strip())
        .replace("{unmerge}", ALSO_GOOD.strip())
    )
    return text.replace("{formula}", RIGHT).replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize("name", NEW)
def test_a_hostile_notebook_earns_what_its_code_does(name):
    cells = [*map(written, NEW[name]), ALSO_GOOD]
    submission = Submission("alice", {"a.ipynb": read_notebook(as_notebook(*cells))}, digest="d")
    result = grade(submission, QUICK, STRONGEST)
    assert result.status == GRADED, result.remarks
    assert earned(result) in ([0, 0], [0, 1]), result


def test_the_attacks_find_what_is_ours():
    """Else they would be harmless by mistake."""
    look = "".join(
        f"assert ours({name!r})\n" for name in ("learner_side", "worker", "learner", "answers", "protocol")
    )
    assert graded(STRONGEST, OURS, merge_that(f"{look}return {RIGHT}"), ALSO_GOOD).score == 3


# -- the table of the page -------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[1] / "docs" / "grading" / "attacks.md"
NAMES = ("bubblewrap", "setpriv", "plain")


def rows_of_the_page():
    """Row -> sandbox -> what the page says."""
    table = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    head, *rows = (row for row in table if not row[0].startswith("-"))
    assert head[1:] == NAMES
    return {row[0]: dict(zip(NAMES, row[1:], strict=True)) for row in rows}


def succeeds(box, statement, tmp_path):
    """Whether a notebook can do that: its statement runs without an error."""
    course = Course(COURSE.secret, COURSE.names, Deadlines(cell=20, call=20, all=120))
    return grade_of(box, f"import os, sys, socket\n{statement}\nreturn {RIGHT}", course) == 2


def grade_of(box, body, course=QUICK):
    notebook = read_notebook(as_notebook(merge_that(body), ALSO_GOOD))
    result = grade(Submission("alice", {"a.ipynb": notebook}, digest="d"), course, box)
    assert result.status == GRADED, result.remarks
    return result.questions[0].earned


# Row of the page -> what a notebook does, with the names of a secret file, of an open one, and of a port.
TRIES = {
    "read the secret, other submissions or your files": "open({secret!r}).read()",
    "read a file that every user may read": "open({readable!r}).read()",
    "change or delete your files": "open({secret!r}, 'a').write('x')",
    "write where every user may": "open('/tmp/left-{pid}', 'w').write('x'); assert os.stat('/tmp').st_ino == {tmp}",
    "use the network": "socket.create_connection(('127.0.0.1', {port}), 2)",
    "see other processes": "assert open('/proc/{pid}/comm').read().strip() == {comm!r}",
    "end other processes": "os.kill({pid}, 0)",
    "import the solutions, or peft": "import peft",
    "make a user namespace": (  # in a process of one thread
        "libc = __import__('ctypes').CDLL(None)\nif not os.fork(): os._exit(int(libc.unshare(0x10000000) != 0))\n"
        "assert os.wait()[1] == 0"
    ),
    "become root": "os.setuid(0); assert os.getuid() == 0",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("row", TRIES)
def test_the_page_says_what_holds(tmp_path, name, row):
    """`cannot` and `can` on the page are tried, as root, for that is how the table is meant."""
    if name not in BOXES:
        pytest.skip(f"{name} does not work here")
    if os.getuid() != 0:
        pytest.skip("the table is for root")
    secret, readable = tmp_path / "secret", Path("/var/tmp") / f"minilora-readable-{os.getpid()}"
    secret.write_text("x")
    secret.chmod(0o600)
    readable.write_text("x")
    readable.chmod(0o644)
    said = rows_of_the_page()[row][name]
    with socket.create_server(("127.0.0.1", 0)) as server:
        facts = {
            "secret": str(secret),
            "readable": str(readable),
            "port": server.getsockname()[1],
            "pid": os.getpid(),
        }
        facts |= {"tmp": os.stat("/tmp").st_ino, "comm": Path("/proc/self/comm").read_text().strip()}
        worked = succeeds(BOXES[name], TRIES[row].format(**facts), tmp_path)
    readable.unlink()
    Path(f"/tmp/left-{os.getpid()}").unlink(missing_ok=True)
    if said.startswith("cannot"):
        assert not worked
    else:
        assert said.startswith("**can")
        assert worked or "where" in said


def test_every_row_of_the_page_is_tried():
    elsewhere = {
        "raise its mark: lying objects, forged replies, patched libraries, frame walking": "NEW, WORTHLESS, SPOILED",
        "loop, crash, exit, recurse, fill the memory, print or return without end": "WORTHLESS, DEADLY",
        "fill the disk": "test_under_bubblewrap_the_disk_cannot_be_filled",
        "take memory from its neighbors": "test_many_small_processes_cost_themselves_alone",
        "start many processes": "test_a_fork_bomb_is_stopped_and_takes_no_process_from_the_next",
        "leave a process behind": "test_no_daemon_survives",
        "leave files, shared memory or message queues": "test_setpriv_leaves_no_files_and_no_shared_memory",
    }
    assert set(rows_of_the_page()) == set(TRIES) | set(elsewhere)
