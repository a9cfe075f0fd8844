"""A prediction in a real JupyterLab: made by keyboard, kept over a restart of the kernel, revealed in a picture.

Not here: what is stored and said (tests/test_lesson.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.browser import missing

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

SETUP = """
from minilora.lesson import guessing, predict, reveal
from minilora.lesson.prediction import Choice, Estimate
guessing.PREDICTIONS["share"] = Choice("How many train?", {"all": 100, "half": 50, "one in fifty": 2}, "%")
guessing.PREDICTIONS["memory"] = Estimate("How much memory?", [8, 16, 32, 64], "GB", log=True)
"""
CELLS = [SETUP, 'predict("share")', 'predict("memory")', 'reveal("share", 1.8)', 'reveal("memory", 16)']
RUN_ALL = "() => jupyterapp.commands.execute('notebook:run-all-cells')"
RESTART = "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
KERNEL_RESTS = "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"


@pytest.fixture
def server(benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """JupyterLab on a page with two predictions; its address."""
    monkeypatch.setenv("MINILORA_HOME", str(tmp_path))
    benchmark.write_notebook(tmp_path / "page.ipynb", CELLS)
    with benchmark.jupyter_server(tmp_path) as address:
        yield address


@pytest.mark.slow
def test_a_guess_is_made_by_keyboard_and_outlives_the_kernel(server, page):
    page.goto(f"{server}/lab/tree/page.ipynb?reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    page.wait_for_function(KERNEL_RESTS, timeout=60_000)
    page.evaluate(RUN_ALL)
    page.wait_for_selector(".Reveal svg", timeout=120_000)
    assert "You made no guess" in page.locator(".Reveal").first.inner_text()

    page.locator(".Guess button", has_text="half").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Your guess: half", timeout=30_000)
    page.locator(".Guess .noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    page.locator(".Guess button", has_text="This is my guess").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Your guess: 64 GB", timeout=30_000)

    page.evaluate(RESTART)
    page.wait_for_function(KERNEL_RESTS, timeout=60_000)
    page.evaluate(RUN_ALL)
    page.wait_for_selector("text=You guessed half; it is 1.8%.", timeout=120_000)
    page.wait_for_selector("text=smaller by a factor of 4", timeout=60_000)
    assert page.locator(".Guess button", has_text="✓ half").count() == 1
