"""Nothing stops a batch: files that take for ever or all memory, Ctrl-C, and deaths that the machine caused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minilora.exercises import registry
from minilora.grading import adapters, batch, cgroup, pool, process, protocol
from minilora.grading.batch import grade_all
from minilora.grading.grade import grade
from minilora.grading.line import Ended, Line
from minilora.grading.marks import FAILED, GRADED, Course
from minilora.grading.session import Cell, Deadlines, Session, as_cells
from minilora.grading.source import without_magics
from minilora.grading.submission import Entry, Submission, entries, read_notebook
from tests.test_grading import (
    ALSO_GOOD,
    BOXES,
    COURSE,
    GOOD,
    STRONGEST,
    as_notebook,
    earned,
    graded,
    merge_that,
)

posix = pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
PLAIN = BOXES["plain"]


# -- texts that take for ever ----------------------------------------------------------------------------------------

SLOW_TO_READ = {
    "a long line of spaces": "def f(:\n" + " " * 300_000,
    "spaces and an equals sign": "def f(:\n" + " " * 200_000 + "= !ls",
    "commas": "def f(:\n" + "a, " * 100_000,
    "question marks": "def f(:\n" + "?" * 300_000,
    "dots": "def f(:\n" + "a." * 100_000 + "!",
    "percent signs": "def f(:\n" + "%" * 300_000,
    "open brackets": "(" * 300_000,
    "open quotes": '"""' * 100_000,
    "a deep expression": "x = " + "-" * 200_000 + "1",
    "a long sum": "x = " + "1 + " * 100_000 + "1",
    "many lines": "\n" * 400_000,
    "fences": "```" * 100_000,
}


@pytest.mark.parametrize("name", SLOW_TO_READ)
@pytest.mark.timeout(60)
def test_magics_are_taken_out_in_linear_time(name):
    start = time.process_time()
    without_magics(SLOW_TO_READ[name])
    assert time.process_time() - start < 5


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", SLOW_TO_READ)
def test_a_text_that_is_slow_to_read_costs_nothing_else(name):
    result = graded(STRONGEST, GOOD, SLOW_TO_READ[name], ALSO_GOOD)
    assert (result.status, earned(result)) == (GRADED, [2, 1])


PATTERNS = {
    "a pattern that never ends": {"target_modules": "(([a-z0-9_.]+)+)+X"},
    "in a list": {"target_modules": ["q_proj", "(a+)+b"]},
    "excluded": {"target_modules": ["q_proj"], "exclude_modules": "(a+)+b"},
    "ranks by pattern": {"target_modules": ["q_proj"], "rank_pattern": {"(a+)+b": 3}},
    "a megabyte of it": {"target_modules": "a" * 2**21},
}


def adapter(settings, metadata=None):
    head = json.dumps(
        {"__metadata__": {"minilora_settings": json.dumps(metadata)}} if metadata else {}
    ).encode()
    weights = len(head).to_bytes(8, "little") + head
    told = {"peft_type": "LORA", "r": 4, "lora_alpha": 8} | settings
    return {
        "my-run/adapter_config.json": json.dumps(told).encode(),
        "my-run/adapter_model.safetensors": weights,
    }


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("place", ["settings", "weights"])
@pytest.mark.timeout(60)
def test_a_learners_pattern_is_never_matched(name, place):
    question = registry.get("run-a-finetune")
    inside = ({}, PATTERNS[name]) if place == "weights" else (PATTERNS[name], None)
    submission = Submission("ada", files=adapter(*inside))
    looked = adapters.from_submission(question, submission, [])
    mistake, sentence = looked.observe({"folder": "my-run", "base": "tiny-gpt"}, question.numbers("ada"))[
        "problem"
    ]
    assert mistake == "unreadable"
    assert "pattern" in sentence


def test_names_of_layers_are_no_patterns():
    for value in (
        "attention",
        "all-linear",
        "q_proj",
        ["q_proj", "model.layers.0.self_attn.v_proj"],
        None,
        {},
    ):
        assert adapters._is_plain(value), value


