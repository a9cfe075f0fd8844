"""What was handed in, read as data: notebooks from a file, a folder or a zip, and nothing of them is run.

What cannot be read is said in `problems`, and the rest of the submission still counts.

Not here: opening files and zips (files.py), and which cell answers what (judge.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from minilora.grading import files, platforms
from minilora.grading.files import MAX_FILE

MAX_CELLS = 2000
MAX_NOTEBOOKS = 30  # of one student; each takes a worker
ADAPTER_FILES = files.ADAPTER_FILES


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

    @property
    def content(self) -> str:
        """A digest of what was written in the cells, whatever the files are called."""
        cells = sorted(cell.source for cells in self.notebooks.values() for cell in cells)
        return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:32] if cells else ""


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where one student's submission lies: paths, and inside of a zip the first part of the names."""

    student: str
    path: Path
    inside: str = ""
    more: tuple[Path, ...] = ()  # of the same student, such as ada/ beside ada.ipynb
    ids: tuple[str, ...] = ()  # what the platform calls the student besides
    late: bool = False  # as the platform says
    again: bool = False  # grade it, whatever is kept


def entries(
    path: Path, student: str | None = None, only: str | None = None, names: str = "auto"
) -> list[Entry]:
    """The submissions at `path`, sorted: one notebook is one, and so is everything once a student is named.

    Without that, each entry of a folder belongs to one student, whose id is its name, without the ending of a file; the
    same holds for a zip, unless all its notebooks lie in one folder. only: the name of one entry of the folder. names:
    how a platform calls them (platforms.py).
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; give a notebook, a folder or a zip")
    if student:
        return [Entry(student, path)]
    if path.is_dir():
        found = [p for p in sorted(path.iterdir()) if files.is_entry(p)]
        if not found:
            raise ValueError(f"{path} holds no notebooks, folders or zips")
        if only is not None and only not in {p.name for p in found}:
            raise ValueError(f"{path} holds no submission called {only!r}")
        who = platforms.people([files.student_of(p) for p in found], names)
        everyone = _by_student(found, who)
        if only is None:
            return everyone
        chosen = who[files.student_of(next(p for p in found if p.name == only))].student
        return [entry for entry in everyone if entry.student == chosen]
    if only is not None:
        raise ValueError("--only chooses an entry of a folder")
    if path.suffix.lower() == ".zip":
        return _entries_of_zip(path, names)
    return [Entry(path.stem, path)]


def _by_student(found: list[Path], who: dict[str, platforms.Person]) -> list[Entry]:
    """One entry for each student; a folder and a file of the same name belong to one."""
    by_person: dict[str, list[Path]] = {}
    people: dict[str, platforms.Person] = {}
    for path in found:
        person = who[files.student_of(path)]
        by_person.setdefault(person.student, []).append(path)
        people.setdefault(person.student, person)
    return [
        Entry(student, paths[0], more=tuple(paths[1:]), ids=people[student].ids, late=people[student].late)
        for student, paths in by_person.items()
    ]


def _entries_of_zip(path: Path, how: str) -> list[Entry]:
    """One for each first part of the names, where there are several."""
    names = files.names_in_zip(path)
    roots = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in names})
    if len(roots) <= 1:
        return [Entry(path.stem, path)]
    students = [PurePosixPath(root).stem if "/" not in root else root[:-1] for root in roots]
    who = platforms.people(students, how)
    people = [who[name] for name in students]
    if len({person.student for person in people}) < len(people) and any(person.ids for person in people):
        raise ValueError(f"{path} holds several files of one student; unpack it, and name the folder")
    return [
        Entry(person.student, path, root, ids=person.ids, late=person.late)
        for person, root in zip(people, roots, strict=True)
    ]


def load(entry: Entry) -> Submission:
    """Reads a submission; whatever is wrong with it is in `problems`."""
    submission = Submission(entry.student)
    content = hashlib.sha256()
    for place in (entry.path, *entry.more):
        before = f"{place.name}/" if entry.more else ""
        for name, data in files.read(place, entry.inside):
            raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
            content.update(f"{len(name)} {name} {len(raw)} ".encode("utf-8", "replace") + raw)
            _take(submission, before + name, data)
    if not submission.notebooks and not submission.problems:
        submission.problems.append("there is no notebook in it")
    submission.digest = content.hexdigest()
    return submission


def _take(submission: Submission, name: str, data: bytes | str) -> None:
    if isinstance(data, str):
        submission.problems.append(f"{name}: {data}")
    elif not name.lower().endswith(".ipynb"):
        submission.files[name] = data
    elif len(submission.notebooks) >= MAX_NOTEBOOKS:
        submission.problems.append(f"{name}: more than {MAX_NOTEBOOKS} notebooks; this one is not read")
    else:
        try:
            submission.notebooks[name] = read_notebook(data)
        except ValueError as error:
            submission.problems.append(f"{name}: {error}")


def read_notebook(data: bytes) -> list[NotebookCell]:
    """The cells of a notebook; ValueError says why it is none.

    >>> read_notebook(b'{"cells": [{"cell_type": "code", "source": ["x = 1"]}]}')
    [NotebookCell(kind='code', source='x = 1', ids=())]
    """
    if len(data) > MAX_FILE:
        raise ValueError(files.TOO_LARGE)
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
    return NotebookCell(str(cell.get("cell_type")), source, tuple(i for i in ids if isinstance(i, str))[:20])
