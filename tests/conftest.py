"""Fixtures of several test files, and a word about what this run cannot test."""

import os
import signal
import sys

import pytest

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # before torch is imported: processes share the cores, so a thread for each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # started in the background of a shell, and every program that a test starts would ignore Ctrl-C as well
    signal.signal(signal.SIGINT, signal.default_int_handler)

from minilora.gpt import GPT
from tests.browser import missing


@pytest.fixture(scope="session")
def story_model() -> GPT:
    """The embedded tiny GPT."""
    return GPT.from_pretrained("tiny-gpt")


def pytest_terminal_summary(terminalreporter):
    """Without a browser or root a run would end green and say nothing of the pages and walls that nobody tried."""
    if missing():
        terminalreporter.write_line(f"LEFT OUT: the tests in a real browser (tests/browser): {missing()}")
    grading = sys.modules.get("tests.test_grading")  # of the run's tests
    for name, why in getattr(grading, "MISSING_BOXES", {}).items():
        terminalreporter.write_line(f"LEFT OUT: the attacks on the grader in the sandbox {name}: {why}")
