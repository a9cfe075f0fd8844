"""The finished web site, served on this computer, and a browser that notes whatever goes wrong in it.

Not here: what is asked of the site (test_site.py, test_switch.py).
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.browser import missing as missing_browser

ROOT = Path(__file__).parents[2]
AXE = ROOT / "build" / "npm" / "node_modules" / "axe-core" / "axe.min.js"  # accessibility rules
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def missing() -> str:
    """Why the site cannot be tested here; empty if it can."""
    if reason := missing_browser():
        return reason
    if "MINILORA_SITE" not in os.environ and not shutil.which("npm"):
        return "no npm to build the site with, and MINILORA_SITE names no finished one"
    return ""


def folder() -> Path:
    """The site that MINILORA_SITE names, else one made now, with the outputs of page 01 alone."""
    named = os.environ.get("MINILORA_SITE")
    if named:
        return (ROOT / named).resolve()
    subprocess.run([sys.executable, ROOT / "tools" / "build_site.py", "--only", "01"], cwd=ROOT, check=True)
    return ROOT / "build" / "site"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@contextlib.contextmanager
def served(site: Path) -> Iterator[str]:
    """Its address. It lies in a subfolder of the host, as the site of a project does on GitHub Pages."""
    handler = functools.partial(Quiet, directory=str(site.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{site.name}/"
        server.shutdown()


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=CHROMIUM)
        yield started
        started.close()


@contextlib.contextmanager
def visit(browser: Any, address: str, **context: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page, and the list of what goes wrong in it: errors, and requests that leave the site."""
    problems: list[str] = []
    opened = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | context))
    opened.on(
        "request",
        lambda r: None if r.url.startswith((address, "data:", "blob:")) else problems.append(f"asks {r.url}"),
    )
    page = opened.new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("console", lambda m: problems.append(f"console: {m.text}") if m.type == "error" else None)
    yield page, problems
    opened.close()
