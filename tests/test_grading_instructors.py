"""What instructors ask for: platforms' names, grading again, overrides, late work, points, feedback, own exercises."""

import csv
import io
import json
import os
import re
import zipfile

import pytest

from minilora import cli
from minilora.exercises import own, registry
from minilora.grading import alike, late, overrides, results, rules, sandbox, web, written
from minilora.grading.batch import grade_all
from minilora.grading.marks import Course
from minilora.grading.sandbox import Sandbox, choose
from minilora.grading.submission import entries
from tests.test_grading import ALSO_GOOD, GOOD, as_notebook, merge_that
from tests.test_grading_written import QUESTION, answered, filled, rows_of

SECRET = "a secret of thirty-two bytes ..."
NAMES = ["merge", "unmerge"]
COURSE = Course(SECRET.encode(), tuple(NAMES))
ALPHA_ONLY = merge_that("return W + alpha * (B @ A)")
NOWHERE = Sandbox("plain", python="no-such-python")  # nothing can be graded in it
MOODLE = "Jane Doe_1234567_assignsubmission_file"


@pytest.fixture(autouse=True)
def _secret(monkeypatch):
    monkeypatch.setenv(results.SECRET_VARIABLE, SECRET)


@pytest.fixture
def classroom(tmp_path):
    """Ada has all right, Bob forgets the rank."""
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "ada.ipynb").write_bytes(as_notebook(GOOD, ALSO_GOOD))
    (folder / "bob.ipynb").write_bytes(as_notebook(ALPHA_ONLY, ALSO_GOOD))
    return folder


@pytest.fixture
def grade(classroom, capsys):
    """Grades the class; student -> row of the table."""

    def run(*more, status=0):
        asked = ["grade", str(classroom), "--results", str(classroom.parent / "marks"), "--workers", "1"]
        assert cli.main([*asked, "--format", "csv", "--exercises", *NAMES, *map(str, more)]) == status
        run.said = capsys.readouterr()
        return {row["student"]: row for row in csv.DictReader(io.StringIO(run.said.out))}

    return run


@pytest.fixture
def nothing_is_graded(monkeypatch):
    """From here on: whoever is not kept fails."""
    return lambda: monkeypatch.setattr(sandbox, "choose", lambda name: NOWHERE)


def marks_in(rows):
    return {student: row["score"] for student, row in rows.items()}


# -- names -----------------------------------------------------------------------------------------------------------


def test_names_of_moodle_find_their_rows(tmp_path, capsys):
    folder, table, out = tmp_path / "class", tmp_path / "export.csv", tmp_path / "filled.csv"
    for name in (MOODLE, "Jane Doe_1234568_assignsubmission_file_", "Zoë Wu_77_assignsubmission_file_"):
        (folder / name).mkdir(parents=True)
        (folder / name / "03_lora.ipynb").write_bytes(as_notebook(GOOD))
    (folder / "Bo Li_78_assignsubmission_file_03_lora.ipynb").write_bytes(as_notebook("1"))
    (folder / "notes.ipynb").write_bytes(as_notebook("1"))
    table.write_text("Identifier,Full name,Grade\nParticipant 1234567,Jane Doe,\nParticipant 77,Zoë Wu,\n")
    asked = ["grade", str(folder), "--exercises", "merge", "--workers", "1", "--fill", str(table)]
    asked += ["--id-column", "Identifier", "--mark-column", "Grade", "--output", str(out)]
    assert cli.main(asked) == 0
    assert out.read_text().splitlines()[1:] == ["Participant 1234567,Jane Doe,2", "Participant 77,Zoë Wu,2"]
    said = capsys.readouterr()
    rows = {row["student"]: row["score"] for row in csv.DictReader(io.StringIO(said.out))}
    assert rows == {
        "Jane Doe (1234567)": "2",
        "Jane Doe (1234568)": "2",
        "Zoë Wu": "2",
        "Bo Li": "0",
        "notes": "0",
    }
    assert "1 of 5 names do not follow the pattern of the others, and count as they are: notes" in said.err
    assert "no row" in said.err
    assert "Jane Doe (1234568)" in said.err.split("no row")[1]


