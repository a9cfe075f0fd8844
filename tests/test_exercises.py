"""Every exercise against its own file: stub, solution, known wrong answers, other right answers, hints."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minilora.exercises import registry
from minilora.exercises.exercise import BEGIN, END, replace_solution
from minilora.exercises.judging import CORRECT, INCORRECT, NOT_ATTEMPTED, judge_locally
from minilora.exercises.learner_side import same, to_plain

HANDS_ON = registry.HANDS_ON
SEEDS = range(3)
MANY_SEEDS = range(100, 180)


def defined_by(source, name):
    """The function that a notebook cell with this text defines, with nothing but NumPy and torch around it."""
    import torch

    namespace = {"np": np, "torch": torch}
    exec(source, namespace)
    return namespace[name]


def ids(pairs):
    return [f"{exercise.name}-{answer.key}" for exercise, answer in pairs]


WRONG = [(exercise, wrong) for exercise in HANDS_ON for wrong in exercise.wrong]
VARIANTS = [(exercise, variant) for exercise in HANDS_ON for variant in exercise.variants]
each = pytest.mark.parametrize("exercise", HANDS_ON, ids=lambda e: e.name)


@each
def test_the_untouched_stub_is_not_attempted(exercise):
    default = "# YOUR CODE HERE\nraise NotImplementedError()"  # what nbgrader writes unless told otherwise
    for source in (exercise.stub_source(), replace_solution(exercise.marked_source(), default)):
        result = judge_locally(exercise, defined_by(source, exercise.function_name))
        assert result.outcome == NOT_ATTEMPTED
        assert result.earned == 0


@each
def test_the_solution_as_shown_is_correct(exercise):
    function = defined_by(exercise.solution_source(), exercise.function_name)
    for seed in SEEDS:
        result = judge_locally(exercise, function, seed)
        assert result.outcome == CORRECT, result
        assert result.earned == exercise.points
        assert result.after == exercise.explanation


@pytest.mark.parametrize(("exercise", "wrong"), WRONG, ids=ids(WRONG))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_each_wrong_answer_is_rejected_with_its_own_sentence(exercise, wrong):
    for seed in SEEDS:
        result = judge_locally(exercise, wrong.function, seed)
        assert (result.outcome, result.mistake) == (INCORRECT, wrong.key), result
        assert result.sentence == wrong.sentence
        assert result.earned == 0


@pytest.mark.parametrize(("exercise", "variant"), VARIANTS, ids=ids(VARIANTS))
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_right_answers_in_other_words_pass(exercise, variant):
    for seed in SEEDS:
        result = judge_locally(exercise, variant.function, seed)
        assert result.outcome == CORRECT, result


def test_a_right_answer_that_warns_passes():
    exercise = registry.get("quantize-int8")
    [variant] = [v for v in exercise.variants if v.key == "with a warning"]
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert judge_locally(exercise, variant.function).outcome == CORRECT


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@each
def test_no_seed_makes_a_wrong_answer_right_or_a_right_one_wrong(exercise):
    for seed in MANY_SEEDS:
        for right in (exercise.solution, *(variant.function for variant in exercise.variants)):
            assert judge_locally(exercise, right, seed).outcome == CORRECT, seed
        for wrong in exercise.wrong:
            result = judge_locally(exercise, wrong.function, seed)
            assert (result.outcome, result.mistake) == (INCORRECT, wrong.key), (seed, result)


@each
def test_hints_do_not_give_the_answer_away_at_once(exercise):
    assert len(exercise.hints) == 3
    assert all(len(hint) > 30 for hint in exercise.hints)
    body = exercise.marked_source().split(BEGIN)[1].split(END)[0]
    lines = [line.strip().removeprefix("return ") for line in body.split("\n")]
    for line in (line for line in lines if not line.isidentifier() and line):  # a bare name is no answer
        assert line not in exercise.hints[0]


@each
def test_everything_that_a_learner_reads_is_there(exercise):
    assert len(exercise.statement) > 100
    assert len(exercise.explanation) > 60
    assert exercise.pitfalls
    assert 5 <= exercise.minutes <= 20
    assert exercise.points > 0
    assert ">>>" in exercise.solution.__doc__, "the docstring holds a worked example, and doctest runs it"
    assert len({wrong.key for wrong in exercise.wrong}) == len(exercise.wrong)
    sentences = [wrong.sentence for wrong in exercise.wrong]
    assert len(set(sentences)) == len(sentences)


@each
def test_inputs_follow_from_the_seed_and_are_plain_data(exercise):
    first, again, other = exercise.cases(7), exercise.cases(7), exercise.cases(8)
    assert len(first) >= 2
    for case, repeated in zip(first, again, strict=True):
        assert same(case.arguments, repeated.arguments)
        assert same(case.arguments, to_plain(case.arguments))
    assert not all(same(a.arguments, b.arguments) for a, b in zip(first, other, strict=True))


def test_there_are_enough():
    assert len(HANDS_ON) >= 12
    assert len(WRONG) >= 80
    assert len(VARIANTS) >= 30


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the tool stops endless mutants with SIGALRM")
def test_solutions_changed_in_one_place_are_rejected():
    """Of hundreds of mutants only those pass that are right as well, each listed with its reason."""
    tool = Path(__file__).parents[1] / "tools" / "mutate_exercises.py"
    command = [sys.executable, "-W", "ignore", str(tool)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tried, rejected = map(int, re.search(r"(\d+) mutants, (\d+) rejected", done.stdout).groups())
    assert tried > 400
    assert rejected > 0.95 * tried
