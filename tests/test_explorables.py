"""Explorables without a front end: the declaration of their controls, and what their pictures need.

Not here: the widgets (test_widgets.py), and the site (tests/browser/test_site.py).
"""

import itertools
import json
import subprocess
import sys

import pytest
import torch

from minilora import quantize_4bit, widgets
from minilora.explorables import memory, methods
from minilora.explorables.controls import declaration
from minilora.lesson.guessing import Guess, Reveal, offered
from minilora.lesson.predictions import PREDICTIONS


def test_nothing_that_a_browser_lacks_is_imported():
    lacking = ("torch", "numpy", "ipywidgets", "anywidget", "matplotlib", "safetensors", "tokenizers")
    program = (
        f"import sys\nfor name in {lacking}: sys.modules[name] = None\n"
        "from minilora.explorables import memory, methods\n"
        "for each in memory, methods:\n"
        "    print(len(each.draw(**{name: c.start for name, c in each.controls().items()})[0]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(int(length) > 1000 for length in done.stdout.split())


@pytest.mark.parametrize("each", [memory, methods])
def test_every_start_is_a_value(each):
    for control in each.controls().values():
        assert control.start in control.values()
        assert len(set(control.values())) == len(control.values())


def test_the_error_of_nf4_is_what_the_engine_measures():
    x = torch.randn(2**16, generator=torch.Generator().manual_seed(0))
    error = (quantize_4bit(x, "nf4", double_quant=True).dequantize() - x).norm() / x.norm()
    assert methods.nf4_error() == pytest.approx(float(error), abs=1e-6)  # it is stored with six digits


def test_a_still_says_how_its_controls_stand():
    explorer = widgets.rank_explorer()
    explorer.rank.value = 8
    html = explorer.still()
    attribute = html.split('data-controls="')[1].split('"')[0].replace("&quot;", '"')
    (said,) = json.loads(attribute)
    assert said == declaration(explorer.declared, {"rank": 8})[0]
    assert said["words"][said["place"]] == "8"


@pytest.mark.parametrize("id", PREDICTIONS)
def test_each_guess_that_is_offered_has_a_picture(id, tmp_path, monkeypatch):
    monkeypatch.setenv("MINILORA_HOME", str(tmp_path))
    prediction = PREDICTIONS[id]
    words, guesses = offered(prediction), getattr(prediction, "values", None) or list(prediction.options)
    assert len(words) == len(guesses) == len(set(words))
    numbers = getattr(prediction, "values", None) or (
        list(prediction.options.values()) if hasattr(prediction.options, "values") else words
    )
    reveal = Reveal(id, prediction, numbers[0])
    pictures = [reveal.beside(guess) for guess in (None, *guesses)]
    assert all(one != other for one, other in itertools.combinations(pictures, 2))
    assert f'data-id="{id}"' in reveal.still()
    assert (
        json.loads(
            Guess(id, prediction)
            .still()
            .split('data-asked="')[1]
            .split('">')[0]
            .replace("&quot;", '"')
            .replace("&#x27;", "'")
        )["offered"]
        == words
    )
