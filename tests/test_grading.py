"""Hostile, broken and ordinary submissions in every sandbox of this machine: each earns what its code is worth."""

import functools
import json
import os
import socket
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from minilora.exercises import judging, registry
from minilora.exercises.judging import CORRECT, NOT_ATTEMPTED
from minilora.grading import process, protocol, sandbox, users
from minilora.grading.grade import grade
from minilora.grading.marks import FAILED, GRADED, UNREADABLE, Course
from minilora.grading.session import Cell, Deadlines, GraderFailure, Session, Wanted
from minilora.grading.submission import Entry, Submission, entries, load, read_notebook

MERGE, UNMERGE = registry.get("merge"), registry.get("unmerge")
GOOD, ALSO_GOOD = MERGE.solution_source(), UNMERGE.solution_source()
# Long enough for a correct answer on a busy machine, short enough for a test of endless loops.
COURSE = Course(b"a secret of thirty-two bytes ...", ("merge", "unmerge"), Deadlines(cell=5, call=4, all=90))
FOUND = sandbox.available()
BOXES = {name: box for name, box in FOUND.items() if not isinstance(box, str)}
MISSING_BOXES = {name: why for name, why in FOUND.items() if isinstance(why, str)}  # said at the end of a run
STRONGEST, *WEAKER = BOXES.values()
each_box = pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
weaker = pytest.mark.parametrize("box", WEAKER, ids=[box.name for box in WEAKER])
WALLED = [box for box in BOXES.values() if box.name != "plain"]
walled = pytest.mark.parametrize("box", WALLED, ids=[box.name for box in WALLED])


def in_boxes(notebooks, everywhere):
    """Every notebook in the strongest sandbox, and in the weaker ones those on which a sandbox has an influence.

    What guards against the others is the same code for all, outside of the worker; the weaker sandboxes see them too,
    but many in one worker.
    """
    assert set(everywhere) <= set(notebooks)
    pairs = [(STRONGEST, name) for name in notebooks]
    pairs += [(box, name) for box in WEAKER for name in notebooks if name in everywhere]
    return pytest.mark.parametrize(("box", "name"), pairs, ids=[f"{name}-{box.name}" for box, name in pairs])


def as_cell(cell):
    return (
        cell
        if isinstance(cell, dict)
        else {"cell_type": "code", "metadata": {}, "source": cell, "outputs": []}
    )


def as_test_cell(source):
    """The cell that checks `merge`, as it is handed out, but with this in it."""
    mark = {"grade_id": "merge-check", "grade": True, "locked": True, "points": 2, "solution": False}
    return {"cell_type": "code", "source": source, "metadata": {"nbgrader": mark}, "outputs": []}


def as_notebook(*cells, **more) -> bytes:
    return json.dumps(
        {"cells": [as_cell(c) for c in cells], "nbformat": 4, "nbformat_minor": 5, **more}
    ).encode()


def graded(box, *cells, course=COURSE):
    submission = Submission("alice", {"a.ipynb": read_notebook(as_notebook(*cells))}, digest=repr(cells))
    return grade(submission, course, box)


def earned(result):
    return [question.earned for question in result.questions]


def merge_that(body: str, before: str = "") -> str:
    lines = "\n".join("    " + line for line in body.strip().split("\n"))
    return f"{before}\ndef merge(W, A, B, alpha):\n{lines}\n"


# What is ours in the worker is in no table of modules any more, and can be found all the same.
OURS = (
    "import gc\nclass Ours: pass\ndef ours(name):\n"
    "    full = 'minilora.' + {'learner_side': 'exercises.'}.get(name, 'grading.') + name\n    found = Ours()\n"
    "    found.__dict__ = next(d for d in gc.get_objects() if type(d) is dict and d.get('__name__') == full)\n"
    "    return found"
)
RIGHT = "W + alpha / A.shape[0] * (B @ A)"

# -- a hostile or broken `merge`; `unmerge` beside it is right and keeps its point -----------------------------------

