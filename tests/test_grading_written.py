"""Texts out to a person and marks back: nothing is lost, mixed up or half taken over."""

import csv
import io
import json
import re
import shutil

import pytest

from minilora import cli
from minilora.exercises import registry
from minilora.grading import results, written
from tests.test_grading import as_notebook

QUESTION = next(question for question in registry.QUESTIONS if not question.observe)
PARTS = [part.key for part in QUESTION.prose]
MOST, BOTH, FIRST = QUESTION.points, QUESTION.prose_points, QUESTION.prose[0].points
EVIL = "=HYPERLINK('x') is what a spreadsheet would run, so it must not stand at the front of a field, or must it?"
LONG = 'Größe; "quoted", and\nanother line, ' + "with many words " * 5
SECRET = "a secret of thirty-two bytes ..."


def answered(student, **texts):
    answers = QUESTION.solved(student) | {key: texts[key] for key in PARTS if key in texts}
    return as_notebook(f"answers = {answers!r}")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A class that is graded once, and the sheet of its texts.

    Ada wrote both texts, Bob one with umlauts, quotes and lines, Cyn none, and Dan's begins like a formula.
    """
    home = tmp_path_factory.mktemp("graded")
    folder = home / "class"
    folder.mkdir()
    (folder / "ada.ipynb").write_bytes(answered("ada"))
    (folder / "bob.ipynb").write_bytes(answered("bob", **{PARTS[0]: LONG, PARTS[1]: ""}))
    (folder / "cyn.ipynb").write_bytes(answered("cyn", **dict.fromkeys(PARTS, "")))
    (folder / "dan.ipynb").write_bytes(answered("dan", **{PARTS[0]: EVIL, PARTS[1]: ""}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(results.SECRET_VARIABLE, SECRET)
        assert grade(folder, "--export-written", home / "to-mark.csv") == 0
    return home


@pytest.fixture
def classroom(graded, tmp_path, monkeypatch):
    """A copy of it, which a test may change."""
    monkeypatch.setenv(results.SECRET_VARIABLE, SECRET)
    shutil.copytree(graded, tmp_path, dirs_exist_ok=True)
    return tmp_path / "class"


def grade(classroom, *more):
    asked = ["grade", str(classroom), "--results", str(classroom.parent / "marks")]
    asked += ["--exercises", QUESTION.name, "--workers", "1", "--format", "csv"]
    return cli.main([*asked, *map(str, more)])


def rows_of(data):
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def as_csv(rows, delimiter=",", encoding="utf-8-sig"):
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue().encode(encoding)


@pytest.fixture
def sheet(classroom):
    return classroom.parent / "to-mark.csv"


def filled(sheet, mark="", comment="good"):
    """With all points, or with `mark`."""
    return [row | {"mark": mark or row["points"], "comment": comment} for row in rows_of(sheet.read_bytes())]


def totals(capsys):
    return {row["student"]: row["total"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}


def test_the_sheet_holds_each_text_with_its_rubric_and_no_formula(sheet):
    rows = rows_of(sheet.read_bytes())
    expected = [(PARTS[0], "ada"), (PARTS[0], "bob"), (PARTS[0], "dan"), (PARTS[1], "ada")]
    assert [(row["part"], row["student"]) for row in rows] == sorted(expected)
    by_part = {part.key: part for part in QUESTION.prose}
    for row in rows:
        part = by_part[row["part"]]
        assert row["model answer"] == part.model_answer
        assert all(criterion in row["rubric"] for criterion in part.rubric)
        assert row["points"] == str(part.points)
        assert row["mark"] == row["comment"] == ""
    texts = {row["student"]: row["text"] for row in rows if row["part"] == PARTS[0]}
    assert texts["bob"] == LONG
    assert texts["dan"] == "'" + EVIL


@pytest.mark.parametrize("how", [{}, {"delimiter": ";"}, {"delimiter": "\t", "encoding": "utf-8"}], ids=str)
def test_marks_come_back_and_count(classroom, sheet, capsys, how):
    rows = filled(sheet)
    rows[0]["mark"] = "1,0" if how.get("delimiter") else "1.0"  # as some spreadsheets write 1
    sheet.write_bytes(as_csv(rows, **how))
    assert grade(classroom, "--merge-written", sheet) == 0
    expected = {"ada": MOST + BOTH, "bob": MOST + FIRST, "cyn": MOST, "dan": MOST + FIRST}
    expected[rows[0]["student"]] -= 1
    expected = {student: str(points) for student, points in expected.items()}
    assert totals(capsys) == expected
    assert grade(classroom) == 0
    assert totals(capsys) == expected, "they stay"
    again = sheet.with_name("again.csv")
    assert grade(classroom, "--export-written", again) == 0
    assert [row["mark"] for row in rows_of(again.read_bytes())] == [row["mark"][0] for row in rows]


def test_a_text_that_waits_leaves_the_total_open(classroom, sheet, capsys):
    sheet.write_bytes(as_csv([row for row in filled(sheet) if row["student"] != "bob"]))
    assert grade(classroom, "--merge-written", sheet) == 0
    assert totals(capsys)["bob"] == ""
    table, out = classroom.parent / "export.csv", classroom.parent / "filled.csv"
    table.write_bytes(b"id,mark\nada,\nbob,\n")
    fill = ["--fill", table, "--id-column", "id", "--mark-column", "mark", "--output", out]
    assert grade(classroom, *fill) == 0
    assert out.read_bytes() == f"id,mark\nada,{MOST + BOTH}\nbob,\n".encode()
    assert "1 have no mark to fill in: bob" in capsys.readouterr().err


def test_another_text_is_to_be_marked_again_and_the_others_keep_their_marks(classroom, sheet, capsys):
    sheet.write_bytes(as_csv(filled(sheet)))
    assert grade(classroom, "--merge-written", sheet) == 0
    text = "Entirely different words that a person has not seen and therefore can not have marked."
    (classroom / "bob.ipynb").write_bytes(answered("bob", **{PARTS[0]: text, PARTS[1]: ""}))
    capsys.readouterr()
    assert grade(classroom) == 0
    found = totals(capsys)
    assert (found["bob"], found["ada"]) == ("", str(MOST + BOTH))
    assert grade(classroom, "--merge-written", sheet) == 1
    assert "another one handed in since" in capsys.readouterr().err


WRONG = {
    "too many points": (
        lambda rows: rows[1].update(mark="3"),
        "row 3 .*'3' is not a whole number from 0 to 2",
    ),
    "half a point": (lambda rows: rows[0].update(mark="1.5"), "row 2 .*'1.5' is not a whole number"),
    "below zero": (lambda rows: rows[0].update(mark="-1"), "'-1' is not a whole number"),
    "a word": (lambda rows: rows[0].update(mark="good"), "'good' is not a whole number"),
    "twice": (lambda rows: rows.append(rows[0]), "row 6 .*comes twice"),
    "students sorted alone": (lambda rows: rows[0].update(student="eve"), "columns sorted alone"),
    "an id that is none": (lambda rows: rows[0].update(id="t0"), "not in the results"),
}


def test_a_sheet_with_an_error_changes_nothing_and_each_error_is_named(classroom, sheet, capsys, monkeypatch):
    graded = []  # what the command reads the sheet with
    read = written.read_sheet
    monkeypatch.setattr(
        written, "read_sheet", lambda table, *known: graded.append(known) or read(table, *known)
    )
    sheet.write_bytes(as_csv(filled(sheet, mark="1")))
    assert grade(classroom, "--merge-written", sheet) == 0
    kept = classroom.parent / "marks" / written.KEPT
    before = kept.read_bytes()
    for spoil, words in WRONG.values():
        rows = filled(sheet)
        spoil(rows)
        with pytest.raises(ValueError, match="no mark was taken over") as refused:
            read(as_csv(rows), *graded[0])
        assert re.search(words, str(refused.value)), str(refused.value)
    sheet.write_bytes(as_csv(rows))
    capsys.readouterr()
    assert grade(classroom, "--merge-written", sheet) == 1
    assert "no mark was taken over" in capsys.readouterr().err
    assert kept.read_bytes() == before


def test_sheets_that_cannot_be_read_and_files_that_would_be_lost(classroom, sheet, capsys):
    assert grade(classroom, "--export-written", sheet) == 1
    assert "may hold marks" in capsys.readouterr().err
    for data, words in (
        ("mark,id\nä,1\n".encode("latin-1"), "not UTF-8"),
        (b"mark,id\n", "needs one column each of student, exercise, part, comment"),
        (b"", "needs one column"),
        (sheet.read_bytes() + b'"an open quote', "cannot be read as CSV"),
    ):
        sheet.write_bytes(data)
        assert grade(classroom, "--merge-written", sheet) == 1
        assert words in capsys.readouterr().err
    kept = classroom.parent / "marks" / written.KEPT
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("{", encoding="utf-8")
    assert grade(classroom) == 1
    assert "is damaged" in capsys.readouterr().err
    assert cli.main(["grade", str(classroom), "--merge-written", str(sheet)]) == 1
    assert "need --results" in capsys.readouterr().err


def test_comments_reach_the_student(classroom, sheet, capsys):
    sheet.write_bytes(as_csv(filled(sheet, comment="see page 3")))
    assert grade(classroom, "--merge-written", sheet) == 0
    capsys.readouterr()
    one = ["grade", str(classroom / "ada.ipynb"), "--results", str(classroom.parent / "marks")]
    assert cli.main([*one, "--exercises", QUESTION.name]) == 0
    told = capsys.readouterr().out
    assert f"texts, marked by a person: {BOTH} of {BOTH} points" in told
    assert f"{FIRST} of {FIRST}. see page 3" in told
    assert json.loads((classroom.parent / "marks" / "ada.json").read_text(encoding="utf-8"))["score"] == MOST
