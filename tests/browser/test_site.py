"""The web site in Chromium: links, errors, other hosts, a narrow window, the dark, keyboard, accessibility, no network.

MINILORA_SITE names the finished site; without it, one is built. Not here: the model in the page (test_switch.py), and
how the pages look (tools/screenshots.py).
"""

from __future__ import annotations

import html.parser
import itertools
import json
import random
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest

from minilora.explorables import memory, methods
from minilora.explorables.picture import as_html, picture
from tests.browser import site_server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(site_server.missing()), reason=site_server.missing()),
]

GALLERY = "docs/explorables.html"
PREDICTING = "notebooks/01_the_problem.html"
LOOKED_AT = [
    "index.html",
    PREDICTING,
    GALLERY,
    "docs/glossary.html",
    "exercises/03_lora.html",
    "api/lora.html",
]
IN_PYTHON = {"memory": memory, "methods": methods}
# The size of each text as it is painted: a drawing shrinks with its box.
SMALL_TEXTS = """
() => {
  const small = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement, words = walker.currentNode.textContent.trim();
    if (!words || !parent.checkVisibility({ visibilityProperty: true }) || parent.closest("script, style")) continue;
    const svg = parent.ownerSVGElement, shrinks = svg ? svg.getScreenCTM().a : 1;
    const size = parseFloat(getComputedStyle(parent).fontSize) * shrinks;
    if (size < 11) small.push(`${size.toFixed(1)}: ${words.slice(0, 60)}`);
  }
  return small;
}
"""
# Drives the worker as explorable.js does, with many states at once.
ASK_PYTHON = """
([address, questions]) => new Promise((resolve, reject) => {
  const worker = new Worker(address, { type: "module" }), answers = [];
  worker.onmessage = ({ data: { number, html, error } }) => {
    answers[number] = html ?? error;
    if (answers.filter(Boolean).length === questions.length) resolve(answers);
  };
  worker.onerror = (event) => reject(new Error(event.message));
  questions.forEach(([module, places], number) => worker.postMessage({ number, module, places }));
})
"""

KEPT = """
async (files) => {
  if (!navigator.serviceWorker.controller) return false;
  const cache = await caches.open((await caches.keys())[0]);
  const kept = new Set((await cache.keys()).map(({ url }) => url));
  return files.every((file) => kept.has(file));
}
"""


