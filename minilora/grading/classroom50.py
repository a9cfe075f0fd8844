"""A folder that Classroom 50 takes as the autograder of an assignment: `autograder.py`, this package, and a secret.

Classroom 50 runs autograder.py once for each submission, on a machine of GitHub Actions, with the student's files as
the working folder, and reads the result.json that it leaves there. Nothing of the student's may be imported on the way.

Not here: the marks in result.json (formats.py).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import minilora
from minilora.grading.gradescope import options_for, requirements

AUTOGRADER = '''"""Grades one submission for Classroom 50: minilora's marks, and what the platform says about it."""

import datetime
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent  # never the student's folder: what lies there must not be imported
CHECKOUT = Path.cwd()
EXERCISES = {exercises!r}
PACKAGES = {packages!r}
MORE = {more!r}


def main() -> int:
    missing = [package for package in PACKAGES if not is_installed(re.split(r"[^\\w.-]", package)[0])]
    if missing:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *missing], check=True, cwd=HERE)
    result = CHECKOUT / "result.json"
    result.unlink(missing_ok=True)  # the student's own, perhaps
    command = [sys.executable, "-m", "minilora.cli", "grade", str(CHECKOUT), "--format", "classroom50"]
    command += ["--student", os.environ.get("OWNER") or os.environ.get("USERNAME") or "student"]
    command += ["--output", str(result), "--secret-file", str(HERE / "course-secret")]
    command += [word for option, name in MORE for word in (option, str(HERE / name))]
    command += ["--exercises", *EXERCISES]
    settings = ["PYTHONPATH=" + str(HERE), "PYTHONSAFEPATH=1", "PYTHONDONTWRITEBYTECODE=1", "OMP_NUM_THREADS=1"]
    done = subprocess.run([*become_root(), "env", *settings, *command], cwd=HERE)
    if done.returncode or not result.exists():
        return done.returncode or 1  # an infrastructure error for Classroom 50, and no zero
    marks = json.loads(result.read_text(encoding="utf-8"))
    result.unlink()  # the folder is this user's, if the file is not
    result.write_text(json.dumps(about() | marks, indent=1), encoding="utf-8")
    return 0


def is_installed(name: str) -> bool:
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


def become_root() -> list:
    """GitHub's machines forbid bubblewrap to all but root, and a job may become root there."""
    if os.geteuid() == 0 or not shutil.which("sudo"):
        return []
    allowed = subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0
    return ["sudo", "-n"] if allowed else []


def about() -> dict:
    names = {{"classroom": "CLASSROOM", "assignment": "ASSIGNMENT", "submission": "SUBMISSION_TAG"}}
    names |= {{"commit": "COMMIT_URL", "release": "RELEASE_URL"}}
    told = {{key: os.environ.get(name, "") for key, name in names.items()}}
    told["review"] = os.environ.get("REVIEW_URL") or told["commit"]
    git = ["git", "-C", str(CHECKOUT), "log", "-1", "--format=%ct"]
    try:
        handed_in = int(subprocess.run(git, capture_output=True, text=True, check=True).stdout)
        when = datetime.datetime.fromtimestamp(handed_in, datetime.timezone.utc)
    except (OSError, ValueError, subprocess.CalledProcessError):
        when = datetime.datetime.now(datetime.timezone.utc)
    return told | {{"datetime": when.strftime("%Y-%m-%dT%H:%M:%SZ")}}


if __name__ == "__main__":
    sys.exit(main())
'''


def build_folder(
    folder: Path, names: tuple[str, ...], secret: bytes, files: dict[str, bytes] | None = None
) -> None:
    """Writes the folder; ValueError if something is in it already. files: as in gradescope.build_zip."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not an empty folder; name a new one")
    folder.mkdir(parents=True, exist_ok=True)
    program = AUTOGRADER.format(exercises=list(names), packages=requirements(), more=options_for(files or {}))
    (folder / "autograder.py").write_text(program, encoding="utf-8", newline="\n")
    (folder / "course-secret").write_bytes(secret)
    for name, content in (files or {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    package = Path(minilora.__file__).parent
    shutil.copytree(package, folder / "minilora", ignore=shutil.ignore_patterns("__pycache__"))
