"""What page 06 compares: recorded runs with plans, and a step with and without checkpointing."""

import json
from pathlib import Path

import pytest

from minilora import TokenData
from minilora.lesson import planning
from minilora.memory.recorded import RECORDED
from tests.helpers import counting_rows, small_gpt

RESULTS = Path(__file__).parents[1] / "benchmarks/results"


def recorded_numbers() -> set[float]:
    """All that the benchmarks on a GPU wrote down as measured or published."""
    gpu = json.loads((RESULTS / "memory_gpu.json").read_text("utf-8"))
    large = json.loads((RESULTS / "seven_billion.json").read_text("utf-8"))
    others = json.loads((RESULTS / "published_peaks.json").read_text("utf-8"))
    measured = {row["measured"] for row in gpu["rows"]} | {large["qlora_in_24_gb"]["peak"]}
    measured |= {run["peak"] for run in large["what_else_fits"] if run["fits"]}
    return measured | {int(each["published"]) for each in others}


def test_recorded_peaks_are_those_of_the_benchmarks():
    assert {run.peak for run in RECORDED if run.peak} <= recorded_numbers()


def test_what_ran_out_of_memory_is_planned_above_the_limit():
    for run in RECORDED:
        assert (run.peak is None) == (run.plan.headroom(run.limit) < 0)


def test_plans_stand_beside_what_was_measured(capsys):
    errors = planning.show_recorded(RECORDED)
    assert len(errors) == sum(run.peak is not None for run in RECORDED)
    assert max(map(abs, errors)) < 0.25
    assert "out of memory at 80 GB" in capsys.readouterr().out


def test_checkpointing_saves_memory_and_leaves_the_model_nearly_as_it_was():
    model, data = small_gpt(), counting_rows()
    before = model.model.embed_tokens.weight.detach().clone()
    saved, slower = planning.with_and_without_checkpointing(model, data, batch_size=4, sequence_length=8)
    assert isinstance(data, TokenData)
    assert 0 < saved < 1
    assert slower > 0
    assert model.model.embed_tokens.weight.detach() == pytest.approx(before, abs=1e-6)
