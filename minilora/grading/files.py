"""Files and zips of a submission, opened with care: ordinary files alone, each with a cap, and no link is followed.

A zip is never unpacked: its members are read one by one, so that neither their names nor their sizes can do harm. Caps
count what is read, not what a name or a size promises.

Not here: what is in a notebook (submission.py).
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MAX_FILE = 20 * 2**20  # bytes of one notebook
MAX_TOTAL = 60 * 2**20  # of all that one student hands in, unpacked
MAX_FILES = 200
MAX_NAMES = 20_000  # in a folder or a zip, wanted or not
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
TOO_LARGE = f"the file is larger than {MAX_FILE // 2**20} MB; clear its outputs and hand it in again"
LINK = "this is a link to somewhere else; hand in the file itself"
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


class _Full(Exception):
    """The caps on what one student may hand in are reached."""


class Budget:
    """What may still be read of a submission."""

    def __init__(self) -> None:
        self.bytes, self.files, self.names = MAX_TOTAL, MAX_FILES, MAX_NAMES

    def take(self, count: int) -> None:
        """Before a file is given out, and for each zip in a zip: bytes that were read."""
        self.bytes -= count
        self.files -= 1
        if self.bytes < 0 or self.files < 0:
            raise _Full

    def see(self) -> None:
        self.names -= 1
        if self.names < 0:
            raise _Full


def is_entry(path: Path) -> bool:
    """Whether it is somebody's submission: a folder, a notebook or a zip that is not hidden."""
    return not _hidden(path.name) and (path.is_dir() or path.suffix.lower() in (".ipynb", ".zip"))


def student_of(path: Path) -> str:
    """The id of whose submission it is: its name, without the ending of a file."""
    return path.name if path.is_dir() and not path.is_symlink() else path.stem


def read(path: Path, inside: str = "") -> Files:
    """The wanted files at a path. inside: the first part of their names, in a zip of a class."""
    budget = Budget()
    try:
        if path.is_symlink():
            yield path.name, LINK
        elif path.is_dir():
            yield from _folder(path, budget)
        else:
            yield from _one_file(path.name, path, budget, inside)
    except _Full:
        yield path.name, f"more than {MAX_FILES} files or {MAX_TOTAL // 2**20} MB; the rest is not read"


def _folder(path: Path, budget: Budget) -> Files:
    """A folder's files by name. Links above it are ordinary; those inside are not followed."""
    found = []
    for parent, folders, names in os.walk(path, onerror=_raise):
        folders.sort()
        for name in [*names, *folders]:
            budget.see()
            place = Path(parent, name)
            if _wanted(place.relative_to(path).as_posix()) and (name in names or place.is_symlink()):
                found.append(place)
    for place in sorted(found):
        name = place.relative_to(path).as_posix()
        if place.is_symlink():
            yield name, LINK
        else:
            yield from _one_file(name, place, budget)


def _raise(error: OSError) -> None:
    raise error  # a folder that may not be read is ours to mend, and no empty submission


def _one_file(name: str, path: Path, budget: Budget, inside: str = "") -> Files:
    data = _bytes_of(path) if path.suffix.lower() != ".zip" else path
    if isinstance(data, Path):
        problem = None if stat.S_ISREG(path.lstat().st_mode) else "this is no ordinary file"
        yield from ([(name, problem)] if problem else _zip(path, inside, budget))
    else:
        if isinstance(data, bytes):
            budget.take(len(data))
        yield name, data


def _bytes_of(path: Path) -> bytes | str:
    """The content, or why it is not read. A pipe would wait for ever, so it is looked at before it is opened."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return "this is no ordinary file"
    flags = (
        os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return "this is no ordinary file"
        data = file.read(MAX_FILE + 1)
    return data if len(data) <= MAX_FILE else TOO_LARGE


# -- zips ----------------------------------------------------------------------------------------------------------


def names_in_zip(path: Path) -> list[str]:
    """The wanted names in a zip; none where it cannot be read (reading it says what is wrong)."""
    if not stat.S_ISREG(path.stat().st_mode):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            names = [_slashes(name) for name in archive.namelist()]
    except BROKEN_ZIP:
        return []
    return [name for name in names if _wanted(name)]


def _slashes(name: str) -> str:
    return name.replace("\\", "/")  # as some programs on Windows write them


def _zip(path: Path, inside: str, budget: Budget) -> Files:
    try:
        with zipfile.ZipFile(path) as archive:
            yield from _members(archive, inside, budget, deeper=True)
    except BROKEN_ZIP as error:
        yield path.name, f"the zip cannot be read: {error}"


def _members(archive: zipfile.ZipFile, inside: str, budget: Budget, deeper: bool) -> Files:
    """The wanted members by name; those of a zip in the zip too, and not deeper."""
    named = sorted((_slashes(member.filename), number) for number, member in enumerate(archive.infolist()))
    for name, number in named:
        budget.see()
        member = archive.infolist()[number]
        if member.is_dir() or not name.startswith(inside) or not _wanted(name):
            continue
        try:
            with archive.open(member) as file:
                data = file.read(MAX_FILE + 1)  # subtle: the size that the zip claims may be a lie
        except BROKEN_ZIP as error:
            yield name, f"it cannot be read from the zip: {error}"
            continue
        budget.take(len(data))
        if len(data) > MAX_FILE:
            yield name, TOO_LARGE
        elif not name.lower().endswith(".zip"):
            yield name, data
        elif not deeper:
            yield name, "a zip in a zip in a zip is not read"
        else:
            try:
                with zipfile.ZipFile(io.BytesIO(data)) as inner:
                    yield from _members(inner, "", budget, deeper=False)
            except BROKEN_ZIP as error:
                yield name, f"the zip cannot be read: {error}"


def _hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith((".", "__MACOSX")) for part in parts if part != "..")


def _wanted(name: str) -> bool:
    last = name.rpartition("/")[2]
    return not _hidden(name) and (last.lower().endswith((".ipynb", ".zip")) or last in ADAPTER_FILES)
