"""The first command that anybody types: what it makes, keeps, refuses and says. No network, no real environment."""

import html
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

PROGRAM = Path(__file__).parents[1] / "tools" / "environment.py"
LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The program in a folder of its own with both locks; `tool.calls` are the programs that it would have run.

    In place of each, `tool.answer(command)` gives the exit status, and `tool.output` what pip and uv write; making an
    environment makes its Python.
    """
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    spec = importlib.util.spec_from_file_location("environment_here", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("VENV", "PYTHON", "STARTED", "STAMP", "LOG", "ROOT"):
        setattr(module, name, tmp_path / getattr(module, name).relative_to(module.ROOT))
    for name in (*LOCKS, "pyproject.toml"):
        (tmp_path / name).write_text(f"{name}\n", encoding="utf-8")
    module.calls, module.answer, module.output = [], lambda command: 0, []

    def call(command, **options):
        module.calls.append([str(part) for part in command])
        status = module.answer(module.calls[-1])
        if "venv" in command and status == 0:
            touch(module.PYTHON)
        return status

    def follow(self, command, progress=None):
        for line in module.output if progress else []:
            progress.read(line)
        return call(command), list(module.output)

    monkeypatch.setattr(module.subprocess, "call", call)
    monkeypatch.setattr(module.installing.Installer, "_follow", follow)
    monkeypatch.setattr(module.installing.Installer, "_uv", lambda self: None)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=50e9))
    return module


def touch(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def pretend(tool, **changes) -> None:
    """Another version or command line, for the program alone."""
    tool.sys = SimpleNamespace(**vars(sys) | changes)


def steps(tool) -> list[str]:
    """What was done, in short: venv, packages, ours; or the probe of an environment made by hand."""
    signs = {"venv": "-m venv", "packages": "--requirement requirements.lock", "ours": "--editable"}
    signs |= {"dev packages": "--requirement requirements-dev.lock", "probe": "-c import pip"}
    return [next(name for name, sign in signs.items() if sign in " ".join(call)) for call in tool.calls]


WHOLE = ["venv", "packages", "ours"]


# -- what is made, and when it is made anew ------------------------------------------------------------------


def test_the_first_start_makes_everything_and_the_second_nothing(tool, capsys):
    tool.set_up("lab")
    assert steps(tool) == WHOLE
    assert "The environment is ready" in capsys.readouterr().out
    tool.set_up("lab")
    assert steps(tool) == WHOLE
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_a_stale_stamp_brings_the_environment_up_to_date_in_place(tool, changed):
    tool.set_up("lab")
    touch(tool.VENV / "kept")
    touch(tool.ROOT / changed, "another version")
    tool.calls.clear()
    tool.set_up("lab")
    assert steps(tool) == ["packages", "ours"]
    assert (tool.VENV / "kept").exists()


def test_other_line_ends_are_no_change(tool):
    touch(tool.ROOT / "requirements.lock", "a\nb\n")
    tool.set_up("lab")
    (tool.ROOT / "requirements.lock").write_bytes(b"a\r\nb\r\n")
    tool.calls.clear()
    tool.set_up("lab")
    assert not tool.calls


# -- one environment for the lab and for tests ---------------------------------------------------------------


def test_tests_add_their_packages_to_the_labs_environment_and_the_lab_then_has_nothing_to_do(tool):
    tool.set_up("lab")
    touch(tool.VENV / "kept")
    tool.calls.clear()
    tool.set_up("dev")
    assert steps(tool) == ["dev packages", "ours"]
    assert (tool.VENV / "kept").exists()
    tool.calls.clear()
    tool.set_up("lab")
    tool.set_up("dev")
    assert not tool.calls


def test_a_change_of_the_labs_lock_alone_is_installed_by_the_lab(tool):
    """tools/lock.py writes both; where somebody changed one by hand, each command follows its own."""
    tool.set_up("lab")
    touch(tool.ROOT / "requirements-dev.lock", "another version")
    tool.calls.clear()
    tool.set_up("lab")
    assert not tool.calls
    touch(tool.ROOT / "requirements.lock", "another version")
    tool.set_up("lab")
    assert steps(tool) == ["packages", "ours"]


@pytest.mark.parametrize(
    ("command", "kind"),
    [("setup", "lab"), ("lab", "lab"), ("doctor", "lab"), ("test", "dev"), ("lint", "dev"), ("run", "dev")],
)
def test_each_command_gets_what_it_needs_and_no_more(tool, monkeypatch, command, kind):
    monkeypatch.setattr(tool, "run_inside", lambda arguments: 0)
    pretend(tool, argv=["tools/environment.py", command, "python"])
    assert tool.main() == 0
    assert steps(tool) == ["venv", "packages" if kind == "lab" else "dev packages", "ours"]


@pytest.mark.parametrize("failing", ["-m venv", "--requirement", "--editable"])
def test_a_set_up_that_stopped_half_way_begins_anew(tool, failing, capsys):
    tool.answer = lambda command: int(failing in " ".join(command))
    with pytest.raises(SystemExit, match="nothing half made is used"):
        tool.set_up("lab")
    assert not tool.STAMP.exists()
    touch(tool.VENV / "half made")
    tool.calls.clear()
    tool.answer = lambda command: 0
    tool.set_up("lab")
    assert steps(tool) == WHOLE
    assert "left half made" in capsys.readouterr().out
    assert not (tool.VENV / "half made").exists()


def test_an_update_that_stopped_half_way_is_not_taken_for_whole(tool):
    tool.set_up("lab")
    touch(tool.ROOT / "requirements.lock", "another version")
    tool.answer = lambda command: 1
    with pytest.raises(SystemExit):
        tool.set_up("lab")
    touch(tool.ROOT / "requirements.lock", "requirements.lock\n")  # back to what the old stamp was for
    tool.calls.clear()
    tool.answer = lambda command: 0
    tool.set_up("lab")
    assert steps(tool) == WHOLE


@pytest.mark.parametrize("what", ["moved", "another Python"])
def test_an_environment_that_cannot_work_here_is_made_anew(tool, what):
    tool.set_up("lab")
    if what == "moved":
        touch(tool.STARTED, tool.STARTED.read_text(encoding="utf-8").replace(str(tool.VENV), "/elsewhere"))
        touch(tool.STAMP, "of elsewhere")
    else:
        pretend(tool, version_info=(3, 9, 0))
    tool.calls.clear()
    tool.set_up("lab")
    assert steps(tool) == WHOLE


# -- an environment made by hand is somebody's ---------------------------------------------------------------


def test_one_made_by_hand_that_works_is_used(tool, capsys):
    touch(tool.PYTHON)
    touch(tool.VENV / "mine")
    tool.set_up("lab")
    assert steps(tool) == ["probe", "packages", "ours"]
    assert "made by hand" in capsys.readouterr().out
    assert (tool.VENV / "mine").exists()


@pytest.mark.parametrize("broken", ["no Python", "a Python that fails", "a Python that does not start"])
def test_one_made_by_hand_is_never_deleted(tool, broken):
    touch(tool.VENV / "mine")
    if broken != "no Python":
        touch(tool.PYTHON)

    def answer(command):
        if broken == "a Python that does not start":
            raise OSError("Exec format error")
        return 1

    tool.answer = answer
    with pytest.raises(SystemExit, match=r"made by hand .* move or delete it"):
        tool.set_up("lab")
    assert (tool.VENV / "mine").exists()
    assert set(steps(tool)) <= {"probe"}


def test_an_empty_folder_is_nobodys(tool):
    tool.VENV.mkdir()
    tool.set_up("lab")
    assert steps(tool) == WHOLE


# -- machines that will not do -------------------------------------------------------------------------------


def test_a_python_without_venv_is_told_what_to_install(tool, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)  # as on Debian without python3-venv
    with pytest.raises(SystemExit, match=r"sudo apt install python3\.\d+-venv"):
        tool.set_up("lab")
    assert not tool.calls
    assert not tool.VENV.exists()


def test_a_disk_that_is_too_full_is_told_before_anything_is_made(tool, monkeypatch):
    monkeypatch.setattr(tool.shutil, "disk_usage", lambda path: SimpleNamespace(free=1.2e9))
    with pytest.raises(SystemExit, match=r"only 1\.2 GB are free .* needs 3"):
        tool.set_up("lab")
    assert not tool.calls
    assert not tool.VENV.exists()


def test_a_folder_that_cannot_be_written_is_named(tool, monkeypatch):
    monkeypatch.setattr(tool.os, "access", lambda path, mode: False)
    with pytest.raises(SystemExit, match=r"cannot write in .*folder of your own"), tool.one_at_a_time():
        tool.set_up("lab")
    assert not (tool.ROOT / ".venv.lock").exists()


def test_a_program_that_still_runs_from_the_environment_is_told(tool, monkeypatch):
    def locked(path):
        raise PermissionError("in use")

    monkeypatch.setattr(tool.shutil, "rmtree", locked)
    tool.answer = lambda command: 1
    with pytest.raises(SystemExit, match="failed"):
        tool.set_up("lab")
    with pytest.raises(SystemExit, match="close the programs"):
        tool.set_up("lab")


@pytest.mark.parametrize(
    ("version", "others", "outcome"),
    [
        ((3, 9, 18), ["python3.11"], "starts again"),
        ((3, 9, 18), [], "this is 3.9.18 and no other was found"),
        ((3, 11, 0), ["python3.12"], "goes on"),
        ((3, 14, 0), ["python3.13"], "starts again"),
        ((3, 14, 0), [], "newer than those tested"),
    ],
)
def test_a_python_that_the_lock_is_not_made_for(tool, version, others, outcome, monkeypatch, capsys):
    pretend(tool, version_info=version, argv=["tools/environment.py", "test"])
    monkeypatch.setattr(tool.shutil, "which", lambda name: f"/usr/bin/{name}" if name in others else None)
    tool.answer = lambda command: 7 if "test" in command else 0
    try:
        stopped = tool.use_a_suitable_python()
    except SystemExit as error:
        stopped = error.code
    if outcome == "starts again":
        assert tool.calls[-1] == [f"/usr/bin/{others[0]}", "tools/environment.py", "test"]
        assert stopped == 7, "its exit status is ours"
    elif outcome == "goes on":
        assert (stopped, tool.calls) == (None, [])
    else:
        assert outcome in f"{stopped} {capsys.readouterr().out}"


# -- what pip's failures mean --------------------------------------------------------------------------------

# As pip writes them.
LINES = {
    "No space left on device": "ERROR: Could not install packages: OSError: [Errno 28] No space left on device",
    "NewConnectionError": "Retrying (...) after connection broken by 'NewConnectionError(... not known')'",
    "ConnectTimeoutError": "Retrying (...) after connection broken by 'ConnectTimeoutError(... timed out.')'",
    "ReadTimeoutError": "pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool(...): Read timed out.",
    "ProxyError": "connection broken by 'ProxyError('Cannot connect to proxy.', OSError('Tunnel failed: 407'))'",
    "CERTIFICATE_VERIFY_FAILED": "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] ...'))",
    "No matching distribution found": "ERROR: No matching distribution found for bitsandbytes==0.50.2",
}


def test_every_cause_has_a_line_here(tool):
    assert LINES.keys() == tool.installing.CAUSES.keys()


@pytest.mark.parametrize("sign", LINES)
def test_what_pip_says_becomes_what_to_do(tool, sign):
    def answer(command):
        if "pip" not in command:
            return 0
        touch(tool.LOG, f"Collecting torch\n  {LINES[sign]}\n")
        return 1

    tool.answer = answer
    with pytest.raises(SystemExit, match=re.escape(tool.installing.CAUSES[sign])) as stopped:
        tool.set_up("lab")
    told = str(stopped.value)
    assert told.count(";") == tool.installing.CAUSES[sign].count(";") + 1, "no other cause beside it"
    assert not tool.STAMP.exists()


def test_a_failure_without_a_known_cause_names_the_whole_log(tool):
    tool.answer = lambda command: int("pip" in command)
    with pytest.raises(SystemExit, match=f"all of them are in {re.escape(str(tool.LOG))}"):
        tool.set_up("lab")


def test_pips_own_words_of_a_failure_are_shown(tool, capsys):
    tool.answer = lambda command: int("--requirement" in command)
    tool.output = ["Collecting torch", "ERROR: No matching distribution found for torch==9", *["noise"] * 40]
    with pytest.raises(SystemExit):
        tool.set_up("lab")
    assert "ERROR: No matching distribution found for torch==9" in capsys.readouterr().err


# -- progress: pip's log in a few words ----------------------------------------------------------------------

PIP_SAYS = """\
Ignoring colorama: markers 'sys_platform == "win32"' don't match your environment
Collecting anyio==4.16.0 (from -r requirements.lock (line 3))
  Downloading anyio-4.16.0-py3-none-any.whl (134 kB)
