"""Explorable: what the learner has and needs on one side, the advice and its reasons on the other.

Not here: the advice, the questions and the picture (minilora/explorables/methods.py).
"""

from __future__ import annotations

from minilora.explorables import methods
from minilora.widgets.explorer import Explorer


class MethodChooser(Explorer):
    """Six questions. What `advise` answers stays readable as `explorer.advice`."""

    draw = staticmethod(methods.draw)

    def __init__(self, model: str = "llama-3.1-8b"):
        super().__init__(**methods.controls(model))

    @property
    def advice(self) -> methods.Advice:
        """The advice on what is chosen now."""
        return methods.advise(**self.chosen())
