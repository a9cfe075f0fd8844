"""Every exercise against its own file: stub, solution, known wrong answers, other right answers, hints."""

import collections
import copy
import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minilora.exercises import judging, naming, registry
from minilora.exercises.exercise import BEGIN, END, replace_solution
from minilora.exercises.judging import (
    CORRECT,
    CRASHED,
    INCORRECT,
    NOT_ATTEMPTED,
    decide,
    judge,
    judge_locally,
)
from minilora.exercises.learner_side import RAISED, TAKES, call, observe_model, same, to_plain
from minilora.exercises.naming import run_ours

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
        assert (result.outcome, result.mistake) == (outcome_of(exercise, wrong, seed), wrong.key), result
        assert result.sentence == wrong.sentence
        assert result.earned == 0


def outcome_of(exercise, wrong, seed):
    """A call that raised is a crash, whatever the others returned."""
    replies = [run_ours(exercise, wrong.function, case.arguments) for case in exercise.cases(seed)]
    return CRASHED if RAISED in {reply.status for reply in replies} else INCORRECT


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
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@each
def test_no_seed_makes_a_wrong_answer_right_or_a_right_one_wrong(exercise, monkeypatch):
    for seed in MANY_SEEDS:
        run = remember_answers(monkeypatch)
        cases = exercise.cases(seed)

        def verdict(function, cases=cases, run=run):
            return decide(exercise, cases, [run(exercise, function, case.arguments) for case in cases])

        for right in (exercise.solution, *(variant.function for variant in exercise.variants)):
            assert verdict(right).outcome == CORRECT, seed
        for wrong in exercise.wrong:
            result = verdict(wrong.function)
            assert result.mistake == wrong.key, (seed, result)
            assert result.earned == 0


def remember_answers(monkeypatch):
    """Lets each of our functions run once on each input, though every wrong answer is compared with those before it.

    Without it, thirty wrong answers of an exercise run four hundred times. Returns what runs them.
    """
    replies, precisions = {}, {}

    def run(exercise, function, arguments):
        key = (function, id(arguments))
        if key not in replies:
            replies[key] = (run_ours(exercise, function, arguments), arguments)  # kept, so that its id stays
        return replies[key][0]

    def both_precisions(arguments):
        if id(arguments) not in precisions:
            precisions[id(arguments)] = (naming_precisions(arguments), arguments)
        return precisions[id(arguments)][0]

    monkeypatch.setattr(naming, "run_ours", run)
    monkeypatch.setattr(judging, "run_ours", run)
    monkeypatch.setattr(naming, "_precisions", both_precisions)
    return run


naming_precisions = naming._precisions


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
    assert 5 <= exercise.minutes <= 40
    assert exercise.points > 0
    assert ">>>" in exercise.solution.__doc__, "the docstring holds a worked example, and doctest runs it"
    assert len({wrong.key for wrong in exercise.wrong}) == len(exercise.wrong)
    sentences = [wrong.sentence for wrong in exercise.wrong]
    assert len(set(sentences)) == len(sentences)


# -- what a check must notice in every exercise ----------------------------------------------------------------------

ARGUMENTS = [(exercise, name) for exercise in HANDS_ON for name in exercise.example]


@each
def test_the_docstrings_example_is_the_first_case(exercise):
    """The docstring runs with a function that notes what it is called with."""
    seen = []

    def noted(*given, **named):
        bound = inspect.signature(exercise.solution).bind(*given, **named).arguments
        seen.append({name: described(value) for name, value in bound.items()})
        return exercise.solution(*given, **named)

    space = {"np": np, exercise.function_name: noted}
    for example in doctest.DocTestParser().get_examples(exercise.solution.__doc__):
        exec(compile(example.source, "<docstring>", "exec"), space)
    [shown] = seen
    first = exercise.cases(0)[0].arguments
    assert list(shown) == list(first)
    for name, value in first.items():
        taken = TAKES[exercise.takes[name]](value) if name in exercise.takes else value
        assert same(shown[name], described(taken)), name


