"""What an instructor wants to know of a class: the marks, the hardest exercises, the most frequent named mistakes.

Not here: one student's result (formats.py).
"""

from __future__ import annotations

import collections
import statistics
from typing import Any

from minilora.exercises import registry
from minilora.exercises.exercise import Exercise
from minilora.grading.grade import GRADED

Result = dict[str, Any]
SHOWN = 12  # mistakes


def as_markdown(found: list[Result]) -> str:
    """The report on a class."""
    graded = [result for result in found if result["status"] == GRADED]
    lines = [f"# {len(found)} submissions, {len(graded)} graded", ""]
    scores = [result["score"] for result in graded]
    if scores:
        middle = f"median {statistics.median(scores):g} of {graded[0]['max_score']} points"
        lines += [
            f"{middle}, from {min(scores)} to {max(scores)}.",
            "",
            *_histogram(scores, graded[0]["max_score"]),
            "",
        ]
    others = [result for result in found if result["status"] != GRADED or result["remarks"]]
    if others:
        lines += ["## To look at", ""]
        lines += [
            f"- {_inline(r['student'])} ({r['status']}): {_inline('; '.join(r['remarks']))}" for r in others
        ]
        lines.append("")
    lines += _exercises(graded) + _mistakes(graded)
    return "\n".join(lines).rstrip() + "\n"


def _histogram(scores: list[int], top: int) -> list[str]:
    """Ten classes of marks, each as a bar."""
    counts = collections.Counter(min(10 * score // max(top, 1), 9) for score in scores)
    rows = ["| share of points | submissions | |", "|---|---:|:---|"]
    for tenth in range(10):
        bar = "█" * round(30 * counts[tenth] / max(counts.values()))
        rows.append(f"| {10 * tenth} to {10 * tenth + 10} % | {counts[tenth]} | {bar} |")
    return rows


def _exercises(graded: list[Result]) -> list[str]:
    """From the hardest to the easiest, counting those who tried."""
    tried: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for result in graded:
        for question in result["questions"]:
            if question["outcome"] != "not attempted":
                tried[question["title"]].append(question)
    rows = [
        "## Exercises, the hardest first",
        "",
        "| exercise | tried | fully right | mean |",
        "|---|---:|---:|---:|",
    ]
    told = []
    for title, questions in tried.items():
        full = sum(q["earned"] == q["points"] for q in questions) / len(questions)
        mean = statistics.mean(q["earned"] for q in questions)
        told.append(
            (full, f"| {title} | {len(questions)} | {full:.0%} | {mean:.1f} of {questions[0]['points']} |")
        )
    return [*rows, *(row for _, row in sorted(told)), ""]


def _mistakes(graded: list[Result]) -> list[str]:
    counts = collections.Counter(
        (question["name"], mistake)
        for result in graded
        for question in result["questions"]
        for mistake in set(question["mistakes"])
    )
    if not counts:
        return []
    rows = ["## The most frequent mistakes", "", "| submissions | exercise | mistake |", "|---:|---|---|"]
    for (name, mistake), count in counts.most_common(SHOWN):
        rows.append(f"| {count} | {name} | {_inline(_sentence(name, mistake))} |")
    return rows


def _sentence(name: str, mistake: str) -> str:
    """What the registry says of it."""
    exercise = registry.BY_NAME.get(name)
    if isinstance(exercise, Exercise):
        return next((wrong.sentence for wrong in exercise.wrong if wrong.key == mistake), mistake)
    return mistake


def _inline(text: str) -> str:
    """Text of others in one line of a table."""
    return " ".join(text.replace("|", "/").replace("<", "(").split())[:400]
