"""What was handed in, read as data: notebooks from a file, a folder or a zip, and nothing of them is run.

A zip is never unpacked: its members are read one by one, with a cap, so that neither their names nor their sizes can do
harm. What cannot be read is said in `problems`, and the rest of the submission still counts.

Not here: which cell answers what (answers.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

MAX_FILE = 20 * 2**20  # bytes of one notebook
MAX_TOTAL = 60 * 2**20  # of all that one student hands in
MAX_FILES = 200
MAX_CELLS = 2000
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
)
Files = Iterator[tuple[str, bytes | str]]  # name -> content, or why there is none


@dataclasses.dataclass(frozen=True)
class NotebookCell:
    """One cell. ids: names that its metadata give it, such as nbgrader's."""

    kind: str
    source: str
    ids: tuple[str, ...] = ()


@dataclasses.dataclass
class Submission:
    """All that one student handed in."""

    student: str
    notebooks: dict[str, list[NotebookCell]] = dataclasses.field(default_factory=dict)
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)  # of adapters
    problems: list[str] = dataclasses.field(default_factory=list)
    digest: str = ""


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where one student's submission lies: a path, and inside of a zip the first part of the names."""

    student: str
    path: Path
    inside: str = ""


def entries(path: Path, student: str | None = None) -> list[Entry]:
    """The submissions at `path`, sorted: one notebook is one, and so is everything once a student is named.

    Without that, each entry of a folder belongs to one student, whose id is its name without ending; the same holds for
    a zip, unless all its notebooks lie in one folder.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; give a notebook, a folder or a zip")
    if student:
        return [Entry(student, path)]
    if path.is_dir():
        found = [p for p in sorted(path.iterdir()) if _is_entry(p)]
        if not found:
            raise ValueError(f"{path} holds no notebooks, folders or zips")
        return [Entry(p.name if p.is_dir() and not p.is_symlink() else p.stem, p) for p in found]
    if path.suffix.lower() == ".zip":
        return _entries_of_zip(path)
    return [Entry(path.stem, path)]


def load(entry: Entry) -> Submission:
    """Reads a submission; whatever is wrong with it is in `problems`."""
    submission = Submission(entry.student)
    content = hashlib.sha256()
    total = 0
    for number, (name, data) in enumerate(_files(entry)):
        if number >= MAX_FILES or total > MAX_TOTAL:
            submission.problems.append(
                f"more than {MAX_FILES} files or {MAX_TOTAL // 2**20} MB; the rest is not read"
            )
            break
        raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
        total += len(raw)
        content.update(f"{len(name)} {name} {len(raw)} ".encode("utf-8", "replace") + raw)
        if isinstance(data, str):
            submission.problems.append(f"{name}: {data}")
        elif name.lower().endswith(".ipynb"):
            try:
                submission.notebooks[name] = read_notebook(data)
            except ValueError as error:
                submission.problems.append(f"{name}: {error}")
        else:
            submission.files[name] = data
    if not submission.notebooks and not submission.problems:
        submission.problems.append("there is no notebook in it")
    submission.digest = content.hexdigest()
    return submission


def read_notebook(data: bytes) -> list[NotebookCell]:
    """The cells of a notebook; ValueError says why it is none.

    >>> read_notebook(b'{"cells": [{"cell_type": "code", "source": ["x = 1"]}]}')
    [NotebookCell(kind='code', source='x = 1', ids=())]
    """
    if len(data) > MAX_FILE:
        raise ValueError(
            f"the file is larger than {MAX_FILE // 2**20} MB; clear its outputs and hand it in again"
        )
    if not data.strip():
        raise ValueError("the file is empty")
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"the file is not UTF-8 text (byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the file is not a notebook: {str(error)[:120]}") from error
    cells = _raw_cells(notebook)
    if cells is None:
        raise ValueError('the file is JSON, but not a notebook: it has no list of "cells"')
    if len(cells) > MAX_CELLS:
        raise ValueError(f"the notebook has {len(cells):,} cells; at most {MAX_CELLS:,} are read")
    return [_cell(cell) for cell in cells if isinstance(cell, dict)]


def _raw_cells(notebook: Any) -> list[Any] | None:
    if not isinstance(notebook, dict):
        return None
    cells = notebook.get("cells")
    sheets = notebook.get("worksheets")  # as notebooks were until 2015
    if cells is None and isinstance(sheets, list):
        cells = [
            c for s in sheets if isinstance(s, dict) and isinstance(s.get("cells"), list) for c in s["cells"]
        ]
    return cells if isinstance(cells, list) else None


def _cell(cell: dict[str, Any]) -> NotebookCell:
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    source = source.replace("\r\n", "\n").replace("\r", "\n") if isinstance(source, str) else ""
    metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
    nbgrader = metadata.get("nbgrader") if isinstance(metadata.get("nbgrader"), dict) else {}  # type: ignore[union-attr]
    ids = [nbgrader.get("grade_id"), cell.get("id")]  # type: ignore[union-attr]
    tags = metadata.get("tags")  # type: ignore[union-attr]
    ids += tags if isinstance(tags, list) else []
    return NotebookCell(str(cell.get("cell_type")), source, tuple(i for i in ids if isinstance(i, str)))


# -- files -----------------------------------------------------------------------------------------------------


def _is_entry(path: Path) -> bool:
    return not _hidden(path.name) and (path.is_dir() or path.suffix.lower() in (".ipynb", ".zip"))


def _hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith((".", "__MACOSX")) for part in parts if part != "..")


def _wanted(name: str) -> bool:
    last = name.rpartition("/")[2]
    return not _hidden(name) and (last.lower().endswith((".ipynb", ".zip")) or last in ADAPTER_FILES)


def _files(entry: Entry) -> Files:
    path = entry.path
    if path.is_symlink():
        yield path.name, "this is a link to somewhere else; hand in the file itself"
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path).as_posix()
            if file.is_symlink() and _wanted(name):
                yield name, "this is a link to somewhere else; hand in the file itself"
            elif _wanted(name) and file.is_file() and not any(parent.is_symlink() for parent in file.parents):
                yield from _one_file(name, file)
    else:
        yield from _one_file(path.name, path, entry.inside)


def _one_file(name: str, path: Path, inside: str = "") -> Files:
    if path.suffix.lower() == ".zip":
        yield from _files_of_zip(path, inside)
    elif path.stat().st_size > MAX_FILE:
        yield name, f"the file is larger than {MAX_FILE // 2**20} MB; clear its outputs and hand it in again"
    else:
        yield name, path.read_bytes()


def _files_of_zip(path: Path, inside: str) -> Files:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and m.filename.startswith(inside)]
            for member in sorted(members, key=lambda m: m.filename):
                if _wanted(member.filename):
                    yield from _members(archive, member)
    except BROKEN_ZIP as error:
        yield path.name, f"the zip cannot be read: {error}"


def _members(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Files:
    """One member, or the notebooks of a zip in the zip; not deeper."""
    try:
        with archive.open(member) as file:
            data = file.read(MAX_FILE + 1)  # subtle: the size that the zip claims may be a lie
    except BROKEN_ZIP as error:
        yield member.filename, f"it cannot be read from the zip: {error}"
        return
    if len(data) > MAX_FILE:
        yield member.filename, f"the file is larger than {MAX_FILE // 2**20} MB"
    elif not member.filename.lower().endswith(".zip"):
        yield member.filename, data
    elif isinstance(archive.fp, io.BytesIO):
        yield member.filename, "a zip in a zip in a zip is not read"
    else:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as inner:
                for name in sorted(inner.namelist()):
                    if _wanted(name):
                        yield from _members(inner, inner.getinfo(name))
        except BROKEN_ZIP as error:
            yield member.filename, f"the zip cannot be read: {error}"


def _entries_of_zip(path: Path) -> list[Entry]:
    """One for each first part of the names, where there are several."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if _wanted(name)]
    except BROKEN_ZIP:
        return [Entry(path.stem, path)]  # reading it says what is wrong
    roots = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in names})
    if len(roots) <= 1:
        return [Entry(path.stem, path)]
    return [Entry(PurePosixPath(root).stem if "/" not in root else root[:-1], path, root) for root in roots]
