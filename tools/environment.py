"""Makes the environment in .venv if it is missing or out of date, then runs a command in it. Standard library only.

    python tools/environment.py lab        JupyterLab on the first page          (make lab)
    python tools/environment.py test       the tests                             (make test)
    python tools/environment.py test-all   these, and the slow and browser ones  (make test-all)
    python tools/environment.py lint       format, lint and type checks          (make lint)
    python tools/environment.py doctor     checks the installation               (make doctor)
    python tools/environment.py site       the course as a web site              (make site)
    python tools/environment.py run PROGRAM ...   anything else
    python tools/environment.py            only set up

What follows the command is passed on, as in `python tools/environment.py lab --no-browser`.

The learner's commands (lab, doctor, setup) install requirements.lock; the others requirements-dev.lock, which has those
packages and more.

Not here: the choice of versions (tools/lock.py), how packages are installed (installing.py), what `lab` opens (lab.py).
"""

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import installing

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STARTED = VENV / "minilora-started"  # written before anything else: this folder is ours, and may be half made
STAMP = VENV / "minilora-stamp"  # written after everything else: what the environment was made from
LOG = VENV / "minilora-setup.log"
OLDEST, NEWEST = (3, 10), (3, 13)  # the Pythons that the lock is resolved and tested for
GIGABYTES_NEEDED = 3
FOR_LEARNERS = ("setup", "lab", "doctor")  # commands that need nothing but requirements.lock

# What each kind of environment is made from. The second holds the first, in the same versions, so both share .venv.
LOCKS = {"lab": "requirements.lock", "dev": "requirements-dev.lock"}
ABOUT = {
    "lab": "what the course needs: about 120 packages, 0.3 GB to download and 1.3 GB on disk",
    "dev": "what tests, lint and the web site need: about 200 packages, 0.5 GB to download and 2 GB on disk",
}
# Two processes, a file's tests in one of them. What is slow or in a browser runs alone: it measures, or has children.
TESTS = ["pytest", "-n", "2", "--dist", "loadfile"]
LINT = [
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["codespell"],
    ["mypy", "minilora"],
    ["lint-imports", "--no-cache"],
    # Files that programs write are what the programs would write today.
    ["python", "tools/build_notebooks.py", "--check"],
    ["python", "tools/build_exercises.py", "--check"],
    ["python", "tools/build_docs.py", "--check"],
    ["python", "benchmarks/run_all.py", "--check"],
]


def main() -> int:
    command, *rest = sys.argv[1:] or ["setup"]
    commands = {
        "setup": [],
        "lab": [["python", str(ROOT / "tools" / "lab.py"), *rest]],
        "test": [[*TESTS, *rest]],
        "test-all": [[*TESTS, *rest], ["pytest", "-m", "slow or browser", *rest]],
        "lint": LINT,
        # By its path, not as `minilora doctor`: it must still speak where the package cannot be imported.
        "doctor": [["python", str(ROOT / "minilora" / "doctor.py"), *rest]],
        "site": [["python", str(ROOT / "tools" / "build_site.py"), *rest]],
        "run": [rest],
    }
    if command not in commands or (command == "run" and not rest):
        print(__doc__)
        return 0 if command in ("-h", "--help", "help") else 2
    with one_at_a_time():
        set_up("lab" if command in FOR_LEARNERS else "dev")
    for arguments in commands[command]:
        status = run_inside(arguments)
        if status:
            return status
    return 0


def run_inside(arguments):
    """Runs a program of the environment, as if the environment were activated; returns its exit status."""
    environment = dict(clean_environment(), VIRTUAL_ENV=str(VENV))
    # How long a thread of PyTorch's on Linux waits awake for the next task. By default so long that on a busy machine
    # the threads burn each other's time, up to tenfold; so short, a quiet machine loses nothing.
    environment.setdefault("GOMP_SPINCOUNT", "10000")
    environment["PATH"] = os.pathsep.join([str(PYTHON.parent), environment.get("PATH", "")])
    program = shutil.which(arguments[0], path=environment["PATH"])
    if program is None:
        sys.exit(f"there is no program '{arguments[0]}' in {VENV} or on the PATH")
    child = subprocess.Popen([program, *arguments[1:]], env=environment, cwd=str(ROOT))
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            pass  # the program got the same Ctrl-C; JupyterLab asks back, so wait for what it decides


