"""What an instructor wants to know of a class: the marks, the hardest exercises, the most frequent named mistakes.

`of_class` counts; `as_markdown` tells it in tables, web.py on a page with pictures. Not here: one student's result
(formats.py).
"""

from __future__ import annotations

import collections
import dataclasses
import re
import statistics
from typing import Any

from minilora.exercises import registry
from minilora.exercises.exercise import Exercise
from minilora.exercises.question_parts import Choice, Number
from minilora.grading import alike
from minilora.grading.alike import Alike
from minilora.grading.marks import GRADED, UNDECIDED
from minilora.grading.plain_text import one_line

Result = dict[str, Any]
SHOWN = 12  # mistakes


@dataclasses.dataclass(frozen=True)
class ExerciseCounts:
    """How one exercise went for those who tried it. full: the share that earned all points; mean: of points."""

    title: str
    tried: int
    full: float
    mean: float
    points: int


@dataclasses.dataclass(frozen=True)
class MistakeCounts:
    """How many submissions made a mistake that the registry knows, what it says of it, and one of them."""

    count: int
    exercise: str
    sentence: str
    example: str = ""  # of one student, without a name


@dataclasses.dataclass(frozen=True)
class Report:
    """A class in numbers. tenths: submissions with 0 to 10 % of the points, 10 to 20 % …; exercises: hardest first."""

    submissions: int
    scores: list[int]
    max_score: int
    tenths: list[int]
    exercises: list[ExerciseCounts]
    mistakes: list[MistakeCounts]
    to_look_at: list[Result]
    alike: list[Alike] = dataclasses.field(default_factory=list)

    @property
    def undecided(self) -> list[Result]:
        return [result for result in self.to_look_at if result["status"] == UNDECIDED]

    @property
    def summary(self) -> str:
        """One sentence on the marks."""
        if not self.scores:
            return "No submission is graded."
        middle = f"median {statistics.median(self.scores):g} of {self.max_score} points"
        return f"{middle}, from {min(self.scores)} to {max(self.scores)}."


def of_class(found: list[Result]) -> Report:
    """Counts the results of a class; only graded submissions count, the others are to be looked at."""
    graded = [result for result in found if result["status"] == GRADED]
    scores = [result["score"] for result in graded]
    top = graded[0]["max_score"] if graded else 0
    counts = collections.Counter(min(10 * score // max(top, 1), 9) for score in scores)
    others = [result for result in found if result["status"] != GRADED or result["remarks"]]
    tenths = [counts[tenth] for tenth in range(10)]
    return Report(
        len(found), scores, top, tenths, _exercises(graded), _mistakes(graded), others, alike.find(found)
    )


def as_markdown(report: Report) -> str:
    """The report as text with tables."""
    lines = [f"# {report.submissions} submissions, {len(report.scores)} graded", "", report.summary, ""]
    if report.scores:
        lines += ["| share of points | submissions | |", "|---|---:|:---|"]
        for tenth, count in enumerate(report.tenths):
            bar = "█" * round(30 * count / max(report.tenths))
            lines.append(f"| {10 * tenth} to {10 * tenth + 10} % | {count} | {bar} |")
        lines.append("")
    if report.to_look_at:
        lines += ["## To look at", ""]
        lines += [
            f"- {_inline(r['student'])} ({r['status']}): {_inline('; '.join(r['remarks']))}"
            for r in report.to_look_at
        ]
        lines.append("")
    lines += ["## Exercises, the hardest first", ""]
    lines += ["| exercise | tried | fully right | mean |", "|---|---:|---:|---:|"]
    lines += [
        f"| {e.title} | {e.tried} | {e.full:.0%} | {e.mean:.1f} of {e.points} |" for e in report.exercises
    ]
    if report.mistakes:
        lines += ["", "## The most frequent mistakes", ""]
        lines += ["| submissions | exercise | mistake |", "|---:|---|---|"]
        lines += [f"| {m.count} | {m.exercise} | {_inline(m.sentence)} |" for m in report.mistakes[:SHOWN]]
    return "\n".join(lines).rstrip() + "\n"


def _exercises(graded: list[Result]) -> list[ExerciseCounts]:
    """From the hardest to the easiest, counting those who tried."""
    tried: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for result in graded:
        for question in result["questions"]:
            if question["outcome"] != "not attempted":
                tried[question["title"]].append(question)
    told = []
    for title, questions in tried.items():
        full = sum(q["earned"] == q["points"] for q in questions) / len(questions)
        mean = statistics.mean(q["earned"] for q in questions)
        told.append(ExerciseCounts(title, len(questions), full, mean, questions[0]["points"]))
    return sorted(told, key=lambda exercise: (exercise.full, exercise.title))


def _mistakes(graded: list[Result]) -> list[MistakeCounts]:
    counts = collections.Counter(
        (question["name"], mistake)
        for result in graded
        for question in result["questions"]
        for mistake in set(question["mistakes"])
    )
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        MistakeCounts(count, name, _sentence(graded, name, mistake), _example(graded, name, mistake))
        for (name, mistake), count in ordered
    ]


def _example(graded: list[Result], name: str, mistake: str) -> str:
    """The shortest answer with this mistake in which its writer's name does not stand."""
    found = []
    for result in graded:
        words = {word for word in re.findall(r"\w+", result["student"].lower()) if len(word) > 2}
        for question in result["questions"]:
            if question["name"] == name and mistake in question["mistakes"]:
                text = question["chosen"].get(mistake) or question["answer"]
                if text and not words & set(re.findall(r"[^\W_]+", text.lower())):
                    found.append(text)
    return min(found, key=lambda text: (len(text), text), default="")


def _sentence(graded: list[Result], name: str, mistake: str) -> str:
    """What the registry says of it, or what a student was told where the check found the words."""
    exercise = registry.BY_NAME.get(name)
    known: list[tuple[str, str]] = []
    if isinstance(exercise, Exercise):
        known = [(wrong.key, wrong.sentence) for wrong in exercise.wrong]
    elif exercise:
        for part in exercise.parts:
            if isinstance(part, Choice):
                known += [(option.mistake, option.sentence) for option in part.options]
            elif isinstance(part, Number):
                known += [(slip.mistake, slip.sentence) for slip in part.slips]
    told = (
        question["sentence"]
        for result in graded
        for question in result["questions"]
        if question["name"] == name and mistake in question["mistakes"]
    )
    return next((sentence for key, sentence in known if key == mistake), next(told, "") or mistake)


def _inline(text: str) -> str:
    """Text of others in one line of a table, which makes no table, link, picture or HTML of its own."""
    return one_line(text, 400).translate(str.maketrans("|<>[]`", "/()()'"))
