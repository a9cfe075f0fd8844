"""What page 08 looks at: the tensors in an adapter's file, and the same adapter in PEFT."""

from __future__ import annotations

import sys

import pytest
import torch

from minilora import GPT, LoraConfig, LoraModel, add_lora
from minilora.exercises import registry
from minilora.lesson import saved_tensors, scores_in_peft
from tests.helpers import randomize_adapter


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=4, target_modules=["q_proj"]))
    randomize_adapter(model, "default", scale=0.05)
    folder = tmp_path_factory.mktemp("adapter") / "mine"
    model.save_adapter(folder)
    return model, folder


def test_the_file_holds_what_the_exercise_picks_out_of_the_model(saved):
    model, folder = saved
    state = dict(model.base.named_parameters())
    picked = registry.get("save-adapter").solution(state, "default")
    assert {name: value.numel() for name, value in picked.items()} == saved_tensors(folder)
    assert sum(saved_tensors(folder).values()) == model.trainable_parameter_count()


def test_peft_computes_the_same(saved):
    pytest.importorskip("peft")
    model, folder = saved
    ids = torch.tensor([[5, 17, 200, 31, 8]])
    theirs = scores_in_peft(folder, ids)
    with torch.no_grad():
        ours, base = model(ids), GPT.from_pretrained("tiny-gpt")(ids)
    # float32 with 8 blocks in between: about six digits of scores up to 20
    assert (theirs - ours).abs().max() < 1e-3 < (ours - base).abs().max()


def test_without_peft_a_line_says_so(saved, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert scores_in_peft(saved[1], torch.tensor([[1]])) is None
    assert "peft is not installed" in capsys.readouterr().out
    assert LoraModel.from_pretrained(GPT.from_pretrained("tiny-gpt"), saved[1]) is not None
