"""Predict, then see: `predict` asks for a guess and stores it, `reveal` puts it beside the measurement.

A guess is stored in the learner's progress file, so it survives a restart of the kernel. It can be changed until it has
been revealed. Without a guess `reveal` shows the measurement all the same: nothing blocks "Run All Cells".

Not here: the questions (predictions/), and how the picture is drawn (minilora/figures/guesses.py).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from html import escape
from typing import Any

from ipywidgets import HTML, Button, Layout, VBox

from minilora.exercises.records import load, update
from minilora.explorables.controls import slider
from minilora.figures.guesses import among_options, in_words, on_a_line
from minilora.figures.svg import still_html
from minilora.lesson.prediction import Choice, Prediction
from minilora.lesson.predictions import PREDICTIONS
from minilora.widgets.explorer import Accessibility, as_widget, control_row


def predict(id: str) -> Guess:
    """Asks for a guess, with buttons or a slider, and stores it.

    Args:
        id: The name of the prediction, as in minilora/lesson/predictions.

    Returns:
        The question to show as the last line of a cell. `predict(id).choose(guess)` answers it in code.
    """
    return Guess(id, _find(id))


def reveal(id: str, measured: Any) -> Reveal:
    """Puts the stored guess and the measurement side by side in a picture.

    Args:
        id: The name of the prediction.
        measured: A number, or for a choice among words the option that came true.

    Returns:
        The picture to show as the last line of a cell; `.sentence` says the same in words.
    """
    return Reveal(id, _find(id), measured)


class Guess(VBox):
    """A question with its controls; `value` is the stored guess, None before there is one."""

    def __init__(self, id: str, prediction: Prediction):
        self.id, self.prediction = id, prediction
        self.words = HTML()
        self.controls = self._buttons() if isinstance(prediction, Choice) else self._slider()
        words = f"<b>Your prediction.</b> {escape(prediction.question)}"
        question = HTML(f'<div style="line-height:1.4">{words}</div>')
        super().__init__([question, control_row(self.controls), self.words, Accessibility()])
        self.add_class("minilora")
        self.add_class("Guess")
        self._show()

    @property
    def value(self) -> Any:
        return _stored(self.id).get("guess")

    def choose(self, guess: Any) -> Guess:
        """Stores a guess, as a click does; ValueError if it is not one of those offered."""
        if not self.prediction.fits(guess):
            raise ValueError(f"{guess!r} is not offered; choose {_offered(self.prediction)}")
        if not _stored(self.id).get("revealed"):
            update(_key(self.id), lambda record: record.update(guess=guess))
        self._show()
        return self

    def _buttons(self) -> list[Button]:
        buttons = []
        for option in self.prediction.options:  # type: ignore[union-attr]
            button = Button(layout=Layout(width="auto", margin="2px 8px 2px 0"))
            button.option = option
            button.on_click(lambda clicked: self.choose(clicked.option))
            buttons.append(button)
        return buttons

    def _slider(self) -> list[Any]:
        values = list(self.prediction.values)  # type: ignore[union-attr]
        shown = list(zip(offered(self.prediction), values, strict=True))
        stored = self.value
        start = stored if stored in values else values[len(values) // 2]
        moved = as_widget(slider("My guess", shown, start))
        button = Button(description="This is my guess", layout=Layout(width="auto"))
        button.on_click(lambda clicked: self.choose(moved.value))
        return [moved, button]

    def _show(self) -> None:
        guess, revealed = self.value, bool(_stored(self.id).get("revealed"))
        for control in self.controls:
            control.disabled = revealed
            if hasattr(control, "option"):
                control.description = ("✓ " if control.option == guess else "") + control.option
        self.words.value = f"<p>{escape(self.sentence)}</p>"

    @property
    def sentence(self) -> str:
        guess = self.value
        if guess is None:
            return "No guess yet. A wrong guess costs nothing."
        if _stored(self.id).get("revealed"):
            return f"Your guess was {_as_words(self.prediction, guess)}, and you have seen the answer."
        return f"Your guess: {_as_words(self.prediction, guess)}. You can change it until you see the answer."

    def __repr__(self) -> str:
        how = f'predict("{self.id}").choose(...)'
        return f"{self.prediction.question} {_offered(self.prediction)}: {how}\n{self.sentence}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live controls, and beside them words for viewers that run no kernel."""
        return super()._repr_mimebundle_(**kwargs) | {"text/plain": repr(self), "text/html": self.still()}

    def still(self) -> str:
        """The question in words, with what the web site needs to ask it."""
        words = "".join(f"<p>{escape(line)}</p>" for line in repr(self).split("\n"))
        asked = {
            "id": self.id,
            "question": self.prediction.question,
            "offered": offered(self.prediction),
            "slider": not isinstance(self.prediction, Choice),
        }
        return f'<div class="prediction" data-asked="{escape(json.dumps(asked, ensure_ascii=False))}">{words}</div>'


