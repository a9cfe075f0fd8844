"""`minilora carry-over old.ipynb new.ipynb`: a learner's work out of an old copy into a corrected page.

Answers go into the cells that the new page has for them; everything else that the learner wrote stays beside the cell
it stood behind. What our own cells said before gives way to what they say now, and is kept in their metadata. A damaged
file is read as far as it can be, and what cannot be read stands as text in a last cell. So no line is lost.

Not here: grading; nothing runs.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from pathlib import Path
from typing import Any

from minilora.exercises import registry
from minilora.exercises.exercise import Exercise
from minilora.exercises.records import write_whole

Cell = dict[str, Any]
BEFORE = "before"  # key of the metadata of a cell that was corrected
RUBBLE = "What could not be read in the old file:"


def carry_over(old: Path, new: Path, output: Path | None = None) -> list[str]:
    """Writes the new page with the work of the old one; returns what is to be said. It overwrites nothing."""
    output = output or new.with_name(f"{new.stem}-with-my-answers.ipynb")
    if output.exists():
        raise FileExistsError(f"{output} exists; name another file with --output")
    page = json.loads(new.read_text(encoding="utf-8"))
    merged, said = merge(old.read_bytes(), page)
    write_whole(output, (json.dumps(merged, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
    return [*said, f"{output} holds your answers and the corrected page"]


def merge(old: bytes, page: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The page with the work that the bytes of an old notebook hold, and what is to be said about it."""
    cells, rubble = read_cells(old)
    merged = copy.deepcopy(page)
    places = {_id(cell): number for number, cell in enumerate(merged["cells"]) if _id(cell)}
    texts = {_essence(cell) for cell in merged["cells"]}
    behind: dict[int, list[Cell]] = {}  # place in the new page -> the learner's own cells that follow it
    last, said, filled, corrected = -1, [], set(), 0
    for cell in cells:
        place = _place(cell, merged["cells"], places)
        last = max(last, place) if place is not None else last
        if _essence(cell) in texts or not source_of(cell).strip():
            continue
        if place is not None and _is_answer(page["cells"][place]) and cell.get("cell_type") == "code":
            if (
                place in filled
            ):  # an earlier answer of the same: the later one counts, as in a running notebook
                behind.setdefault(place - 1, []).append(_own(merged["cells"][place]))
            merged["cells"][place]["source"] = source_of(cell)
            filled.add(place)
            said += _changed(page["cells"][place], cell)
        elif place is not None and _is_ours(cell):
            merged["cells"][place]["metadata"].setdefault(BEFORE, []).append(source_of(cell))
            corrected += 1
        else:
            behind.setdefault(last if place is None else place, []).append(_own(cell))
    if rubble:
        behind.setdefault(len(merged["cells"]) - 1, []).append(_text(f"{RUBBLE}\n\n{rubble}"))
        said.append("the old file is damaged; what could not be read stands at the end, as text")
    merged["cells"] = [
        *behind.get(-1, []),
        *(one for number, cell in enumerate(merged["cells"]) for one in (cell, *behind.get(number, []))),
    ]
    _give_ids(merged["cells"])
    own = sum(map(len, behind.values()))
    if corrected:
        said.append(f"{corrected} statements or checks say something else now")
    return merged, [f"{len(filled)} answers carried over, and {own} cells of your own", *said]


def _give_ids(cells: list[Cell]) -> None:
    """Each cell of a notebook needs one, and no two the same."""
    known = {cell.get("id") for cell in cells}
    free = (f"mine-{number}" for number in itertools.count(1))
    for cell in cells:
        if "id" not in cell:
            cell["id"] = next(name for name in free if name not in known)


# -- which cell is which ---------------------------------------------------------------------------------------------


def _place(cell: Cell, page: list[Cell], places: dict[str, int]) -> int | None:
    """Where in the new page it belongs: by its id, else by the function or the answers in it."""
    if _id(cell) in places:
        return places[_id(cell)]
    source = source_of(cell)
    for number, other in enumerate(page):
        if _essence(other) == _essence(cell):
            return number
    for exercise in registry.BY_NAME.values() if cell.get("cell_type") == "code" else ():
        if isinstance(exercise, Exercise):
            if re.search(rf"^\s*def {exercise.function_name}\b", source, re.M):
                return places.get(exercise.name)
        elif re.search(r"^answers\b", source, re.M):
            keys = [part.key for part in exercise.parts]
            if 2 * sum(f'"{key}"' in source or f"'{key}'" in source for key in keys) > len(keys):
                return places.get(f"{exercise.name}-answers")
    return None


