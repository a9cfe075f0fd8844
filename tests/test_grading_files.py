"""What lies where: links, pipes, several notebooks of one student, and names that are unkind to shells and tables."""

import csv
import io
import json
import os
import zipfile

import pytest

from minilora.grading import files, formats, report, results, written
from minilora.grading.grade import grade
from minilora.grading.marks import GRADED, UNDECIDED, Course, Grade
from minilora.grading.plain_text import harmless, one_line, visible
from minilora.grading.submission import Entry, entries, load
from tests.grading_cases.names import HOSTILE, SEVERAL
from tests.test_grading import ALSO_GOOD, BOXES, COURSE, GOOD, STUB, as_notebook, merge_that

PLAIN = BOXES["plain"]
PAGE = Course(COURSE.secret, COURSE.names, COURSE.deadlines, ("03_lora.ipynb",))
CONTENT = {
    "right": as_notebook(GOOD, ALSO_GOOD),
    "wrong": as_notebook(merge_that("return W"), "def unmerge(W, A, B, alpha):\n    return W"),
    "stub": as_notebook(STUB),
    "empty": b"",
}


# -- links and what is no file ---------------------------------------------------------------------------------------


def test_links_above_the_class_are_ordinary(tmp_path):
    (tmp_path / "real" / "class" / "ada").mkdir(parents=True)
    (tmp_path / "real" / "class" / "ada" / "a.ipynb").write_bytes(CONTENT["right"])
    (tmp_path / "real" / "class" / "bob.ipynb").write_bytes(CONTENT["right"])
    with zipfile.ZipFile(tmp_path / "real" / "class" / "cyn.zip", "w") as archive:
        archive.writestr("deep/a.ipynb", CONTENT["right"])
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for place in (tmp_path / "link" / "class", tmp_path / "real" / "class"):
        loaded = [load(entry) for entry in entries(place)]
        assert [(s.student, len(s.notebooks), s.problems) for s in loaded] == [
            ("ada", 1, []),
            ("bob", 1, []),
            ("cyn", 1, []),
        ]


def test_links_inside_are_said_and_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.ipynb").write_bytes(CONTENT["right"])
    (tmp_path / "class" / "ada").mkdir(parents=True)
    (tmp_path / "class" / "ada" / "folder.ipynb").symlink_to(outside)
    (tmp_path / "class" / "ada" / "folder").symlink_to(outside)
    (tmp_path / "class" / "ada" / "file.ipynb").symlink_to(outside / "x.ipynb")
    (tmp_path / "class" / "bob").symlink_to(outside)
    ada, bob = (load(entry) for entry in entries(tmp_path / "class"))
    assert not ada.notebooks
    assert not bob.notebooks
    assert [problem.partition(":")[0] for problem in ada.problems] == ["file.ipynb", "folder.ipynb"]
    assert all("link" in problem for problem in ada.problems + bob.problems)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
@pytest.mark.timeout(60)
def test_a_pipe_is_not_opened(tmp_path):
    (tmp_path / "class" / "bob").mkdir(parents=True)
    os.mkfifo(tmp_path / "class" / "aaa.ipynb")
    os.mkfifo(tmp_path / "class" / "aab.zip")
    os.mkfifo(tmp_path / "class" / "bob" / "b.ipynb")
    for entry in entries(tmp_path / "class"):
        assert "no ordinary file" in load(entry).problems[0]
    assert "no ordinary file" in load(Entry("x", tmp_path / "class" / "aab.zip")).problems[0]


def test_a_folder_that_may_not_be_read_is_no_empty_submission(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "ada").mkdir()
    monkeypatch.setattr(files.os, "scandir", refuse)
    with pytest.raises(PermissionError):
        load(Entry("ada", tmp_path / "ada"))


