"""What the base and the shipped adapters write: words that exist, in the style that it should be, Python that parses.

The measures are those of benchmarks/voices.py. It judges 500 texts of each; here are its first 100, so that each limit
is the aim and three standard deviations of a sample of that size.
"""

import math

import pytest
import voices

pytestmark = pytest.mark.slow

HEARD, NONWORDS = {"story": 0.98, "legal": 0.97, "code": 0.97, "support": 0.97}, 0.003
WORDS = 2_800  # at least, in 100 texts of 60 tokens


def off(share: float, count: int) -> float:
    return 3 * math.sqrt(share * (1 - share) / count)


@pytest.fixture(scope="module")
def model():
    return voices.shipped()


@pytest.mark.parametrize("style", HEARD)
def test_each_voice_is_heard_as_what_it_is_in_words_that_exist(model, style):
    if style == "story":
        with model.disable_adapter():
            texts = voices.continuations(model, seeds=voices.FEW)
    else:
        model.set_adapter(style)
        texts = voices.continuations(model, seeds=voices.FEW)
    row = voices.measure(texts, style)
    assert row["words"] >= WORDS
    assert row["broken"] == 0
    assert row["heard"] >= HEARD[style] - off(HEARD[style], row["texts"]), texts
    assert row["nonwords"] <= NONWORDS + off(NONWORDS, row["words"]), row


def test_four_in_five_blocks_of_python_parse(model):
    model.set_adapter("code")
    texts = voices.continuations(model, seeds=voices.FEW[:3], tokens=200)
    blocks = [block for text in texts for block in voices.python_blocks(text)]
    assert len(blocks) >= 10
    assert sum(map(voices.parses, blocks)) >= 0.8 * len(blocks), blocks
