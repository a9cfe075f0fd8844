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

from minilora.exercises.notebook import check, hint, progress, solution
from minilora.exercises.notebook_questions import expect, experiment, form, numbers, rate

__all__ = ["check", "expect", "experiment", "form", "hint", "numbers", "progress", "rate", "solution"]
