"""A zip that Gradescope takes as an autograder: this package, the course's secret, and two short programs.

On Gradescope's machines no bubblewrap may work; then submissions run as a user of their own (setpriv), which is why the
programs below take the right to read this package and the secret from everyone but root.

Not here: the form of the results (formats.py).
"""

from __future__ import annotations

import importlib.metadata
import io
import re
import shlex
import zipfile
from pathlib import Path

import minilora
from minilora.exercises.records import write_whole

SETUP = """#!/usr/bin/env bash
# Runs once, when Gradescope builds the machine. Put an index of PyTorch builds for processors into TORCH_INDEX, and no
# gigabytes for GPUs are installed.
set -euo pipefail
root="${{AUTOGRADER_ROOT:-/autograder}}"
environment="${{MINILORA_ENVIRONMENT:-/opt/minilora}}"
apt-get update -qq
apt-get install -y -qq python3-venv bubblewrap util-linux
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet ${{TORCH_INDEX:+--index-url "$TORCH_INDEX"}} {torch}
"$environment/bin/pip" install --quiet {packages}
chmod -R go-rwx "$root/source"
"""

RUN = """#!/usr/bin/env bash
# Runs for each submission. It always leaves a result, also where grading itself fails.
root="${{AUTOGRADER_ROOT:-/autograder}}"
python="${{MINILORA_PYTHON:-/opt/minilora/bin/python}}"
mkdir -p "$root/results"
chmod 700 "$root/source" "$root/results"
student=$("$python" - "$root/submission_metadata.json" <<'END'
import json, sys
try:
    with open(sys.argv[1], encoding="utf-8") as file:
        print(json.load(file)["users"][0]["email"])
except (OSError, ValueError, LookupError, TypeError):
    print("student")
END
)
cd "$root"
PYTHONPATH="$root/source" OMP_NUM_THREADS=1 "$python" -m minilora.cli grade "$root/submission" \\
    --student "$student" --format gradescope --output "$root/results/results.json" \\
    --secret-file "$root/source/course-secret"{more} --exercises {exercises}
if [ ! -s "$root/results/results.json" ]; then
    echo '{{"output": "Grading did not work. That is no fault of yours, and no zero."}}' > "$root/results/results.json"
fi
"""


def build_zip(
    path: Path, names: tuple[str, ...], secret: bytes, files: dict[str, bytes] | None = None
) -> None:
    """Writes the zip; it holds the secret and the solutions, so it is for your eyes and Gradescope's alone.

    files: the course's rules and own exercises, where there are any.
    """
    more = "".join(f' {option} "$root/source/{name}"' for option, name in options_for(files or {}))
    package = Path(minilora.__file__).parent
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        torch, *others = map(
            shlex.quote, sorted(requirements(), key=lambda line: not line.startswith("torch"))
        )
        _program(archive, "setup.sh", SETUP.format(torch=torch, packages=" ".join(others)))
        _program(
            archive, "run_autograder", RUN.format(exercises=" ".join(map(shlex.quote, names)), more=more)
        )
        for name, content in (files or {}).items():
            archive.writestr(name, content)
        archive.writestr("course-secret", secret)
        for file in sorted(package.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, Path("minilora") / file.relative_to(package))
    write_whole(path, data.getvalue())


def options_for(files: dict[str, bytes]) -> list[tuple[str, str]]:
    """What tells `minilora grade` about such files: (option, name)."""
    found = [("--course", "course.toml")] if "course.toml" in files else []
    return found + ([("--own-exercises", "own-exercises")] if len(files) > len(found) else [])


def requirements() -> list[str]:
    """What this package needs, and no newer than what is installed here; an older Python there gets what fits it.

    >>> requirements()[0].startswith("numpy>=1.26,<=")
    True
    """
    lines = importlib.metadata.requires("minilora") or []
    needed = {re.split(r"[^\w.-]", line)[0]: line for line in lines if ";" not in line}
    older = [
        line for line in lines if "; python_version <" in line
    ]  # for these alone, and not installed here
    return [
        *(f"{line},<={importlib.metadata.version(name).partition('+')[0]}" for name, line in needed.items()),
        *older,
    ]


def _program(archive: zipfile.ZipFile, name: str, text: str) -> None:
    """A file that may be run, whichever system made the zip."""
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o100755 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, text)
