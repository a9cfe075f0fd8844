"""Which exercises count: those named, or those of the notebooks that were handed out.

Not here: which notebook of a submission counts (choosing.py).
"""

from __future__ import annotations

import sys
from pathlib import Path

from minilora.exercises import registry
from minilora.exercises.exercise import Exercise
from minilora.exercises.question import Question
from minilora.grading import submission


def choose_exercises(names: list[str] | None) -> tuple[str, ...]:
    """The names of all, of those named, or of a handed-out notebook; a deleted cell still counts."""
    if not names:
        return tuple(registry.BY_NAME)
    chosen: list[Question | Exercise] = []
    empty = []
    for name in names:
        found = _of_notebook(Path(name)) if name.endswith(".ipynb") else [registry.get(name)]
        chosen += found
        empty += [] if found else [name]
    if not chosen:
        raise ValueError(
            f"{', '.join(empty)} holds none of the exercises; give the notebook that you handed out, or their names"
        )
    for name in empty:  # such as the page on NumPy, where exercises/*.ipynb was given
        print(f"{name} holds no exercises, so it does not count", file=sys.stderr)
    return tuple(exercise.name for exercise in registry.BY_NAME.values() if exercise in chosen)


def pages(names: list[str] | None) -> list[Path]:
    """The notebooks that were handed out, as far as they were given."""
    return [Path(name) for name in names or () if name.endswith(".ipynb")]


def _of_notebook(path: Path) -> list[Question | Exercise]:
    cells = submission.read_notebook(path.read_bytes())
    ids = {name for cell in cells for name in cell.ids}
    known = registry.BY_NAME.values()
    found = [e for e in known if e.name in ids or f"{e.name}-answers" in ids]
    functions = [e for e in known if isinstance(e, Exercise)]
    text = "\n".join(cell.source for cell in cells)
    return found + [e for e in functions if f"def {e.function_name}(" in text and e not in found]
