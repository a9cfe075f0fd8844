"""The options of `minilora grade`. Not here: what they do (command.py)."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("path", nargs="?", type=Path, help="a notebook, or a folder or zip with one entry per student")
    add(
        "--exercises",
        nargs="+",
        help="what counts: names, or the notebook that you handed out (default: all)",
    )
    add("--results", type=Path, help="folder that keeps results, so that nothing is graded twice")
    add("--format", choices=("text", "json", "gradescope", "classroom50", "csv"), default="text")
    add("--output", type=Path, help="a file to write instead of the screen")

    who = parser.add_argument_group("whose work")
    add = who.add_argument
    add("--student", help="whose it is; then a folder or zip is one submission")
    add("--only", metavar="NAME", help="grade this entry of the folder alone, as --only=NAME")
    add("--regrade", nargs="+", metavar="STUDENT", default=[], help="grade these anew, whatever is kept")
    add(
        "--names",
        default="auto",
        metavar="HOW",
        help="how entries are called: auto (default), moodle, canvas, as-they-are, or a regular expression with a "
        "group (?P<id>...) and perhaps (?P<name>...)",
    )

    rules = parser.add_argument_group("the rules of the course")
    add = rules.add_argument
    add("--course", type=Path, metavar="TOML", help="its points, partial credit and late policy")
    add("--own-exercises", type=Path, metavar="FOLDER", help="a folder with exercises of your own")
    add("--secret-file", type=Path, help="the course's secret, from which hidden inputs follow")

    how = parser.add_argument_group("how it runs")
    add = how.add_argument
    add("--sandbox", choices=("auto", "bubblewrap", "setpriv", "plain"), default="auto")
    add("--workers", type=int, help="submissions at a time (default: one for each core)")
    add("--dask", metavar="ADDRESS", help="grade on the Dask cluster with this scheduler")

    out = parser.add_argument_group("marks and feedback")
    add = out.add_argument
    add("--feedback", type=Path, metavar="FOLDER", help="write an HTML file for each student to hand back")
    add("--fill", type=Path, help="a CSV that your platform exported: written to --output with marks in it")
    add("--id-column", default="", help="its column with the students' ids")
    add("--mark-column", default="", help="its column for the marks")
    add("--export-written", type=Path, help="write the texts that a person marks to this new CSV file")
    add("--anonymous", action="store_true", help="with codes in the place of names in that file")
    add("--merge-written", type=Path, help="take over marks from such a file, once it is filled in")
    add(
        "--override",
        nargs=4,
        metavar=("STUDENT", "EXERCISE", "POINTS", "REASON"),
        help="points that you give in the place of the program's; EXERCISE may be total",
    )

    build = parser.add_argument_group("for platforms; grades nothing")
    add = build.add_argument
    add("--gradescope-zip", type=Path, help="write an autograder for Gradescope to this file")
    add("--classroom50-folder", type=Path, help="write an autograder for Classroom 50 to this new folder")
