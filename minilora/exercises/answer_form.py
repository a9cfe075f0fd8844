"""Buttons and fields in place of a dict to fill in: what is chosen is written into the cell above, as plain data.

A grader reads the notebook alone, so a choice must stand in the text of a cell: not in the state of a widget, not in
an output, not in a file beside the notebook. Each change goes three ways. The learner's dict holds it at once; the
browser sends the text of the cell and gets it back with the new value (answer_cell.py); and where there is no cell to
write to, as in editors other than JupyterLab and Notebook, the form shows the lines to copy.

Not here: whether an answer is right (question.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from minilora.exercises.answer_cell import NAME, pair, with_answers
from minilora.exercises.question import Question
from minilora.exercises.question_parts import Artifact, Choice, Number, Prose

STUDENT = "student"
Change = Callable[
    [str, str, str | None], dict[str, Any]
]  # (key, text, text of the cell) -> what the browser is told


class Form(anywidget.AnyWidget):
    """Fields below a cell.

    Args:
        fields: One dict per field: key, kind ("choice", "line" or "text"), prompt, and options as [letter, words].
        values: Key -> what its field shows at first.
        still: The same as lines of text, for viewers where nothing can be clicked.
        change: Called with (key, text, text of the cell) after each change; returns what the browser is told.
        locked: Whether the fields can no longer be changed.
    """

    _esm = Path(__file__).with_name("form.js")
    _css = Path(__file__).with_name("form.css")
    fields: Any = traitlets.List().tag(sync=True)
    values: Any = traitlets.Dict().tag(sync=True)
    locked = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self, fields: list[dict[str, Any]], values: dict[str, str], still: str, change: Change, locked=False
    ):
        super().__init__(fields=fields, values=values, locked=locked)
        self.still, self.change = still, change
        self.on_msg(self._changed)

    def fill_in(self, key: str, text: str, source: str | None = None) -> dict[str, Any]:
        """Takes a change as the browser sends it, and returns what the browser is told."""
        self.values = self.values | {key: text}
        return self.change(key, text, source)

    def _changed(self, _: Any, message: dict[str, Any], buffers: Any) -> None:
        reply = self.fill_in(message["key"], message["text"], message["source"])
        self.send(reply | {"key": message["key"], "instead_of": message["source"]})

    def __repr__(self) -> str:
        return self.still

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live fields, and beside them words for viewers that run no kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        words = "".join(
            f"<p style='white-space:pre-line'>{escape(text)}</p>" for text in self.still.split("\n\n")
        )
        return data | {"text/plain": repr(self), "text/html": words}, metadata


def answer_form(question: Question, answers: dict[str, Any], student: str) -> Form:
    """Makes the form for all parts of a question.

    Args:
        question: The question.
        answers: The dict of the cell; it is changed in place.
        student: The student's name, if it is known already; used where the answers name none yet.
    """
    if student and not answers.get(STUDENT):
        answers[STUDENT] = student

    def change(key: str, text: str, source: str | None) -> dict[str, Any]:
        answers[key], note = _understood(parts.get(key), text)
        changes = {key: answers[key]}
        if answers.get(STUDENT):
            changes[STUDENT] = answers[STUDENT]
        written = None if source is None else with_answers(source, changes)
        lines = [f"{NAME} = {{", *(pair(key, value) for key, value in answers.items()), "}"]
        return {"note": note} | ({"source": written} if written else {"copy": "\n".join(lines)})

    parts: dict[str, Any] = {part.key: part for part in question.parts}
    fields = [{"key": STUDENT, "kind": "line", "prompt": "Your name or number, as your course knows you"}]
    fields += [_field(part) for part in question.parts]
    values = {key: _shown(answers.get(key)) for key in (STUDENT, *parts)}
    return Form(fields, values, as_text(question), change)


def expectation_form(
    question: Question, chosen: str | None, still: str, choose: Callable[[str], str]
) -> Form:
    """Makes the buttons for what the experiment will show.

    Args:
        question: The question.
        chosen: The letter chosen before, or None.
        still: The same as text.
        choose: Takes a letter, stores it, and returns a sentence that confirms it.
    """
    prediction = question.prediction
    field = {"key": "expect", "kind": "choice", "prompt": prediction.prompt, "options": prediction.lettered()}
    values = {"expect": chosen or ""}
    return Form([field], values, still, lambda key, text, source: {"note": choose(text)})


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


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def _understood(part: Any, text: str) -> tuple[Any, str]:
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
