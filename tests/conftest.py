"""Fixtures of several test files, and a word about what this run cannot test."""

import pytest

from minilora.gpt import GPT
from tests.browser import missing


@pytest.fixture(scope="session")
def story_model() -> GPT:
    """The embedded tiny GPT."""
    return GPT.from_pretrained("tiny-gpt")


def pytest_terminal_summary(terminalreporter):
    """Without a browser a run would end green and say nothing of the pages that nobody opened."""
    if missing():
        terminalreporter.write_line(f"LEFT OUT: the tests in a real browser (tests/browser): {missing()}")
