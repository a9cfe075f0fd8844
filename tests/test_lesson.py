"""What makes a page a lesson: guesses that are stored and revealed, and the learner's own lines."""

from __future__ import annotations

import time
from xml.etree import ElementTree

import numpy as np
import pytest

import minilora.lesson
from minilora.exercises import check, registry
from minilora.figures import guesses
from minilora.lesson import guessing, loading, mine_or, predict, reveal, show_table, show_text
from minilora.lesson.prediction import Choice, Estimate

NUMBER = Estimate("How much memory?", [8, 16, 32, 64, 128], "GB", log=True)
WORDS = Choice("Which wins?", ["LoRA", "full"])
SHARES = Choice("How many train?", {"all": 100, "one in ten": 10, "one in fifty": 2}, "%")


@pytest.fixture(autouse=True)
def asked(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILORA_HOME", str(tmp_path))
    for id, prediction in (("number", NUMBER), ("words", WORDS), ("shares", SHARES)):
        monkeypatch.setitem(guessing.PREDICTIONS, id, prediction)
    return tmp_path


# -- predict -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("id", "guess"), [("number", 32), ("words", "full"), ("shares", "one in ten")])
def test_a_guess_is_stored_and_can_change_until_it_is_revealed(id, guess):
    first = predict(id)
    assert first.value is None
    assert first.choose(guess).value == guess
    assert predict(id).value == guess, "a new kernel reads the same file"
    other = {"number": 8, "words": "LoRA", "shares": "all"}[id]
    assert predict(id).choose(other).value == other
    reveal(id, {"words": "LoRA"}.get(id, 2.0))
    assert predict(id).choose(guess).value == other, "whoever has seen the answer does not guess again"


def test_buttons_and_slider_store_what_they_say():
    asked = predict("words")
    asked.controls[1].click()
    assert asked.value == "full"
    assert [button.description for button in asked.controls] == ["LoRA", "✓ full"]
    number = predict("number")
    slider, button = number.controls
    slider.value = 64
    assert number.value is None, "moving the slider is not yet a guess"
    button.click()
    assert number.value == 64
    assert predict("number").controls[0].value == 64
    reveal("number", 64)
    assert all(control.disabled for control in predict("number").controls)


@pytest.mark.parametrize(
    ("id", "guess"), [("number", 1000), ("number", "a lot"), ("words", "QLoRA"), ("shares", 10)]
)
def test_a_guess_that_was_not_offered_is_refused(id, guess):
    with pytest.raises(ValueError, match="not offered"):
        predict(id).choose(guess)
    assert predict(id).value is None


def test_a_wrong_id_is_answered_with_near_ones():
    with pytest.raises(ValueError, match="'number'"):
        predict("numbers")


def test_where_no_kernel_runs_the_question_and_its_options_can_be_read():
    bundle = predict("words")._repr_mimebundle_()
    for text in (bundle["text/plain"], bundle["text/html"]):
        assert "Which wins?" in text
        assert "LoRA" in text
        assert "full" in text


# -- reveal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "measured", "found"),
    [("number", 90.0, "90 GB"), ("words", "full", "full"), ("shares", 1.8, "1.8%")],
)
def test_without_a_guess_the_measurement_is_shown_all_the_same(id, measured, found):
    shown = reveal(id, measured)
    assert found in shown.sentence
    assert f'predict("{id}")' in shown.sentence
    predict(id).choose({"number": 8}.get(id) or next(iter(guessing.PREDICTIONS[id].options)))
    assert "no guess" not in reveal(id, measured).sentence


def test_numbers_may_be_arrays_or_tensors():
    predict("number").choose(32)
    assert (
        reveal("number", np.float32(30)).sentence
        == reveal("number", minilora.lesson.torch.tensor(30)).sentence
    )


def test_an_option_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="none of the options"):
        reveal("words", "QLoRA")


def test_a_guess_of_an_older_question_counts_as_none(monkeypatch):
    predict("words").choose("full")
    monkeypatch.setitem(guessing.PREDICTIONS, "words", Choice("Which?", ["one", "two"]))
    assert "no guess" in reveal("words", "two").sentence


