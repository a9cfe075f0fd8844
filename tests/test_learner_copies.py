"""A learner's copies: made once, replaced while untouched, never written over once there is work in them."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import learner_copies  # noqa: E402


def notebook(*sources: str, outputs: bool = False) -> str:
    cells = [
        {"cell_type": "code", "source": source, "outputs": [{"text": "1"}] if outputs else []}
        for source in sources
    ]
    return json.dumps({"cells": cells, "nbformat": 4})


@pytest.fixture
def repository(tmp_path):
    for folder in learner_copies.FOLDERS:
        (tmp_path / folder).mkdir()
    page = tmp_path / "notebooks" / "03_lora.ipynb"
    page.write_text(notebook("first"), encoding="utf-8")
    (tmp_path / "exercises" / "03_lora.ipynb").write_text(notebook("..."), encoding="utf-8")
    return tmp_path


def update(repository) -> list[str]:
    said: list[str] = []
    learner_copies.update(repository, said.append)
    return said


def page(repository, text=None):
    path = repository / "notebooks" / "03_lora.ipynb"
    if text:
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def copy(repository, name="03_lora.ipynb"):
    return repository / "my-work" / "notebooks" / name


def test_copies_are_made_once_and_again_when_deleted(repository):
    assert update(repository) == []
    assert copy(repository).read_text(encoding="utf-8") == page(repository)
    assert (repository / "my-work" / "exercises" / "03_lora.ipynb").exists()
    copy(repository).unlink()
    assert update(repository) == []
    assert copy(repository).read_text(encoding="utf-8") == page(repository)


def test_an_untouched_copy_is_replaced_even_if_it_was_run(repository):
    update(repository)
    copy(repository).write_text(notebook("first", "", outputs=True), encoding="utf-8")
    newer = page(repository, notebook("second"))
    (word,) = update(repository)
    assert "replaced" in word
    assert copy(repository).read_text(encoding="utf-8") == newer
    assert update(repository) == []


def test_work_is_kept_and_the_newer_page_is_put_beside_it_once(repository):
    update(repository)
    mine = notebook("first, and mine")
    copy(repository).write_text(mine, encoding="utf-8")
    assert update(repository) == [], "the page is not newer"
    newer = page(repository, notebook("second"))
    (word,) = update(repository)
    assert "03_lora.new.ipynb" in word
    assert copy(repository).read_text(encoding="utf-8") == mine
    assert copy(repository, "03_lora.new.ipynb").read_text(encoding="utf-8") == newer
    copy(repository, "03_lora.new.ipynb").unlink()
    assert update(repository) == [], "who has thrown it away is not asked again"
    page(repository, notebook("third"))
    assert len(update(repository)) == 1
    assert copy(repository).read_text(encoding="utf-8") == mine


@pytest.mark.parametrize("record", [None, "", "[]", "no json"])
def test_without_a_record_every_copy_counts_as_work(repository, record):
    update(repository)
    manifest = repository / "my-work" / learner_copies.MANIFEST
    manifest.unlink() if record is None else manifest.write_text(record, encoding="utf-8")
    before = copy(repository).read_text(encoding="utf-8")
    page(repository, notebook("second"))
    (word,) = update(repository)
    assert "kept" in word
    assert copy(repository).read_text(encoding="utf-8") == before


def test_a_damaged_copy_is_kept(repository):
    update(repository)
    copy(repository).write_text("{ half a noteb", encoding="utf-8")
    page(repository, notebook("second"))
    assert "kept" in update(repository)[0]
    assert copy(repository).read_text(encoding="utf-8") == "{ half a noteb"


def test_links_between_pages_and_exercises_work_from_the_copies(tmp_path):
    for folder in learner_copies.FOLDERS:
        (tmp_path / folder).mkdir()
        for path in (ROOT / folder).glob("*.ipynb"):
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    shutil.copytree(ROOT / "docs", tmp_path / "docs")  # pages link to the glossary, and to what was measured
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(ROOT / "benchmarks" / "RESULTS.md", tmp_path / "benchmarks")
    update(tmp_path)
    for path in (tmp_path / "my-work").rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+?)\)", text) if "://" not in link]
        missing = [link for link in links if link and not (path.parent / unquote(link)).exists()]
        assert not missing, f"{path.name} links to {missing}"


def test_other_files_that_a_page_links_to_are_copied_too(repository):
    (repository / "docs").mkdir()
    glossary = repository / "docs" / "glossary.md"
    glossary.write_text("token", encoding="utf-8")
    page(repository, notebook("[token](../docs/glossary.md#token), [none](../docs/none.md)"))
    update(repository)
    copied = repository / "my-work" / "docs" / "glossary.md"
    assert copied.read_text(encoding="utf-8") == "token"
    glossary.write_text("token, loss", encoding="utf-8")
    update(repository)
    assert copied.read_text(encoding="utf-8") == "token, loss"


def test_git_ignores_the_copies():
    assert "my-work/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
