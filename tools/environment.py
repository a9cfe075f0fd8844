"""Makes the environment in .venv if it is missing or out of date, then runs a command in it. Standard library only.

    python tools/environment.py lab        JupyterLab on the first page          (make lab)
    python tools/environment.py test       the tests                             (make test)
    python tools/environment.py test-all   these, and the slow and browser ones  (make test-all)
    python tools/environment.py lint       format and lint checks          (make lint)
    python tools/environment.py run PROGRAM ...   anything else
    python tools/environment.py            only set up

What follows the command is passed on, as in `python tools/environment.py lab --no-browser`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP = VENV / "minilora-stamp"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
FIRST_PAGE = ROOT / "notebooks" / "00_start_here.ipynb"
OLDEST = (3, 10)
GIGABYTES_NEEDED = 4


def main() -> int:
    command, *rest = sys.argv[1:] or ["setup"]
    commands = {"setup": [], "lab": lab(rest), "test": tests(rest), "test-all": tests([]) + slow_tests(rest)}
    commands |= {"lint": lint(), "run": [rest]}
    if command not in commands or (command == "run" and not rest):
        print(__doc__)
        return 2
    set_up()
    if command == "lab" and not FIRST_PAGE.exists():
        sys.exit(f"{FIRST_PAGE} is missing; is this a complete copy of the repository?")
    for arguments in commands[command]:
        status = run_inside(arguments)
        if status:
            return status
    return 0


def lab(rest):
    return [["jupyter", "lab", str(FIRST_PAGE), *rest]]


def tests(rest):
    return [["pytest", *rest]]


def slow_tests(rest):
    return [["pytest", "-m", "slow or browser", *rest]]


def lint():
    return [["ruff", "check", "."], ["ruff", "format", "--check", "."]]


def run_inside(arguments):
    """Runs a program of the environment, as if the environment were activated; returns its exit status."""
    environment = dict(os.environ, VIRTUAL_ENV=str(VENV))
    environment["PATH"] = os.pathsep.join([str(PYTHON.parent), environment.get("PATH", "")])
    # Our settings for JupyterLab: no toast of news on the first start.
    paths = [str(ROOT / "tools" / "jupyter"), environment.get("JUPYTER_CONFIG_PATH", "")]
    environment["JUPYTER_CONFIG_PATH"] = os.pathsep.join(path for path in paths if path)
    program = shutil.which(arguments[0], path=environment["PATH"]) or arguments[0]
    try:
        return subprocess.call([program, *arguments[1:]], env=environment, cwd=ROOT)
    except KeyboardInterrupt:
        return 130
    except FileNotFoundError:
        sys.exit(f"there is no program '{arguments[0]}' in {VENV}")


def set_up():
    """Leaves .venv as the lock describes it. The stamp is written last: without it the environment counts as absent."""
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted():
        return
    check_machine()
    if VENV.exists() and not made_here():
        print(f"Removing {VENV}: it was left half made, moved, or made by another Python", flush=True)
        shutil.rmtree(VENV)
    STAMP.unlink() if STAMP.exists() else None
    print(f"Setting up {VENV} (some minutes the first time; later starts take no time)", flush=True)
    if not PYTHON.exists():
        step([sys.executable, "-m", "venv", str(VENV)], "making a virtual environment")
        PYTHON.with_name("made-here").write_text(identity(), encoding="utf-8")
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    step([*pip, "--requirement", "requirements.lock"], "installing the packages")
    step([*pip, "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."], "installing minilora")
    STAMP.write_text(wanted(), encoding="utf-8")
    print("The environment is ready", flush=True)


def step(command, what):
    if subprocess.call(command, cwd=ROOT):
        sys.exit(
            f"\n{what} failed; the messages above say why. Usual reasons: no network (the first set-up downloads about "
            "1 GB), a proxy that pip does not know, a full disk, or on Debian and Ubuntu a missing package "
            "(apt install python3-venv). Run the same command again when it is mended; nothing half made is kept."
        )


def wanted():
    """What the environment is made from: if any of it changes, it is brought up to date."""
    digest = hashlib.sha256(identity().encode())
    for name in ("requirements.lock", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def identity():
    """A virtual environment holds absolute paths and one Python; moved or under another it does not work."""
    return f"{VENV} {sys.version_info[0]}.{sys.version_info[1]}"


def made_here():
    marker = PYTHON.with_name("made-here")
    return PYTHON.exists() and marker.exists() and marker.read_text(encoding="utf-8") == identity()


def check_machine():
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < GIGABYTES_NEEDED:
        sys.exit(
            f"only {free:.1f} GB are free on this disk; the environment needs {GIGABYTES_NEEDED}. Make room first"
        )
    if sys.platform == "win32" and len(str(VENV)) > 120:
        sys.exit(
            f"the path {VENV} is too long for Windows; move the repository nearer to the root of the disk"
        )


def use_a_recent_python():
    """Starts again under a newer Python, if the one at hand is too old and another is installed."""
    if sys.version_info >= OLDEST:
        return
    for minor in (13, 12, 11, 10):
        other = shutil.which(f"python3.{minor}")
        if other and subprocess.call([other, "-c", "import venv"]) == 0:
            sys.exit(subprocess.call([other, *sys.argv]))
    found = ".".join(str(part) for part in sys.version_info[:3])
    sys.exit(
        f"minilora needs Python 3.10 or newer; this is {found} and no newer one was found (python.org has them)"
    )


if __name__ == "__main__":
    use_a_recent_python()
    sys.exit(main())
