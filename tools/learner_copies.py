"""Makes the learner's own copies of pages and exercises in my-work/ and keeps them up to date. Standard library only.

    python tools/learner_copies.py        says what was made, replaced or put beside

my-work/ is laid out as the repository is (my-work/notebooks, my-work/exercises), so links between pages and exercises
work there unchanged; other files that they link to are copied too. Git ignores it, so neither answers nor outputs stand
in the way of an update:

- a copy that is missing is made;
- a copy that nobody has touched is replaced by a newer page;
- a copy with the learner's work stays, and the newer page is put beside it as 03_lora.new.ipynb.

A copy counts as untouched if its cells hold what was copied, whatever their outputs are: a page can be run again. What
was copied is written down in my-work/copies.json. Not here: starting JupyterLab.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("notebooks", "exercises")
MANIFEST = "copies.json"
TUTOR_RULES = "exercises/AGENTS.md"


def update(repository: Path = ROOT, say=print) -> Path:
    """Brings the copies up to date and returns my-work."""
    mine = repository / "my-work"
    record = _read_record(mine / MANIFEST)
    for folder in FOLDERS:
        for page in sorted((repository / folder).glob("*.ipynb")):
            copy = mine / folder / page.name
            name = f"{folder}/{page.name}"
            newest = essence(page.read_text(encoding="utf-8"))
            word, record[name] = _bring_up_to_date(page, copy, newest, record.get(name, {}))
            if word:
                say(f"my-work/{name}: {word}")
            _copy_linked_files(page, copy)
    rules = repository / TUTOR_RULES
    if rules.exists():  # where an AI assistant of the learner's looks for them
        _write(mine / TUTOR_RULES, rules.read_bytes())
    _write(mine / MANIFEST, json.dumps(record, indent=1, sort_keys=True).encode("utf-8"))
    return mine


def _bring_up_to_date(page: Path, copy: Path, newest: str, known: dict) -> tuple[str, dict]:
    """(a word for the learner, what to write down).

    Written down are `copied`, which the copy began as, and `offered`, the last page that was put beside it.
    """
    if not copy.exists():
        _write(copy, page.read_bytes())
        return "", {"copied": newest}
    present = essence(copy.read_text(encoding="utf-8"))
    if present == newest:
        return "", {"copied": newest}
    if present == known.get("copied"):
        _write(copy, page.read_bytes())
        return "replaced by the newer page; you had not changed it", {"copied": newest}
    if newest in (known.get("copied"), known.get("offered")):
        return "", known
    beside = copy.with_suffix(".new.ipynb")
    _write(beside, page.read_bytes())
    return f"kept, since you have worked in it; the newer page is beside it as {beside.name}", {
        **known,
        "offered": newest,
    }


def _copy_linked_files(page: Path, copy: Path) -> None:
    """What a page links to outside the copied folders, such as ../docs/glossary.md; not written by the learner."""
    for link in re.findall(r"\]\((\.\./[^)#\s]+)", page.read_text(encoding="utf-8")):
        source = page.parent / unquote(link)
        if (
            source.is_file()
            and source.resolve().relative_to(page.parents[1].resolve()).parts[0] not in FOLDERS
        ):
            _write(copy.parent / unquote(link), source.read_bytes())


def essence(notebook: str) -> str:
    """A digest of what was written in the cells, in order; outputs, counts and a kernel's name are no part of it."""
    try:
        cells = [
            (cell.get("cell_type"), "".join(cell.get("source", []))) for cell in json.loads(notebook)["cells"]
        ]
    except (ValueError, KeyError, AttributeError, TypeError):
        cells = [("damaged", notebook)]
    while cells and not cells[-1][1].strip():
        cells.pop()  # JupyterLab adds an empty cell after the last one is run
    return hashlib.sha256(json.dumps(cells).encode("utf-8")).hexdigest()


def _read_record(path: Path) -> dict:
    """What was copied; empty if that is unknown, and then every copy that differs counts as the learner's work."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    path = Path(os.path.normpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    new.write_bytes(data)
    os.replace(new, path)


if __name__ == "__main__":
    print(f"Your copies are in {update()}")
    sys.exit(0)
