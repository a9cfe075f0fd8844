"""The browser's page, and the program whose server and browser serve here too."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.browser import site_server

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "explorables.py"


@pytest.fixture(scope="session")
def benchmark() -> ModuleType:
    """The program that opens explorables in JupyterLab; its server and browser serve here too."""
    spec = importlib.util.spec_from_file_location("explorables", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def problems() -> list[str]:
    """What went wrong in the page so far, and what it wrote to its console as an error."""
    return []


@pytest.fixture
def page(benchmark: ModuleType, problems: list[str]) -> Iterator[Any]:
    """A browser's page; a problem that is left at the end fails the test."""
    with benchmark.browser_page() as page:
        page.on("pageerror", lambda error: problems.append(f"error in the page: {error}"))
        page.on(
            "console",
            lambda m: problems.append(f"console: {m.text} {m.location}") if m.type == "error" else None,
        )
        yield page
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def site() -> Path:
    """The folder of the finished web site."""
    return site_server.folder()


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the web site is served."""
    with site_server.served(site) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for visits of the web site."""
    with site_server.browser() as browser:
        yield browser
