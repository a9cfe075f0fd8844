"""Grades a submission, or a class, in a sandbox."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from minilora.options import Options, option

EXAMPLES = (
    "minilora grade class/ --results marks/ --exercises exercises/03_lora.ipynb",
    "minilora grade homework.ipynb --student ada --format json",
)
FORMATS = ("text", "json", "gradescope", "classroom50", "csv")


@dataclasses.dataclass(kw_only=True)
class Settings(Options):
    path: str | None = option(
        None,
        "what to grade",
        "a notebook, or a folder or zip with one entry per student",
        positional=True,
        metavar="PATH",
    )
    student: str | None = option(
        None, "what to grade", "whose it is; then a folder or zip is one submission", metavar="NAME"
    )
    only: str | None = option(
        None, "what to grade", "grade this entry of the folder alone, as --only=NAME", metavar="NAME"
    )
    exercises: list[str] | None = option(
        None, "what to grade", "what counts: names, or the notebook that you handed out (default: all)"
    )
    format: str = option("text", "output", "of the report", choices=FORMATS)
    output: str | None = option(None, "output", "a file to write instead of the screen", metavar="FILE")
    results: str | None = option(
        None, "output", "folder that keeps results, so that nothing is graded twice", metavar="FOLDER"
    )
    secret_file: str | None = option(
        None, "how", "the course's secret, from which hidden inputs follow", metavar="FILE"
    )
    sandbox: str = option(
        "auto", "how", "around a learner's code", choices=("auto", "bubblewrap", "setpriv", "plain")
    )
    workers: int | None = option(None, "how", "submissions at a time (default: one for each core)")
    dask: str | None = option(None, "how", "grade on the Dask cluster with this scheduler", metavar="ADDRESS")
    fill: str | None = option(
        None,
        "marks for your platform",
        "a CSV that it exported: written to --output with marks in it",
        metavar="FILE",
    )
    id_column: str = option("", "marks for your platform", "that file's column with the students' ids")
    mark_column: str = option("", "marks for your platform", "that file's column for the marks")
    export_written: str | None = option(
        None, "texts that a person marks", "write them to this new CSV file", metavar="FILE"
    )
    merge_written: str | None = option(
        None, "texts that a person marks", "take over marks from such a file, once filled in", metavar="FILE"
    )
    gradescope_zip: str | None = option(
        None, "autograders", "grade nothing: write an autograder for Gradescope to this file", metavar="FILE"
    )
    classroom50_folder: str | None = option(
        None,
        "autograders",
        "grade nothing: write an autograder for Classroom 50 to this new folder",
        metavar="FOLDER",
    )


def run(settings: Settings) -> int:
    """Grades, or writes an autograder; returns the grader's exit status."""
    from minilora.grading.command import build_classroom50, build_gradescope
    from minilora.grading.command import run as grade

    def path(text: str | None) -> Path | None:
        return Path(text) if text else None

    secret = path(settings.secret_file)
    if settings.gradescope_zip:
        return build_gradescope(Path(settings.gradescope_zip), settings.exercises, secret)
    if settings.classroom50_folder:
        return build_classroom50(Path(settings.classroom50_folder), settings.exercises, secret)
    if not settings.path:
        raise ValueError("name a notebook, a folder or a zip; see minilora grade --help")
    return grade(
        Path(settings.path),
        student=settings.student,
        exercises=settings.exercises,
        form=settings.format,
        output=path(settings.output),
        folder=path(settings.results),
        secret=secret,
        box=settings.sandbox,
        workers=settings.workers,
        fill=path(settings.fill),
        id_column=settings.id_column,
        mark_column=settings.mark_column,
        export_written=path(settings.export_written),
        merge_written=path(settings.merge_written),
        dask=settings.dask,
        only=settings.only,
    )
