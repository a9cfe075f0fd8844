"""The first command that anybody types: what it makes, keeps, refuses and says. No network, no real environment."""

import importlib.util
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

PROGRAM = Path(__file__).parents[1] / "tools" / "environment.py"


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The program in a folder of its own with a lock; `tool.calls` are the programs that it would have run.

    In place of each, `tool.answer(command)` gives the exit status; making an environment makes its Python.
    """
    spec = importlib.util.spec_from_file_location("environment_here", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("VENV", "PYTHON", "STARTED", "STAMP", "LOG", "FIRST_PAGE", "ROOT"):
        setattr(module, name, tmp_path / getattr(module, name).relative_to(module.ROOT))
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    module.calls, module.answer = [], lambda command: 0

    def call(command, **options):
        module.calls.append([str(part) for part in command])
        status = module.answer(module.calls[-1])
        if "venv" in command and status == 0:
            touch(module.PYTHON)
        return status

    monkeypatch.setattr(module.subprocess, "call", call)
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
    signs = {"venv": "-m venv", "packages": "--requirement", "ours": "--editable", "probe": "-c import pip"}
    return [next(name for name, sign in signs.items() if sign in " ".join(call)) for call in tool.calls]


WHOLE = ["venv", "packages", "ours"]


# -- what is made, and when it is made anew ------------------------------------------------------------------


def test_the_first_start_makes_everything_and_the_second_nothing(tool, capsys):
    tool.set_up()
    assert steps(tool) == WHOLE
    assert "The environment is ready" in capsys.readouterr().out
    tool.set_up()
    assert steps(tool) == WHOLE
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_a_stale_stamp_brings_the_environment_up_to_date_in_place(tool, changed):
    tool.set_up()
    touch(tool.VENV / "kept")
    touch(tool.ROOT / changed, "another version")
    tool.calls.clear()
    tool.set_up()
    assert steps(tool) == ["packages", "ours"]
    assert (tool.VENV / "kept").exists()


def test_other_line_ends_are_no_change(tool):
    touch(tool.ROOT / "requirements.lock", "a\nb\n")
    tool.set_up()
    (tool.ROOT / "requirements.lock").write_bytes(b"a\r\nb\r\n")
    tool.calls.clear()
    tool.set_up()
    assert not tool.calls


@pytest.mark.parametrize("failing", ["-m venv", "--requirement", "--editable"])
def test_a_set_up_that_stopped_half_way_begins_anew(tool, failing, capsys):
    tool.answer = lambda command: int(failing in " ".join(command))
    with pytest.raises(SystemExit, match="nothing half made is used"):
        tool.set_up()
    assert not tool.STAMP.exists()
    touch(tool.VENV / "half made")
    tool.calls.clear()
    tool.answer = lambda command: 0
    tool.set_up()
    assert steps(tool) == WHOLE
    assert "left half made" in capsys.readouterr().out
    assert not (tool.VENV / "half made").exists()


def test_an_update_that_stopped_half_way_is_not_taken_for_whole(tool):
    tool.set_up()
    touch(tool.ROOT / "requirements.lock", "another version")
    tool.answer = lambda command: 1
    with pytest.raises(SystemExit):
        tool.set_up()
    touch(tool.ROOT / "requirements.lock", "requirements.lock")  # back to what the old stamp was for
    tool.calls.clear()
    tool.answer = lambda command: 0
    tool.set_up()
    assert steps(tool) == WHOLE


@pytest.mark.parametrize("what", ["moved", "another Python"])
def test_an_environment_that_cannot_work_here_is_made_anew(tool, what):
    tool.set_up()
    if what == "moved":
        touch(tool.STARTED, tool.STARTED.read_text(encoding="utf-8").replace(str(tool.VENV), "/elsewhere"))
        touch(tool.STAMP, "of elsewhere")
    else:
        pretend(tool, version_info=(3, 9, 0))
    tool.calls.clear()
    tool.set_up()
    assert steps(tool) == WHOLE


# -- an environment made by hand is somebody's ---------------------------------------------------------------


def test_one_made_by_hand_that_works_is_used(tool, capsys):
    touch(tool.PYTHON)
    touch(tool.VENV / "mine")
    tool.set_up()
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
        tool.set_up()
    assert (tool.VENV / "mine").exists()
    assert set(steps(tool)) <= {"probe"}


def test_an_empty_folder_is_nobodys(tool):
    tool.VENV.mkdir()
    tool.set_up()
    assert steps(tool) == WHOLE


# -- machines that will not do -------------------------------------------------------------------------------


def test_a_python_without_venv_is_told_what_to_install(tool, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)  # as on Debian without python3-venv
    with pytest.raises(SystemExit, match=r"sudo apt install python3\.\d+-venv"):
        tool.set_up()
    assert not tool.calls
    assert not tool.VENV.exists()


def test_a_disk_that_is_too_full_is_told_before_anything_is_made(tool, monkeypatch):
    monkeypatch.setattr(tool.shutil, "disk_usage", lambda path: SimpleNamespace(free=1.2e9))
    with pytest.raises(SystemExit, match=r"only 1\.2 GB are free .* needs 3"):
        tool.set_up()
    assert not tool.calls
    assert not tool.VENV.exists()


def test_a_folder_that_cannot_be_written_is_named(tool, monkeypatch):
    monkeypatch.setattr(tool.os, "access", lambda path, mode: False)
    with pytest.raises(SystemExit, match=r"cannot write in .*folder of your own"), tool.one_at_a_time():
        tool.set_up()
    assert not (tool.ROOT / ".venv.lock").exists()


def test_a_program_that_still_runs_from_the_environment_is_told(tool, monkeypatch):
    def locked(path):
        raise PermissionError("in use")

    monkeypatch.setattr(tool.shutil, "rmtree", locked)
    tool.answer = lambda command: 1
    with pytest.raises(SystemExit, match="failed"):
        tool.set_up()
    with pytest.raises(SystemExit, match="close the programs"):
        tool.set_up()


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
    assert LINES.keys() == tool.CAUSES.keys()


@pytest.mark.parametrize("sign", LINES)
def test_what_pip_says_becomes_what_to_do(tool, sign):
    def answer(command):
        if "pip" not in command:
            return 0
        touch(tool.LOG, f"Collecting torch\n  {LINES[sign]}\n")
        return 1

    tool.answer = answer
    with pytest.raises(SystemExit, match=re.escape(tool.CAUSES[sign])) as stopped:
        tool.set_up()
    told = str(stopped.value)
    assert told.count(";") == tool.CAUSES[sign].count(";") + 1, "no other cause beside it"
    assert not tool.STAMP.exists()


def test_a_failure_without_a_known_cause_names_the_whole_log(tool):
    tool.answer = lambda command: int("pip" in command)
    with pytest.raises(SystemExit, match=f"all of them are in {re.escape(str(tool.LOG))}"):
        tool.set_up()


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


def test_lab_without_its_first_page_says_so(tool):
    pretend(tool, argv=["tools/environment.py", "lab"])
    with pytest.raises(SystemExit, match="complete copy"):
        tool.main()


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
