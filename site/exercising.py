"""Prepares the exercise notebooks for the site: what can be solved in the page, and with what data.

An exercise that needs PyTorch, or files of the learner's own, is left as it is, with a sentence that says where it can
be solved; so is one that needs NumPy, where the site was built without it.

Not here: judging (minilora/exercises/in_page.py), and the page's behavior (static/exercise.js).
"""

from __future__ import annotations

import inspect
import json
from html import escape
from typing import Any

import elsewhere

from minilora.exercises import feedback, registry
from minilora.exercises.exercise import Exercise
from minilora.exercises.fields import fields_of
from minilora.exercises.question import Question

OWN_COMPUTER = "[on your own computer](../docs/get-the-course.md)"
WITHOUT_NUMPY = (
    "*This copy of the site was built without NumPy, which this exercise needs. Solve it {own_computer}.*"
)
REASONS = {
    "torch": "*This exercise needs PyTorch, which no browser has. Solve it {own_computer}.*",
    "files": "*This exercise trains a model and looks at the files that you made. Solve it {own_computer}.*",
}
ABOUT = """```{{admonition}} On this site
:class: note
Write into the cells, and check them. Your code runs in this browser and stays in it; the first check downloads Python,
{megabytes} MB. To hand your answers in, download the notebook with them.
```

<div class="handing-in" data-notebook="{notebook}" data-packages="{packages}"></div>"""
NOWHERE = """```{{admonition}} On this site
:class: note
What these exercises need is not on this site. Solve them {own_computer}{places}.
```"""


def needs(exercise: Question | Exercise) -> str:
    """What an exercise needs beyond plain Python: "torch", "files", "numpy", or nothing."""
    if isinstance(exercise, Question):
        return "files" if exercise.program or exercise.observe else ""
    source = inspect.getsource(exercise.solution)
    tensors = {"tensor", "model"} & {*exercise.takes.values(), exercise.gives}
    return "torch" if tensors or "torch" in source else "numpy"


def solved_in_page(exercise: Question | Exercise, numpy: bool) -> bool:
    return needs(exercise) in ("", *(["numpy"] if numpy else []))


def prepare(cells: list[dict[str, Any]], name: str, numpy: bool, megabytes: str) -> list[dict[str, Any]]:
    """The cells of an exercise notebook as the site shows them.

    Args:
        cells: Those of the student's notebook.
        name: The notebook's file name.
        numpy: Whether the site has NumPy for the browser.
        megabytes: What the first check downloads, in words.
    """
    by_id = {cell["metadata"].get("nbgrader", {}).get("grade_id"): cell for cell in cells}
    live = [e for e in registry.EXERCISES if f"{e.name}-check" in by_id and solved_in_page(e, numpy)]
    for exercise in registry.EXERCISES:
        if f"{exercise.name}-check" in by_id:
            change = make_live if exercise in live else say_where
            change(exercise, by_id)
    here = [cell for cell in cells if cell["source"] and not is_plumbing(cell, bool(live))]
    packages = "numpy" if any(needs(exercise) for exercise in live) else ""
    places = elsewhere.links("exercises", name)
    about = NOWHERE.format(own_computer=OWN_COMPUTER, places=f", or in {places}" if places else "")
    if live:
        about = ABOUT.format(notebook=escape(name), packages=packages, megabytes=megabytes)
    return [here[0], markdown("about", about), *here[1:]]


def is_plumbing(cell: dict[str, Any], live: bool) -> bool:
    """Cells that only do something in JupyterLab."""
    source = cell["source"]
    return (
        cell["cell_type"] == "code"
        and live
        and (source == "progress()" or "minilora.exercises import" in source)
    )


def make_live(exercise: Question | Exercise, by_id: dict[str, Any]) -> None:
    name = exercise.name
    data: dict[str, Any] = {"name": name}
    answer, parts = name, ""  # parts: what a browser without scripts shows in the place of the form
    if isinstance(exercise, Question):
        answer = f"{name}-answers"
        data["fields"] = fields_of(exercise)
        predict(exercise, by_id)
        parts, by_id[f"{name}-parts"]["source"] = by_id[f"{name}-parts"]["source"].split("\n\n", 1)[1], ""
    cell = by_id[answer]
    cell["metadata"] = cell["metadata"] | {"tags": [f"answer-{name}"]}
    statement = by_id[f"{name}-statement"]
    statement["source"] = statement["source"].split("\n**Stuck?**")[0]  # there are buttons for it
    hints = feedback.folded_hints(exercise.hints)
    box = f'<div class="exercise" data-exercise="{escape(json.dumps(data))}">'
    replace(by_id[f"{name}-check"], f'{box}\n\n{parts}\n\n</div>\n\n<div class="hints">{hints}</div>')


def predict(question: Question, by_id: dict[str, Any]) -> None:
    """The prediction as on the other pages: what the experiment shows is covered until the guess is made."""
    name, prediction = question.name, question.prediction
    options = dict(prediction.lettered())
    asked = {
        "id": f"exercise/{name}",
        "question": prediction.prompt,
        "offered": list(options.values()),
        "slider": False,
    }
    by_id[f"{name}-predict"]["source"] = (
        f'<div class="prediction" data-asked="{escape(json.dumps(asked))}"></div>'
    )
    came = (
        f"The experiment, which runs in JupyterLab, shows: <b>{escape(options[prediction.comes_true])}</b>."
    )
    replace(by_id[f"{name}-experiment"], f'<div class="reveal" data-id="exercise/{name}"><p>{came}</p></div>')
    for part in ("numbers", "prediction"):
        by_id[f"{name}-{part}"]["source"] = ""


def say_where(exercise: Question | Exercise, by_id: dict[str, Any]) -> None:
    say = REASONS.get(needs(exercise), WITHOUT_NUMPY).format(own_computer=OWN_COMPUTER)
    statement = by_id[f"{exercise.name}-statement"]
    heading, rest = statement["source"].split("\n\n", 1)
    statement["source"] = f"{heading}\n\n{say}\n\n{rest}"


def replace(cell: dict[str, Any], source: str) -> None:
    """A code cell becomes text."""
    new = markdown(cell["id"], source)
    cell.clear()
    cell.update(new)


def markdown(name: str, source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}