def test_names_of_canvas_put_a_students_files_together(tmp_path):
    files = ("doejane_48311_9001_03_lora-1.ipynb", "doejane_48311_9002_Untitled.ipynb")
    for name in (*files, "wuzoe_LATE_48312_9003_03_lora.ipynb"):
        (tmp_path / name).write_bytes(as_notebook(GOOD if "03" in name else ALPHA_ONLY))
    found = entries(tmp_path)
    told = [(e.student, e.ids[0], e.late, 1 + len(e.more)) for e in found]
    assert told == [("doejane", "48311", False, 2), ("wuzoe", "48312", True, 1)]
    course = Course(SECRET.encode(), ("merge",), notebooks=("03_lora.ipynb",))
    assert grade_all(found[:1], course, choose(), workers=1)[0]["score"] == 2, "the page's name did not count"


def test_names_in_a_class_zip_and_by_a_pattern_of_ones_own(tmp_path):
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        archive.writestr(f"{MOODLE}/a.ipynb", as_notebook(GOOD))
        archive.writestr("Zoë_77_assignsubmission_file/a.ipynb", as_notebook(GOOD))
    assert [e.student for e in entries(tmp_path / "class.zip")] == ["Jane Doe", "Zoë"]
    (tmp_path / "own").mkdir()
    for name in ("lab3-u17.ipynb", "lab3-u18.ipynb"):
        (tmp_path / "own" / name).touch()
    assert [e.student for e in entries(tmp_path / "own", names=r"lab3-(?P<id>\w+)")] == ["u17", "u18"]
    with pytest.raises(ValueError, match="group"):
        entries(tmp_path / "own", names="lab3.*")
    assert [e.student for e in entries(tmp_path / "own")] == ["lab3-u17", "lab3-u18"]


# -- kept, or not ----------------------------------------------------------------------------------------------------


def test_one_student_is_graded_again_and_the_others_are_kept(grade, nothing_is_graded):
    grade()
    nothing_is_graded()
    assert {row["status"] for row in grade().values()} == {"graded"}
    rows = grade("--regrade", "bob", status=3)
    assert [rows[name]["status"] for name in ("ada", "bob")] == ["graded", "failed"]
    grade("--regrade", "bobb", status=1)
    assert "did you mean 'bob'" in grade.said.err


def test_a_result_from_a_weaker_sandbox_is_made_again(classroom, tmp_path):
    if choose().name == "plain":
        pytest.skip("there is no stronger one here")
    found = entries(classroom)
    grade_all(found, COURSE, choose("plain"), tmp_path, workers=1)
    assert {r["sandbox"] for r in grade_all(found, COURSE, choose("plain"), tmp_path, workers=1)} == {"plain"}
    (better,) = {r["sandbox"] for r in grade_all(found, COURSE, choose(), tmp_path, workers=1)}
    assert better == choose().name
    again = grade_all(found, COURSE, NOWHERE, tmp_path, workers=1)  # plain asked for, and better kept
    assert {r["sandbox"] for r in again} == {better}


@pytest.mark.parametrize("how", ["file", "variable"])
def test_one_rule_for_the_secret_wherever_it_comes_from(tmp_path, monkeypatch, how):
    def read(text):
        if how == "variable":
            monkeypatch.setenv(results.SECRET_VARIABLE, text)
            return results.course_secret(None)
        (tmp_path / "secret").write_text(text)
        return results.course_secret(tmp_path / "secret")

    assert read("  sixteen letters.\n") == b"sixteen letters."
    with pytest.raises(ValueError, match="16 at least"):
        read("fifteen letters ")


