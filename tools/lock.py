"""Writes the two locks: pinned versions for all platforms and Pythons that we support.

    python tools/lock.py        needs uv (pip install uv) and the package index

- requirements.lock: what a learner needs (the extra `lab`); `make lab` installs it.
- requirements-dev.lock: that, in the same versions, and what the tests need (the extra `dev`).

uv resolves for every platform at once and writes markers where one version cannot serve all. The packages that only
PyTorch's CUDA build needs are left out: pip adds them by itself where that build is installed, and a laptop needs none.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ONLY_FOR_CUDA = re.compile(r"^(nvidia|cuda|triton)")
HEAD = """\
# Written by tools/lock.py; do not edit. {purpose}, for Linux, macOS and Windows and
# Python 3.10 to 3.13. Install with: python tools/environment.py {command}
"""


def main() -> None:
    # The larger lock first: the smaller one then takes its versions, so that one environment can serve both.
    dev = resolve("dev", constraint="tools/pins.txt")
    write("requirements-dev.lock", dev, HEAD.format(purpose="What tests and lint need", command="test"))
    lab = resolve("lab", constraint="requirements-dev.lock")
    write("requirements.lock", lab, HEAD.format(purpose="What a learner needs", command="lab"))


def resolve(extra: str, constraint: str) -> list[str]:
    """The pins of one extra of pyproject.toml, one requirement per line."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.10",
    ]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url"]
    command += ["--extra", extra, "--constraint", constraint, "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"uv could not resolve the extra '{extra}':\n{done.stderr}")
    return [line for line in done.stdout.splitlines() if line and not ONLY_FOR_CUDA.match(line)]


def write(name: str, lines: list[str], head: str) -> None:
    (ROOT / name).write_text(head + "\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    print(f"{name}: {len(lines)} pins")


if __name__ == "__main__":
    main()