Requirement already satisfied: argon2-cffi-bindings==26.2.0 in ./lib (from -r requirements.lock (line 4)) (26.2.0)
Requirement already satisfied: cffi>=1 in ./lib (from argon2-cffi-bindings==26.2.0->-r requirements.lock (line 4))
Processing /some/wheels/torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl (from -r requirements.lock (line 5))
  Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (191.8 MB)
Collecting nvidia-thing==1.2 (from torch==2.13.0->-r requirements.lock (line 5))
Installing collected packages: anyio, torch
""".splitlines()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_the_package_at_hand_and_how_many_there_are(tool):
    shown = Terminal()
    progress = tool.installing.Progress(4, shown)
    for line in PIP_SAYS:
        progress.read(line)
    lines = [line.strip() for line in shown.getvalue().split("\r\033[K")]
    assert lines[1:] == [
        "1 of 3 packages: anyio",
        "2 of 3 packages: argon2-cffi-bindings",
        "3 of 3 packages: torch",
        "downloading torch (191.8 MB)",
        "unpacking (a minute or two)",
    ]


def test_a_file_gets_a_few_lines_without_control_characters(tool):
    shown = io.StringIO()
    progress = tool.installing.Progress(4, shown)
    for line in PIP_SAYS:
        progress.read(line)
    assert shown.getvalue() == "  downloading torch (191.8 MB)\n  unpacking (a minute or two)\n"


def test_a_network_that_stalls_is_seen_at_once(tool):
    shown = io.StringIO()
    tool.installing.Progress(4, shown).read(
        "WARNING: Retrying (Retry(total=4)) after connection broken by ..."
    )
    assert "Retrying" in shown.getvalue()


# -- uv, where it is installed -------------------------------------------------------------------------------


@pytest.fixture
def with_uv(tool, monkeypatch):
    (tool.ROOT / "requirements.lock").write_text(
        "# head\nnumpy==2.4\ntorch==2.13.0\ntorch-like==1\n", encoding="utf-8"
    )
    monkeypatch.setattr(tool.installing.Installer, "_uv", lambda self: "/bin/uv")
    return tool


def test_uv_installs_everything_but_torch_and_no_dependencies(with_uv):
    with_uv.set_up("lab")
    _, torch, rest, ours = with_uv.calls
    assert torch[1:4] == ["-m", "pip", "install"]
    assert torch[-3:] == ["--constraint", "requirements.lock", "torch==2.13.0"]
    assert rest[:3] == ["/bin/uv", "pip", "install"]
    assert {"--no-deps", str(with_uv.PYTHON)} <= set(rest)
    assert Path(rest[-1]).read_text(encoding="utf-8").split() == ["numpy==2.4", "torch-like==1"]
    assert "--editable" in ours


def test_where_uv_fails_pip_does_it(with_uv, capsys):
    with_uv.answer = lambda command: int(command[0] == "/bin/uv")
    with_uv.set_up("lab")
    assert "--requirement requirements.lock" in " ".join(with_uv.calls[-2])
    assert with_uv.STAMP.exists()
    assert "pip does" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("installed", "settings", "used"),
    [
        (True, "", True),
        (False, "", False),
        (True, ":env:.disable-pip-version-check='1'\nglobal.timeout='60'\n", True),
        (True, "global.find-links='/wheels'\n", False),
        (True, "global.index-url='an index'\n", False),
        (True, ":env:.extra-index-url='an index'\n", False),
    ],
)
def test_uv_is_used_only_where_pip_has_no_index_of_its_own(monkeypatch, tmp_path, installed, settings, used):
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    import installing

    done = SimpleNamespace(returncode=0, stdout=settings)
    monkeypatch.setattr(installing.shutil, "which", lambda name, path=None: "/bin/uv" if installed else None)
    monkeypatch.setattr(installing.subprocess, "run", lambda *command, **options: done)
    installer = installing.Installer(sys.executable, tmp_path, tmp_path / "log", {})
    assert installer._uv() == ("/bin/uv" if used else None)


# -- what `lab` opens ----------------------------------------------------------------------------------------


def test_the_lab_has_the_repository_as_root_and_opens_the_learners_first_page(monkeypatch, tmp_path):
    labapp = pytest.importorskip("jupyterlab.labapp")
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    monkeypatch.setattr(os, "environ", {"JUPYTER_CONFIG_PATH": "before"})
    monkeypatch.chdir(PROGRAM.parent)
    import lab

    monkeypatch.setattr(lab, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="complete copy"):
        lab.main([])

    first = tmp_path / "notebooks" / "00_start_here.ipynb"
    first.parent.mkdir()
    first.write_text('{"cells": []}', encoding="utf-8")
    started = []
    monkeypatch.setattr(labapp, "main", started.append)
    assert lab.main(["--no-browser"]) == 0
    [arguments] = started
    assert arguments[-1] == "--no-browser"
    assert f"--ServerApp.root_dir={tmp_path}" in arguments
    assert "--LabApp.default_url=/lab/tree/my-work/notebooks/00_start_here.ipynb" in arguments
    assert (tmp_path / "my-work" / "notebooks" / first.name).exists()
    assert os.environ["MINILORA_HOME"] == str(tmp_path / "my-work")


def test_without_copies_the_lab_opens_the_page_itself(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    monkeypatch.setattr(os, "environ", {})
    import lab

    def refuse(repository):
        raise PermissionError("read-only")

    monkeypatch.setattr(lab.learner_copies, "update", refuse)
    monkeypatch.setattr(lab, "ROOT", tmp_path)
    assert lab.first_page() == tmp_path / "notebooks" / "00_start_here.ipynb"
    assert "read-only" in capsys.readouterr().out
    assert "MINILORA_HOME" not in os.environ


def addresses(folder: Path) -> list[str]:
    """Where a JupyterLab whose runtime folder this is would send a browser; none before it is up."""
    files = folder.glob("jpserver-*-open.html")
    return [found for file in files for found in re.findall(r'href="(http[^"]+)"', file.read_text("utf-8"))]


@pytest.mark.slow
def test_a_learners_jupyterlab_shows_the_whole_course_and_no_menus_of_other_tools(tmp_path):
    """Even where the tests' packages are installed beside it, nbgrader's and others'."""
    pytest.importorskip("jupyterlab")
    alone = dict(os.environ, JUPYTER_RUNTIME_DIR=str(tmp_path), JUPYTER_CONFIG_DIR=str(tmp_path))
    command = [
        sys.executable,
        str(PROGRAM.parent / "lab.py"),
        "--no-browser",
        "--allow-root",
        "--port-retries=99",
    ]
    server = subprocess.Popen(
        command, env=alone, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not (found := addresses(tmp_path)):
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        [address] = found
        assert "/lab/tree/my-work/notebooks/00_start_here.ipynb?token=" in address
        with urllib.request.urlopen(html.unescape(address)) as answer:
            page = answer.read().decode("utf-8")
        [settings] = re.findall(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)
        assert "@jupyter/nbgrader" in json.loads(settings)["disabledExtensions"]
        folder = address.replace("/lab/tree/my-work/notebooks/00_start_here.ipynb", "/api/contents/exercises")
        with urllib.request.urlopen(html.unescape(folder)) as answer:
            assert json.load(answer)["type"] == "directory"
    finally:
        server.terminate()
        server.wait(30)


# -- commands ------------------------------------------------------------------------------------------------


def test_pip_is_told_nothing_of_other_pythons(tool, monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX"):
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setenv("PIP_USER", "1")
    environment = tool.clean_environment()
    assert environment["PIP_USER"] == "0"
    assert "/elsewhere" not in environment.values()


@pytest.mark.parametrize(("arguments", "status"), [(["no-such-command"], 2), (["run"], 2), (["--help"], 0)])
def test_an_unknown_command_shows_the_help_and_makes_nothing(tool, arguments, status, capsys):
    pretend(tool, argv=["tools/environment.py", *arguments])
    assert tool.main() == status
    assert "python tools/environment.py lab" in capsys.readouterr().out
    assert not tool.calls


def test_commands_run_in_order_and_the_first_that_fails_ends_them(tool, monkeypatch):
    ran = []
    monkeypatch.setattr(
        tool, "run_inside", lambda arguments: ran.append(arguments) or int("format" in arguments)
    )
    pretend(tool, argv=["tools/environment.py", "lint"])
    assert tool.main() == 1
    assert [arguments[:2] for arguments in ran] == [["ruff", "check"], ["ruff", "format"]]


@pytest.mark.skipif(sys.platform == "win32", reason="the lock of another system")
def test_the_second_of_two_commands_waits_for_the_first(tool):
    fcntl = pytest.importorskip("fcntl")
    with (
        tool.one_at_a_time(),
        open(tool.ROOT / ".venv.lock", encoding="utf-8") as other,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(tool.ROOT / ".venv.lock", encoding="utf-8") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