def test_a_secret_is_made_once_and_said_and_never_beside_old_results(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv(results.SECRET_VARIABLE)
    home, marks = tmp_path / "home", tmp_path / "marks"
    home.mkdir()
    monkeypatch.setattr(results.Path, "home", lambda: home)
    secret = results.course_secret(None, marks)
    assert "keep this file" in capsys.readouterr().err
    results.belong_together(marks, secret)
    assert results.course_secret(None, marks) == secret
    assert capsys.readouterr().err == ""
    results.belong_together(marks, secret)
    with pytest.raises(ValueError, match="another secret"):
        results.belong_together(marks, b"another one, of some length")
    (home / ".minilora-course-secret").unlink()
    with pytest.raises(ValueError, match="no secret"):
        results.course_secret(None, marks)
    assert not list(home.iterdir())


# -- marks by hand ---------------------------------------------------------------------------------------------------


def test_an_override_has_a_reason_and_survives_grading_again(grade, classroom):
    assert marks_in(grade("--override", "bob", "merge", 1, "half of it, on paper")) == {
        "ada": "3",
        "bob": "2",
    }
    (classroom / "bob.ipynb").write_bytes(as_notebook("x = 1", ALPHA_ONLY, ALSO_GOOD))
    rows = grade()
    assert (rows["bob"]["merge"], rows["bob"]["score"]) == ("1", "2")
    assert "merge: 1 points by hand instead of 0: half of it, on paper" in rows["bob"]["remarks"]
    assert marks_in(grade("--override", "bob", "total", 3, "agreed")) == {"ada": "3", "bob": "3"}
    for wrong in (("bob", "merge", 1, " "), ("bob", "merge", "x", "why"), ("bob", "mrge", 1, "why")):
        before = (classroom.parent / "marks" / overrides.FILE).read_bytes()
        grade("--override", *wrong, status=1)
        assert (classroom.parent / "marks" / overrides.FILE).read_bytes() == before


def test_an_override_decides_what_waits_and_a_wrong_line_stops_the_run(tmp_path):
    question = {"name": "merge", "points": 2, "earned": None, "outcome": "needs a decision"}
    waits = {
        "student": "ada",
        "status": "needs a decision",
        "score": None,
        "questions": [question],
        "remarks": [],
    }
    (decided,) = overrides.apply([waits], [overrides.Override("ada", "merge", 2, "seen")])
    assert (decided["status"], decided["score"]) == ("graded", 2)
    (tmp_path / "by-hand").mkdir()
    (tmp_path / overrides.FILE).write_text("student,exercise,points,reason\nada,merge,2,\n,merge,1,x\n")
    with pytest.raises(ValueError, match=r"(?s)row 2.*needs a reason.*row 3.*no student"):
        overrides.read(tmp_path)


# -- the course's rules ----------------------------------------------------------------------------------------------


def course(tmp_path, text):
    path = tmp_path / "course.toml"
    path.write_text(text)
    return path


def test_points_and_partial_credit_are_the_instructors_and_grade_nothing_anew(
    grade, classroom, tmp_path, nothing_is_graded
):
    grade()
    nothing_is_graded()
    rows = grade("--course", course(tmp_path, "[points]\nmerge = 10\n"))
    assert marks_in(rows) == {"ada": "11", "bob": "1"}
    assert rows["ada"]["max_score"] == "11"
    rows = grade("--course", course(tmp_path, "[points]\nmerge = 100\n[partial-credit]\ncases = true\n"))
    kept = json.loads((classroom.parent / "marks" / "bob.json").read_text())["questions"][0]
    assert 0 < kept["passed"] < kept["cases"], "Bob is right where alpha or B is nothing"
    assert int(rows["bob"]["merge"]) == 100 * kept["passed"] // kept["cases"]
    assert rows["ada"]["merge"] == "100"


def test_late_work_and_extensions(grade, classroom, tmp_path):
    rule = "[late]\ndue = 2026-03-01T12:00:00Z\ngrace-minutes = 10\npercent-per-day = 34\ndays = 2\n"
    rule += 'times = "times.csv"\nid-column = "Who"\ntime-column = "When"\n'
    (tmp_path / "times.csv").write_text("Who,When\nADA,2026-03-01 12:09:00+00:00\nbob,2026-03-01T12:11:00Z\n")
    assert marks_in(grade("--course", course(tmp_path, rule))) == {"ada": "3", "bob": "1"}
    (tmp_path / "times.csv").write_text("Who,When\nada,2026-03-02 12:11 UTC\nbob,2026-03-03 12:11 UTC\n")
    rows = grade("--course", course(tmp_path, rule))
    assert marks_in(rows) == {"ada": "1", "bob": "0"}  # 2 days: 68 %; more than 2: all
    assert "2 days late: 68 % taken off" in rows["ada"]["remarks"]
    extended = rule + "[extensions]\nada = 2026-03-02T12:00:00Z\nzoe = 2026-03-09T12:00:00Z\n"
    assert marks_in(grade("--course", course(tmp_path, extended)))["ada"] == "2"  # a day: 34 %
    assert "without a submission: zoe" in grade.said.err
    (tmp_path / "times.csv").write_text("Who,When\nada,-\n")
    assert marks_in(grade("--course", course(tmp_path, rule))) == {"ada": "3", "bob": "1"}
    assert "for 2 no time is known" in grade.said.err


def test_times_come_from_nbgrader_or_from_the_files(tmp_path):
    rule = course(tmp_path, "[late]\ndue = 2026-03-01T12:00:00Z\n")
    folder = tmp_path / "submitted" / "ada" / "lora"
    folder.mkdir(parents=True)
    (folder / "a.ipynb").write_bytes(as_notebook(GOOD))
    (entry,) = entries(tmp_path / "submitted")
    os.utime(folder / "a.ipynb", (0, 0))
    assert late.submitted([entry], rules.read(rule).late)["ada"] is None
    rule.write_text(rule.read_text() + 'times = "files"\n')
    assert late.submitted([entry], rules.read(rule).late)["ada"].timestamp() == 0
    (folder / "timestamp.txt").write_text("2026-03-01 10:00:00.123456 UTC")
    assert late.submitted([entry], rules.read(rule).late)["ada"].isoformat().startswith("2026-03-01T")


@pytest.mark.parametrize("text", ["03/04/2026 10:00", "2026-03-04", "10:00", "soon"])
def test_a_date_that_can_be_read_in_two_ways_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  dateutil's, or ours
        late.as_time(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[point]\nmerge = 1", "is not known"),
        ("[points]\nmerg = 1", "there is no exercise"),
        ("[points]\nmerge = 1.5", "whole number"),
        ("[late]\ndue = 2026-03-01", "a date with a time"),
        ("[late]\npercent-per-day = 5", "needs due"),
        ("[late]\ndue = 2026-03-01T12:00:00Z\npercent = 5", "has no 'percent'"),
        ("[extensions]\nada = 2026-03-01T12:00:00Z", "need a"),
        ("[partial-credit]\ncases = 1", "true or false"),
        ("points", "course.toml"),
    ],
)
def test_rules_that_are_not_understood_are_refused(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        rules.read(course(tmp_path, text))


# -- texts, feedback, the report -------------------------------------------------------------------------------------


def test_an_anonymous_sheet_names_nobody_and_comes_back(tmp_path, capsys):
    folder, sheet, marks = tmp_path / "class", tmp_path / "sheet.csv", tmp_path / "marks"
    folder.mkdir()
    for student in ("adalovelace", "bobthebuilder"):
        (folder / f"{student}.ipynb").write_bytes(answered(student))
    asked = ["grade", str(folder), "--results", str(marks), "--exercises", QUESTION.name, "--workers", "1"]
    assert cli.main([*asked, "--export-written", str(sheet), "--anonymous"]) == 0
    text = sheet.read_text(encoding="utf-8-sig")
    assert "lovelace" not in text
    assert "builder" not in text
    named = written.as_sheet([json.loads((marks / "adalovelace.json").read_text())], {})
    assert not {row["id"] for row in rows_of(named)} & {row["id"] for row in rows_of(sheet.read_bytes())}
    rows = filled(sheet)
    assert len({row["student"] for row in rows}) == 2
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    sheet.write_text(table.getvalue(), encoding="utf-8")
    capsys.readouterr()
    assert cli.main([*asked, "--merge-written", str(sheet), "--format", "csv"]) == 0
    told = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["written"] for row in told] == [str(QUESTION.prose_points)] * 2


