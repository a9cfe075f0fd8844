"""Grades a submission, or a class, in a sandbox."""

from __future__ import annotations

import dataclasses

from minilora.options import Options, option

EXAMPLES = (
    "minilora grade class/ --results marks/ --exercises exercises/03_lora.ipynb",
    "minilora grade homework.ipynb --student ada --format json",
)
FORMATS = ("text", "json", "gradescope", "classroom50", "csv")
WORK, WHO, COURSE = "what to grade", "whose work", "the rules of the course"
HOW, MARKS, BUILD = "how it runs", "marks and feedback", "for platforms; grades nothing"


@dataclasses.dataclass(kw_only=True)
class Settings(Options):
    path: str | None = option(
        None,
        WORK,
        "a notebook, or a folder or zip with one entry per student",
        positional=True,
        metavar="PATH",
    )
    exercises: list[str] | None = option(
        None, WORK, "what counts: names, or the notebook that you handed out (default: all)"
    )
    results: str | None = option(
        None, WORK, "folder that keeps results, so that nothing is graded twice", metavar="FOLDER"
    )
    format: str = option("text", WORK, "of the report", choices=FORMATS)
    output: str | None = option(None, WORK, "a file to write instead of the screen", metavar="FILE")

    student: str | None = option(
        None, WHO, "whose it is; then a folder or zip is one submission", metavar="NAME"
    )
    only: str | None = option(
        None, WHO, "grade this entry of the folder alone, as --only=NAME", metavar="NAME"
    )
    regrade: list[str] = option([], WHO, "grade these again, even if a result is kept", metavar="STUDENT")
    names: str = option(
        "auto",
        WHO,
        "how entries are named: auto, moodle, canvas, as-they-are, or a regular expression with a group "
        "(?P<id>...) and perhaps (?P<name>...)",
        metavar="HOW",
    )

    course: str | None = option(None, COURSE, "its points, partial credit and late policy", metavar="TOML")
    own_exercises: str | None = option(None, COURSE, "a folder with exercises of your own", metavar="FOLDER")
    secret_file: str | None = option(
        None, COURSE, "the course's secret, from which hidden inputs are drawn", metavar="FILE"
    )

    sandbox: str = option(
        "auto", HOW, "around a learner's code", choices=("auto", "bubblewrap", "setpriv", "plain")
    )
    workers: int | None = option(None, HOW, "submissions at a time (default: one per core)")
    dask: str | None = option(None, HOW, "grade on the Dask cluster with this scheduler", metavar="ADDRESS")

    feedback: str | None = option(
        None, MARKS, "write an HTML file for each student to hand back", metavar="FOLDER"
    )
    fill: str | None = option(
        None, MARKS, "a CSV that your platform exported: written to --output with marks in it", metavar="FILE"
    )
    id_column: str = option("", MARKS, "that file's column with the students' ids")
    mark_column: str = option("", MARKS, "that file's column for the marks")
    export_written: str | None = option(
        None, MARKS, "write the texts that a person marks to this new CSV file", metavar="FILE"
    )
    anonymous: bool = option(False, MARKS, "with codes instead of names in that file")
    merge_written: str | None = option(
        None, MARKS, "take over marks from such a file, once filled in", metavar="FILE"
    )
    override: list[str] | None = option(
        None,
        MARKS,
        "STUDENT EXERCISE POINTS REASON: points of yours that replace the program's; EXERCISE may be total",
        metavar="WORD",
    )

    gradescope_zip: str | None = option(
        None, BUILD, "write an autograder for Gradescope to this file", metavar="FILE"
    )
    classroom50_folder: str | None = option(
        None, BUILD, "write an autograder for Classroom 50 to this new folder", metavar="FOLDER"
    )


def run(settings: Settings) -> int:
    """Grades, or writes an autograder; returns the grader's exit status."""
    from minilora.grading.command import Request
    from minilora.grading.command import run as grade

    return grade(Request.of(settings))
