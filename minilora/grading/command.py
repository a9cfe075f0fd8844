"""`minilora grade`: what a request means, step by step.

Exit status 0: every submission has a result (also "unreadable", where no notebook was in it); 3: grading itself failed
for some, and running the same command again tries only these.

Not here: the options (options.py), the work (batch.py), and what is written in the end (outputs.py).
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
from pathlib import Path
from typing import Any

from minilora.exercises import own
from minilora.exercises.records import write_whole
from minilora.grading import (
    batch,
    classroom50,
    cluster,
    counted,
    gradescope,
    late,
    outputs,
    overrides,
    results,
    rules,
    sandbox,
    submission,
    written,
)
from minilora.grading.marks import FAILED, UNDECIDED, Course
from minilora.grading.plain_text import one_line
from minilora.grading.rules import Rules
from minilora.grading.submission import Entry

Result = dict[str, Any]
NOT_ALL = 3


@dataclasses.dataclass(kw_only=True)
class Request:
    """The options of the command, under their own names."""

    path: Path | None = None
    exercises: list[str] | None = None
    results: Path | None = None
    format: str = "text"
    output: Path | None = None
    student: str | None = None
    only: str | None = None
    regrade: list[str] = dataclasses.field(default_factory=list)
    names: str = "auto"
    course: Path | None = None
    own_exercises: Path | None = None
    secret_file: Path | None = None
    sandbox: str = "auto"
    workers: int | None = None
    dask: str | None = None
    feedback: Path | None = None
    fill: Path | None = None
    id_column: str = ""
    mark_column: str = ""
    export_written: Path | None = None
    anonymous: bool = False
    merge_written: Path | None = None
    override: list[str] | None = None
    gradescope_zip: Path | None = None
    classroom50_folder: Path | None = None

    @classmethod
    def of(cls, options: Any) -> Request:
        """From anything that has the options as attributes, with paths as text or not."""
        told = {field.name: getattr(options, field.name) for field in dataclasses.fields(cls)}
        for field in dataclasses.fields(cls):
            if "Path" in str(field.type) and told[field.name] is not None:
                told[field.name] = Path(told[field.name])
        return cls(**told)


def run(request: Request) -> int:
    """Grades, or writes an autograder; returns the exit status."""
    own_sources = own.read_folder(request.own_exercises) if request.own_exercises else {}
    own.register(own_sources)
    course_rules = rules.read(request.course)
    if request.gradescope_zip or request.classroom50_folder:
        return _build(request, own_sources)
    if request.path is None:
        raise ValueError("name a notebook, a folder or a zip; see minilora grade --help")
    entries = submission.entries(request.path, request.student, request.only, request.names)
    _check(request, entries)
    if request.results:
        decided = overrides.read(request.results)  # before hours of work: may be wrong
        if request.override:
            _add_override(request.results, request.override, entries)
            decided = overrides.read(request.results)
    else:
        decided = []
    course = Course(
        results.course_secret(request.secret_file, request.results),
        counted.choose_exercises(request.exercises),
        notebooks=tuple(page.name for page in counted.pages(request.exercises)),
        own=tuple(sorted(own_sources.items())),
    )
    if request.results:
        results.belong_together(request.results, course.secret)
    entries = _again(entries, request.regrade)
    found = _grade(request, entries, course)
    found = [course_rules.apply(result, course.names) for result in found]
    found = overrides.apply(found, decided)
    if request.results:
        found = _with_texts(request, found, course)
    found = late.apply(found, entries, course_rules.late)
    found = overrides.apply(found, decided, last=True)
    _write(request, entries, found, course_rules)
    failed = _say_who(found, FAILED, "not graded, and not zero")
    _say_who(found, UNDECIDED, "wait for your decision, without a mark")
    return NOT_ALL if failed else 0


def _check(request: Request, entries: list[Entry]) -> None:
    """Refuses what does not fit together, before anything is graded."""
    if request.format in ("gradescope", "classroom50") and len(entries) != 1:
        raise ValueError(
            f"--format {request.format} is for one submission; {request.path} holds {len(entries)}. Name it with "
            "--student"
        )
    if request.fill and not (request.id_column and request.mark_column and request.output):
        raise ValueError("--fill needs --id-column, --mark-column and --output besides")
    by_hand = request.export_written or request.merge_written or request.override
    if by_hand and not request.results:
        raise ValueError(
            "--export-written, --merge-written and --override need --results: marks are kept there"
        )
    if request.export_written and request.export_written.exists():
        raise FileExistsError(f"{request.export_written} exists, and may hold marks; name a new file")
    if request.override and len(request.override) != 4:
        raise ValueError("--override takes four: STUDENT EXERCISE POINTS REASON, the reason in quotes")


def _add_override(folder: Path, override: list[str], entries: list[Entry]) -> None:
    if len(override) != 4:
        raise ValueError(
            f"--override has {len(override)} words; give four: STUDENT EXERCISE POINTS 'the reason'"
        )
    student, exercise, points, reason = override
    _known([student], entries)
    overrides.add(folder, student, exercise, points, reason)


def _known(students: list[str], entries: list[Entry]) -> None:
    names = [entry.student for entry in entries]
    for student in students:
        if student not in names:
            near = difflib.get_close_matches(student, names, n=3)
            told = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise ValueError(f"no submission is of a student {student!r}{told}")


def _again(entries: list[Entry], students: list[str]) -> list[Entry]:
    _known(students, entries)
    return [dataclasses.replace(entry, again=entry.student in students) for entry in entries]


def _grade(request: Request, entries: list[Entry], course: Course) -> list[Result]:
    if request.dask:
        return cluster.grade_all(entries, course, request.sandbox, request.results, request.dask)
    paths = [getattr(request, field.name) for field in dataclasses.fields(request)]
    private = [place for place in paths if isinstance(place, Path)] + counted.pages(request.exercises)
    hidden = tuple(str(place.resolve()) for place in private)
    walls = dataclasses.replace(sandbox.choose(request.sandbox), hidden=hidden)
    return batch.grade_all(entries, course, walls, request.results, request.workers)


def _with_texts(request: Request, found: list[Result], course: Course) -> list[Result]:
    """Takes marks of texts over from a sheet, writes a sheet, and adds all marks of texts that are known by now."""
    assert request.results
    marks = written.read_kept(request.results)
    if request.merge_written:
        new = written.read_sheet(request.merge_written.read_bytes(), found, course.secret)
        marks |= new
        written.keep(request.results, marks)
        print(f"minilora: {len(new)} marks of texts taken over from {request.merge_written}", file=sys.stderr)
    if request.export_written:
        secret = course.secret if request.anonymous else b""
        write_whole(request.export_written, written.as_sheet(found, marks, secret))
    return written.with_marks(found, marks, written.most(course.exercises)) if marks else found


def _write(request: Request, entries: list[Entry], found: list[Result], course_rules: Rules) -> None:
    if request.fill and request.output:
        ids = {entry.student: entry.ids for entry in entries}
        columns = (request.id_column, request.mark_column)
        outputs.fill_table(request.fill, columns, found, request.output, ids)
    else:
        outputs.write(found, request.format, request.output)
    if request.results and len(found) > 1:
        outputs.write_reports(request.results, found)
    if request.feedback:
        outputs.write_feedback(request.feedback, found, entries)


def _say_who(found: list[Result], status: str, words: str) -> bool:
    """Names the first five of that status; False if there are none."""
    names = [one_line(result["student"]) for result in found if result["status"] == status]
    if names:
        print(f"minilora: {len(names)} {words}: {', '.join(names[:5])}", file=sys.stderr)
    return bool(names)


def _build(request: Request, own_sources: dict[str, str]) -> int:
    """Writes the autograder of a platform."""
    names = counted.choose_exercises(request.exercises)
    course_rules = rules.read(request.course)
    if course_rules.late:
        raise ValueError(
            "[late] is for a class that you grade here; platforms have a late policy of their own"
        )
    secret = results.course_secret(request.secret_file)
    files = {"course.toml": request.course.read_bytes()} if request.course else {}
    files |= {f"own-exercises/{name}": text.encode() for name, text in own_sources.items()}
    points = sum(map(course_rules.points_of, names))
    if request.gradescope_zip:
        gradescope.build_zip(request.gradescope_zip, names, secret, files)
        print(f"{request.gradescope_zip}: upload it as the autograder; it gives {points} points")
    if request.classroom50_folder:
        classroom50.build_folder(request.classroom50_folder, names, secret, files)
        print(f"{request.classroom50_folder}: the autograder of an assignment; it gives {points} points")
    return 0
