"""The rules for a page's text: short cells, one import line, predictions before answers, links that work.

docs/writing-pages.md explains them. Not here: what the cells compute (test_pages.py).
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest

from minilora.exercises import registry
from minilora.lesson.predictions import PAGES as DECLARED

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_LINES = 12

every_page = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def prediction_calls(sources: list[str]) -> list[tuple[str, str]]:
    """("predict" or "reveal", id) in the order of the page."""
    calls = [
        (node.lineno, node.func.id, node.args[0].value)
        for node in ast.walk(ast.parse("\n".join(sources)))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in ("predict", "reveal")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]
    return [(name, id) for _, name, id in sorted(calls)]


@every_page
def test_a_page_stores_no_outputs(path):
    for cell in cells(path, "code"):
        assert cell.outputs == []
        assert cell.execution_count is None


@every_page
def test_every_link_leads_to_a_file(path):
    prose = "\n".join(cell.source for cell in cells(path, "markdown"))
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]
    missing = [link for link in links if link and not (path.parent / unquote(link)).exists()]
    assert not missing


@every_page
def test_cells_are_short(path):
    sizes = {
        cell.id: sum(bool(line.strip()) for line in cell.source.split("\n")) for cell in cells(path, "code")
    }
    assert {id: size for id, size in sizes.items() if size > MOST_LINES} == {}


@every_page
def test_one_import_line_and_no_assert(path):
    nodes = list(ast.walk(ast.parse("\n".join(cell.source for cell in cells(path, "code")))))
    imports = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports == ["from minilora.lesson import *"]
    assert not [ast.unparse(node) for node in nodes if isinstance(node, ast.Assert)]


@every_page
def test_predictions_come_before_their_answers(path):
    calls = prediction_calls([cell.source for cell in cells(path, "code")])
    asked = [id for name, id in calls if name == "predict"]
    assert sorted(asked) == sorted(id for name, id in calls if name == "reveal"), "asked once, revealed once"
    assert sorted(asked) == sorted(DECLARED[int(path.stem[:2])].PREDICTIONS)
    for id in asked:
        assert calls.index(("predict", id)) < calls.index(("reveal", id))


def test_predictions_are_found_in_their_order():
    calls = prediction_calls(['predict("a")', 'x = 1\nreveal("a", x)'])
    assert calls == [("predict", "a"), ("reveal", "a")]


def test_no_two_predictions_share_an_id():
    ids = [id for page in DECLARED for id in page.PREDICTIONS]
    assert len(ids) == len(set(ids))


@every_page
def test_a_page_promises_the_time_that_the_exercise_states(path):
    """Where a number of minutes stands in brackets after an exercise's name."""
    text = " ".join(cell.source for cell in cells(path, "markdown"))
    for exercise in registry.EXERCISES:
        for minutes in re.findall(rf"`{exercise.name}` \([^()]*?(\d+)", text):
            assert int(minutes) == exercise.minutes, exercise.name
