"""What the base and the shipped adapters write: real words, the right style, Python that parses."""

import json
from pathlib import Path

import pytest
import voices

from minilora.training.datasets import STYLES, style_corpus

RECORD = Path(__file__).parents[1] / "benchmarks" / "results" / "voices.json"


@pytest.fixture(scope="module")
def model():
    return voices.shipped()


def texts(model, style=None, **settings):
    if style is None:
        with model.disable_adapter():
            return voices.continuations(model, **settings)
    model.set_adapter(style)
    return voices.continuations(model, **settings)


@pytest.mark.parametrize("style", STYLES)
def test_the_classifier_hears_each_corpus_as_its_own_style(style):
    heard = [voices.classifier().heard(text) for text in style_corpus(style, "validation")]
    assert heard.count(style) == len(heard)


def test_the_classifier_hears_a_story_as_a_story():
    stories = [
        "The little girl put on her cloak and went out into the garden, where the snow lay deep.",
        '"Come in, come in!" cried the old woman. "You must be hungry," and she gave him some bread.',
    ]
    assert [voices.classifier().heard(story) for story in stories] == ["story", "story"]


def test_words_that_do_not_exist_are_counted():
    found = voices.measure(["The rabbit shimbled to the farmer and", "He ate the carrot."], "story")
    assert found["examples of nonwords"] == ["shimbled"]
    assert found["nonwords"] == pytest.approx(1 / 9)  # of 6 and 3 words: the last one of a text may be cut


def test_a_few_texts_of_each_are_heard_and_have_real_words(model):
    """Twenty texts each: a share of 0.97 gives 18 or more of 20 in 99 of 100 samples, and 1 % of their words is 7."""
    for style in (None, *STYLES):
        few = texts(model, style, openings=voices.OPENINGS[:5], seeds=(1, 2, 3, 4), tokens=40)
        found = voices.measure(few, style or "story")
        assert found["heard"] >= 18 / 20, style
        assert found["nonwords"] <= 0.01, (style, found["examples of nonwords"])
        assert found["broken"] == 0, style


def test_the_recorded_figures_keep_what_the_course_promises():
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["rows"]
    assert rows["tiny-gpt"]["heard"] >= 0.95
    assert rows["tiny-gpt"]["nonwords"] <= 0.002
    for style in STYLES:
        row = rows[f"adapter {style}"]
        assert row["heard"] >= 0.97, style
        assert row["nonwords"] <= 0.004, style
        assert row["broken"] == 0, style
    assert rows["adapter code"]["parse"] >= 0.8
    listings = {name: row for name, row in rows.items() if name.startswith("listing")}
    assert listings
    for name, row in listings.items():
        assert row["heard"] >= 0.9, name
        assert row["nonwords"] <= 0.01, name


@pytest.mark.slow
def test_the_recorded_figures_are_measured_again(model):
    """Another machine may round otherwise and draw other tokens: each share moves by less than four standard errors."""
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["rows"]
    for style in (None, *STYLES):
        found = voices.measure(texts(model, style, seeds=voices.SEEDS[:5]), style or "story")
        row = rows[f"adapter {style}" if style else "tiny-gpt"]
        for name, count in (("heard", found["texts"]), ("nonwords", found["words"])):
            share = min(max(row[name], 1 / count), 1 - 1 / count)
            assert abs(found[name] - row[name]) < 4 * (share * (1 - share) / count) ** 0.5, (style, name)