def test_zips_in_zips_are_counted_by_what_is_read(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", bytes(15 * 2**20))
    many = tmp_path / "many.zip"
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(300):
            archive.writestr(f"{number:03}.zip", inner.getvalue() + bytes(2**20))
        archive.writestr("z.ipynb", CONTENT["right"])
    reads = []
    with pytest.MonkeyPatch.context() as patch:
        take = files.Budget.take
        patch.setattr(files.Budget, "take", lambda self, count: (reads.append(count), take(self, count)))
        submission = load(Entry("ada", many))
    assert "the rest is not read" in submission.problems[-1]
    assert sum(reads) < files.MAX_TOTAL + 2 * files.MAX_FILE
    assert len(reads) <= files.MAX_FILES + 1


def test_a_class_zip_made_on_windows(tmp_path):
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        for name in ("ada\\a.ipynb", "ada\\sub\\b.ipynb", "bob\\a.ipynb"):
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, CONTENT["right"])
    found = entries(tmp_path / "class.zip")
    assert [(entry.student, len(load(entry).notebooks)) for entry in found] == [("ada", 2), ("bob", 1)]


# -- several notebooks -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", SEVERAL)
def test_of_several_notebooks_the_one_of_this_page_counts(tmp_path, name):
    handed_in, points = SEVERAL[name]
    for file, content in handed_in.items():
        place = tmp_path / "class" / "ada" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(CONTENT[content])
    (entry,) = entries(tmp_path / "class")
    result = grade(load(entry), PAGE, PLAIN)
    assert (result.status, result.score) == (UNDECIDED if points is None else GRADED, points), result.remarks
    kinds = list(handed_in.values())
    if kinds.count("right") + kinds.count("wrong") > 1:
        assert any("notebooks answer this" in remark for remark in result.remarks)


def test_a_folder_and_a_file_of_one_name_are_one_submission(tmp_path):
    (tmp_path / "class" / "ada").mkdir(parents=True)
    (tmp_path / "class" / "ada" / "03_lora.ipynb").write_bytes(CONTENT["right"])
    (tmp_path / "class" / "ada.ipynb").write_bytes(CONTENT["wrong"])
    (entry,) = entries(tmp_path / "class")
    submission = load(entry)
    assert sorted(submission.notebooks) == ["ada.ipynb/ada.ipynb", "ada/03_lora.ipynb"]
    result = grade(submission, PAGE, PLAIN)
    assert result.score == 3
    assert "ada/03_lora.ipynb counts" in result.remarks[0]


def test_a_dot_in_a_folders_name_belongs_to_it(tmp_path):
    for name in ("jane.doe", "jane.roe"):
        (tmp_path / "class" / name).mkdir(parents=True)
    (tmp_path / "class" / "jane.poe.ipynb").write_bytes(CONTENT["right"])
    assert [e.student for e in entries(tmp_path / "class")] == ["jane.doe", "jane.poe", "jane.roe"]
    (one,) = entries(tmp_path / "class", only="jane.roe")
    assert one.student == "jane.roe"
    with pytest.raises(ValueError, match="no submission called 'jane'"):
        entries(tmp_path / "class", only="jane")


# -- names -----------------------------------------------------------------------------------------------------------


def a_result(student, **more):
    made = Grade(student, GRADED, 2, 3, [], [], "", "key", "plain", "").as_dict()
    return made | more


def test_every_name_has_a_file_of_its_own_beside_nothing_else(tmp_path):
    for student in HOSTILE:
        results.write(tmp_path, a_result(student), b"secret")
    kept = {path.name for path in tmp_path.iterdir()}
    assert len(kept) == len({name.lower() for name in kept}) == len(HOSTILE)
    assert all(len(name.encode()) < 120 and name.isascii() for name in kept)
    assert all(results.read(tmp_path, student, "key", b"secret")["student"] == student for student in HOSTILE)
    assert not {"con.json", "report.md", "marks.csv"} & kept


