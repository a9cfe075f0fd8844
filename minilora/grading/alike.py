"""Answers that are more alike than chance and the course explain: a hint for a person, and never a mark.

Two students write the same short function because there is one short way to write it. So a sequence of words counts
only where few of a class have it and the solution does not. Many of these in common are worth a look; they do not say
who wrote what first, or why.

Not here: what becomes of it (report.py).
"""

from __future__ import annotations

import ast
import collections
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterable
from itertools import combinations
from typing import Any

from minilora.exercises import registry
from minilora.exercises.exercise import Exercise

Result = dict[str, Any]
LENGTH = 5  # words or signs in a row
LEAST = 20  # such sequences in common
SHARE = 0.6  # of those that the shorter of the two has
FEW = 3  # students who have a sequence; in a class of more than 60, one in twenty


@dataclasses.dataclass(frozen=True)
class Alike:
    """Students with an answer that is the same, or nearly so: what it is, and how alike (1 is the same)."""

    students: tuple[str, ...]
    place: str
    share: float


def find(found: list[Result]) -> list[Alike]:
    """All of a class, the most alike first."""
    hints = _copies(found)
    copied = {pair for hint in hints for pair in combinations(hint.students, 2)}
    for place, texts in _answers(found).items():
        hints += [hint for hint in _near(place, texts) if hint.students not in copied]
    return sorted(hints, key=lambda hint: (-hint.share, hint.students, hint.place))


def _copies(found: list[Result]) -> list[Alike]:
    """Whole notebooks with the same cells, where something is answered."""
    by_content: dict[str, list[str]] = collections.defaultdict(list)
    for result in found:
        if any(question["outcome"] != "not attempted" for question in result["questions"]):
            by_content[result["content"]].append(result["student"])
    return [
        Alike(tuple(sorted(who)), "all cells", 1.0) for key, who in by_content.items() if key and len(who) > 1
    ]


def _answers(found: list[Result]) -> dict[str, dict[str, str]]:
    """Exercise, or part of a question -> student -> what they wrote."""
    told: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for result in found:
        for question in result["questions"]:
            if question["answer"]:
                told[question["name"]][result["student"]] = question["answer"]
            for text in question["written"]:
                told[f"{question['name']}, {text['key']}"][result["student"]] = text["text"]
    return told


def _near(place: str, texts: dict[str, str]) -> list[Alike]:
    known = _sequences(_ours(place))
    few = max(FEW, len(texts) // 20)
    by_sequence: dict[tuple[str, ...], list[str]] = collections.defaultdict(list)
    for student, text in sorted(texts.items()):
        for sequence in _sequences(text) - known:
            by_sequence[sequence].append(student)
    counts: collections.Counter[str] = collections.Counter()
    common: collections.Counter[tuple[str, str]] = collections.Counter()
    for students in by_sequence.values():
        if len(students) <= few:
            counts.update(students)
            common.update(combinations(students, 2))
    hints = []
    for pair, shared in common.items():
        share = shared / min(counts[student] for student in pair)
        if shared >= LEAST and share >= SHARE:
            hints.append(Alike(pair, place, round(share, 2)))
    return hints


def _sequences(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    return {tuple(words[n : n + LENGTH]) for n in range(len(words) - LENGTH + 1)}


def _ours(place: str) -> str:
    """What is handed out, and known ways to solve it."""
    exercise = registry.BY_NAME.get(place.partition(",")[0])
    if not isinstance(exercise, Exercise):
        return ""
    return "\n".join(_sources(exercise))


def _sources(exercise: Exercise) -> Iterable[str]:
    for function in (exercise.solution, *(variant.function for variant in exercise.variants)):
        yield ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(function))))