def described(value):
    """Plain data; for a generator what it would draw, for a model its names and shapes."""
    if isinstance(value, np.random.Generator):
        return copy.deepcopy(value).random(3)
    if hasattr(value, "named_parameters"):
        return {name: list(weight.shape) for name, weight in observe_model(value)["weights"].items()}
    return to_plain(value)


@pytest.mark.parametrize(("exercise", "name"), ARGUMENTS, ids=[f"{e.name}-{name}" for e, name in ARGUMENTS])
def test_a_solution_that_ignores_an_argument_is_rejected(exercise, name):
    """It takes the value of one case for all, as if the learner had written it down. No exercise may opt out."""
    for seed in range(8):
        cases = exercise.cases(seed)
        for fixed in (case.arguments[name] for case in cases):

            def run(arguments, fixed=fixed):
                return call(exercise.solution, arguments | {name: fixed}, exercise.takes, exercise.gives)

            with np.errstate(all="ignore"):
                assert judge(exercise, run, seed).outcome != CORRECT, (seed, fixed)


@pytest.mark.parametrize(("exercise", "wrong"), WRONG, ids=ids(WRONG))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_known_mistake_in_float64_has_its_sentence_too(exercise, wrong):
    for seed in range(2):
        if not any(holds_float32(case.arguments) for case in exercise.cases(seed)):
            return

        def run(arguments):
            return call(wrong.function, in_float64(arguments), exercise.takes, exercise.gives)

        result = judge(exercise, run, seed)
        assert result.earned == 0
        assert result.mistake == wrong.key, (seed, result)


def holds_float32(arguments):
    return any(isinstance(value, np.ndarray) and value.dtype == np.float32 for value in arguments.values())


def in_float64(arguments):
    return {
        name: value.astype(np.float64) if holds_float32({name: value}) else value
        for name, value in arguments.items()
    }


@each
def test_a_table_of_constants_does_not_pass(exercise):
    """Whoever returns the likeliest result of each case passes less than once in a thousand."""
    many = range(150)
    drawn = [exercise.cases(seed)[1:] for seed in many]
    if exercise.name == "freeze":  # torch models; their names alone would give each answer away
        drawn = drawn[:40]
    chance = 1.0
    for place in range(len(drawn[0])):
        seen = collections.Counter(
            repr(run_ours(exercise, exercise.solution, cases[place].arguments).value) for cases in drawn
        )
        chance *= seen.most_common(1)[0][1] / len(drawn)
    assert chance < 0.001


def test_an_array_for_two_numbers_and_nested_lists_are_accepted():
    count = registry.get("count-trainable")
    assert judge_locally(count, lambda *a: np.array(count.solution(*a))).outcome == CORRECT
    init = registry.get("init-adapter")
    assert judge_locally(init, lambda *a: [m.tolist() for m in init.solution(*a)]).outcome == CORRECT
    swap = registry.get("swap-adapters")
    assert judge_locally(swap, lambda *a: np.stack(swap.solution(*a))).outcome == CORRECT


def test_one_call_that_raised_makes_a_crash():
    def careless(x):
        step = max(abs(float(v)) for v in x.flat) / 127
        return np.array([round(float(v) / step) for v in x.flat], np.int8).reshape(x.shape), step

    result = judge_locally(registry.get("quantize-int8"), careless)
    assert result.outcome == CRASHED
    assert result.passed == result.total - 1
    assert "zeros" in result.case.label
    assert "ZeroDivisionError" in result.sentence + result.note
    assert result.lines


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
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform == "win32", reason="the tool stops endless mutants with SIGVTALRM")
def test_solutions_changed_in_one_place_are_rejected():
    """Of hundreds of mutants only those pass that are right as well, each listed with its reason."""
    tool = Path(__file__).parents[1] / "tools" / "mutate_exercises.py"
    command = [sys.executable, "-W", "ignore", str(tool)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tried, rejected = map(int, re.search(r"(\d+) mutants, (\d+) rejected", done.stdout).groups())
    assert tried > 400
    assert rejected > 0.95 * tried
