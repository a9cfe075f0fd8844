"""What the front door says: its figures are the recorded ones, and its commands work."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(sys.platform == "win32", reason="two of the benchmarks need a POSIX system")
def test_the_page_of_results_is_what_the_records_give():
    command = [sys.executable, str(ROOT / "benchmarks" / "run_all.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
