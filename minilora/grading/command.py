"""`minilora grade`: what the options mean.

Exit status 0: every submission has a result (also "unreadable", where no notebook was in it); 3: grading itself failed
for some, and running the same command again tries only these.

Not here: the parser (cli.py) and the work (batch.py).
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from minilora.exercises import registry
from minilora.exercises.exercise import Exercise
from minilora.exercises.progress import write_whole
from minilora.exercises.question import Question
from minilora.grading import (
    batch,
    classroom50,
    cluster,
    formats,
    gradescope,
    lms,
    report,
    results,
    sandbox,
    submission,
    written,
)
from minilora.grading.marks import FAILED, UNDECIDED, UNREADABLE, Course
from minilora.grading.plain_text import one_line

NOT_ALL = 3


def run(
    path: Path,
    student: str | None = None,
    exercises: list[str] | None = None,
    form: str = "text",
    output: Path | None = None,
    folder: Path | None = None,
    secret: Path | None = None,
    box: str = "auto",
    workers: int | None = None,
    fill: Path | None = None,
    id_column: str = "",
    mark_column: str = "",
    export_written: Path | None = None,
    merge_written: Path | None = None,
    dask: str | None = None,
    only: str | None = None,
) -> int:
    """Grades what lies at `path` and writes it in the form asked for; returns the exit status."""
    entries = submission.entries(path, student, only)
    if form in ("gradescope", "classroom50") and len(entries) != 1:
        raise ValueError(
            f"--format {form} is for one submission; {path} holds {len(entries)}. Name it with --student"
        )
    if fill and not (id_column and mark_column and output):
        raise ValueError("--fill needs --id-column, --mark-column and --output besides")
    if (export_written or merge_written) and not folder:
        raise ValueError("--export-written and --merge-written need --results: marks are kept there")
    if export_written and export_written.exists():
        raise FileExistsError(f"{export_written} exists, and may hold marks; name a new file")
    course = Course(results.course_secret(secret), choose_exercises(exercises), notebooks=pages(exercises))
    if dask:
        found = cluster.grade_all(entries, course, box, folder, dask)
    else:
        private = [
            place for place in (path, folder, secret, output, fill, export_written, merge_written) if place
        ]
        hidden = tuple(str(place.resolve()) for place in [*private, *pages_given(exercises)])
        walls = dataclasses.replace(sandbox.choose(box), hidden=hidden)
        found = batch.grade_all(entries, course, walls, folder, workers)
    if folder:
        found = with_written_marks(folder, found, course, merge_written, export_written)
    if fill and output:
        fill_table(fill, id_column, mark_column, found, output)
        print(formats.as_csv(found), end="")
    else:
        text = render(found, form)
        if output:
            write_whole(output, (text.rstrip("\n") + "\n").encode("utf-8", "replace"))
        else:
            print(text.rstrip("\n"))
    if folder and len(found) > 1:
        write_reports(folder, found)
    failed = say_who(found, FAILED, "not graded, and not zero")
    say_who(found, UNDECIDED, "wait for your decision, without a mark")
    return NOT_ALL if failed else 0


def say_who(found: list[formats.Result], status: str, words: str) -> bool:
    """Names the first five of that status; False if there are none."""
    names = [one_line(result["student"]) for result in found if result["status"] == status]
    if names:
        print(f"minilora: {len(names)} {words}: {', '.join(names[:5])}", file=sys.stderr)
    return bool(names)


def build_gradescope(path: Path, exercises: list[str] | None, secret: Path | None) -> int:
    """Writes the zip to upload as an autograder."""
    names = choose_exercises(exercises)
    gradescope.build_zip(path, names, results.course_secret(secret))
    print(f"{path}: upload it as the autograder; it gives {Course(b'', names).max_score} points")
    return 0


def build_classroom50(folder: Path, exercises: list[str] | None, secret: Path | None) -> int:
    """Writes the folder to put into the classroom's repository."""
    names = choose_exercises(exercises)
    classroom50.build_folder(folder, names, results.course_secret(secret))
    print(f"{folder}: the autograder of an assignment; it gives {Course(b'', names).max_score} points")
    return 0


