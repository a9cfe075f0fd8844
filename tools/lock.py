"""Writes requirements.lock: one pinned version of every package, for all platforms and Pythons that we support.

    python tools/lock.py        needs uv (pip install uv) and the package index

uv resolves for every platform at once and writes markers where one version cannot serve all. What torch's CUDA build
brings along is left out of the lock: pip adds it by itself where that build is installed, and a laptop needs none.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
ONLY_FOR_CUDA = re.compile(r"^(nvidia|cuda|triton)")
HEAD = """\
# Written by tools/lock.py; do not edit. Every package that a class installs, for Linux, macOS and Windows and
# Python 3.10 to 3.13. Install with: python tools/environment.py
"""


def main() -> None:
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--universal",
        "--python-version",
        "3.10",
        "--quiet",
    ]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--extra", "dev"]
    command += ["--constraint", "tools/pins.txt", "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"uv could not resolve the dependencies:\n{done.stderr}")
    lines = [line for line in done.stdout.splitlines() if line and not ONLY_FOR_CUDA.match(line)]
    LOCK.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    print(f"{LOCK.name}: {len(lines)} pins")


if __name__ == "__main__":
    main()