WORTHLESS = {
    "endless loop": merge_that("while True: pass"),
    "swallows every exception": merge_that(
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    ),
    "ignores SIGTERM": merge_that(
        "while True: pass", "import signal\nfor s in (15, 2, 1): signal.signal(s, signal.SIG_IGN)"
    ),
    "deep recursion": merge_that("return merge(W, A, B, alpha)"),
    "recursion beyond the stack": merge_that(
        "sys.setrecursionlimit(10**9)\nreturn merge(W, A, B, alpha)", "import sys"
    ),
    "memory bomb": merge_that("x = []\nwhile True: x.append(bytearray(10**8))"),
    "one huge array": merge_that("return np.ones(10**12)"),
    "endless print": merge_that("while True: print('x' * 10_000)"),
    "huge return": merge_that("return [0] * 50_000_000"),
    "huge text": merge_that("return 'x' * 100_000_000"),
    "huge number": merge_that("return 10 ** 5000"),
    "deep return": merge_that("x = []\nfor _ in range(100_000): x = [x]\nreturn x"),
    "returns itself": merge_that("x = []\nx.append(x)\nreturn x"),
    "sys.exit": merge_that("import sys\nsys.exit(0)"),
    "os._exit": merge_that("import os\nos._exit(0)"),
    "segfault": merge_that("import ctypes\nctypes.string_at(0)"),
    "kills itself": merge_that("import os\nos.kill(os.getpid(), 9)"),
    "closes all descriptors": merge_that("import os\nos.closerange(0, 200)\nreturn W"),
    "interrupts": merge_that("raise KeyboardInterrupt"),
    "an exception that cannot be shown": merge_that(
        "raise Bad", "class Bad(Exception):\n    def __str__(self): raise Bad"
    ),
    "always equal": merge_that(
        "return Yes()",
        "class Yes:\n    def __eq__(self, other): return True\n    def __array__(self, *a, **k): return "
        "np.zeros(3)\n"
        "    def __getattr__(self, name): return Yes()",
    ),
    "an array that is always equal": merge_that(
        "return np.zeros(W.shape).view(Yes)",
        "class Yes(np.ndarray):\n    def __eq__(self, other): return np.ones(self.shape, bool)\n"
        "    def __sub__(self, other): return np.zeros(self.shape)\n    def __array_ufunc__(self, *a, "
        "**k): return 0",
    ),
    "a float that is always equal": merge_that(
        "return Yes(1)",
        "class Yes(float):\n    def __eq__(self, other): return True\n    def __sub__(self, o): return 0.0",
    ),
    "a dict that lies": merge_that(
        "return Yes(a=1)",
        "class Yes(dict):\n    def __getitem__(self, k): return 1\n    def items(self): return ()",
    ),
    "NaN": merge_that(f"return ({RIGHT}) * np.nan"),
    "infinite": merge_that("return np.full(W.shape, np.inf)"),
    "one number, broadcast": merge_that(f"return ({RIGHT})[:1, :1]"),
    "an axis too many": merge_that(f"return ({RIGHT})[None]"),
    "objects": merge_that(f"return ({RIGHT}).astype(object)"),
    "complex numbers": merge_that(f"return ({RIGHT}).astype(complex)"),
    "text": merge_that(f"return str({RIGHT})"),
    "float16": merge_that(f"return (100 + {RIGHT}).astype(np.float16) - 100"),
    "A and B swapped": merge_that("return W + alpha / A.shape[0] * (A.T @ B.T)"),
    "changes its arguments": merge_that(f"W[:] = {RIGHT}\nreturn W"),
    "a generator": merge_that(f"yield {RIGHT}"),
    "a coroutine": merge_that("pass", "") + "async " + merge_that(f"return {RIGHT}").strip(),
    "no number at all": "merge = 3",
    "the notebook's check": "from minilora.exercises import check as merge",
    "peft inside": merge_that("import peft\nreturn W"),
    "the solution inside": merge_that(
        "from minilora.exercises.hands_on.merge import merge as right\nreturn right(W, A, B, alpha)"
    ),
    "frame walking": merge_that(
        "import sys, gc\nframe = sys._getframe()\nwhile frame:\n    for name, value in "
        "frame.f_locals.items():\n"
        "        if 'expected' in name: return value\n    frame = frame.f_back\n"
        "return next((o for o in gc.get_objects() if isinstance(o, np.ndarray) and o.shape == W.shape), W)"
    ),
    "forged replies on every descriptor": merge_that(
        "import os, json\ndata = json.dumps(['d', ['status', 'returned'], ['value', None], ['earned', "
        "100]]).encode()\n"
        "for fd in range(3, 60):\n    try: os.write(fd, len(data).to_bytes(4, 'big') + data)\n"
        "    except OSError: pass\n"
        "return W"
    ),
    "garbage on every descriptor": merge_that(
        "import os\nfor fd in range(3, 60):\n    try: os.write(fd, b'\\xff' * 1000)\n    except OSError: "
        "pass\nreturn W"
    ),
    "a reply to an older call": merge_that(
        f"{OURS}\np = ours('protocol')\nold = p.write_message\n"
        "def late(pipe, message):\n    old(pipe, dict(message, nonce='0' * 16))\np.write_message = late\nreturn W"
    ),
    "rewrites the comparison": merge_that(
        f"{OURS}\nside = ours('learner_side')\nside.same = lambda *a: True\n"
        "side.call.__globals__['to_plain'] = lambda v: v\nreturn W"
    ),
    "an AST hook": "import ast\nast.parse = compile = exec = None\n" + merge_that("return W"),
    "a tracer": merge_that(
        "return W", "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)"
    ),
    "hard-coded public answers": merge_that(
        "return next((np.array(y) for x, y in KNOWN if np.shape(x) == W.shape and np.allclose(x, W)), W)",
        "KNOWN = "
        + repr(
            [
                (case.arguments["W"].tolist(), MERGE.solution(**case.arguments).tolist())
                for seed in range(2)
                for case in MERGE.cases(seed)
            ]
        ),
    ),
}