def test_feedback_shows_ones_own_and_nobody_elses(grade, classroom, tmp_path):
    folder = tmp_path / "feedback"
    (classroom / f"{MOODLE}").mkdir()
    (classroom / MOODLE / "<b>.ipynb").write_bytes(as_notebook(merge_that("raise ValueError('<script>')")))
    grade("--feedback", folder, "--names", "moodle")
    assert sorted(p.name for p in folder.iterdir()) == [f"{MOODLE}_feedback.html", "ada.html", "bob.html"]
    ada, bob = ((folder / f"{name}.html").read_text(encoding="utf-8") for name in ("ada", "bob"))
    assert "3 of 3 points" in ada
    assert "1 of 3 points" in bob
    assert "Divide alpha by the rank" in bob
    assert "bob" not in ada
    assert not re.search(r"\bada\b", bob)
    kept = json.loads((classroom.parent / "marks" / "bob.json").read_text())
    assert not [key for key in ("digest", "key", "seal", "content") if kept[key] in bob]
    assert SECRET not in bob
    jane = (folder / f"{MOODLE}_feedback.html").read_text(encoding="utf-8")
    assert "<script>" not in jane
    assert "&lt;script&gt;" in jane


def test_the_report_page_has_what_is_to_know_and_an_example_without_a_name(grade, classroom):
    (classroom / "eve.ipynb").write_bytes(as_notebook("answers = {'<i>': 1}", ALPHA_ONLY + "# by eve"))
    grade()
    page = (classroom.parent / "marks" / "report.html").read_text(encoding="utf-8")
    sentence = next(wrong.sentence for wrong in registry.get("merge").wrong if wrong.key == "alpha-only")
    mistakes = page.split('id="mistakes"')[1].split("</table>")[0]
    assert sentence in mistakes
    assert "return W + alpha * (B @ A)" in mistakes
    assert "eve" not in mistakes
    assert "<svg" in page
    assert page.index("Merge an adapter") < page.index("Take a merged adapter"), "the hardest first"


