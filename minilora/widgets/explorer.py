"""The base of all explorables: controls above, and below them a picture and one sentence that says what it shows.

A subclass declares its controls and says how to draw them: `draw(**values)` returns an SVG string and the sentence. The
base redraws on every change, serves keyboard and screen reader, lets parts of the picture set controls, and leaves a
still picture where no kernel runs. The still carries the declaration of its controls, from which the web site brings it
to life.

Not here: any drawing (minilora/figures), and any arithmetic (the engine).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import Any

import anywidget
from ipywidgets import HTML, Box, Checkbox, DOMWidget, Dropdown, Layout, SelectionSlider, VBox

from minilora.explorables.controls import Control, declaration
from minilora.explorables.picture import as_html, picture
from minilora.figures.svg import MOST, in_a_name, still_html


class Accessibility(anywidget.AnyWidget):
    """Shows nothing. Controls around it get their own keys and a focus ring, sliders also names and spoken values."""

    _esm = Path(__file__).with_name("accessibility.js")
    _css = Path(__file__).with_name("accessibility.css")


class Holding(anywidget.AnyWidget):
    """Shows nothing. Parts of a picture that name a control (`data-set`) set it when they are clicked or dragged."""

    _esm = Path(__file__).with_name("holding.js")


class Explorer(VBox):
    """Each control is an attribute under its own name, and `sentence` is the text alternative of the present state.

    explorer.rank.value = 16 moves a slider as a hand would; the picture has changed when the line returns.
    """

    def __init__(self, **controls: Control | DOMWidget):
        self.declared = {name: c for name, c in controls.items() if isinstance(c, Control)}
        self.controls = {name: as_widget(c) if isinstance(c, Control) else c for name, c in controls.items()}
        for name, control in self.controls.items():
            setattr(self, name, control)
            control.observe(self._redraw_after_change, "value")
        self.sentence, self.svg = "", ""
        self.picture = HTML(layout=Layout(margin="8px 0 0"))
        holding = Holding()
        holding.on_msg(lambda _, message, __: self.take_hold(message["name"], message["value"]))
        super().__init__([control_row(self.controls.values()), self.picture, Accessibility(), holding])
        self.add_class("minilora")
        self.add_class(type(self).__name__)  # to tell them apart in the page
        self.redraw()

    # Returns (svg, sentence) for the values of the controls, one argument each. Declared as a type and not as a method
    # because each subclass takes other arguments.
    draw: Callable[..., tuple[str, str]]

    def redraw(self) -> None:
        """Draws the picture for the present values of the controls."""
        self.svg, self.sentence = picture(self.draw, self.chosen())
        self.picture.value = as_html(self.svg, self.sentence)

    def take_hold(self, name: str, value: str) -> None:
        """Sets a control after a click on a part of the picture; ignores a name or a value that does not exist."""
        values = self.declared[name].values() if name in self.declared else []
        for each in values:
            if in_a_name(each) == value:
                self.controls[name].value = each

    def chosen(self) -> dict[str, Any]:
        """What each control holds now."""
        return {name: control.value for name, control in self.controls.items()}

    def _redraw_after_change(self, change: Any) -> None:
        self.redraw()

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.sentence}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live view, and beside it a still and the sentence, for viewers that run no kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        return bundle | {"text/plain": repr(self), "text/html": self.still()}

    def still(self) -> str:
        """The picture as it is now, with what the web site needs to bring it to life."""
        mark = f'<div class="explorable" data-name="{type(self).__name__}"'
        if self.declared and len(self.declared) == len(self.controls):
            controls = json.dumps(declaration(self.declared, self.chosen()), ensure_ascii=False)
            mark += f' data-controls="{escape(controls)}"'
        return f"{mark}>{still_html(self.svg, self.sentence)}</div>"


# -- controls that look alike everywhere ---------------------------------------------------------------------


def as_widget(control: Control) -> DOMWidget:
    """The control in Jupyter."""
    if control.kind == "switch":
        return Checkbox(value=control.start, description=control.label, indent=False, layout=control_layout())
    make = SelectionSlider if control.kind == "slider" else Dropdown
    return make(
        options=list(control.options),
        value=control.start,
        description=control.label,
        style=STYLE,
        layout=control_layout(),
    )


def control_layout() -> Layout:
    """Half as wide as the picture, or as wide as it if nothing stands beside the control."""
    return Layout(flex=f"1 1 {MOST * 0.4:.0f}px", width="auto", max_width="100%", margin="2px 0")


def control_row(controls: Iterable[DOMWidget]) -> Box:
    """As wide as the picture; side by side where the window is wide enough, below each other where it is not."""
    row = Layout(flex_flow="row wrap", align_items="center", overflow="visible", grid_gap="0 20px")
    row.max_width = f"{MOST}px"
    return Box(list(controls), layout=row)


STYLE = {"description_width": "initial"}