# Of these, a sandbox's walls, its user's limits, or the way in which it ends a worker decide. Of those that never end
# by themselves the most stubborn ones; the others end in the same way.
UP_TO_THE_SANDBOX = {
    "ignores SIGTERM",
    "endless print",
    "recursion beyond the stack",
    "memory bomb",
    "one huge array",
}
UP_TO_THE_SANDBOX |= {
    "sys.exit",
    "os._exit",
    "segfault",
    "kills itself",
    "closes all descriptors",
    "peft inside",
}
UP_TO_THE_SANDBOX |= {
    "the solution inside",
    "frame walking",
    "forged replies on every descriptor",
    "an AST hook",
}
UP_TO_THE_SANDBOX |= {
    "garbage on every descriptor",
    "a reply to an older call",
    "rewrites the comparison",
    "a tracer",
}
# These may cost their whole notebook its points; nothing forbids that.
SELF_DESTROYING = {"a reply to an older call", "rewrites the comparison"}
SELF_DESTROYING |= {"forged replies on every descriptor", "garbage on every descriptor"}


@pytest.fixture
def _little_memory(monkeypatch):
    """Until a bomb has filled what a submission may have takes seconds; a limit is a limit at 1 GB too."""
    monkeypatch.setitem(sandbox.LIMITS, "AS", 2**30)


@in_boxes(WORTHLESS, UP_TO_THE_SANDBOX)
@pytest.mark.usefixtures("_little_memory")
@pytest.mark.slow
def test_a_worthless_answer_earns_nothing_and_costs_only_itself(box, name):
    result = graded(box, "import numpy as np", WORTHLESS[name], ALSO_GOOD)
    assert result.status == GRADED, result.remarks
    if name in SELF_DESTROYING:
        assert earned(result)[0] == 0
    else:
        assert earned(result) == [0, 1]


@weaker
@pytest.mark.slow
def test_all_other_worthless_answers_in_one_worker(box):
    """Each in a cell of its own, under names of its own; a right answer among them passes after every one."""
    never_end = {"endless loop", "swallows every exception"}
    names = [name for name in WORTHLESS if name not in UP_TO_THE_SANDBOX | never_end]
    cells = [Cell("import numpy as np", "first"), Cell(GOOD, "right")]
    for number, name in enumerate(names):
        source = WORTHLESS[name].replace("merge", f"merge_{number}").replace("Yes", f"Yes_{number}")
        cells.append(Cell(source, name))
    wanted = Wanted({"merge": 4} | {f"merge_{number}": 4 for number in range(len(names))})
    with Session(box, cells, wanted, COURSE.deadlines) as session:

        def outcome(function):
            run = functools.partial(session.call, function, takes=MERGE.takes, gives=MERGE.gives)
            return judging.judge(MERGE, run, seed=7)

        for number, name in enumerate(names):
            assert outcome(f"merge_{number}").earned == 0, name
            assert outcome("merge").outcome == CORRECT, f"after {name}"


# -- hostile cells before right answers: they never raise the mark, and never stop the grader ------------------------

SPOILED = {
    "patched numpy": "np.abs = np.array = np.ascontiguousarray = np.asarray = lambda *a, **k: 0",
    "patched builtins": "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.len = lambda x: 0",
    "patched torch": "import torch\ntorch.equal = torch.allclose = lambda *a, **k: True\n"
    "torch.Tensor.__eq__ = torch.Tensor.__ne__ = lambda *a: True\n"
    "torch.Tensor.numpy = torch.Tensor.detach = torch.Tensor.cpu = torch.from_numpy = lambda *a, **k: 0",
    "a check of one's own": "def check(*arguments): return 1000\nhint = solution = check",
    "patched json": "import json\njson.dumps = lambda *a, **k: '{}'\njson.loads = lambda *a, **k: {}",
    "patched import": "import sys\nsys.meta_path.clear()\nsys.modules.clear()",
    "removed builtins": "import builtins\nfor n in list(vars(builtins)): delattr(builtins, n)",
    "threads that never end": "import threading\nfor _ in range(5):\n"
    "    threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()",
    "an exit handler": "import atexit, time\natexit.register(time.sleep, 1000)",
    "an alarm": "import signal\nsignal.alarm(1)",
    "no floating point": "np.seterr(all='raise')",
}