def test_marks_that_people_gave_lie_where_no_submissions_name_reaches(tmp_path):
    given = {"t1": written.Mark(2, "well said")}
    written.keep(tmp_path, given)
    for student in (
        "written-marks",
        "by-hand/written-marks",
        "../by-hand/written-marks",
        "by-hand",
        *HOSTILE,
    ):
        results.write(tmp_path, a_result(student), b"secret")
        assert written.read_kept(tmp_path) == given


def test_marks_of_an_earlier_version_are_found_and_a_result_of_that_name_is_none(tmp_path):
    (tmp_path / written.BEFORE).write_text('{"t1": {"points": 1, "comment": ""}}', encoding="utf-8")
    assert written.read_kept(tmp_path) == {"t1": written.Mark(1)}
    results.write(tmp_path, a_result("written-marks"), b"secret")
    assert written.read_kept(tmp_path) == {"t1": written.Mark(1)}
    (tmp_path / written.KEPT).unlink()
    assert written.read_kept(tmp_path) == {}


def test_a_changed_result_is_made_again(tmp_path, capsys):
    results.write(tmp_path, a_result("ada"), b"secret")
    path = results.path_for(tmp_path, "ada")
    assert results.read(tmp_path, "ada", "key", b"secret")["score"] == 2
    assert results.read(tmp_path, "ada", "key", b"another secret") is None
    for change in ({"score": 99}, {"remarks": ["fine"]}, {"max_score": 1}, {"seal": ""}):
        results.write(tmp_path, a_result("ada"), b"secret")
        told = json.loads(path.read_text(encoding="utf-8")) | change
        path.write_text(json.dumps(told), encoding="utf-8")
        assert results.read(tmp_path, "ada", "key", b"secret") is None, change
    assert "was changed" in capsys.readouterr().err


EVIL = "boom\x1b]0;owned\x07\nada: 3 of 3 points\u202e |[x](y)<b>"


def test_a_learners_text_is_harmless_wherever_it_goes():
    question = merge_that(f"raise ValueError({EVIL!r})")
    from tests.test_grading import graded

    result = graded(PLAIN, question).as_dict()
    for text in (
        formats.as_text(result),
        formats.as_csv([result]),
        report.as_markdown(report.of_class([result])),
    ):
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\u202e" not in text
        assert "\nada: 3 of 3" not in text
    assert "\x1b" not in formats.as_gradescope(result)


def test_names_are_harmless_in_every_table():
    found = [a_result(student) for student in HOSTILE]
    rows = list(csv.DictReader(io.StringIO(formats.as_csv(found), newline="")))
    assert len(rows) == len(HOSTILE)
    for row in rows:
        assert not row["student"].startswith(("=", "+", "-", "@"))
        assert row["student"] == harmless(row["student"])
    assert "\x1b" not in formats.as_text(found[HOSTILE.index("a\x1b[2Jb")])
    told = report.as_markdown(report.of_class([a_result(s, remarks=["look"]) for s in HOSTILE]))
    assert len([line for line in told.splitlines() if line.startswith("- ")]) == len(HOSTILE)


def test_visible_and_one_line():
    assert one_line("a\r\n\tb\x00\x9b") == "a b\\x00\\x9b"
    assert visible("größe 🦙 می‌خواهم") == "größe 🦙 می‌خواهم"
    assert harmless(" \t=1") == "' \t=1"


# -- documented recipes, with these names ----------------------------------------------------------------------------


def test_every_hostile_name_can_be_chosen(tmp_path):
    """What a file system takes of them; `--only` sees a name as it is."""
    folder = tmp_path / "class"
    folder.mkdir()
    names = [f"{name}.ipynb" for name in HOSTILE if "/" not in name and len(name.encode()) < 200]
    for name in names:
        (folder / name).write_bytes(CONTENT["stub"])
    listed = {path.name for path in folder.iterdir()}
    for name in sorted(listed):
        if not name.startswith("."):
            (entry,) = entries(folder, only=name)
            assert entry.path.name == name
