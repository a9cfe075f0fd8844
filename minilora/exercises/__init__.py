"""Exercises that check themselves: `check`, `hint`, `solution` and `progress`, for a notebook.

    from minilora.exercises import check, hint, progress, solution

    check("merge", merge)     # right? if not, what went wrong, and with which numbers
    hint("merge")             # one hint more each time, three in all
    solution("merge")         # after an honest attempt
    progress()                # what is done, what is next

The chapter's questions have more: numbers drawn for you, a prediction before its experiment runs, a form that writes
your answers into the cell above it, and texts that you rate yourself beside a model answer.

    numbers("full-against-lora", student="ada")
    expect("full-against-lora")
    experiment("full-against-lora")
    form("full-against-lora", answers)
    check("full-against-lora", answers)
    rate("full-against-lora", "compare", [True, True, False])

What they work on: registry.py lists the exercises, each one file. How they decide: judging.py and question.py, which a
grader uses too.
"""

from typing import TYPE_CHECKING

from minilora._lazy import lazy_names

if TYPE_CHECKING:  # the same names once more, for editors and type checkers
    from minilora.exercises.notebook import check as check
    from minilora.exercises.notebook import hint as hint
    from minilora.exercises.notebook import progress as progress
    from minilora.exercises.notebook import solution as solution
    from minilora.exercises.notebook_questions import expect as expect
    from minilora.exercises.notebook_questions import experiment as experiment
    from minilora.exercises.notebook_questions import form as form
    from minilora.exercises.notebook_questions import numbers as numbers
    from minilora.exercises.notebook_questions import rate as rate

# Lazy, so that a question can be judged where there is no NumPy. subtle: no module here may have one of these names;
# once imported, it would take the function's place.
HOMES = {
    "notebook": ["check", "hint", "progress", "solution"],
    "notebook_questions": ["expect", "experiment", "form", "numbers", "rate"],
}
__getattr__, __dir__, __all__ = lazy_names(__name__, HOMES)
