"""Several voices at once: which words are an adapter's own, rows with adapters of their own, and how it is drawn."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from minilora import GPT, LoraConfig, LoraModel
from minilora.exercises import registry
from minilora.figures.voices import LETTERS, Voice, draw, wrapped
from minilora.lesson import fastest, layer_adapters, model_change, reading_times, write_together
from minilora.lesson.voices import texts_together
from minilora.widgets.adapters import using
from minilora.widgets.voices import LIKELIER, voice, word_factors

OPENING = "The old bear opened the door and"


@pytest.fixture(scope="module")
def model():
    loaded = LoraModel(GPT.from_pretrained("tiny-gpt"))
    for style in ("legal", "code"):
        loaded.load_adapter(style, style)
    loaded.add_adapter("idle", LoraConfig())  # untrained, so it changes nothing
    return loaded


def test_words_of_an_adapter_are_those_that_it_makes_likelier(model):
    text = " entered into the following contract with the Uncle."
    model.set_adapter("legal")
    factors = word_factors(model, OPENING, text)
    assert [word for word, _ in factors] == text.split()
    found = dict(factors)
    assert found["contract"] > math.log(LIKELIER) > found["the"]
    ids = model.tokenizer.encode(OPENING + text).ids
    start = len(model.tokenizer.encode(OPENING).ids)

    def log_probability():
        with torch.no_grad():
            scores = torch.log_softmax(model(torch.tensor([ids])), dim=-1)[0]
        return sum(float(scores[i - 1, ids[i]]) for i in range(start, len(ids)))

    with_adapter = log_probability()
    with model.disable_adapter():
        without = log_probability()
    # float32 logits, in batches of different length: each of the sums rounds by less than this
    assert sum(factor for _, factor in factors) == pytest.approx(with_adapter - without, abs=1e-3)


def test_an_adapter_that_changes_nothing_marks_nothing(model):
    model.set_adapter("idle")
    assert not any(marked for _, marked in voice(model, OPENING, " and ran away.", "idle").words)
    with using(model, {}):
        assert voice(model, OPENING, " ran.", "base") == Voice("base", [("ran.", False)], adapted=False)
    assert model.active_adapters == ["idle"]


def test_rows_of_a_mixed_batch_write_what_their_adapters_write_alone(model):
    names = ["code", "__base__", "legal"]
    *_, last = texts_together(model, OPENING, names, max_new_tokens=8, seed=5)
    for name, text in zip(names, last, strict=True):
        with using(model, {} if name == "__base__" else {name: 1.0}):
            assert model.generate(OPENING, max_new_tokens=8, seed=5) == text
    assert len(set(last)) == 3
    assert set(write_together(model, OPENING, names, max_new_tokens=2)) == {"base", "code", "legal"}


def test_a_row_that_has_ended_stays_as_it_is(model, monkeypatch):
    *_, free = texts_together(model, OPENING, ["legal"], max_new_tokens=6, seed=5)
    third = model.tokenizer.encode(OPENING + free[0]).ids[len(model.tokenizer.encode(OPENING).ids) + 2]
    monkeypatch.setattr(type(model.base), "stop_tokens", lambda self: (third,))
    *_, texts = texts_together(model, OPENING, ["legal", "code"], max_new_tokens=6, seed=5)
    assert free[0].startswith(texts[0])
    assert len(texts[0]) < len(free[0])


def test_the_exercise_s_blend_is_what_the_model_does(model):
    name = "model.layers.0.self_attn.v_proj"
    with using(model, {"legal": 0.5, "code": 0.25}):
        change = registry.get("blend").solution(layer_adapters(model, name), model.adapter_scales)
        by_model = model_change(model, name)
    assert np.abs(change).max() > 1e-2
    # the layer adds the update to W x and we subtract W x again: float32 rounds at the size of W x, about 1
    assert np.abs(change - by_model).max() < 1e-5


def test_reading_times_leave_the_model_as_it_was(model):
    model.set_adapter("legal")
    times = reading_times(model, torch.tensor([[1, 2, 3]]))
    assert list(times) == ["base", "separate adapter", "merged adapter"]
    assert all(seconds > 0 for seconds in times.values())
    assert model.active_adapters == ["legal"]
    model.set_adapter("code")  # refused while merged
    calls = []
    assert fastest(lambda: calls.append(1), times=3) >= 0
    assert len(calls) == 15


def test_lines_are_whole_words_and_fit():
    words = [(word, False) for word in ("abcdefghi " * 40).split()]
    lines = wrapped(words)
    assert [word for line in lines for word in line] == words
    assert all(len(" ".join(word for word, _ in line)) <= LETTERS for line in lines)
    assert wrapped([("x" * 200, False), ("y", True)]) == [[("x" * 200, False)], [("y", True)]]


def test_marked_words_are_underlined_and_html_is_not_obeyed():
    voices = [
        Voice("base", [("<b>", False)], adapted=False),
        Voice("legal", [("shall", True), ("pay", True)]),
    ]
    picture, note = draw("The fox & I", voices, "Voices", "Underlined: words.")
    tree = ElementTree.fromstring(picture)
    underlined = [e for e in tree.iter() if e.attrib.get("text-decoration") == "underline"]
    assert ["".join(e.itertext()) for e in underlined] == ["shall pay"]
    assert "<b>" in "".join(tree.itertext())
    assert tree.attrib["aria-label"].startswith(note)
    assert "legal: shall pay" in tree.attrib["aria-label"]