# -- sizes, before anything is parsed --------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"0,", b'"",', b"[[[[[[["])
def test_a_message_of_very_many_values_is_refused_before_it_is_parsed(piece, monkeypatch):
    data = piece * (15 * 2**20 // len(piece))
    pipe = iter([len(data).to_bytes(4, "big"), data])
    monkeypatch.setattr(protocol, "_read", lambda *_: next(pipe))
    monkeypatch.setattr(protocol.json, "loads", lambda *_: pytest.fail("parsed"))
    with pytest.raises(protocol.ProtocolError, match="values"):
        protocol.read_message(None)


def test_keys_count_like_texts():
    with pytest.raises(protocol.ProtocolError):
        protocol.decode(["d", ["k" * (protocol.MAX_VALUES + 1), 1]])


def test_a_cell_of_megabytes_is_not_parsed():
    (cell,) = as_cells(read_notebook(as_notebook("x = [" + "0," * 2**20 + "]")))
    assert cell.source == ""
    assert "2,097,158 characters" in str(cell.problems[0])


@pytest.mark.slow
def test_a_flood_waits_in_the_pipe():
    """A worker that writes without being asked: the grader holds one message, whatever comes."""
    flood = merge_that(
        "import os, threading\ndef flood():\n    for fd in range(3, 40):\n        try:\n"
        "            while True: os.write(fd, (1000).to_bytes(4, 'big') + b' ' * 1000)\n"
        "        except OSError: pass\nthreading.Thread(target=flood, daemon=True).start()\nreturn W"
    )
    with Session(PLAIN, [Cell(flood, "cell 1")], deadlines=COURSE.deadlines) as session:
        session.open()
        session.wanted.functions["merge"] = 4
        read = []
        line = session.line
        original = line.answers.put
        line.answers.put = lambda answer: (read.append(1), original(answer))
        session.call("merge", {name: np.ones((2, 2)) for name in ("W", "A", "B")} | {"alpha": 1}, {}, "value")
        time.sleep(1)
        assert len(read) <= 3


# -- the pool --------------------------------------------------------------------------------------------------------

HANGS = """
from minilora.grading import batch, submission
load = submission.load
def hang(entry):
    if entry.student.startswith("slow"):
        while True: pass
    if entry.student.startswith("dies"):
        import os; os._exit(9)
    if entry.student.startswith("eats"):
        x = []
        while True: x.append(bytearray(2**26))
    return load(entry)
batch.load = hang
"""


@pytest.fixture
def broken_reading(monkeypatch):
    """Stands for a fault in our own reading that a file may find: the pool's processes hang, die and eat memory."""
    start = (
        "import sys; sys.path[:] = sys.argv[1:]\n"
        + HANGS
        + "from minilora.grading.pool import serve\nserve()"
    )
    monkeypatch.setattr(pool, "START", start)
    monkeypatch.setattr(pool, "NAMED_AFTER", 1.0)
    monkeypatch.setattr(pool, "GRACE", 1.0)
    monkeypatch.setattr(batch, "SPARE", 0.0)


@pytest.fixture
def classroom(tmp_path):
    folder = tmp_path / "class"
    folder.mkdir()
    for name in ("ada", "slow", "dies", "eats", "zoe"):
        (folder / f"{name}.ipynb").write_bytes(as_notebook(GOOD, ALSO_GOOD))
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("broken_reading")
@pytest.mark.parametrize("workers", [1, 2])
def test_what_hangs_dies_or_eats_all_memory_is_failed_and_the_others_are_graded(classroom, capsys, workers):
    course = Course(COURSE.secret, COURSE.names, Deadlines(submission=40))
    found = {r["student"]: r for r in grade_all(entries(classroom), course, PLAIN, None, workers)}
    assert {name: result["score"] for name, result in found.items()} == {
        "ada": 3, "slow": None, "dies": None, "eats": None, "zoe": 3,
    }  # fmt: skip
    assert {found[name]["status"] for name in ("slow", "dies", "eats")} == {FAILED}
    assert "more than 40 seconds" in found["slow"]["remarks"][0]
    assert "slow.ipynb" in capsys.readouterr().err, "the one that hangs is named while it does"


def run_a_class(folder, mark):
    sleeper = merge_that(f"import time\n{mark}\nwhile True: pass")
    (folder / "s.ipynb").write_bytes(as_notebook(sleeper))
    command = [
        sys.executable,
        "-m",
        "minilora.cli",
        "grade",
        str(folder),
        "--exercises",
        "merge",
        "--workers",
        "2",
    ]
    environment = os.environ | {
        "MINILORA_COURSE_SECRET": "a secret of thirty-two bytes ...",
        "TMPDIR": str(folder.parent),
    }
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)


def alive(mark):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "comm").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_ending_the_command_ends_everything(tmp_path, by):
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "a.ipynb").write_bytes(as_notebook(GOOD))
    mark = f"end{os.getpid() % 10000}{by.name[-4:]}"
    running = run_a_class(folder, f"__import__('ctypes').CDLL(None).prctl(15, {mark.encode()!r})")
    limit = time.monotonic() + 120
    while not alive(mark) and time.monotonic() < limit:
        time.sleep(0.1)
    assert alive(mark), "the worker runs"
    children = [int(p) for p in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()]
    running.send_signal(by)
    running.wait(60)
    assert running.returncode != 0
    limit = time.monotonic() + 30
    while (alive(mark) or any(_runs(pid) for pid in children)) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not alive(mark)
    assert not any(_runs(pid) for pid in children)
    if by != signal.SIGKILL:
        assert not list(tmp_path.glob("minilora-worker-*"))


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# -- deaths that the machine caused ----------------------------------------------------------------------------------