def test_a_name_in_an_answer_is_no_example(grade, classroom):
    for path in classroom.iterdir():
        path.unlink()
    body = "evesvalue = alpha * (B @ A)\nreturn W + evesvalue"
    (classroom / "evesvalue.ipynb").write_bytes(as_notebook(merge_that(body)))
    (classroom / "ada.ipynb").write_bytes(as_notebook(GOOD))
    grade()
    page = (classroom.parent / "marks" / "report.html").read_text(encoding="utf-8")
    assert "evesvalue" not in page.split('id="mistakes"')[1].split("</table>")[0]


LONG = """
update = np.zeros_like(W)
for row_number in range(B.shape[0]):
    for column_number in range(A.shape[1]):
        entry = 0.0
        for inner in range(A.shape[0]):
            entry = entry + B[row_number, inner] * A[inner, column_number]
        update[row_number, column_number] = entry
strength = alpha / A.shape[0]
return np.array(W, copy=True) + strength * update
"""


def made_up(student, answer, text="", content=""):
    question = {"name": "merge", "outcome": "correct", "answer": answer, "written": []}
    if text:
        question["written"] = [{"key": "why", "text": text}]
    return {"student": student, "content": content or student, "questions": [question]}


def test_alike_is_a_hint_for_copies_and_none_for_the_short_way_to_write_it():
    usual = registry.get("merge").solution_source()
    everyone = [made_up(f"s{n}", usual) for n in range(20)]
    assert alike.find(everyone) == []
    words = "a rank of eight is far less than the width of the layer so the update has few directions to move in and "
    words += "that is why two thin matrices hold all of it"
    two = [
        made_up("u", merge_that(LONG), words),
        made_up("v", merge_that(LONG.replace("entry", "cell")), words[5:]),
    ]
    found = alike.find([*everyone, *two])
    assert {(hint.students, hint.place) for hint in found} == {
        (("u", "v"), "merge, why"),
        (("u", "v"), "merge"),
    }
    copies = [made_up("x", usual, content="c"), made_up("y", usual, content="c")]
    assert alike.find([*everyone, *copies]) == [alike.Alike(("x", "y"), "all cells", 1.0)]