def set_up(kind):
    """Leaves .venv as the lock describes it. Without a stamp it counts as absent, however whole it looks."""
    stamp = STAMP.read_text(encoding="utf-8") if STAMP.exists() else ""
    if stamp in {wanted(kind), wanted("dev")}:
        return
    check_machine()
    if VENV.exists() and not usable():
        print(
            f"Making {VENV} anew: it was left half made, was moved, or belongs to another Python", flush=True
        )
        remove(VENV)
    print(f"Setting up {VENV} (some minutes the first time; later starts take no time)", flush=True)
    print(f"  {ABOUT[kind]}", flush=True)
    VENV.mkdir(exist_ok=True)
    STARTED.write_text(identity(), encoding="utf-8")
    STAMP.unlink(missing_ok=True)
    installer = installing.Installer(PYTHON, ROOT, LOG, clean_environment())
    if not PYTHON.exists():
        # Not sys.executable: that may be the one in the .venv that was just removed.
        base = getattr(sys, "_base_executable", sys.executable)
        installer.step([base, "-m", "venv", str(VENV)], "making a virtual environment")
    installer.install(LOCKS[kind])
    installer.install_editable()
    STAMP.write_text(wanted(kind), encoding="utf-8")
    print("The environment is ready", flush=True)


def clean_environment():
    """Without what would mix other Pythons' packages in, or send pip's packages elsewhere."""
    unwanted = ("PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return dict(kept, PIP_USER="0")  # a pip.conf may ask for --user, which a virtual environment refuses


def wanted(kind):
    """What the environment is made from: if any of it changes, it is brought up to date."""
    digest = hashlib.sha256(identity().encode("utf-8"))
    for name in (LOCKS[kind], "pyproject.toml"):
        digest.update((ROOT / name).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def identity():
    """A virtual environment holds absolute paths and one Python; moved or under another it does not work."""
    return "{} {}.{}".format(VENV, *sys.version_info[:2])


def usable():
    """Whether .venv can be brought up to date in place: finished once, here, by this Python; or made by hand."""
    if STARTED.exists():
        return STAMP.exists() and PYTHON.exists() and STARTED.read_text(encoding="utf-8") == identity()
    if VENV.is_dir() and not any(VENV.iterdir()):
        return True
    # Not ours, so nothing of it may be deleted: used if it works, else the person decides.
    probe = "import pip, sys; sys.exit(sys.version_info < (3, 10) or sys.prefix == sys.base_prefix)"
    try:
        works = PYTHON.exists() and subprocess.call([str(PYTHON), "-c", probe], env=clean_environment()) == 0
    except OSError:
        works = False
    if not works:
        sys.exit(
            f"{VENV} was made by hand and has no working Python 3.10 with pip; move or delete it, then run this again"
        )
    print(f"Using {VENV}, which was made by hand; its packages become those of our lock", flush=True)
    return True


def remove(folder):
    try:
        shutil.rmtree(str(folder))
    except OSError as error:
        sys.exit(
            f"cannot remove {folder} ({error}); close the programs that run from it, then run this again"
        )


def check_machine():
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        sys.exit(
            "this Python has no venv module, which makes environments. On Debian and Ubuntu: "
            "sudo apt install python{}.{}-venv".format(*sys.version_info[:2])
        )
    if not os.access(str(ROOT), os.W_OK):
        sys.exit(f"cannot write in {ROOT}; copy the repository to a folder of your own")
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < GIGABYTES_NEEDED:
        sys.exit(
            f"only {free:.1f} GB are free on this disk; the environment needs {GIGABYTES_NEEDED}. Make room first"
        )
    if os.name == "nt" and len(str(VENV)) > 120:
        sys.exit(
            f"the path {VENV} is too long for Windows; move the repository nearer to the root of the disk"
        )


@contextlib.contextmanager
def one_at_a_time():
    """Makes a second command wait for the first. The lock ends with its process, even if that is killed."""
    if not os.access(str(ROOT), os.W_OK):  # a read-only copy: set_up says so if there is anything to do
        yield
        return
    with open(str(ROOT / ".venv.lock"), "w", encoding="utf-8") as file:
        with contextlib.suppress(OSError):  # some network disks have no locks; go on without
            wait_for_lock(file)
        yield


def wait_for_lock(file):
    if os.name != "nt":
        import fcntl

        return fcntl.flock(file, fcntl.LOCK_EX)
    import msvcrt

    while True:
        try:
            return msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        except OSError as error:
            if error.errno != errno.EDEADLK:  # what Windows says after each ten seconds of waiting
                raise


def use_a_suitable_python():
    """Starts again under a Python that the lock is made for, if the one at hand is not and another is installed."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    for minor in (13, 12, 11, 10):
        other = shutil.which(f"python3.{minor}")
        if other and subprocess.call([other, "-c", "import venv"], stderr=subprocess.DEVNULL) == 0:
            sys.exit(subprocess.call([other, *sys.argv]))
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < OLDEST:
        sys.exit(
            f"minilora needs Python 3.10 to 3.13; this is {found} and no other was found (python.org has them)"
        )
    print(f"Python {found} is newer than those tested (3.10 to 3.13); trying it all the same", flush=True)


if __name__ == "__main__":
    use_a_suitable_python()
    sys.exit(main())
