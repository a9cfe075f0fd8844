"""Exercises that check themselves: `check`, `hint`, `solution` and `progress`, for a notebook.

    from minilora.exercises import check, hint, progress, solution

    check("merge", merge)     # right? if not, what went wrong, and with which numbers
    hint("merge")             # one hint more each time, three in all
    solution("merge")         # after an honest attempt
    progress()                # what is done, what is next

What they work on: registry.py lists the exercises, each one file. How they decide: judging.py, which a grader uses too.
"""

from minilora.exercises.notebook import check, hint, progress, solution

__all__ = ["check", "hint", "progress", "solution"]
