"""A drawing in a page's output: it follows the page's theme, and leaves a still where no kernel runs."""

from __future__ import annotations

from html import escape
from typing import Any

from ipywidgets import HTML, VBox

from minilora.figures.svg import still_html


class Picture(VBox):
    """`svg`, and below it `sentence`, which says the same in words."""

    def __init__(self, svg: str, sentence: str):
        self.svg, self.sentence = svg, sentence
        super().__init__([HTML(f'{svg}<p aria-hidden="true">{escape(sentence)}</p>')])
        self.add_class("minilora")

    def __repr__(self) -> str:
        return self.sentence

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        return bundle | {"text/plain": repr(self), "text/html": still_html(self.svg, self.sentence)}