@in_boxes(SPOILED, {"patched import", "threads that never end", "an exit handler", "an alarm"})
@pytest.mark.slow
def test_a_spoiled_interpreter_never_raises_a_mark(box, name):
    result = graded(box, "import numpy as np", SPOILED[name], merge_that("return W"), ALSO_GOOD)
    assert result.status == GRADED, result.remarks
    assert earned(result) in ([0, 0], [0, 1])


@each_box
@pytest.mark.slow
def test_patched_torch_does_not_raise_the_mark_of_an_exercise_in_torch(box):
    forward = registry.get("lora-forward")
    course = Course(COURSE.secret, (forward.name,), Deadlines(cell=60, call=10, all=120))
    wrong = forward.solution_source().replace("alpha / ", "alpha * ")
    assert wrong != forward.solution_source()
    assert earned(graded(box, SPOILED["patched torch"], wrong, course=course)) == [0]
    assert earned(graded(box, "import torch", forward.solution_source(), course=course)) == [forward.points]


DEADLY = {
    "os._exit": "import os\nos._exit(0)",
    "endless loop": "while True: pass",
    "segfault": "import ctypes\nctypes.string_at(0)",
    "memory": "x = []\nwhile True: x.append(bytearray(10**8))",
    "endless print": "while True: print('x' * 10_000)",
    "stops itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
}


@in_boxes(DEADLY, {"os._exit", "segfault", "memory", "stops itself"})
@pytest.mark.usefixtures("_little_memory")
@pytest.mark.slow
def test_a_deadly_cell_costs_only_what_it_holds(box, name):
    result = graded(box, "import numpy as np", GOOD, DEADLY[name], ALSO_GOOD)
    assert earned(result) == [2, 1], result


# -- ordinary accidents: a right answer keeps its points -------------------------------------------------------------

STUB = MERGE.stub_source()
ORDINARY = {
    "as it should be": ["import numpy as np", GOOD, ALSO_GOOD],
    "no import": [GOOD, ALSO_GOOD],
    "reordered": [ALSO_GOOD, GOOD, 'check("merge", merge)', "import numpy as np"],
    "checked before it is written": ['check("merge", merge)', GOOD, ALSO_GOOD],
    "the notebook's own first cell": [
        "import numpy as np\nfrom minilora.exercises import check, hint, progress\nimport "
        "matplotlib.pyplot as plt",
        GOOD,
        'hint("merge"); check("merge", merge); progress()',
        ALSO_GOOD,
    ],
    "doubled": [GOOD, GOOD, ALSO_GOOD],
    "a second, untouched stub": [GOOD, STUB, ALSO_GOOD],
    "an untouched stub that raises": [GOOD, merge_that("raise NotImplementedError"), ALSO_GOOD],
    "wrong first, right later": [merge_that("return W"), GOOD, ALSO_GOOD],
    "turned into Markdown": [{"cell_type": "markdown", "source": f"```python\n{GOOD}\n```"}, ALSO_GOOD],
    "turned into raw text": [{"cell_type": "raw", "source": GOOD}, ALSO_GOOD],
    "both in one cell": [GOOD + "\n\n" + ALSO_GOOD],
    "renamed, in its own cell": [
        {
            "cell_type": "code",
            "source": GOOD.replace("def merge", "def my_merge"),
            "metadata": {"nbgrader": {"grade_id": "merge"}},
        },
        ALSO_GOOD,
    ],
    "the name used for something else later": [GOOD, ALSO_GOOD, "merge = 3"],
    "a lambda": ["merge = lambda W, A, B, alpha: W + alpha / len(A) * B @ A", ALSO_GOOD],
    "a callable object": [
        "class M:\n    def __call__(self, W, A, B, alpha): return " + RIGHT + "\nmerge = M()",
        ALSO_GOOD,
    ],
    "a default argument": [f"def merge(W, A, B, alpha, *, verbose=False):\n    return {RIGHT}", ALSO_GOOD],
    "warnings": [
        merge_that(f"import warnings\nwarnings.warn('!')\nnp.zeros(1) / 0\nreturn {RIGHT}"),
        ALSO_GOOD,
    ],
    "prints": [merge_that(f"print(W, 'ü' * 1000)\nreturn {RIGHT}"), ALSO_GOOD],
    "writes to stderr": [merge_that(f"import sys\nprint('!', file=sys.stderr)\nreturn {RIGHT}"), ALSO_GOOD],
    "a cell that fails": ["1 / 0", GOOD, "raise SystemExit", ALSO_GOOD, "undefined_name"],
    "a cell that is no Python": ["def broken(:", GOOD, "Hello there!", ALSO_GOOD],
    "magics and commands": [
        "%matplotlib inline\n!ls\nx = !ls\nlen?",
        "%%time\n" + GOOD,
        "%%bash\nls",
        ALSO_GOOD,
    ],
    "input()": ["name = input('your name')", GOOD, ALSO_GOOD],
    "await at the top": ["import asyncio\nawait asyncio.sleep(0)", GOOD, ALSO_GOOD],
    "Windows line ends": [GOOD.replace("\n", "\r\n"), ALSO_GOOD],
    "display and get_ipython": ["display(1)\nget_ipython().run_line_magic('time', '')", GOOD, ALSO_GOOD],
    "not contiguous": [merge_that(f"return np.asfortranarray({RIGHT})[::1]"), ALSO_GOOD],
    "a matrix": [merge_that(f"return np.matrix({RIGHT})"), ALSO_GOOD],
    "nested lists": [merge_that(f"return ({RIGHT}).tolist()"), ALSO_GOOD],
    "float32": [merge_that(f"return ({RIGHT}).astype('>f4')"), ALSO_GOOD],
    "torch, with a gradient": [
        "import torch",
        merge_that("return torch.tensor(" + RIGHT + ", requires_grad=True)"),
        ALSO_GOOD,
    ],
    "edited points": [
        {"cell_type": "code", "source": GOOD, "metadata": {"nbgrader": {"grade_id": "x", "points": 1000}}},
        ALSO_GOOD,
    ],
    "an edited test cell": [GOOD, as_test_cell("assert merge is None, 'I changed this'"), ALSO_GOOD],
    "a test cell that is now an answer": [as_test_cell(GOOD), ALSO_GOOD],
}


