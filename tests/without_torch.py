"""What works with NumPy alone, tried by a Python that has neither PyTorch nor pytest: python tests/without_torch.py

PyTorch takes gigabytes and has no build for a new Python at once. The planner, the mathematics in NumPy, most
exercises, the grader's worker and protocol, and the help of the commands need none of it. A workflow runs this on each
Python, and test_other_pythons.py on the one at hand. Not here: the engine.
"""

from __future__ import annotations

import contextlib
import doctest
import functools
import importlib
import inspect
import io
import json
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def block_torch() -> None:
    """From now on `import torch` fails, as where it is not installed."""
    sys.modules["torch"] = None  # type: ignore[assignment]


def modules_run_their_examples() -> int:
    examples = 0
    names = [
        "memory.catalog",
        "memory.plan",
        "reference.lora",
        "reference.quantization",
        "exercises.learner_side",
    ]
    names += [
        "exercises.compare",
        "exercises.exercise",
        "exercises.feedback",
        "exercises.registry",
    ]
    for name in names:
        for test in doctest.DocTestFinder().find(importlib.import_module(f"minilora.{name}")):
            found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
            assert found.failed == 0, f"an example of {test.name} fails"
            examples += found.attempted
    return examples


def needs_torch(exercise, function) -> bool:
    tensors = set(exercise.takes.values()) & {"tensor", "model"}
    return bool(tensors) or "torch" in inspect.getsource(function)


def exercises_judge_as_they_should() -> int:
    from minilora.exercises import judging, registry

    verdicts = 0
    warnings.simplefilter("ignore", RuntimeWarning)
    for exercise in registry.HANDS_ON:
        answers = [(exercise.solution, None), *((variant.function, None) for variant in exercise.variants)]
        answers += [(wrong.function, wrong.key) for wrong in exercise.wrong]
        for function, mistake in answers:
            if not needs_torch(exercise, function):
                result = judging.judge_locally(exercise, function)
                # a known mistake may also crash, and is named all the same
                outcomes = (judging.INCORRECT, judging.CRASHED) if mistake else (judging.CORRECT,)
                assert result.outcome in outcomes, result
                assert result.mistake == mistake, result
                verdicts += 1
    assert verdicts > 150, verdicts
    return verdicts


def the_grader_grades() -> str:
    """A right and a wrong function in a worker of its own, over the pipes."""
    from minilora.exercises import judging, registry
    from minilora.grading import sandbox
    from minilora.grading.session import Cell, Deadlines, Session, Wanted

    merge = registry.get("merge")
    box = sandbox.available()["plain"]
    cells = [
        Cell("import numpy as np", "first"),
        Cell(merge.solution_source(), "right"),
        Cell("def worse(W, A, B, alpha):\n    return W + alpha * (B @ A)", "wrong"),
    ]
    wanted = Wanted({"merge": 4, "worse": 4})
    with Session(box, cells, wanted, Deadlines(cell=20, call=20, all=120)) as session:
        outcomes = {}
        for name in ("merge", "worse"):
            run = functools.partial(session.call, name, takes=merge.takes, gives=merge.gives)
            outcomes[name] = judging.judge(merge, run, seed=3)
    assert outcomes["merge"].outcome == judging.CORRECT, outcomes
    assert outcomes["worse"].mistake == "alpha-only", outcomes
    return box.name


def commands_help_and_plan() -> int:
    from minilora import cli

    helped = 0
    for command in ([], *([name] for name in cli.COMMANDS)):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            cli.main([*command, "--help"])
        assert "usage: minilora" in said.getvalue(), command
        helped += 1
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert cli.main(["plan", "--model", "llama-3.1-8b", "--gpu", "24", "--format", "json"]) == 0
    assert json.loads(said.getvalue())
    return helped


def main() -> None:
    block_torch()
    sys.path.insert(0, str(ROOT))
    print(f"Python {'.'.join(map(str, sys.version_info[:3]))}, without PyTorch:")
    print(f"  {modules_run_their_examples()} examples of modules run")
    print(f"  {exercises_judge_as_they_should()} right and wrong answers get their verdict")
    print(f"  the grader grades ({the_grader_grades()})")
    print(f"  {commands_help_and_plan()} commands help, and one plans")


if __name__ == "__main__":
    main()
