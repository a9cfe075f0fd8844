"""The pages in a real browser: every cell runs, every slider moves by keyboard, nothing complains.

Every page opens in JupyterLab, and one of them in Notebook 7 and in Voilà too. Not here: how fast a picture follows a
key (benchmarks/explorables.py), and what the cells compute (tests/test_notebooks.py).
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

from minilora import widgets
from tests.browser import missing

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
WITH_SLIDER = ROOT / "notebooks" / "01_the_problem.ipynb"  # a short page that has one
ONLY_EXPLORABLE = "MemoryExplorer"  # of that page, shown once
SLIDERS = {  # how many each kind of explorable has
    "AdapterSwitcher": 3,
    "LoraAnatomy": 2,
    "MemoryExplorer": 3,
    "MethodChooser": 2,
    "ParameterExplorer": 1,
    "PatternBuilder": 1,
    "QuantizationExplorer": 2,
    "RankExplorer": 1,
    "TrainingDashboard": 0,
}
PAGE_SECONDS = 600  # a page that takes longer hangs

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(2 * PAGE_SECONDS),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

# What the page's kernel says to anyone who listens: an exception in a slider's callback is shown nowhere else.
# JupyterLab asks each new kernel for its widgets, and before ipywidgets is imported there is no such comm: on a busy
# machine we still hear that. (A slider whose comm is gone would leave its picture as it is, which fails too.)
LISTEN = """
() => {
  window.problems = [];
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  kernel.iopubMessage.connect((_, message) => {
    const { msg_type } = message.header, { content } = message;
    if (msg_type === 'error') window.problems.push(content.ename + ': ' + content.evalue);
    const stderr = msg_type === 'stream' && content.name === 'stderr' ? content.text : '';
    if (stderr && !stderr.startsWith('No such comm')) window.problems.push(stderr);
  });
}
"""
KERNEL_RESTS = "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
CELLS_LEFT = """
() => jupyterapp.shell.currentWidget.content.widgets
  .filter((cell) => cell.model.type === 'code' && cell.model.sharedModel.getSource().trim()
                    && cell.model.executionCount === null).length
"""
ERRORS_SHOWN = """
() => [...document.querySelectorAll('[data-mime-type="application/vnd.jupyter.error"]')].map((node) => node.innerText)
"""
# Every cell has its number, or an error has ended the run.
RAN_IN_NOTEBOOK_7 = """
() => document.querySelector('[data-mime-type="application/vnd.jupyter.error"]')
   || [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].every((node) => /\\d/.test(node.innerText))