# What reads cells and finds answers in them is outside; what runs them meets the sandbox.
RUN_BY_THE_WORKER = {
    "as it should be",
    "the notebook's own first cell",
    "warnings",
    "prints",
    "writes to stderr",
}
RUN_BY_THE_WORKER |= {"a cell that fails", "magics and commands", "input()", "await at the top", "float32"}
RUN_BY_THE_WORKER |= {"display and get_ipython", "torch, with a gradient"}


@in_boxes(ORDINARY, RUN_BY_THE_WORKER)
@pytest.mark.slow
def test_a_right_answer_keeps_its_points(box, name):
    result = graded(box, *ORDINARY[name])
    assert earned(result) == [2, 1], result
    assert result.status == GRADED


def test_deleted_and_untouched_are_not_attempted_and_the_maximum_stays():
    result = graded(BOXES["plain"], STUB)
    assert [question.outcome for question in result.questions] == [NOT_ATTEMPTED] * 2
    assert (result.score, result.max_score) == (0, 3)


def test_a_known_mistake_is_named():
    result = graded(BOXES["plain"], merge_that("return W + alpha * (B @ A)"))
    assert result.questions[0].mistakes == ["alpha-only"]
    assert "Divide alpha by the rank" in result.questions[0].sentence


# -- what is outside of the walls ------------------------------------------------------------------------------------


def name_that_ps_shows(mark):
    """Code that gives a process a name, which all that it forks will bear."""
    assert len(mark) < 16, "the kernel keeps no more"
    return f"__import__('ctypes').CDLL(None).prctl(15, {mark.encode()!r})"  # 15: PR_SET_NAME


@walled
@pytest.mark.slow
def test_a_fork_bomb_is_stopped_and_takes_no_process_from_the_next(box):
    mark = f"bomb-{os.getpid()}"
    body = "while True:\n    try: os.fork()\n    except OSError: pass"
    bomb = merge_that(f"{name_that_ps_shows(mark)}\n{body}", "import os")
    assert earned(graded(box, bomb, ALSO_GOOD)) == [0, 1]
    forks = merge_that(f"if not os.fork(): os._exit(0)\nreturn {RIGHT}", "import os")
    assert earned(graded(box, forks, ALSO_GOOD)) == [2, 1]
    assert none_left(mark)


@walled
@pytest.mark.slow
def test_no_daemon_survives(box):
    mark = f"daemon-{os.getpid()}"
    daemon = merge_that(
        f"if os.fork() == 0:\n    os.setsid()\n    {name_that_ps_shows(mark)}\n    if os.fork() == 0:\n"
        f"        time.sleep(1000)\n    os._exit(0)\nos.wait()\nreturn {RIGHT}",
        "import os, time",
    )
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process.Worker, "kill", lambda worker: (seen.extend(alive(mark)), KILL(worker)))
        assert earned(graded(box, daemon, ALSO_GOOD)) == [2, 1]
    assert seen, "there were daemons to end"
    assert none_left(mark)


KILL = process.Worker.kill


