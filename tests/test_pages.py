"""Each page runs from the top, and each claim that it makes holds for its variables (slow).

A page runs in this process, in a shell like that of a notebook's kernel and in a folder of its own. After a cell tagged
`claim:ID` the assertions of that claim (tests/claims) look at the variables. Not here: the outputs and the silences
(tools/build_notebooks.py --execute), and the rules for a page's text (test_page_rules.py).
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from tests import claims
from tests.claims import CLAIMS, Claim, claim

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
LISTED = [line.split("\t")[0] for line in (ROOT / "tests/claims.tsv").read_text("utf-8").splitlines()[1:]]
for path in sorted(Path(claims.__file__).parent.glob("page_*.py")):
    importlib.import_module(f"tests.claims.{path.stem}")


def claims_of(cell: Any) -> list[str]:
    return [tag.removeprefix("claim:") for tag in cell.metadata.get("tags", []) if tag.startswith("claim:")]


def code_cells(page: Path) -> list[Any]:
    return [cell for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "code"]


# In the order of the pages, so that the tests of one page follow each other and only one page is kept.
PLACES = [(page.stem, name) for page in PAGES for cell in code_cells(page) for name in claims_of(cell)]


# -- quick: nothing is missing, and the machinery finds what is wrong ----------------------------------------


def test_every_claim_of_the_chapter_has_its_cell():
    assert len(LISTED) == 29
    assert sorted(name for _, name in PLACES) == sorted(LISTED)


@pytest.mark.parametrize(("page", "name"), PLACES)
def test_every_claim_has_assertions_in_the_file_of_its_page(page, name):
    assert name in CLAIMS, f"tests/claims/page_{page[:2]}.py lacks {name}"
    assert CLAIMS[name].check.__module__ == f"tests.claims.page_{page[:2]}"
    asserts = CLAIMS[name].asserts()
    assert asserts
    assert len(CLAIMS[name].broken) == len(asserts), "one set of broken variables for each assertion"


def test_an_assertion_that_cannot_fail_is_found():
    def check(page):
        assert page["loss"] < 1
        assert page["loss"] < 2

    good = Claim("good", check, [{"loss": 1.5}, {"loss": 3}])
    # the first assertion fails for 3, too, so nothing shows that the second can fail
    assert good.problems({"loss": 0.5}) == [
        f"good: assertion 2 (line {good.asserts()[1][0]}) holds for broken variables"
    ]
    assert "does not hold" in Claim("bad", check, []).problems({"loss": 5})[0]
    assert len(Claim("vain", check, [{}, {}]).problems({"loss": 0.5})) == 2


def test_a_claim_has_its_assertions_in_one_place():
    with pytest.raises(AssertionError, match="two places"):
        claim(LISTED[0], [])(lambda page: None)


# -- slow: the pages -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def shell(folder: Path) -> Iterator[InteractiveShell]:
    """A notebook's shell whose working folder, progress file and (empty) cache of models are in `folder`."""
    before = Path.cwd()
    os.chdir(folder)
    InteractiveShell.clear_instance()
    started = InteractiveShell.instance()
    started.history_manager.enabled = False
    try:
        with mock.patch.dict(os.environ, MINILORA_HOME=str(folder), MINILORA_CACHE=str(folder)):
            yield started
    finally:
        InteractiveShell.clear_instance()
        os.chdir(before)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory):
    """Page -> (the error that ended it, claim -> problems); each page runs once, the last one is kept."""

    @functools.lru_cache(maxsize=1)
    def run(page: str) -> tuple[str, Mapping[str, list[str]]]:
        found: dict[str, list[str]] = {}
        with shell(tmp_path_factory.mktemp(page)) as started:
            for cell in code_cells(ROOT / "notebooks" / f"{page}.ipynb"):
                result = started.run_cell(cell.source)
                if not result.success:
                    return f"{cell.id}: {result.error_in_exec or result.error_before_exec!r}", found
                for name in claims_of(cell):
                    found[name] = CLAIMS[name].problems(started.user_ns)
        return "", found

    return run


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page.stem for page in PAGES])
def test_a_page_runs_to_its_end_and_its_claims_hold(page, outcomes):
    error, found = outcomes(page)
    assert not error
    assert [problem for problems in found.values() for problem in problems] == []
    assert sorted(found) == sorted(name for place, name in PLACES if place == page)
