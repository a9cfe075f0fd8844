"""Taking hold of a picture in a real browser, on a page without a kernel: dragging or clicking sets a control."""

from __future__ import annotations

from pathlib import Path

import pytest

from minilora.widgets import quantization_explorer
from tests.browser import missing

HOLDING = Path(__file__).parents[2] / "minilora/widgets/holding.js"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


@pytest.fixture
def picture(page):
    """The page with an explorable's picture; `seen` collects what was set."""
    explorer = quantization_explorer()
    page.set_content(f'<div id="root" style="width:640px">{explorer.svg}</div>')
    script = (
        HOLDING.read_text("utf-8") + "\nhold(root, (name, value) => window.seen.push(`${name}=${value}`));"
    )
    page.evaluate("window.seen = []")
    page.add_script_tag(content=script, type="module")
    page.wait_for_timeout(300)
    return page


def middle(page, part):
    box = page.locator(f'[data-set="{part}"]').bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_thing_is_dragged_along_its_track(picture):
    picture.mouse.move(*middle(picture, "outlier=0"))
    picture.mouse.down()
    for stop in (4, 8, 32):
        x, y = middle(picture, f"outlier={stop}")
        picture.mouse.move(x - 4, y + 60)  # the pointer need not stay on the track
    picture.mouse.up()
    picture.mouse.move(*middle(picture, "outlier=8"))  # nothing is held any more
    assert picture.evaluate("seen") == ["outlier=0", "outlier=4", "outlier=8", "outlier=32"]


def test_a_click_sets_what_the_part_says_and_nothing_else_does(picture):
    picture.mouse.click(*middle(picture, "quant_type=fp4"))
    picture.mouse.click(300, 5)  # the title
    assert picture.evaluate("seen") == ["quant_type=fp4"]


@pytest.fixture
def server(benchmark, tmp_path):
    """JupyterLab on a page with one explorable; its address. It ends after the browser, which would miss it."""
    cells = ["from minilora import widgets\nexplorer = widgets.quantization_explorer()\nexplorer"]
    benchmark.write_notebook(tmp_path / "page.ipynb", cells)
    with benchmark.jupyter_server(tmp_path) as address:
        yield address


def until_held(page):
    """Clicks on a part until the control has followed: the script comes some time after the picture."""
    for _ in range(60):
        page.mouse.click(*middle(page, "quant_type=fp4"))
        page.wait_for_timeout(500)
        if page.locator("p:has-text('fp4, blocks of 64')").count():
            page.mouse.click(*middle(page, "quant_type=nf4"))
            page.wait_for_selector("p:has-text('nf4, blocks of 64')", timeout=120_000)
            return
    pytest.fail("no click on the picture moves a control")


def test_in_jupyterlab_the_control_follows_the_picture_and_the_picture_the_control(benchmark, server, page):
    benchmark.open_and_run(page, server, "page.ipynb")
    until_held(page)
    way = [middle(page, f"outlier={stop}") for stop in (0, 16, 32)]  # before the picture is redrawn
    page.mouse.move(*way[0])
    page.mouse.down()
    for stop in way[1:]:
        page.mouse.move(*stop, steps=4)
    page.mouse.up()
    page.wait_for_selector("text=One weight is 32 times the usual size", timeout=120_000)
    assert page.evaluate(benchmark.IN_KERNEL, "explorer.outlier.value") == "32"
    assert "32 times" in page.locator(".widget-readout").nth(1).inner_text()
    page.mouse.move(*middle(page, "outlier=32"))
    page.mouse.down()
    page.mouse.move(*middle(page, "outlier=0"), steps=8)  # and back among the others
    page.mouse.up()
    page.wait_for_selector("text=Drag the red dot to the right", timeout=120_000)
    page.mouse.move(*middle(page, "outlier=0"))
    page.mouse.down()
    page.mouse.move(*middle(page, "outlier=32"), steps=8)
    page.mouse.up()
    page.wait_for_selector("text=One weight is 32 times the usual size", timeout=120_000)
    page.mouse.click(*middle(page, "quant_type=int4"))
    page.wait_for_selector("p:has-text('int4, blocks of 64, one weight 32 times')", timeout=120_000)