def render(found: list[formats.Result], form: str) -> str:
    if form == "json":
        return formats.as_json(found)
    if form == "csv":
        return formats.as_csv(found)
    if form == "gradescope":
        return formats.as_gradescope(found[0])
    if form == "classroom50":
        return formats.as_classroom50(found[0])
    if len(found) > 1:
        return report.as_markdown(report.of_class(found))
    return formats.as_text(found[0])


def with_written_marks(
    folder: Path, found: list[formats.Result], course: Course, merge: Path | None, export: Path | None
) -> list[formats.Result]:
    """Takes marks of texts over from a sheet, writes a sheet, and adds all marks of texts that are known by now."""
    marks = written.read_kept(folder)
    if merge:
        new = written.read_sheet(merge.read_bytes(), found)
        marks |= new
        written.keep(folder, marks)
        print(f"minilora: {len(new)} marks of texts taken over from {merge}", file=sys.stderr)
    if export:
        write_whole(export, written.as_sheet(found, marks))
    if not marks:
        return found
    most = sum(exercise.prose_points for exercise in course.exercises if isinstance(exercise, Question))
    return written.with_marks(found, marks, most)


def write_reports(folder: Path, found: list[formats.Result]) -> None:
    """For the instructor: a table of marks, and the report with a picture where Matplotlib is installed."""
    counted = report.of_class(found)
    picture = ""
    try:
        from minilora.grading import plots
    except ImportError:
        print("minilora: the report has no picture, for want of matplotlib", file=sys.stderr)
    else:
        picture = "report.png"
        write_whole(folder / picture, plots.as_png(counted))
    write_whole(folder / "report.md", report.as_markdown(counted, picture).encode("utf-8", "replace"))
    write_whole(folder / "marks.csv", formats.as_csv(found).encode("utf-8", "replace"))


def fill_table(
    table: Path, id_column: str, mark_column: str, found: list[formats.Result], output: Path
) -> None:
    """Marks into the LMS's table; who has no mark, or handed in nothing readable, is left as it was.

    Once texts are marked, they count, and who has a text that waits has no mark yet.
    """
    totals = {result["student"]: result.get("total", result["score"]) for result in found}
    readable = {
        result["student"] for result in found if result["status"] not in (FAILED, UNREADABLE, UNDECIDED)
    }
    marks = {name: total for name, total in totals.items() if name in readable and total is not None}
    filled, missing = lms.fill_marks(table.read_bytes(), id_column, mark_column, marks)
    write_whole(output, filled)
    left = missing + [name for name in totals if name not in marks]
    if left:
        print(f"minilora: no mark was filled in for {', '.join(map(one_line, left))}", file=sys.stderr)


def pages(names: list[str] | None) -> tuple[str, ...]:
    """The file names of the notebooks that were handed out, as far as they were given."""
    return tuple(page.name for page in pages_given(names))


def pages_given(names: list[str] | None) -> list[Path]:
    return [Path(name) for name in names or () if name.endswith(".ipynb")]


def choose_exercises(names: list[str] | None) -> tuple[str, ...]:
    """The names of all, of those named, or of a handed-out notebook; a deleted cell still counts."""
    if not names:
        return tuple(registry.BY_NAME)
    chosen: list[Question | Exercise] = []
    for name in names:
        chosen += _of_notebook(Path(name)) if name.endswith(".ipynb") else [registry.get(name)]
    return tuple(exercise.name for exercise in registry.EXERCISES if exercise in chosen)


def _of_notebook(path: Path) -> list[Question | Exercise]:
    cells = submission.read_notebook(path.read_bytes())
    ids = {name for cell in cells for name in cell.ids}
    found = [e for e in registry.EXERCISES if e.name in ids or f"{e.name}-answers" in ids]
    functions = [e for e in registry.EXERCISES if isinstance(e, Exercise)]
    text = "\n".join(cell.source for cell in cells)
    found += [e for e in functions if f"def {e.function_name}(" in text and e not in found]
    if not found:
        raise ValueError(
            f"{path} holds none of the exercises; give the notebook that you handed out, or their names"
        )
    return found
