"""Tests that need a real browser, and whether there is one."""

from __future__ import annotations

import importlib.util
import os
import shutil


def missing() -> str:
    """Why no browser test can run here; empty if they can."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed (pip install playwright)"
    if not (os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")):
        return "no Chromium on the path and none named by CHROMIUM (Debian, Ubuntu: apt-get install chromium)"
    return ""
