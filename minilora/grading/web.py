"""Results as HTML pages that need no network: the report on a class, and one student's feedback.

Text of others is escaped by the templates (templates/), always. Not here: the numbers (report.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from minilora.exercises.feedback import SIGNS
from minilora.grading.marks import FAILED, UNDECIDED
from minilora.grading.report import Report

Result = dict[str, Any]
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
SIGNS_OF_ALL = SIGNS | {FAILED: "?", UNDECIDED: "?"}


def report_page(report: Report, found: list[Result]) -> str:
    """The page that an instructor opens first."""
    return TEMPLATES.get_template("report.html").render(report=report, found=found)


def feedback_page(result: Result) -> str:
    """What one student gets to see: their own marks and mistakes, and nothing of anybody else or of the grader's."""
    return TEMPLATES.get_template("feedback.html").render(result=result, signs=SIGNS_OF_ALL)
