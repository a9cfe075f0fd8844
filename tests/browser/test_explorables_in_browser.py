"""Every explorable for every reader: by keyboard alone, by ear, in the dark, in a narrow window, without a kernel.

One notebook of JupyterLab holds them all. Not here: how fast a picture follows a key (benchmarks/explorables.py), and
the pages (test_pages_in_browser.py).
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

from minilora import widgets
from minilora.figures.colors import luminance
from tests.browser import missing

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

KINDS = len(widgets.__all__)
CONTROLS = ".minilora .noUi-handle, .minilora select, .minilora input, .minilora button"
# What a screen reader would call a control, in the order of the standard: aria-label, a label that names it, its words.
NAME = """
(node) => node.getAttribute('aria-label') || [...(node.labels ?? [])].map((label) => label.innerText).join(' ').trim()
          || (node.tagName === 'BUTTON' ? node.innerText : '')
"""
STATE = "(node) => node.value"
PICTURE = "(node) => node.closest('.minilora').querySelector('.widget-html-content').innerHTML"
MARK = "(nodes) => nodes.forEach((node, place) => { node.dataset.place = place; })"
FOCUSED = "() => document.activeElement.dataset.place"
# A drawing may be wider than its box, which scrolls then, so it is not cut off; the box itself must not be.
CUT_OFF = """
(root) => [...root.querySelectorAll('*')].concat(root).filter((node) => {
  const edge = (node.ownerSVGElement ?? root).getBoundingClientRect(), place = node.getBoundingClientRect();
  const box = node.tagName === 'svg' && node.closest('.widget-html-content');
  if (box && getComputedStyle(box).overflowX === 'auto') return place.width > box.scrollWidth + 1;
  return place.width && (place.right > edge.right + 1 || place.left < edge.left - 1
    || (node.matches('.minilora, p, svg, select, label:not(:empty)') && node.scrollWidth > node.clientWidth + 1));
}).map((node) => `${node.tagName} ${node.textContent.slice(0, 80)}`)
"""
# Height in pixels, and the words, of each text in a drawing.
SIZES = """
() => [...document.querySelectorAll('.minilora svg[role=img] text')].map((text) =>
  [parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a, text.textContent])
"""
SIDE_BAR = "() => jupyterapp.commands.execute('application:toggle-left-area')"
# Each text's color and that below it: the page's, or that of the last box that holds its middle.
COLOURS = """
() => [...document.querySelectorAll('.minilora svg')].flatMap((svg) => [...svg.querySelectorAll('text')].map((text) => {
  const { left, right, top, bottom } = text.getBoundingClientRect();
  const x = (left + right) / 2, y = (top + bottom) / 2;
  const below = [...svg.querySelectorAll('rect')].filter((box) => {
    const place = box.getBoundingClientRect();
    const earlier = box.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING;
    return earlier && box.getAttribute('fill') !== 'none'
      && place.left < x && x < place.right && place.top < y && y < place.bottom;
  }).pop();
  let page = svg;
  while (getComputedStyle(page).backgroundColor === 'rgba(0, 0, 0, 0)') page = page.parentElement;
  const ground = below ? getComputedStyle(below).fill : getComputedStyle(page).backgroundColor;
  return [text.textContent, getComputedStyle(text).fill, ground];
}))
"""


@pytest.fixture(scope="module")
def lab(benchmark: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A page with every explorable alive, and the address of its server."""
    folder: Path = tmp_path_factory.mktemp("explorables")
    cells = [benchmark.SETUP, *(f"{cell}\nexplorer" for cell in benchmark.CELLS.values())]
    benchmark.write_notebook(folder / "all.ipynb", cells)
    with benchmark.jupyter_server(folder) as address, benchmark.browser_page() as page:
        benchmark.open_and_run(page, address, "all.ipynb", explorables=KINDS)
        page.eval_on_selector_all(CONTROLS, MARK)
        yield page, address, folder


@pytest.fixture
def page(lab: Any) -> Any:
    return lab[0]


def controls(page: Any) -> list[Any]:
    found = page.query_selector_all(CONTROLS)
    assert len(found) >= 3 * KINDS - 4, (
        "the dashboard has one, the rank explorer one, most have three or more"
    )
    return found


def test_the_benchmark_knows_every_explorable(benchmark):
    assert set(benchmark.CELLS) == set(widgets.__all__)


def test_tab_reaches_every_control_in_its_order(page):
    wanted = [node.get_attribute("data-place") for node in controls(page)]
    controls(page)[0].focus()
    reached = [page.evaluate(FOCUSED)]
    for _ in range(4 * len(wanted)):  # cells and their tools lie between
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
    assert list(dict.fromkeys(place for place in reached if place)) == wanted


def test_every_control_has_a_name(page):
    names = [node.evaluate(NAME) for node in controls(page)]
    assert all(name.strip() for name in names), names


def test_a_slider_speaks_its_value(page):
    for handle in page.query_selector_all(".minilora .noUi-handle"):
        readout = handle.evaluate(
            "n => n.closest('.widget-inline-hbox').querySelector('.widget-readout').innerText"
        )
        assert handle.get_attribute("aria-valuetext") == readout != ""
        assert handle.get_attribute("role") == "slider"


