"""What a form asks for a question's answers, and what it makes of a text that was typed: without a front end.

Not here: forms in JupyterLab (answer_form.py) and on the web site (in_page.py), and whether an answer is right
(question.py).
"""

from __future__ import annotations

import re
from typing import Any

from minilora.exercises.question import Question
from minilora.exercises.question_parts import Artifact, Choice, Number, Prose

STUDENT = "student"


def fields_of(question: Question) -> list[dict[str, Any]]:
    """The student's name, then each part: key, kind ("choice", "line", "text"), prompt, options as [letter, words]."""
    name = {"key": STUDENT, "kind": "line", "prompt": "Your name or number, as your course knows you"}
    return [name, *map(_field, question.parts)]


def part_of(question: Question, key: str) -> Any:
    """The part of that name; None for the student's name."""
    return next((part for part in question.parts if part.key == key), None)


def as_text(question: Question) -> str:
    """The parts of a question, where nothing can be clicked."""
    paragraphs = [f"{question.title}: write your answers into the dict of this cell."]
    for part in question.parts:
        lines = [f"{part.key}: {part.prompt}"]
        if isinstance(part, Choice):
            lines += [f'  "{letter}" {option.text}' for letter, option in part.lettered()]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _field(part: Choice | Number | Prose | Artifact) -> dict[str, Any]:
    field: dict[str, Any] = {"key": part.key, "prompt": part.prompt}
    if isinstance(part, Choice):
        options = [[letter, option.text] for letter, option in part.lettered()]
        return field | {"kind": "choice", "options": options}
    return field | {"kind": "text" if isinstance(part, Prose) else "line"}


def shown(value: Any) -> str:
    return "" if value is None else str(value)


def understood(part: Any, text: str) -> tuple[Any, str]:
    """(the answer, what to say about it) for what was typed or chosen."""
    if not isinstance(part, Number):
        return (text or None if isinstance(part, Choice) else text), ""
    if not text.strip():
        return None, ""
    number = as_number(text)
    return number, "" if number is not None else "This is not a number: write it without a unit."


def as_number(text: str) -> int | float | None:
    """A number as people type it; None if it is none.

    >>> as_number("32,768"), as_number(" 1.5e3 "), as_number("12 GB"), as_number("1,5")
    (32768, 1500.0, None, None)
    """
    text = text.strip().replace("_", "")
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d*)?", text):
        text = text.replace(",", "")
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if abs(number) < float("inf") else None
    return None
