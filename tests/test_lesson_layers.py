"""What pages 03 and 04 look into: a layer while it reads, fingerprints of tensors, a change cut to few patterns."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from minilora import GPT, LoraConfig, add_lora
from minilora.lesson import directions, layers
from minilora.reference import lora as by_hand
from tests.helpers import counting_rows, randomize_adapter, small_gpt

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("use_rslora", "scaling"), [(False, 3), (True, 6 / 2**0.5)])
def test_a_layer_is_seen_as_it_computes(use_rslora, scaling):
    config = LoraConfig(r=2, lora_alpha=6, use_rslora=use_rslora, target_modules=["q_proj"])
    model = add_lora(GPT.from_pretrained("tiny-gpt"), config)
    randomize_adapter(model, "default", scale=0.05)
    layer = layers.look_into(model, "model.layers.4.self_attn.q_proj", "The Buyer pays")
    assert layer.alpha / len(layer.A) == pytest.approx(scaling)
    ours = by_hand.forward(layer.x, layer.W, layer.A, layer.B, scaling)
    assert np.abs(ours - layer.y).max() < 1e-9  # both in double precision
    assert layer.y.shape[1] == 256
    assert layer.word in "The Buyer pays"
    assert "256 numbers come in" in layers.layer_flow(layer).sentence


def test_a_fingerprint_notices_one_bit():
    model = small_gpt()
    before = layers.fingerprints(model)
    assert layers.changed_tensors(before, model) == []
    name, weight = next(iter(model.named_parameters()))
    with torch.no_grad():
        weight.view(-1)[0] = torch.nextafter(weight.view(-1)[0], torch.tensor(torch.inf))
    assert layers.changed_tensors(before, model) == [name]


def test_the_folded_backward_pass_is_that_of_the_reference():
    page = (ROOT / "notebooks/src/03_lora.py").read_text("utf-8").replace("\n# ", "\n")
    source = inspect.getsource(by_hand.backward)
    lines = [line.strip() for line in source[source.rindex('"""') + 3 :].splitlines() if " = " in line]
    assert len(lines) == 5
    assert "\n".join(lines) in page


def test_all_patterns_keep_the_whole_gain_and_the_model_gets_its_weights_back():
    before, after = small_gpt(), small_gpt()
    with torch.no_grad():
        for weight in after.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    trained = layers.fingerprints(after)
    changes = directions.weight_changes(before, after)
    most = max(min(change.shape) for change in changes.values())
    kept = directions.keep_strongest(before, after, counting_rows(), [1, most])
    assert kept[most].energy == pytest.approx(1, abs=1e-5)
    assert kept[most].gain == pytest.approx(1, abs=1e-2)
    assert kept[1].energy < 0.9
    assert layers.changed_tensors(trained, after) == []


def test_a_random_matrix_of_the_same_energy():
    matrix = torch.arange(12.0).reshape(3, 4)
    random = directions.random_like(matrix)
    assert random.shape == matrix.shape
    assert random.norm() == pytest.approx(matrix.norm())
