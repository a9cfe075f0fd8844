"""Exercises of an instructor's own: a folder with one Python file for each, beside those of the package.

A file is written as those in hands_on/ are, and ends in `EXERCISE = Exercise(...)` (or `QUESTION = Question(...)`).
Before an exercise is used it is tried by the rules of the package: its solution and variants are right, and each
known wrong answer is refused by its own sentence.

Not here: notebooks to hand out.
"""

from __future__ import annotations

import linecache
import sys
import types
from pathlib import Path

from minilora.exercises import registry
from minilora.exercises.exercise import Exercise
from minilora.exercises.judging import CORRECT, judge_locally
from minilora.exercises.question import Question, judge_answers

SEEDS = range(3)
_known: dict[str, str] = {}  # file -> its text, of those that are registered


def add_exercises(folder: str | Path) -> list[str]:
    """Makes the exercises of a folder known to `check`, `hint` and the others; returns their names."""
    return register(read_folder(Path(folder)))


def read_folder(folder: Path) -> dict[str, str]:
    """File name -> text of each exercise in a folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} with exercises")
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))}
    if not found:
        raise ValueError(f"{folder} holds no exercises; each is a .py file that defines EXERCISE or QUESTION")
    return found


def register(sources: dict[str, str]) -> list[str]:
    """Runs these files, and adds their exercises to the registry; ValueError says what is wrong with one."""
    names = []
    for file, text in sources.items():
        exercise = _load(file, text)
        before = registry.BY_NAME.get(exercise.name)
        if before is not None and _known.get(file) != text:
            raise ValueError(f"{file}: there is an exercise {exercise.name!r} already; choose another name")
        if before is None:
            problems = find_problems(exercise)
            if problems:
                raise ValueError(f"{file}: " + "; ".join(problems[:5]))
            registry.BY_NAME[exercise.name] = exercise
            _known[file] = text
        names.append(exercise.name)
    return names


def _load(file: str, text: str) -> Exercise | Question:
    name = f"minilora_own_{Path(file).stem}"
    module = types.ModuleType(name)
    module.__file__ = f"<{file}>"
    sys.modules[name] = module  # dataclasses and inspect look for it there
    linecache.cache[f"<{file}>"] = (len(text), None, text.splitlines(keepends=True), f"<{file}>")
    try:
        exec(compile(text, f"<{file}>", "exec", dont_inherit=True), vars(module))
    except Exception as error:
        raise ValueError(f"{file} does not run: {type(error).__name__}: {error}") from error
    found = getattr(module, "EXERCISE", None) or getattr(module, "QUESTION", None)
    if not isinstance(found, Exercise | Question):
        raise ValueError(f"{file} defines neither EXERCISE nor QUESTION")
    return found


def find_problems(exercise: Exercise | Question) -> list[str]:
    """What the rules for exercises would not let pass."""
    if isinstance(exercise, Question):
        right = judge_answers(exercise, exercise.solved()) if not exercise.observe else None
        return ["its own answers are not right"] if right and right.outcome != CORRECT else []
    problems = []
    for seed in SEEDS:
        for key, function in [
            ("solution", exercise.solution),
            *((v.key, v.function) for v in exercise.variants),
        ]:
            result = judge_locally(exercise, function, seed)
            if result.outcome != CORRECT:
                problems.append(f"{key} is refused: {result.sentence}")
        for wrong in exercise.wrong:
            result = judge_locally(exercise, wrong.function, seed)
            if result.outcome == CORRECT:
                problems.append(f"the wrong answer {wrong.key} is accepted")
            elif result.mistake != wrong.key:
                problems.append(f"the wrong answer {wrong.key} is not named, but: {result.sentence}")
    return list(dict.fromkeys(problems))