def _id(cell: Cell) -> str:
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    return name if isinstance(name, str) else ""


def _is_answer(cell: Cell) -> bool:
    """A cell that the learner is to fill in."""
    return bool(cell.get("metadata", {}).get("nbgrader", {}).get("solution"))


def _is_ours(cell: Cell) -> bool:
    """A statement or a check: it came with the page, and the new page has its own."""
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return isinstance(nbgrader, dict) and nbgrader.get("locked") is True


def _essence(cell: Cell) -> str:
    return re.sub(r"\s+", "", source_of(cell))


def source_of(cell: Cell) -> str:
    """A cell's text, however it is kept.

    >>> source_of({"source": ["a\\n", "b"]})
    'a\\nb'
    """
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    return source.replace("\r\n", "\n").replace("\r", "\n") if isinstance(source, str) else json.dumps(source)


def _own(cell: Cell) -> Cell:
    """A cell of the learner's, without an id that another one may have, and without what a page is checked by."""
    kind = cell.get("cell_type")
    if kind == "code":
        outputs: Cell = {"outputs": [], "execution_count": None}
        return {"cell_type": "code", "metadata": {}, "source": source_of(cell)} | outputs
    text = _text(source_of(cell)) | ({"cell_type": "raw"} if kind == "raw" else {})
    pictures = cell.get("attachments")
    return text | ({"attachments": pictures} if isinstance(pictures, dict) else {})


def _text(source: str) -> Cell:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _changed(new: Cell, old: Cell) -> list[str]:
    """Says where the new page asks for something else: another first line of a function, more answers."""
    now, before = (re.search(r"^def .*", source_of(cell), re.M) for cell in (new, old))
    said = []
    if now and before and now[0] != before[0]:
        said.append(f"look at {_id(new)}: the page has `{now[0]}` now, and you have `{before[0]}`")
    keys = re.findall(r'^    "([\w-]+)":', source_of(new), re.M)
    more = [key for key in keys if key not in source_of(old)]
    if more:
        said.append(f"look at {_id(new)}: the page asks for {', '.join(more)} besides")
    return said


# -- reading what may be damaged -------------------------------------------------------------------------------------


def read_cells(data: bytes) -> tuple[list[Cell], str]:
    """The cells of a notebook, and the text that is no cell.

    >>> cells, rubble = read_cells(b'{"cells": [{"source": "x"}, {"source": "y')
    >>> cells, rubble.split()
    ([{'source': 'x'}], ['{', '"source":', '"y'])
    """
    text = data.decode("utf-8-sig", "replace")
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError):
        return _salvaged(text)
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        sheets = notebook.get("worksheets") if isinstance(notebook, dict) else None
        cells = [cell for sheet in sheets for cell in sheet["cells"]] if isinstance(sheets, list) else None
        return (cells, "") if cells is not None else ([], text)
    cells = [cell for cell in notebook["cells"] if isinstance(cell, dict)]
    others = [cell for cell in notebook["cells"] if not isinstance(cell, dict)]
    return cells, "\n".join(json.dumps(other, ensure_ascii=False) for other in others)


def _salvaged(text: str) -> tuple[list[Cell], str]:
    """The objects that can still be read and look like cells; all between them is rubble."""
    decoder = json.JSONDecoder()
    cells: list[Cell] = []
    rubble: list[str] = []
    start = re.search(r'"cells"\s*:\s*\[', text)
    position = start.end() if start else 0
    rubble.append("" if start else text[:position])
    while (brace := text.find("{", position)) >= 0:
        try:
            found, end = decoder.raw_decode(text, brace)
        except (ValueError, RecursionError):
            end, found = brace + 1, None
        if isinstance(found, dict) and ("source" in found or "input" in found):
            rubble.append(text[position:brace])
            cells.append(found)
        else:
            rubble.append(text[position:end])
        position = end
    rubble.append(text[position:])
    return cells, "\n".join(part for part in map(_told, rubble) if part)


def _told(part: str) -> str:
    """Without the signs that stand between two cells."""
    return part.strip(" \n\r\t,]}")