class Links(html.parser.HTMLParser):
    """What a page links to and loads, and the places in it that a link can name."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.places.add(value)
            if name in ("href", "src") and value:
                self.links.append(value)


def broken_links(site: Path) -> list[str]:
    pages = {page: Links(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}
    problems = []
    for page, found in pages.items():
        for link in found.links:
            if link.startswith(("http:", "https:", "mailto:", "data:", "javascript:")):
                continue
            path, place = urldefrag(link)
            target = (page.parent / unquote(path.split("?")[0])).resolve() if path else page
            if link.startswith("/") or not target.is_relative_to(site):
                problems.append(f"{page.relative_to(site)}: {link} leaves the site")
            elif not target.exists() or (target.is_dir() and not (target / "index.html").exists()):
                problems.append(f"{page.relative_to(site)}: {link} leads nowhere")
            elif place and target in pages and unquote(place) not in pages[target].places:
                problems.append(f"{page.relative_to(site)}: {link} names a place that is not there")
    return problems


def test_every_link_leads_somewhere_within_the_site(site):
    assert not broken_links(site)


def test_a_broken_link_is_found(tmp_path):
    for number, link in enumerate(["b.html", "a0.html#x", "/a0.html", "../secret"]):
        (tmp_path / f"a{number}.html").write_text(f'<a href="{link}">x</a>', encoding="utf-8")
    assert len(broken_links(tmp_path)) == 4


def test_every_page_has_a_policy_and_nothing_of_another_host(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "default-src 'self'" in text, page
        assert not [tag for tag in ("<script", "<link", "<img", "<iframe") if f'{tag} src="http' in text], (
            page
        )


def test_the_site_is_small_and_its_front_page_smaller(site, address, browser):
    """In bytes as they lie there; most hosts compress them on the way."""
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) <= 80e6
    with site_server.visit(browser, address, service_workers="block") as (page, _):
        asked: list[int] = []
        page.on("response", lambda reply: asked.append(int(reply.headers.get("content-length", 0))))
        page.goto(address)
        page.wait_for_load_state("networkidle")
        assert 0 < sum(asked) <= 300e3


def test_no_page_complains_or_asks_another_host(site, address, browser):
    with site_server.visit(browser, address, service_workers="block") as (page, problems):
        for path in sorted(site.rglob("*.html")):
            if "_modules" not in path.parts:
                page.goto(address + path.relative_to(site).as_posix())
                page.wait_for_load_state("networkidle")
        assert not [problem for problem in problems if "Service Worker" not in problem]


def test_the_policy_stops_what_it_should(address, browser):
    with site_server.visit(browser, address) as (page, problems):
        page.goto(address)
        page.evaluate(
            """() => {
              const script = Object.assign(document.createElement("script"), { textContent: "window.bad = 1" });
              document.body.append(script);
            }"""
        )
        assert page.evaluate("() => window.bad") is None
        assert any("Content Security Policy" in problem for problem in problems)


@pytest.mark.parametrize("path", LOOKED_AT)
def test_a_phone_shows_all_of_it_large_enough(path, address, browser):
    with site_server.visit(browser, address, viewport={"width": 390, "height": 844}) as (page, _):
        page.goto(address + path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
        assert not page.evaluate(SMALL_TEXTS)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", LOOKED_AT)
def test_axe_finds_nothing(path, theme, address, browser):
    with site_server.visit(browser, address, color_scheme=theme, bypass_csp=True) as (page, _):
        page.goto(address + path)
        page.wait_for_load_state("networkidle")
        page.add_script_tag(path=site_server.AXE)
        found = page.evaluate("() => axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] })")
        said = [
            f"{v['id']}: {n['html'][:200]} {n['failureSummary'][:300]}"
            for v in found["violations"]
            for n in v["nodes"]
        ]
        assert not said, "\n".join(said)


# -- predictions -----------------------------------------------------------------------------------------------


def test_a_measurement_is_covered_until_the_guess_is_made(address, browser):
    with site_server.visit(browser, address) as (page, problems):
        page.goto(address + PREDICTING)
        question, answer = page.locator(".prediction").first, page.locator(".reveal").first
        assert not answer.is_visible()
        button = question.get_by_role("button").last
        words = button.inner_text()
        button.focus()
        page.keyboard.press("Enter")
        assert not answer.is_visible(), "it waits until the reader has scrolled there"
        page.locator(".cover").first.get_by_role("button", name="Show what was measured").press("Enter")
        answer.wait_for()
        assert words in answer.inner_text()
        page.reload()
        page.locator(".reveal").first.wait_for()
        assert words in page.locator(".prediction").first.inner_text(), "the guess is kept"
        assert question.get_by_role("button").last.is_disabled()
        assert not problems


def test_nobody_has_to_guess(address, browser):
    with site_server.visit(browser, address) as (page, _):
        page.goto(address + PREDICTING)
        page.locator(".cover").first.get_by_role("button", name="without a guess").click()
        page.locator(".reveal").first.wait_for()
        assert "your guess" not in page.locator(".reveal").first.inner_text().lower()


# -- explorables -----------------------------------------------------------------------------------------------


def wake(page: Any, name: str) -> Any:
    explorable = page.locator(f'.explorable[data-name="{name}"]').first
    explorable.scroll_into_view_if_needed()
    page.wait_for_function(
        "(node) => node.dataset.alive === 'yes'", arg=explorable.element_handle(), timeout=400_000
    )
    return explorable


def test_the_keyboard_moves_every_explorable(address, browser):
    with site_server.visit(browser, address) as (page, problems):
        page.goto(address + GALLERY)
        names = page.eval_on_selector_all(".explorable", "(nodes) => nodes.map((node) => node.dataset.name)")
        assert len(names) == 6
        for name in names:
            explorable = wake(page, name)
            picture = explorable.locator(".picture")
            for control in explorable.locator("input, select").all():
                before = picture.inner_html()
                control.focus()
                kind = control.get_attribute("type")
                page.keyboard.press(
                    " " if kind == "checkbox" else "ArrowRight" if kind == "range" else "ArrowDown"
                )
                page.wait_for_function(
                    "([node, before]) => node.innerHTML !== before", arg=[picture.element_handle(), before]
                )
                if kind == "range":
                    assert (
                        control.get_attribute("aria-valuetext")
                        == control.locator("..").locator("output").inner_text()
                    )
        assert not problems


def test_recorded_pictures_are_those_that_the_widgets_draw(address, browser):
    from minilora import widgets

    sampled = random.Random(0)
    with site_server.visit(browser, address) as (page, _):
        page.goto(address + GALLERY)
        for make in (
            widgets.parameter_explorer,
            widgets.lora_anatomy,
            widgets.rank_explorer,
            widgets.quantization_explorer,
        ):
            widget = make()
            explorable = wake(page, type(widget).__name__)
            name = explorable.get_attribute("data-states")
            pictures = page.evaluate(
                "async (name) => (await fetch(`../_static/states/${name}`)).json()", name
            )
            states = list(itertools.product(*(control.values() for control in widget.declared.values())))
            assert len(pictures) == len(states)
            for place in sampled.sample(range(len(states)), min(12, len(states))):
                for control, value in zip(widget.controls.values(), states[place], strict=True):
                    control.value = value
                assert pictures[place] == widget.picture.value


def test_python_in_the_browser_draws_what_python_draws_here(address, browser):
    sampled = random.Random(0)
    questions, wanted = [], []
    for name, module in IN_PYTHON.items():
        controls = module.controls()
        for _ in range(1000):
            places = {key: sampled.randrange(len(control.values())) for key, control in controls.items()}
            chosen = {key: control.values()[places[key]] for key, control in controls.items()}
            questions.append([name, places])
            wanted.append(as_html(*picture(module.draw, chosen)))
    with site_server.visit(browser, address) as (page, problems):
        page.goto(address)
        answers = page.evaluate(ASK_PYTHON, [address + "_static/python_worker.js", questions])
        assert not problems
    assert len(answers) == len(wanted)
    for answer, here in zip(answers, wanted, strict=True):
        assert answer == here


def test_without_python_the_picture_remains(address, browser):
    with site_server.visit(browser, address, service_workers="block") as (page, _):
        page.route("**/pyodide/*", lambda route: route.abort())
        page.goto(address + GALLERY)
        explorable = page.locator('.explorable[data-name="MemoryExplorer"]')
        explorable.scroll_into_view_if_needed()
        page.wait_for_function("(node) => node.dataset.alive === 'no'", arg=explorable.element_handle())
        assert explorable.locator("svg[role=img]").is_visible()
        assert "picture" in explorable.locator(".note").inner_text()


# -- without a network -----------------------------------------------------------------------------------------


def test_after_the_first_visit_the_site_needs_no_network(site, address, browser):
    text = (site / "sw.js").read_text(encoding="utf-8")
    files = json.loads(text.split("const FILES = ")[1].split(";\n")[0])
    with site_server.visit(browser, address) as (page, problems):
        page.goto(address)
        for _ in range(600):  # subtle: wait_for_function takes the promise itself for an answer
            if page.evaluate(KEPT, [address + file for file in files]):
                break
            page.wait_for_timeout(500)
        else:
            pytest.fail("the service worker has not kept all files within five minutes")
        page.context.set_offline(True)
        for path in (PREDICTING, GALLERY, "docs/glossary.html"):
            page.goto(address + path)
            assert page.locator("h1").first.is_visible()
        page.goto(address + "search.html?q=adapter")
        page.locator("#search-results li").first.wait_for()
        page.goto(address + GALLERY)
        wake(page, "RankExplorer")
        page.context.set_offline(False)
        assert not problems