def test_what_is_alike_changes_no_mark_and_reaches_no_student(grade, classroom, tmp_path):
    for name in ("eve", "fay"):
        (classroom / f"{name}.ipynb").write_bytes(as_notebook(merge_that(LONG), ALSO_GOOD))
    rows = grade("--feedback", tmp_path / "feedback")
    assert (rows["eve"]["score"], rows["fay"]["score"]) == ("3", "3")
    assert rows["eve"]["remarks"] == ""
    assert "eve, fay" in (classroom.parent / "marks" / "report.html").read_text(encoding="utf-8")
    assert "fay" not in (tmp_path / "feedback" / "eve.html").read_text(encoding="utf-8")


# -- own exercises ---------------------------------------------------------------------------------------------------

OWN = '''
from minilora.exercises.exercise import Case, Exercise, Wrong


def double(x):
    """Twice x. double(2) is 4."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


def squared(x):
    return x * x


from minilora.exercises.compare import Floats

EXERCISE = Exercise(
    name="double", title="Twice as much", minutes=1, points=4, statement="Double it.", solution=double,
    example={"x": 2.0}, draw=lambda rng: [Case("a number", {"x": float(rng.integers(3, 9))})],
    result=Floats(), hints=("a", "b", "c"), pitfalls=(), explanation="Right.",
    wrong=(Wrong("squared", squared, "That is the square."),), variants=(),
)
'''


@pytest.fixture
def own_folder(tmp_path):
    before = dict(registry.BY_NAME)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "double.py").write_text(OWN)
    yield tmp_path / "own"
    for name in set(registry.BY_NAME) - set(before):
        del registry.BY_NAME[name]
    own._known.clear()


def test_an_exercise_of_ones_own_is_graded_like_ours(grade, classroom, own_folder):
    (classroom / "ada.ipynb").write_bytes(as_notebook("def double(x):\n    return x + x"))
    (classroom / "bob.ipynb").write_bytes(as_notebook("def double(x):\n    return x ** 2"))
    rows = grade("--own-exercises", own_folder, "--exercises", "double")
    assert marks_in(rows) == {"ada": "4", "bob": "0"}
    page = (classroom.parent / "marks" / "report.html").read_text(encoding="utf-8")
    assert "That is the square." in page


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("return x * x", "return 2 * x", "wrong answer squared is accepted"),
        ("return 2 * x", "return 2 * x + missing", "solution is refused"),
        ('name="double"', 'name="merge"', "already"),
        ("EXERCISE =", "exercise =", "defines neither"),
        ("def squared", "def squared(:", "does not run"),
    ],
)
def test_an_exercise_that_breaks_the_rules_is_refused(own_folder, old, new, words):
    (own_folder / "double.py").write_text(OWN.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(words)):
        own.add_exercises(own_folder)
    assert "double" not in registry.BY_NAME


def test_pages_escape_what_others_wrote():
    result = {
        "student": "<x>",
        "status": "failed",
        "score": None,
        "max_score": 1,
        "remarks": ["<y>"],
        "questions": [],
    }
    page = web.feedback_page(result)
    assert "<x>" not in page
    assert "&lt;y&gt;" in page
