"""The report on a class in a browser: sorts by each column, fits a phone, and works by keyboard."""

from __future__ import annotations

import pytest

from minilora.grading import report, web
from tests.browser import missing
from tests.test_grading_class import result_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]
SCORES = {"bob": 2, "ada": 0, "cyn": 1}


@pytest.fixture
def page(tmp_path):
    from explorables import browser_page

    found = [result_of(name, ("merge", score, [] if score else ["minus"])) for name, score in SCORES.items()]
    (tmp_path / "report.html").write_text(web.report_page(report.of_class(found), found), encoding="utf-8")
    with browser_page() as page:
        page.goto((tmp_path / "report.html").as_uri())
        yield page


def first_column(page):
    rows = page.locator("#students ~ .scroll tr").all()[1:]
    return [row.locator("td").first.inner_text() for row in rows]


def test_a_click_sorts_and_a_second_one_turns_round(page):
    assert first_column(page) == list(SCORES)
    head = page.locator("#students ~ .scroll th button")
    head.nth(0).click()
    assert first_column(page) == ["ada", "bob", "cyn"]
    head.nth(2).click()  # points
    assert first_column(page) == ["ada", "cyn", "bob"]
    head.nth(2).press("Enter")
    assert first_column(page) == ["bob", "cyn", "ada"]
    assert page.locator("#students ~ .scroll th").nth(2).get_attribute("aria-sort") == "descending"


def test_it_fits_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