def alive(mark):
    """Processes of that name, without those that have ended and are not cleared away yet."""
    listed = subprocess.run(["ps", "-eo", "stat,pid,user,comm"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.split("\n") if line.endswith(mark) and not line.startswith("Z")]


def none_left(mark):
    """Killing takes effect when the system gets to it; on a busy machine not at once."""
    limit = time.monotonic() + 60
    while alive(mark) and time.monotonic() < limit:
        time.sleep(0.1)
    return not alive(mark)


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such users")
def test_a_user_with_processes_left_is_not_given_to_the_next_submission(monkeypatch):
    monkeypatch.setattr(users, "users_with_processes", set)
    monkeypatch.setattr(users.secrets, "randbelow", lambda count: 7)
    first, lock = users.free_user()
    second, other = users.free_user()  # the first is in use
    os.close(lock)
    os.close(other)
    assert second > first >= users.FIRST_USER
    monkeypatch.setattr(users, "users_with_processes", lambda: {0, first})
    user, lock = users.free_user()
    os.close(lock)
    assert user > first


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Linux only, as the walls are")
def test_users_with_processes_include_one_that_has_ended_but_is_not_cleared_away():
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # leaves it as it is
    assert Path(f"/proc/{ended.pid}").stat().st_uid == os.getuid()
    assert os.getuid() in users.users_with_processes()
    ended.wait()


def test_ending_a_workers_processes_is_done_as_that_worker_and_no_one_else(monkeypatch):
    """Nothing is ended here: what would be run is only recorded."""
    commands = []
    monkeypatch.setattr(users.subprocess, "run", lambda command, **_: commands.append(command))
    monkeypatch.setattr(users.os, "kill", lambda *_: pytest.fail("no signal is sent from here"))
    users.end_all_of(20_007)
    (command,) = commands
    changes, shell = command[: command.index("--")], command[command.index("--") + 1 :]
    assert changes[0] == "setpriv"
    assert {"--reuid=20007", "--regid=20007", "--no-new-privs", "--bounding-set=-all"} <= set(changes)
    assert shell == ["/bin/sh", "-c", f"{users.IS_WORKER} && {users.KILL_ALL}", "sh", "20007"]
    for user in (-1, 0, 1, 1000, os.getuid(), users.FIRST_USER - 1):
        if user < users.FIRST_USER:
            with pytest.raises(ValueError, match="is no worker's"):
                users.end_all_of(user)
    assert len(commands) == 1


@pytest.mark.skipif(not Path("/bin/sh").exists(), reason="needs a shell")
@pytest.mark.parametrize(
    ("real", "effective", "asked", "would_kill"),
    [
        ("20007", "20007", "20007", True),
        ("0", "0", "20007", False),  # setpriv did not work, so this is still root
        ("0", "20007", "20007", False),
        ("20007", "0", "20007", False),
        ("20008", "20008", "20007", False),
        ("0", "0", "0", False),
        ("1000", "1000", "1000", False),
        ("0", "0", "", False),
        ("0", "0", "-1", False),
    ],
)
def test_the_shell_makes_sure_whose_processes_it_ends(real, effective, asked, would_kill):
    """The guard alone, with an `id` that answers as told, and an echo in the place of what it guards."""
    fake_id = f'id() {{ if [ "$1" = -ru ]; then echo {real}; else echo {effective}; fi; }}'
    program = f"{fake_id}; {users.IS_WORKER} && echo would kill"
    assert "kill -" not in program
    shell = ["/bin/sh", "-c", program, "sh", asked]
    said = subprocess.run(shell, capture_output=True, text=True, check=False).stdout
    assert said == ("would kill\n" if would_kill else "")


@walled
@pytest.mark.slow
def test_it_cannot_reach_the_grader_and_its_files(box, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the course's secret", encoding="utf-8")
    secret.chmod(0o600)
    other = tmp_path / "bob.ipynb"
    other.write_bytes(as_notebook(GOOD))
    other.chmod(0o600)
    attempts = [
        f"open({str(secret)!r}).read()",
        f"open({str(other)!r}).read()",
        f"open({str(tmp_path / 'new')!r}, 'w')",
        f"open({str(Path(sandbox.__file__).parent / 'forged.py')!r}, 'w')",
        f"open('/proc/{os.getpid()}/environ').read()",
        f"os.kill({os.getpid()}, 9)",
        "os.setuid(0)",
        "os.chroot('/')",
        "os.mkdir('/usr/minilora-was-here')",
    ]
    for attempt in attempts:
        cell = merge_that(f"{attempt}\nreturn {RIGHT}", "import os")
        result = graded(box, cell, ALSO_GOOD)
        assert earned(result) == [0, 1], (attempt, result)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bob.ipynb", "secret"]


@each_box
def test_the_environment_holds_no_secret(box, monkeypatch):
    monkeypatch.setenv("MINILORA_SECRET", "the course's secret")
    cell = merge_that(f"import os\nassert 'the course' not in str(os.environ)\nreturn {RIGHT}")
    assert earned(graded(box, cell, ALSO_GOOD)) == [2, 1]


@pytest.mark.skipif("bubblewrap" not in BOXES, reason="needs bubblewrap")
@pytest.mark.slow
def test_under_bubblewrap_there_is_no_network_and_no_solution():
    box = BOXES["bubblewrap"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        reach = f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 1)"
        assert earned(graded(box, merge_that(f"{reach}\nreturn {RIGHT}"), ALSO_GOOD)) == [0, 1]
        assert earned(graded(BOXES["plain"], merge_that(f"{reach}\nreturn {RIGHT}"), ALSO_GOOD)) == [2, 1]
    found = merge_that(
        "import os\nfor folder, _, files in os.walk('/', onerror=None):\n"
        "    assert 'peft' not in folder and 'hands_on' not in folder and 'minilora-' not in folder, folder\n"
        f"return {RIGHT}"
    )
    slow = Course(COURSE.secret, COURSE.names, Deadlines(call=60))
    assert earned(graded(box, found, ALSO_GOOD, course=slow)) == [2, 1]


@pytest.mark.skipif("bubblewrap" not in BOXES, reason="needs bubblewrap")
@pytest.mark.slow
def test_under_bubblewrap_the_disk_cannot_be_filled():
    fill = merge_that(
        "for folder in ('/tmp', '/dev/shm', '/dev', '/', '/program', '/site'):\n"
        "    for i in range(1000):\n        try:\n"
        "            with open(f'{folder}/f{i}', 'wb') as f: f.write(bytes(2**20))\n"
        "        except OSError: break\n    assert i < 65, (folder, i)\n"
        f"return {RIGHT}"
    )
    slow = Course(COURSE.secret, COURSE.names, Deadlines(call=60))
    assert earned(graded(BOXES["bubblewrap"], fill, ALSO_GOOD, course=slow)) == [2, 1]


@walled
def test_the_worker_is_another_user(box):
    if not box.own_user:
        pytest.skip("only root can give a worker a user of its own")
    cell = merge_that(
        f"import os\nassert {os.getuid()} != os.getuid() >= {users.FIRST_USER}, os.getuid()\nreturn {RIGHT}"
    )
    assert earned(graded(box, cell, ALSO_GOOD)) == [2, 1]


# -- what cannot be read ---------------------------------------------------------------------------------------------

MALFORMED = {
    "empty": b"",
    "spaces": b"  \n",
    "truncated": as_notebook(GOOD)[:100],
    "not JSON": b"def merge(): pass",
    "JSON, but no notebook": b'{"a": 1}',
    "a list": b"[1, 2]",
    "a number": b"3",
    "deep": b"[" * 100_000,
    "not UTF-8": as_notebook(GOOD).replace(b"alpha", b"\xff\xfe"),
    "UTF-16": as_notebook(GOOD).decode().encode("utf-16"),
    "huge": b'{"cells": [' + b" " * (21 * 2**20) + b"]}",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_notebook_is_said_to_be_none(data, tmp_path):
    path = tmp_path / "alice.ipynb"
    path.write_bytes(data)
    result = grade(load(Entry("alice", path)), COURSE, BOXES["plain"])
    assert result.status == UNREADABLE
    assert result.score == 0
    assert "alice.ipynb: " in result.remarks[0]


ODD_BUT_GOOD = {
    "BOM": b"\xef\xbb\xbf" + as_notebook(GOOD, ALSO_GOOD),
    "Windows line ends": json.dumps(json.loads(as_notebook(GOOD, ALSO_GOOD)), indent=1)
    .replace("\n", "\r\n")
    .encode(),
    "nbformat 3": json.dumps(
        {
            "nbformat": 3,
            "worksheets": [
                {"cells": [{"cell_type": "code", "input": [GOOD]}, {"cell_type": "code", "input": ALSO_GOOD}]}
            ],
        }
    ).encode(),
    "no metadata": json.dumps(
        {"cells": [{"cell_type": "code", "source": s} for s in (GOOD, ALSO_GOOD)]}
    ).encode(),
    "cells that are none": as_notebook(
        GOOD, {"cell_type": 3}, {"source": {"a": 1}}, ALSO_GOOD, {"metadata": 3}
    ),
    "a kernel that does not exist": as_notebook(
        GOOD, ALSO_GOOD, metadata={"kernelspec": {"name": "gone", "language": "R"}}
    ),
    "lines as a list": as_notebook({"cell_type": "code", "source": GOOD.splitlines(True)}, ALSO_GOOD),
}


@pytest.mark.parametrize("data", ODD_BUT_GOOD.values(), ids=ODD_BUT_GOOD)
def test_odd_files_are_graded(data):
    submission = Submission("alice", {"a.ipynb": read_notebook(data)})
    assert grade(submission, COURSE, BOXES["plain"]).score == 3


def test_zips_cannot_do_harm(tmp_path):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.ipynb", bytes(200 * 2**20))
    assert "larger than 20 MB" in load(Entry("a", bomb)).problems[0]

    escape = tmp_path / "escape.zip"
    with zipfile.ZipFile(escape, "w") as archive:
        archive.writestr("../../escaped.ipynb", as_notebook(GOOD))
        archive.writestr("/etc/escaped.ipynb", as_notebook(ALSO_GOOD))
        link = zipfile.ZipInfo("link.ipynb")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    before = sorted(tmp_path.rglob("*"))
    submission = load(Entry("a", escape))
    assert sorted(tmp_path.rglob("*")) == before
    assert "link.ipynb: the file is not a notebook" in submission.problems[0]
    assert len(submission.notebooks) == 2

    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 no zip")
    assert "cannot be read" in load(Entry("a", tmp_path / "no.zip")).problems[0]


def test_links_are_not_followed(tmp_path):
    outside = tmp_path / "outside.ipynb"
    outside.write_bytes(as_notebook(GOOD, ALSO_GOOD))
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "alice.ipynb").symlink_to(outside)
    (tmp_path / "class" / "bob").mkdir()
    (tmp_path / "class" / "bob" / "x.ipynb").symlink_to(outside)
    for entry in entries(tmp_path / "class"):
        result = grade(load(entry), COURSE, BOXES["plain"])
        assert (result.status, result.score) == (UNREADABLE, 0)
        assert "link" in result.remarks[0]


# -- failures of our own, seeds, protocol ----------------------------------------------------------------------------


def test_a_failure_of_the_grader_is_no_zero(monkeypatch):
    def nothing(*arguments, **options):
        raise GraderFailure("no worker")

    monkeypatch.setattr("minilora.grading.session.Session._start", nothing)
    result = graded(BOXES["plain"], GOOD)
    assert (result.status, result.score) == (FAILED, None)

    def broken(*arguments):
        raise ZeroDivisionError("ours")

    monkeypatch.undo()
    monkeypatch.setattr("minilora.exercises.judging.decide", broken)
    result = graded(BOXES["plain"], GOOD, ALSO_GOOD)
    assert (result.status, result.score, earned(result)) == (FAILED, None, [None, None])
    assert "ZeroDivisionError" in result.remarks[0]


def test_the_same_submission_gets_the_same_result_and_inputs_are_hidden():
    assert graded(BOXES["plain"], merge_that("return W")) == graded(BOXES["plain"], merge_that("return W"))
    others = [Course(b"another"), Course(b"x")]
    seeds = {course.seed("alice", "merge", "digest", "0") for course in (COURSE, *others)}
    seeds |= {COURSE.seed("bob", "merge", "digest", "0"), COURSE.seed("alice", "merge", "digest", "1")}
    assert len(seeds) == 5


def test_answers_are_read_without_running_anything(tmp_path):
    question = registry.QUESTIONS[0]
    cell = question.solution_source("alice").replace("answers =", "answers =", 1)
    course = Course(b"s", (question.name,))
    assert graded(BOXES["plain"], cell, course=course).score == question.points
    evil = (
        "answers = {"
        + ", ".join(f'"{p.key}": open({str(tmp_path / "x")!r}, "w")' for p in question.parts)
        + "}"
    )
    result = graded(
        BOXES["plain"], 'answers = {"student": "alice"}', evil.replace("{", '{"student": "alice", ', 1)
    )
    assert result.score == 0
    assert not (tmp_path / "x").exists()


def test_answers_under_another_name_are_pointed_out():
    question = registry.QUESTIONS[0]
    result = graded(BOXES["plain"], question.solution_source("bob"), course=Course(b"s", (question.name,)))
    assert any("numbers of 'bob'" in remark for remark in result.remarks)


@pytest.mark.parametrize(
    "message",
    [
        ["x", 1],
        ["a", "object", [1], ""],
        ["a", "float64", [-1], ""],
        ["a", "float64", [10**9], ""],
        ["a", "float64", [2], "AAAA"],
        ["a", "float64", [1], "\u2603"],
        ["a", ["float64"], [1], ""],
        ["d", [1, 2]],
        ["d", ["a"]],
        [],
        {"a": 1},
        10**400,
        ["a"],
    ],
)
def test_a_message_that_breaks_the_rules_is_refused(message):
    with pytest.raises(protocol.ProtocolError):
        protocol.decode(message)


def test_every_array_travels_unchanged():
    for dtype in sorted(protocol.DTYPES):
        array = np.arange(6).reshape(2, 3).astype(dtype)[:, ::-1]
        back = protocol.decode(json.loads(json.dumps(protocol.encode({"x": [array, None]}))))["x"][0]
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)
    assert CORRECT == "correct"
