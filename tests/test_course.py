"""What is recorded of the pages and the tests is complete; and a page needs no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import course
import pytest

from tests.helpers import jupyter_apart

ROOT = Path(__file__).parents[1]
PAGES = [source.stem for source in sorted(course.SOURCES.glob("*.py"))]
WHOLE = {
    "machine": {"cores": 2},
    "pages": dict.fromkeys(PAGES, 1.0),
    "cpu": dict.fromkeys(PAGES, 2.0),
    "peak_memory": dict.fromkeys(PAGES, 5 * 10**8),
    "silent": [],
    "tests": {"said": "3 passed in 1.00s", "passed": True},
}
OFFLINE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]  # a kernel talks to itself


def test_a_whole_record_lacks_nothing_and_shows_memory_and_tests():
    assert course.missing(WHOLE) == []
    page = course.page(WHOLE)
    assert f"| {PAGES[0]} | 1 s | 2 s | 500 MB |" in page
    assert "3 passed in 1.00s" in page
    assert "Not recorded" not in page
    assert "nothing for over 3 s: none" in page
    quiet = "00-03 showed nothing for 4.0 s of 5.0 s"
    assert quiet in course.page(WHOLE | {"silent": [quiet]})


def test_what_a_record_lacks_is_said_on_its_page():
    torn = {"machine": {}, "pages": {name: 1.0 for name in PAGES[1:]}}
    assert course.missing(torn) == [f"page {PAGES[0]}", "the pages' memory", "the tests"]
    assert f"**Not recorded yet:** page {PAGES[0]}, the pages' memory, the tests." in course.page(torn)


def test_the_record_is_whole():
    recorded = json.loads((ROOT / "benchmarks" / "results" / "course.json").read_text(encoding="utf-8"))
    assert course.missing(recorded) == []


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="Windows does not tell")
def test_the_memory_of_a_page_is_that_of_its_largest_process():
    fills = "import time; x = b'1' * 300_000_000; time.sleep(0.1)"
    calls = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {fills!r}], check=True)"
    # In a process of its own: what a large one starts counts, until it is a program itself, as large as its parent.
    command = [sys.executable, "-c", calls]
    measure = f"import course, os; print(course.run_and_measure({command}, dict(os.environ), 0.0)[2])"
    folder = Path(course.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", measure], cwd=folder, capture_output=True, text=True, check=True
    )
    assert 300_000_000 < int(done.stdout) < 500_000_000
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    _, cpu, _, _ = course.run_and_measure([sys.executable, "-c", busy], dict(os.environ), 0.0)
    assert 0.5 <= cpu < 1
    with pytest.raises(subprocess.CalledProcessError):
        course.run_and_measure([sys.executable, "-c", "1 / 0"], dict(os.environ), 0.0)


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("unshare") and shutil.which("ip"))
    or subprocess.run([*OFFLINE, "true"], capture_output=True, check=False).returncode != 0,
    reason="this machine or this user cannot take the network away",
)
@pytest.mark.parametrize("page", ["01_the_problem"])
def test_a_page_runs_without_a_network(page, tmp_path):
    reach = "import socket; socket.create_connection(('1.1.1.1', 53), 2)"
    assert subprocess.run(
        [*OFFLINE, sys.executable, "-c", reach], capture_output=True, check=False
    ).returncode
    build = [sys.executable, str(ROOT / "tools" / "build_notebooks.py"), "--child"]
    command = [*OFFLINE, *build, str(course.SOURCES / f"{page}.py"), str(tmp_path / "result.ipynb")]
    done = subprocess.run(command, env=jupyter_apart(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "result.ipynb").exists()
