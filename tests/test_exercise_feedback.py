"""What a learner sees of a function to write: verdicts, one hint at a time, a solution after an attempt, progress."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

from minilora.exercises import check, hint, progress, solution
from minilora.exercises.judging import CORRECT, CRASHED, INCORRECT, NOT_ATTEMPTED, UNCHECKABLE
from minilora.exercises.records import NAME, load
from minilora.exercises.registry import HANDS_ON, get

MERGE = get("merge")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The learner's own folder, which is not there yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("MINILORA_HOME", str(folder))
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    return folder


def right(W, A, B, alpha):
    return W + alpha / A.shape[0] * (B @ A)


def unscaled(W, A, B, alpha):
    return W + alpha * (B @ A)


def untouched(W, A, B, alpha):
    """Nothing yet."""


# -- verdicts --------------------------------------------------------------------------------------------------


def test_right_wrong_untouched_and_crashed_are_told_apart():
    assert check("merge", right).outcome == CORRECT
    assert check("merge", unscaled).outcome == INCORRECT
    assert check("merge", untouched).outcome == NOT_ATTEMPTED
    assert check("merge", lambda W, A, B, alpha: 1 / 0).outcome == CRASHED
    assert check("merge", 3).outcome == UNCHECKABLE


def test_a_known_mistake_is_named_with_the_arguments_what_came_back_and_what_was_expected():
    result = check("merge", unscaled)
    wrong = next(wrong for wrong in MERGE.wrong if wrong.key == "alpha-only")
    assert result.mistake == "alpha-only"
    shown = dict(zip(("text", "panel"), (repr(result), result._repr_html_()), strict=True))
    for text in shown.values():
        assert wrong.sentence.split(":")[0] in " ".join(text.split())
        for name in ("case", *MERGE.cases(0)[0].arguments, "came back", "expected"):
            assert name in text
    assert 'Stuck? hint("merge")' in shown["text"]
    arguments = result.case.arguments
    assert np.array_equal(result.received, unscaled(**arguments))
    assert np.array_equal(result.expected, right(**arguments))
    first = f"{result.received.flat[0]:.5g}"[:6]
    assert first in shown["text"].split("came back")[1].split("expected")[0]


def test_the_arguments_shown_are_those_before_the_learner_wrote_into_them():
    def wipes(W, A, B, alpha):
        W[:] = 0
        return W

    result = check("merge", wipes)
    assert result.outcome == INCORRECT
    assert result.case.arguments["W"].any()


def test_a_forgotten_return_is_asked_for():
    def silent(W, A, B, alpha):
        right(W, A, B, alpha)

    assert "did you forget a return?" in repr(check("merge", silent))


def test_a_crash_shows_the_learners_lines_and_no_traceback_of_ours():
    source = (
        "def helper(W, B):\n    return W @ B @ W\n\ndef merge(W, A, B, alpha):\n    return helper(W, B)\n"
    )
    space = {}
    exec(compile(source, "<the learner's cell>", "exec"), space)
    result = check("merge", space["merge"])
    assert result.outcome == CRASHED
    assert [number for number, _ in result.lines] == [5, 2]
    for text in (repr(result), result._repr_html_()):
        assert "merge stopped with ValueError" in text
        assert "line 2" in text
        assert "Traceback" not in text
        assert "learner_side" not in text
        assert "judging" not in text


def test_leaving_the_interpreter_is_a_crash_and_does_not_leave_it():
    def leaves(W, A, B, alpha):
        raise SystemExit(1)

    assert "stopped with SystemExit" in repr(check("merge", leaves))


@pytest.mark.parametrize(
    ("handed_in", "kind"), [(np.zeros(3), "ndarray"), (None, "NoneType"), ("merge", "str")]
)
def test_what_is_no_function_cannot_be_checked_and_is_no_attempt(handed_in, kind):
    result = check("merge", handed_in)
    assert result.outcome == UNCHECKABLE
    assert f"an object of type {kind}" in result.sentence
    assert 'check("merge", merge)' in result.sentence
    assert load() == {}


def test_an_exercise_that_does_not_exist_names_those_that_are_near():
    result = check("marge", right)
    assert result.outcome == UNCHECKABLE
    assert "'merge'" in result.sentence


def test_other_parameters_are_said_to_be_other():
    result = check("merge", lambda W: W)
    assert result.outcome == INCORRECT
    assert "does not take these arguments: it takes (W), and is called with (W, A, B, alpha)" in repr(result)


def test_a_check_that_is_interrupted_says_so_and_keeps_what_was_reached():
    check("merge", right)

    def interrupted(W, A, B, alpha):
        raise KeyboardInterrupt

    result = check("merge", interrupted)
    assert result.outcome == UNCHECKABLE
    assert "You stopped the check" in repr(result)
    assert "look at its loops" in repr(result)
    assert load()["merge"]["attempts"] == 1
    assert load()["merge"]["solved"]


def test_right_once_stays_done():
    check("merge", right)
    check("merge", unscaled)
    record = load()["merge"]
    assert (record["solved"], record["earned"], record["attempts"]) == (True, MERGE.points, 2)
    assert record["mistakes"] == {"alpha-only": 1}


def test_what_is_right_for_the_first_inputs_alone_is_wrong():
    """The second seed is looked at too."""
    answers = [(case.arguments, right(**case.arguments)) for case in MERGE.cases(0)]

    def remembered(W, A, B, alpha):
        found = [value for arguments, value in answers if np.array_equal(arguments["W"], W)]
        return found[0] if found else W

    assert check("merge", remembered).outcome == INCORRECT


def test_nbgrader_gets_points_for_a_value(monkeypatch, capsys):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert check("merge", right) == MERGE.points
    assert check("merge", unscaled) == 0
    assert "incorrect" in capsys.readouterr().out


# -- hints and solutions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise", HANDS_ON, ids=lambda exercise: exercise.name)
def test_hints_come_one_at_a_time_and_the_last_stays(exercise):
    pages = [repr(hint(exercise.name)) for _ in range(4)]
    for number, page in enumerate([*pages[:3], pages[2]], 1):
        place = min(number, 3)
        assert f"hint {place} of 3" in page
        words = " ".join(page.split())
        said = [" ".join(text.split()) in words for text in exercise.hints]
        assert said == [other == place for other in (1, 2, 3)]
    assert pages[3] == pages[2]
    assert load()[exercise.name]["hints"] == 3


def test_an_earlier_hint_can_be_read_again_and_does_not_count_back():
    hint("merge")
    hint("merge")
    assert "hint 1 of 3" in repr(hint("merge", 1))
    assert "hint 3 of 3" in repr(hint("merge"))


@pytest.mark.parametrize("number", [0, 4, -1])
def test_a_hint_that_does_not_exist_is_refused(number):
    with pytest.raises(ValueError, match="has hints 1 to 3"):
        hint("merge", number)


def test_a_failed_check_has_buttons_for_the_hints_one_inside_the_other():
    """No kernel is needed: each opens below the one before."""
    shown = check("merge", unscaled)._repr_html_()
    places = [shown.index(html.escape(hint)) for hint in MERGE.hints]
    assert places == sorted(places)
    for number, place in enumerate(places, 1):
        assert shown[:place].count("<details") == shown[:place].count("<summary") == number
        assert f">Hint {number} of 3</summary>" in shown[:place]
    assert "</details>" not in shown[: places[-1]]
    assert "<details" not in check("merge", right)._repr_html_()
    assert not any(hint in repr(check("merge", unscaled)) for hint in MERGE.hints)


def test_prose_breaks_between_words_alone_and_code_keeps_its_lines():
    check("merge", unscaled)
    for page in (hint("merge"), check("merge", unscaled)):
        assert "word-break:normal" in page._repr_html_()
    assert html.escape(MERGE.hints[0]) not in re.findall(
        r"<pre.*?</pre>", hint("merge", 1)._repr_html_(), re.S
    )
    shown = solution("merge")._repr_html_()
    assert html.escape(MERGE.solution_source()) in re.search(r"<pre.*?>(.*?)</pre>", shown, re.S)[1]
    assert html.escape(MERGE.explanation) in shown.split("</pre>")[1]


def test_the_solution_is_refused_before_an_attempt_and_shown_after():
    for honest in (None, untouched, 3):  # nothing, the stub, and no function at all are no attempts
        if honest is not None:
            check("merge", honest)
        page = repr(solution("merge"))
        assert "try first" in page
        assert "insist=True" in page
        assert "B @ A" not in page
    check("merge", unscaled)
    page = repr(solution("merge"))
    assert MERGE.solution_source() in page
    assert load()["merge"]["solution_seen"]


def test_who_insists_sees_it_at_once():
    assert MERGE.solution_source() in repr(solution("merge", insist=True))


# -- the file of progress ----------------------------------------------------------------------------------------


def test_progress_is_a_file_and_a_page(home):
    check("merge", unscaled)
    hint("merge")
    kept = json.loads((home / NAME).read_text(encoding="utf-8"))
    assert kept["merge"]["attempts"] == kept["merge"]["hints"] == 1
    page = repr(progress())
    line = next(line for line in page.split("\n") if "(merge)" in line)
    assert line.split() == [
        "✗",
        "not",
        "right",
        "yet",
        *f"{MERGE.title} (merge) 0 of {MERGE.points} 1".split(),
    ]
    check("merge", right)
    assert f"Your progress: {MERGE.points} of" in repr(progress())
    assert "<table" in progress()._repr_html_()


@pytest.mark.parametrize("damaged", ["{", "[]", '{"merge": 3}', ""])
def test_a_damaged_file_is_kept_aside_and_progress_begins_anew(home, damaged):
    home.mkdir()
    (home / NAME).write_text(damaged, encoding="utf-8")
    with pytest.warns(UserWarning, match="could not be read"):
        assert check("merge", right).outcome == CORRECT
    assert (home / NAME).with_suffix(".damaged.json").read_text(encoding="utf-8") == damaged
    assert load()["merge"]["solved"]


def test_where_nothing_can_be_written_everything_else_goes_on(home):
    """The folder's place is taken by a file, which also stops one who may write everywhere."""
    home.write_text("a file", encoding="utf-8")
    with pytest.warns(UserWarning, match="your progress cannot be kept in"):
        assert check("merge", right).outcome == CORRECT
    with pytest.warns(UserWarning, match="your progress cannot be kept in"):
        assert "hint 1 of 3" in repr(hint("merge"))
    with pytest.warns(UserWarning, match="your progress cannot be kept in"):
        assert MERGE.solution_source() in repr(solution("merge", insist=True))
    assert "try first" in repr(solution("merge"))
    assert "0 of" in repr(progress())
    assert home.read_text(encoding="utf-8") == "a file"


def test_a_damaged_file_that_cannot_be_moved_aside_does_not_stop_a_check(home, monkeypatch):
    home.mkdir()
    (home / NAME).write_text("{", encoding="utf-8")

    def refuse(*arguments):
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.warns(UserWarning, match="your progress cannot be kept in"):
        assert check("merge", right).outcome == CORRECT
    with pytest.warns(UserWarning, match="your progress cannot be kept in"):
        assert "hint 1 of 3" in repr(hint("merge"))
    assert (home / NAME).read_text(encoding="utf-8") == "{"