class Reveal(VBox):
    """A guess beside its measurement: `svg`, and `sentence`, which says how close it was."""

    def __init__(self, id: str, prediction: Prediction, measured: Any):
        self.id, self.prediction, self.measured = id, prediction, measured
        guess = _stored(id).get("guess")
        guess = guess if prediction.fits(guess) else None  # an older page may have asked something else
        self.svg, self.sentence = _draw(prediction, guess, measured)
        if guess is None:
            self.sentence += (
                f' You made no guess; run predict("{id}") above, choose, and run this cell again.'
            )
        else:
            update(_key(id), lambda record: record.update(revealed=True))
        super().__init__([HTML(f'{self.svg}<p aria-hidden="true">{escape(self.sentence)}</p>')])
        self.add_class("minilora")
        self.add_class("Reveal")

    def __repr__(self) -> str:
        return self.sentence

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        return bundle | {"text/plain": repr(self), "text/html": self.still()}

    def still(self) -> str:
        """The picture, marked as the answer to its question."""
        return f'<div class="reveal" data-id="{self.id}">{still_html(self.svg, self.sentence)}</div>'

    def beside(self, guess: Any) -> tuple[str, str]:
        """The picture and its sentence for another guess, or for None."""
        return _draw(self.prediction, guess, self.measured)


def offered(prediction: Prediction) -> list[str]:
    """The words for each guess that can be made, in order."""
    if isinstance(prediction, Choice):
        return list(prediction.options)
    return [in_words(value, prediction.unit) for value in prediction.values]


def _draw(prediction: Prediction, guess: Any, measured: Any) -> tuple[str, str]:
    if isinstance(prediction, Choice):
        numbers = isinstance(prediction.options, Mapping)
        found = in_words(float(measured), prediction.unit) if numbers else ""
        return among_options(list(prediction.options), guess, prediction.right(measured), found)
    low, high = min(prediction.values), max(prediction.values)
    return on_a_line(guess, float(measured), low, high, prediction.unit, prediction.log)


def _find(id: str) -> Prediction:
    if id not in PREDICTIONS:
        near = difflib.get_close_matches(id, PREDICTIONS, n=3) or list(PREDICTIONS)
        raise ValueError(f"there is no prediction {id!r}; did you mean {' or '.join(map(repr, near))}?")
    return PREDICTIONS[id]


def _key(id: str) -> str:
    return f"guess/{id}"


def _stored(id: str) -> dict[str, Any]:
    return load().get(_key(id), {})


def _offered(prediction: Prediction) -> str:
    if isinstance(prediction, Choice):
        return "one of " + ", ".join(repr(option) for option in prediction.options)
    low, high = min(prediction.values), max(prediction.values)
    return f"a number from {in_words(low)} to {in_words(high, prediction.unit)}"


def _as_words(prediction: Prediction, guess: Any) -> str:
    return str(guess) if isinstance(prediction, Choice) else in_words(guess, prediction.unit)
