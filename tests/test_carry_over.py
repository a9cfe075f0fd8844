"""Answers out of old and damaged notebooks into a corrected page: nothing that a learner wrote is lost."""

import copy
import json
import random
import re
from pathlib import Path

import nbformat
import pytest

from minilora import cli
from minilora.exercises import registry
from minilora.exercises.exercise import Exercise
from minilora.grading import carry
from minilora.grading.grade import grade
from minilora.grading.marks import Course
from minilora.grading.sandbox import choose
from minilora.grading.submission import Submission, read_notebook

PAGES = sorted((Path(__file__).parents[1] / "exercises").glob("*.ipynb"))
LORA = next(page for page in PAGES if page.stem == "03_lora")
COUNT = 500


def handed_out(path):
    return json.loads(path.read_text(encoding="utf-8"))


def grade_id(cell):
    return cell["metadata"].get("nbgrader", {}).get("grade_id", "")


def corrected(page):
    """The page with statements that say something else, a new cell, and one that moved."""
    page = copy.deepcopy(page)
    for cell in page["cells"]:
        if grade_id(cell).endswith("-statement"):
            cell["source"] = "".join(cell["source"]).replace("the", "THE")
    page["cells"].insert(2, {"cell_type": "markdown", "id": "news", "metadata": {}, "source": "Corrected."})
    return page


def worked_in(page, rng):
    """The page after a learner: answers, some twice, and notes between. Returns the lines that are theirs, too."""
    page, lines = copy.deepcopy(page), []
    cells = []
    for cell in page["cells"]:
        name = grade_id(cell).removesuffix("-answers")
        if cell["cell_type"] == "code" and name in registry.BY_NAME and rng.random() < 0.8:
            exercise = registry.BY_NAME[name]
            text = exercise.solution_source() + f"\n# mine {rng.random()}"
            cell["source"] = text if rng.random() < 0.5 else text.splitlines(keepends=True)
            lines += text.split("\n")
        cells.append(cell)
        if rng.random() < 0.3:
            note = f"note {rng.random()}\nwith “quotes”, \\ and {{braces}}"
            cells.append(
                {"cell_type": rng.choice(["code", "markdown", "raw"]), "metadata": {}, "source": note}
            )
            lines += note.split("\n")
    page["cells"] = cells
    return page, [line for line in lines if line.strip()]


def damage(page, rng):
    """The bytes of the notebook after an accident."""
    cells = page["cells"]
    some = rng.sample(cells, rng.randint(1, len(cells)))
    kind = rng.choice(list(DAMAGES))
    data = DAMAGES[kind](page, cells, some, rng)
    return kind, data if isinstance(data, bytes) else as_bytes(page)


def as_bytes(page):
    return json.dumps(page, ensure_ascii=False, indent=1).encode("utf-8")


def without_metadata(page, cells, some, rng):
    for cell in some:
        cell["metadata"] = rng.choice([{}, None, [], {"nbgrader": None}, {"nbgrader": {"grade_id": 7}}])


def other_kinds(page, cells, some, rng):
    for cell in some:
        cell["cell_type"] = rng.choice(["code", "markdown", "raw", None, "heading"])


def doubled(page, cells, some, rng):
    for cell in some:
        cells.insert(rng.randint(0, len(cells)), copy.deepcopy(cell))


def joined(page, cells, some, rng):
    place = rng.randrange(len(cells) - 1)
    other = cells.pop(place + 1)
    cells[place]["source"] = carry.source_of(cells[place]) + "\n" + carry.source_of(other)


def split(page, cells, some, rng):
    for cell in some:
        lines = carry.source_of(cell).splitlines(keepends=True)
        place = rng.randint(0, len(lines))
        cell["source"] = lines[:place]
        cells.insert(cells.index(cell) + 1, {**copy.deepcopy(cell), "source": lines[place:]})


def cut(page, cells, some, rng):
    data = as_bytes(page)
    return data[: rng.randrange(len(data))]


def hole(page, cells, some, rng):
    data = as_bytes(page)
    start = rng.randrange(len(data))
    return (
        data[:start]
        + rng.choice([b"", b"\0", b"\xff\xfe", b"\n<<<<<<< HEAD\n"])
        + data[start + rng.choice([0, 1]) :]
    )


def old_format(page, cells, some, rng):
    page["worksheets"] = [{"cells": page.pop("cells")}]
    for cell in cells:
        if cell["cell_type"] == "code":
            cell["input"] = cell.pop("source")


def between(page, cells, some, rng):
    for _ in range(3):
        cells.insert(rng.randint(0, len(cells)), rng.choice(["text", None, 3, ["x"], {}]))