"""
PICTURE = "(handle) => handle.closest('.minilora').querySelector('.widget-html-content').innerHTML"


@pytest.fixture(scope="module")
def server(benchmark: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab on copies of the pages; its address. Notebook 7 and Voilà answer there too."""
    folder = tmp_path_factory.mktemp("pages")
    for path in PAGES:
        shutil.copy(path, folder)
    with benchmark.jupyter_server(folder) as address:
        yield address


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page_runs_in_jupyterlab_and_its_sliders_answer_the_keyboard(path, server, page):
    page.goto(f"{server}/lab/tree/{path.name}?reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    page.wait_for_function(KERNEL_RESTS, timeout=60_000)
    page.evaluate(LISTEN)
    try:
        assert page.evaluate(CELLS_LEFT) > 0
        page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")  # its end is far
        wait_until_all_cells_ran(page)
        assert page.evaluate(ERRORS_SHOWN) == []
        for kind in explorables(path):
            shown = page.locator(f".minilora.{kind}").count()
            assert shown > 0, f"{kind} is not shown"
            assert page.locator(f".minilora.{kind} svg").count() == shown
            assert page.locator(f".minilora.{kind} .noUi-handle").count() == shown * SLIDERS[kind]
        assert (move_every_slider(page) > 0) == any(SLIDERS[kind] for kind in explorables(path))
        page.wait_for_function(KERNEL_RESTS, timeout=60_000)
        assert page.evaluate("() => window.problems") == []
    finally:
        with contextlib.suppress(Exception):  # the next page needs the memory
            page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")


def wait_until_all_cells_ran(page: Any) -> None:
    """An error in a cell ends the run, so it ends the waiting too."""
    end = time.monotonic() + PAGE_SECONDS
    while page.evaluate(CELLS_LEFT) and not page.evaluate(ERRORS_SHOWN):
        assert time.monotonic() < end, f"{page.evaluate(CELLS_LEFT)} cells have not ended"
        page.wait_for_timeout(500)
    page.wait_for_function(KERNEL_RESTS, timeout=60_000)


def explorables(path: Path) -> set[str]:
    """The kinds that the page makes."""
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    made = [name for name in widgets.__all__ if re.search(rf"\b{name}\(", code)]
    return {getattr(widgets, name).__name__ for name in made}


def test_the_pages_have_explorables():
    kinds = {kind for path in PAGES for kind in explorables(path)}
    assert kinds <= set(SLIDERS)
    assert len(kinds) >= 7, f"only {sorted(kinds)}"


def move_every_slider(page: Any) -> int:
    handles = page.query_selector_all(".minilora:not(.Guess) .noUi-handle")
    for handle in handles:
        before = rest(page, handle)
        assert any(
            press(page, handle, key) and changes(page, handle, before)
            for key in ["ArrowRight"] * 12 + ["ArrowLeft"] * 12
        ), f"the picture does not follow the slider {handle.get_attribute('aria-label')!r}"
    return len(handles)


def rest(page: Any, handle: Any, seconds: float = 60.0) -> str:
    """The picture, once it has been still for a second: text that streams is no answer to a key."""
    end, picture, since = time.monotonic() + seconds, handle.evaluate(PICTURE), time.monotonic()
    while time.monotonic() - since < 1:
        assert time.monotonic() < end, "the picture does not come to rest"
        page.wait_for_timeout(50)
        now = handle.evaluate(PICTURE)
        if now != picture:
            picture, since = now, time.monotonic()
    return picture


def press(page: Any, handle: Any, key: str) -> bool:
    """Whether the key moved the slider; at its end it does not."""
    value = handle.get_attribute("aria-valuenow")
    handle.focus()
    page.keyboard.press(key)
    return handle.get_attribute("aria-valuenow") != value


def changes(page: Any, handle: Any, before: str, seconds: float = 5.0) -> bool:
    """Waits until the picture is another; False if it stays, for some steps do not change what is to be seen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if handle.evaluate(PICTURE) != before:
            return True
        page.wait_for_timeout(20)
    return False


@pytest.mark.skipif(importlib.util.find_spec("notebook") is None, reason="Notebook 7 is not installed")
def test_a_page_runs_in_notebook_7(server, page, problems):
    page.goto(f"{server}/notebooks/{WITH_SLIDER.name}", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.wait_for_selector(
        ".jp-NotebookKernelStatus-fade", state="attached", timeout=60_000
    )  # the kernel rests
    problems.clear()  # while it starts, Notebook 7.6 trips over its own settings; that is not ours
    page.click(".lm-MenuBar-item >> text=Run")
    page.click(".lm-Menu-item >> text=Run All Cells")
    page.wait_for_function(RAN_IN_NOTEBOOK_7, timeout=1000 * PAGE_SECONDS)
    assert page.evaluate(ERRORS_SHOWN) == []
    # this interface would use the arrow keys itself, to go to another cell
    assert move_every_slider(page) == SLIDERS[ONLY_EXPLORABLE]


@pytest.mark.skipif(importlib.util.find_spec("voila") is None, reason="Voilà is not installed")
def test_a_page_runs_in_voila(server, page, problems):
    page.goto(f"{server}/voila/render/{WITH_SLIDER.name}", wait_until="commit", timeout=1000 * PAGE_SECONDS)
    page.wait_for_selector(".minilora .noUi-handle", timeout=1000 * PAGE_SECONDS)
    problems.clear()  # Voilà loads extensions that need JupyterLab, and asks the net for fonts; that is not ours
    assert page.locator("text=There was an error").count() == 0
    assert page.evaluate(ERRORS_SHOWN) == []
    assert move_every_slider(page) == SLIDERS[ONLY_EXPLORABLE]