def test_a_picture_says_what_it_shows_and_that_it_changes(page):
    for picture in page.query_selector_all(".minilora .widget-html-content"):
        svg = picture.query_selector("svg[role=img]")
        assert len(svg.get_attribute("aria-label")) > 20
        assert picture.get_attribute("aria-live") == "polite"
        assert len(picture.query_selector("p").inner_text()) > 20


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("select", ["ArrowDown", "ArrowUp"]),
        ("input[type=checkbox]", [" "]),
        ("input[type=text]", ["x"]),
        (".noUi-handle", ["ArrowRight"]),
    ],
)
def test_keys_move_the_controls(page, kind, keys):
    nodes = page.query_selector_all(f".minilora {kind}")
    assert nodes
    for node in nodes:
        before = settled(page, node)
        node.focus()
        for key in keys:
            page.keyboard.press(key)
            if changes(page, node, before):
                break
        else:
            pytest.fail(
                f"the picture does not follow {keys} in {node.evaluate(NAME)!r} {node.evaluate(STATE)!r}"
            )


def changes(page: Any, node: Any, before: str) -> bool:
    """Waits up to five seconds, for a machine that is busy."""
    for _ in range(100):
        if node.evaluate(PICTURE) != before:
            return True
        page.wait_for_timeout(50)
    return False


def settled(page: Any, node: Any) -> str:
    """The picture after half a second without a change."""
    picture = ""
    while picture != (picture := node.evaluate(PICTURE)):
        page.wait_for_timeout(500)
    return picture


def test_stop_ends_a_training_whose_cell_is_running(page, benchmark):
    page.evaluate(benchmark.START, "trainer.train()")
    dashboard = page.query_selector_all(".minilora")[-1]
    wait = "([root, word]) => root.querySelector('p').innerText.startsWith(word)"
    page.wait_for_function(wait, arg=[dashboard, "Training"], timeout=20_000)
    dashboard.query_selector("button").click()
    page.wait_for_function(wait, arg=[dashboard, "Stopped"], timeout=5_000)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_words_are_readable_in_every_theme(page, theme):
    """4.5 : 1, what the Web Content Accessibility Guidelines ask of text (1.4.3)."""
    page.evaluate("(theme) => jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    page.wait_for_timeout(1500)
    texts = page.evaluate(COLOURS)
    assert len(texts) > 100
    faint = [(words, color, ground) for words, color, ground in texts if contrast(color, ground) < 4.5]
    assert not faint


def contrast(one: str, other: str) -> float:
    """Of two colors as the browser writes them: 'rgb(17, 17, 17)'."""
    lights = []
    for color in (one, other):
        red, green, blue = (int(part) for part in color.split("(")[1].rstrip(")").split(",")[:3])
        lights.append(luminance(f"#{red:02x}{green:02x}{blue:02x}") + 0.05)
    return max(lights) / min(lights)


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_nothing_is_cut_off_however_narrow_the_window(page, width):
    before = page.viewport_size
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(SIDE_BAR)  # closed, as whoever has so little room will do
    page.wait_for_timeout(1000)
    try:
        problems = [
            page.evaluate(CUT_OFF, root) for root in page.query_selector_all(".jp-Notebook .minilora")
        ]
        assert len(problems) == KINDS
        assert not any(problems), problems
    finally:
        page.evaluate(SIDE_BAR)
        page.set_viewport_size(before)


def test_words_in_a_narrow_window_are_large_enough(page):
    """11 pixels and more, on a phone that is held upright."""
    before = page.viewport_size
    page.set_viewport_size({"width": 390, "height": 900})
    page.wait_for_timeout(1000)
    sizes = page.evaluate(SIZES)
    page.set_viewport_size(before)
    assert len(sizes) > 100
    assert [(size, words) for size, words in sizes if size < 11] == []


def test_printed_lines_break_between_words(page):
    """Beside an explorable; by itself JupyterLab breaks them wherever the window ends."""
    first = "jupyterapp.shell.currentWidget.content.widgets[0].model.sharedModel"
    page.evaluate(f"() => {first}.setSource('print(1)')")
    page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }")
    page.evaluate("() => jupyterapp.commands.execute('notebook:run-cell')")
    line = page.wait_for_selector(".jp-OutputArea-output pre")
    assert line.evaluate("line => getComputedStyle(line).wordBreak") == "normal"


def test_a_still_with_words_where_no_kernel_runs(lab, benchmark):
    """As a fresh copy of a page is opened: its outputs are not trusted, and no widget is alive."""
    _, address, folder = lab
    explorer = widgets.rank_explorer()
    data = {key: explorer._repr_mimebundle_()[key] for key in ("text/plain", "text/html")}
    notebook = nbformat.v4.new_notebook()
    output = nbformat.v4.new_output("execute_result", data=data, execution_count=1)
    notebook.cells = [nbformat.v4.new_code_cell("explorer", outputs=[output], execution_count=1)]
    nbformat.write(notebook, folder / "still.ipynb")
    page = lab[0].context.browser.new_page(viewport={"width": 800, "height": 900})
    page.goto(f"{address}/lab/tree/still.ipynb?reset", wait_until="domcontentloaded")
    image = page.wait_for_selector(".jp-OutputArea-output img", timeout=60_000)
    page.wait_for_function("(image) => image.complete", arg=image)
    assert image.evaluate("image => image.naturalWidth") > 600, "it is no picture"
    assert explorer.sentence in image.get_attribute("alt")
    output_area = page.query_selector(".jp-OutputArea-output")
    assert explorer.sentence in output_area.inner_text()
    assert output_area.evaluate("node => node.scrollWidth <= node.clientWidth")
    page.close()


def test_a_slow_move_or_a_leak_fails_the_benchmark(benchmark):
    good = {
        "moves": 400,
        "p95_ms": 60,
        "nodes_grown": 3,
        "listeners_grown": 0,
        "heap_kb_grown": 90,
        "widgets_grown": 0,
    }
    assert benchmark.failures("x", good) == []
    for change in ({"p95_ms": 80}, {"nodes_grown": 200}, {"listeners_grown": 200}, {"widgets_grown": 200}):
        assert len(benchmark.failures("x", good | change)) == 1
