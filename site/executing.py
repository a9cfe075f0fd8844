"""Executes the pages for the site and keeps the results, so that the next build runs only what has changed.

A page is executed again if its source or any file of the package that it could run is no longer the same.

Not here: what is recorded while a page runs (recording.py), and how a page becomes HTML (Sphinx).
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import build_notebooks  # noqa: E402

GALLERY = Path(__file__).with_name("explorables.py")  # a page of the site alone
PRIMER = ROOT / "exercises" / "src" / "00_numpy.py"  # among the exercises, and yet a page to read
APART = ("grading", "doctor.py", "cli.py")  # no page runs these
STARTUP = """\
import sys
sys.path.insert(0, {site!r})
import recording
recording.start(__import__("pathlib").Path({states!r}))
del sys, recording
"""


def executed_pages(cache: Path, beginnings: list[str]) -> list[Path]:
    """The executed copy of each page, from the cache or made now.

    Args:
        cache: Where the copies are kept, each beside the pictures that were recorded.
        beginnings: Of the names of the pages that are wanted; none stands for all.
    """
    engine = digest(
        path
        for path in sorted((ROOT / "minilora").rglob("*"))
        if path.is_file()
        and path.relative_to(ROOT / "minilora").parts[0] not in APART
        and "__pycache__" not in path.parts
    )
    copies = []
    for source in [*build_notebooks.chosen_sources(build_notebooks.SOURCES, beginnings), PRIMER, GALLERY]:
        key = digest([source, Path(__file__).with_name("recording.py")], engine)
        copy = cache / source.stem / key / f"{source.stem}.ipynb"
        if not copy.exists():
            shutil.rmtree(copy.parents[1], ignore_errors=True)
            execute(source, copy)
        copies.append(copy)
    return copies


def execute(source: Path, copy: Path) -> None:
    """Runs one page in a process and a folder of its own; the recorded states go beside the copy.

    The cache of models is empty, so a page shows the same whatever has been fetched to this computer.
    """
    with tempfile.TemporaryDirectory() as folder:
        work, start = Path(folder), time.perf_counter()
        startup = work / "profile_default" / "startup" / "record.py"
        startup.parent.mkdir(parents=True)
        states = work / "states"
        states.mkdir()
        startup.write_text(
            STARTUP.format(site=str(Path(__file__).parent), states=str(states)), encoding="utf-8"
        )
        result = work / "result.ipynb"
        program = build_notebooks.__file__
        build_notebooks.execute_apart(
            program, source, result, build_notebooks.PAGE_SECONDS, MINILORA_HOME=folder, MINILORA_CACHE=folder
        )
        problems = build_notebooks.unfit_outputs(nbformat.read(result, as_version=4))
        if problems:
            sys.exit("\n".join(problems))
        copy.parent.mkdir(parents=True)
        shutil.copytree(states, copy.parent / "states")
        shutil.copy(result, copy)  # last: its presence says that all is there
        print(f"{time.perf_counter() - start:6.1f} s  {source.stem} executed", flush=True)


def digest(paths, before: str = "") -> str:
    whole = hashlib.sha256(before.encode())
    for path in paths:
        whole.update(path.name.encode() + path.read_bytes())
    return whole.hexdigest()[:16]