DAMAGES = {
    "without metadata": without_metadata,
    "other kinds": other_kinds,
    "shuffled": lambda page, cells, some, rng: rng.shuffle(cells),
    "doubled": doubled,
    "joined": joined,
    "split": split,
    "cut": cut,
    "a hole": hole,
    "old format": old_format,
    "between the cells": between,
    "byte-order mark": lambda page, cells, some, rng: b"\xef\xbb\xbf" + as_bytes(page),
    "ends of lines": lambda page, cells, some, rng: as_bytes(page).replace(b"\\n", b"\\r\\n"),
    "one line": lambda page, cells, some, rng: json.dumps(page).encode(),
}


@pytest.mark.parametrize("tenth", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 10))])
def test_no_line_of_a_learners_is_lost_from_500_damaged_notebooks(tenth):
    for number in range(tenth, COUNT, 10):
        rng = random.Random(number)
        page = handed_out(rng.choice(PAGES))
        old, lines = worked_in(page, rng)
        kind, data = damage(old, rng)
        merged, _ = carry.merge(data, corrected(page))
        nbformat.validate(nbformat.from_dict(merged))
        there = "\n".join(carry.source_of(cell) for cell in merged["cells"])
        there += "\n".join(
            text for cell in merged["cells"] for text in cell["metadata"].get(carry.BEFORE, ())
        )
        text = data.decode("utf-8-sig", "replace")
        for line in lines:
            plain, escaped = json.dumps(line, ensure_ascii=False)[1:-1], json.dumps(line)[1:-1]
            # a line that is a bracket alone stands in the format of the file, too: there it is in no quotes
            bracket = re.fullmatch(r"\s*[\[\]{}],?", line)
            left = re.search(r'["n]' + re.escape(plain) + r'["\\]', text) if bracket else plain in text
            if left or (escaped in text and not bracket):  # else the accident itself took it
                assert line in there or plain in there or escaped in there, (number, kind, line)
        for cell in page["cells"]:
            if not grade_id(cell) and carry.source_of(cell).strip():
                assert carry.source_of(cell) in there, "a cell of the page is missing"


def test_answers_land_in_their_cells_and_earn_what_they_did(tmp_path, capsys):
    page = handed_out(LORA)
    for cell in page["cells"]:
        exercise = registry.BY_NAME.get(grade_id(cell).removesuffix("-answers"))
        if cell["cell_type"] == "code" and exercise:
            args = () if isinstance(exercise, Exercise) else ("ada",)
            cell["source"] = exercise.solution_source(*args)
    new = corrected(handed_out(LORA))
    for cell in new["cells"]:
        if grade_id(cell) == "merge":
            cell["source"] = "".join(cell["source"]).replace("def merge(W,", "def merge(weight,")
    (tmp_path / "old.ipynb").write_bytes(as_bytes(page))
    (tmp_path / "new.ipynb").write_bytes(as_bytes(new))
    asked = ["carry-over", str(tmp_path / "old.ipynb"), str(tmp_path / "new.ipynb")]
    assert cli.main(asked) == 0
    assert "look at merge: the page has `def merge(weight," in capsys.readouterr().out
    out = tmp_path / "new-with-my-answers.ipynb"
    merged = read_notebook(out.read_bytes())
    assert [cell.ids for cell in merged] == [cell.ids for cell in read_notebook(as_bytes(new))]
    names = tuple(name for name in registry.BY_NAME if any(name in "".join(cell.ids) for cell in merged))
    course = Course(b"a secret of thirty-two bytes ...", names)
    result = grade(Submission("ada", {"a.ipynb": merged}, digest="d"), course, choose())
    assert result.score == result.max_score > 10
    assert (tmp_path / "old.ipynb").read_bytes() == as_bytes(page)
    before = out.read_bytes()
    assert cli.main(asked) == 1
    assert "exists" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_of_two_answers_the_later_stands_in_the_cell_and_the_earlier_above_it():
    page = handed_out(LORA)
    old = copy.deepcopy(page)
    place = next(n for n, cell in enumerate(old["cells"]) if grade_id(cell) == "merge")
    one, two = (f"def merge(W, A, B, alpha):\n    return {number}" for number in (1, 2))
    old["cells"][place]["source"] = one
    old["cells"].append({"cell_type": "code", "metadata": {}, "source": two})
    merged, said = carry.merge(as_bytes(old), page)
    sources = [carry.source_of(cell) for cell in merged["cells"]]
    assert sources[place : place + 2] == [one, two]
    assert grade_id(merged["cells"][place + 1]) == "merge"
    assert said[0] == "1 answers carried over, and 1 cells of your own"