@pytest.mark.parametrize(
    ("guess", "measured", "log", "word"),
    [
        (50, 52, False, "Spot on"), (50, 41, False, "Close"), (50, 39, False, "smaller by 11 percentage points"),
        (50, 80, False, "larger by 30 percentage points"), (10, 10.9, True, "Spot on"), (10, 14.9, True, "Close"),
        (10, 100, True, "larger by a factor of 10"), (10, 1, True, "smaller by a factor of 10"),
    ],
)  # fmt: skip
def test_the_sentence_says_how_close_the_guess_was(guess, measured, log, word):
    assert word in guesses.on_a_line(guess, measured, 1, 100, "%", log)[1]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("measured", [0.0, 0.01, 1, 50, 100, 5000])
@pytest.mark.parametrize("guess", [None, 1, 100])
def test_guess_and_measurement_lie_inside_the_picture(guess, measured, log):
    picture, sentence = guesses.on_a_line(guess, measured, 1, 100, "GB", log)
    tree = ElementTree.fromstring(picture)
    dots = [float(dot.get("cx")) for dot in tree.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(dots) == (1 if guess is None else 2)
    assert all(0 <= x <= 640 for x in dots)
    assert tree.get("aria-label") == sentence
    if guess is not None and guess != measured:
        assert (dots[0] < dots[1]) == (guess < measured)


def test_among_options_both_marks_are_named_in_words():
    picture, sentence = guesses.among_options(["LoRA", "full"], "LoRA", "full")
    assert "your guess" in picture
    assert "the answer" in picture
    assert "LoRA" in sentence
    assert "full" in sentence


def test_the_nearest_option_is_the_right_one_by_factors():
    assert [SHARES.right(x) for x in (100, 35, 30, 5, 4, 0.1)] == [
        "all", "all", "one in ten", "one in ten", "one in fifty", "one in fifty",
    ]  # fmt: skip
    assert Choice("?", {"none": 0, "some": 10}).right(4) == "none"


# -- the learner's own lines ---------------------------------------------------------------------------------


def lora_forward(x, W, A, B, alpha):
    return x @ W.T + ...


def wrong(x, W, A, B, alpha):
    return x @ W.T


def test_a_page_continues_with_the_learners_function_or_with_ours(capsys):
    ours = registry.get("lora-forward").solution
    assert mine_or("lora-forward", lora_forward) is ours
    assert "not written yet" in capsys.readouterr().out
    assert mine_or("lora-forward", wrong) is ours
    assert "not right yet" in capsys.readouterr().out

    def right(x, W, A, B, alpha):
        return x @ W.T + alpha / A.shape[0] * (x @ A.T @ B.T)

    assert mine_or("lora-forward", right) is right


def test_a_line_still_missing_is_not_attempted_and_counts_as_no_attempt(asked):
    result = check("lora-forward", lora_forward)
    assert result.outcome == "not attempted"
    assert "..." in result.sentence
    from minilora.exercises.records import load

    assert load()["lora-forward"].get("attempts", 0) == 0


def test_a_question_cannot_be_replaced():
    with pytest.raises(ValueError, match="question"):
        mine_or("what-lora-changes", lora_forward)


# -- the import line -----------------------------------------------------------------------------------------


def test_every_name_of_the_import_line_is_there():
    assert len(set(minilora.lesson.__all__)) == len(minilora.lesson.__all__)
    assert [name for name in minilora.lesson.__all__ if not hasattr(minilora.lesson, name)] == []


def test_waiting_is_explained_only_if_it_is_long(capsys, monkeypatch):
    monkeypatch.setattr(loading, "PATIENCE", 0.05)
    with loading.say_if_slow("Loading ..."):
        pass
    assert capsys.readouterr().out == ""
    with loading.say_if_slow("Loading ..."):
        time.sleep(0.3)
    assert capsys.readouterr().out == "Loading ...\n"


def test_texts_and_tables_show_themselves(capsys):
    show_text({"before": "one", "after": "two"})
    show_table(["", "loss"], [["before", 4.5]])
    said = capsys.readouterr().out
    assert "before: one" in said
    assert "4.5" in said