def ended(machine=False):
    reason = Ended("its process ended")
    reason.killed, reason.machine = True, machine
    return reason


@pytest.mark.parametrize("where", ["cell", "call"])
def test_a_death_for_want_of_memory_that_others_used_is_a_failure_and_no_zero(monkeypatch, where):
    ask = Line.ask

    def asks(line, request, *more):
        if request["do"] == where:
            raise ended(machine=True)
        return ask(line, request, *more)

    monkeypatch.setattr(Line, "ask", asks)
    result = graded(PLAIN, GOOD, ALSO_GOOD)
    assert (result.status, result.score) == (FAILED, None)


@pytest.mark.parametrize("where", ["cell", "call"])
def test_a_kill_from_outside_costs_nothing_and_a_second_one_is_its_own(monkeypatch, where):
    ask, kills = Line.ask, []

    def asks(line, request, *more):
        if request["do"] == where and len(kills) < most:
            kills.append(1)
            raise ended()
        return ask(line, request, *more)

    monkeypatch.setattr(Line, "ask", asks)
    most = 1
    assert graded(PLAIN, GOOD, ALSO_GOOD).score == 3
    most = 1000
    assert (result := graded(PLAIN, GOOD, ALSO_GOOD)).status == GRADED, result
    assert result.score == 0


def test_how_an_end_is_told_apart(monkeypatch):
    class Group:
        def __init__(self, full):
            self.full = full

        def ran_out_of_memory(self):
            return self.full

    worker = object.__new__(process.Worker)
    worker.sandbox, worker.kills_before = PLAIN, 5
    for code, group, kills, expected in (
        (0, None, 5, None),
        (1, Group(False), 9, None),
        (-9, None, 5, process.End("its process ended", killed=True)),
        (137, Group(False), 5, process.End("its process ended", killed=True)),
        (-9, None, 6, process.End("its process ended", killed=True, machine=True)),
        (-9, Group(False), 6, process.End("its process ended", killed=True, machine=True)),
        (-9, Group(True), 6, process.End("it took more than 4,096 MB of memory")),
    ):
        worker.process, worker.group = subprocess.Popen([sys.executable, "-c", ""]), group
        worker.process.wait()
        worker.process.returncode = code
        monkeypatch.setattr(cgroup, "oom_kills", lambda kills=kills: kills)
        assert worker.why_it_ended() == expected


def test_failures_are_tried_again_alone(classroom, monkeypatch):
    passes = []

    def one_pass(found, course, sandbox, folder, workers):
        passes.append((workers, [entry.student for entry in found]))
        for entry in found:
            lost = entry.student == "dies" or (entry.student == "eats" and len(passes) == 1)
            status = FAILED if lost else GRADED
            yield entry, {"student": entry.student, "status": status}, lost

    monkeypatch.setattr(batch, "_pass", one_pass)
    found = grade_all(entries(classroom), COURSE, PLAIN, None, 2)
    assert passes == [(2, ["ada", "dies", "eats", "slow", "zoe"]), (1, ["dies", "eats"])]
    assert [r["student"] for r in found if r["status"] == FAILED] == ["dies"]


def test_results_on_a_full_disk_stop_nobody(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "ada.ipynb").write_bytes(b"{")
    monkeypatch.setattr(batch.results, "write", full)
    result = batch.grade_one(Entry("ada", tmp_path / "ada.ipynb"), COURSE, PLAIN, tmp_path / "marks")
    assert (result["status"], result["score"]) == (FAILED, None)
    assert "No space left" in result["remarks"][0]


def test_a_nested_folder_of_a_submissions_goes_away(tmp_path):
    work = tmp_path / "worker"
    work.mkdir()
    deep = "import os\nfor _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')"
    subprocess.run([sys.executable, "-c", deep], cwd=work, check=True)
    process.remove(work)
    assert not work.exists()


def test_a_submission_that_uses_up_its_time_is_graded_with_what_it_has(monkeypatch):
    slow = "import time\ntime.sleep(1.5)"
    course = Course(COURSE.secret, COURSE.names, Deadlines(all=6))
    submission = Submission("a", {"a.ipynb": read_notebook(as_notebook(*[slow] * 9, GOOD, ALSO_GOOD))})
    result = grade(submission, course, PLAIN)
    assert (result.status, result.score) == (GRADED, 3), result
    assert any("no time was left" in remark for remark in result.remarks)
