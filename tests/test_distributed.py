"""The Trainer on two processes: the same weights as on one, only adapters on the wire, a clear end when one dies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from minilora.lora import count_weights
from tests.helpers import small_gpt

pytestmark = pytest.mark.slow  # each test starts several processes that import torch

ROOT = Path(__file__).parents[1]
STEPS, LEARNING_RATE = 6, 1e-2  # of the worker
# Two processes add up a gradient in another order than one, so it differs by S = 1e-6 of the usual size: some roundings
# of 6e-8 each. Adam divides a gradient by its own size, so if that is a share g of the usual one, the weight's step
# differs by the share min(1, S / g). Over all g from 0 to 1 the mean of its square is S + S² (1/S - 1), almost 2 S.
FARTHEST = (
    (2 * 1e-6) ** 0.5 * STEPS * LEARNING_RATE
)  # root mean square over a matrix; all steps off to the same side
# r (in + out) for q, k, v and o of two blocks, and nothing of the adapter that rests
TRAINED_BY_LORA = 4 * 2 * sum((64 + 64, 64 + 32, 64 + 32, 64 + 64))


def run(processes: int, folder: Path, *options: str) -> subprocess.CompletedProcess:
    worker = [str(ROOT / "tests" / "distributed_worker.py"), str(folder), *options]
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        if processes > 1
        else []
    )
    # Without GPUs, which would be too few: what several do, is in benchmarks/several_processes.py.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, *launcher, *worker],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def result(folder: Path) -> tuple[dict, dict]:
    return json.loads((folder / "result.json").read_text(encoding="utf-8")), load_file(
        folder / "result.safetensors"
    )


@pytest.mark.parametrize(
    ("method", "rows"),
    [("lora", 21), ("lora", 17), ("full", 21)],
    ids=["lora", "lora, last batch smaller than the processes", "full"],
)
def test_two_processes_learn_what_one_learns(method, rows, tmp_path):
    options = ["--rows", str(rows)] + ["--full"] * (method == "full")
    for processes in (1, 2):
        done = run(processes, tmp_path / str(processes), *options)
        assert done.returncode == 0, done.stderr
    (one, weights_one), (two, weights_two) = result(tmp_path / "1"), result(tmp_path / "2")
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert weights_one.keys() == weights_two.keys()
    for name, weight in weights_one.items():
        assert (weight - weights_two[name]).square().mean().sqrt() < FARTHEST, name
    assert two["wire_bytes"] == STEPS * 4 * two["trained"], (
        "each step sends each trained weight once, as four bytes"
    )
    assert two["trained"] == (TRAINED_BY_LORA if method == "lora" else count_weights(small_gpt()))


def test_lora_sends_a_small_part_of_what_full_fine_tuning_sends(tmp_path):
    sent = {}
    for method in ("lora", "full"):
        done = run(2, tmp_path / method, *["--full"] * (method == "full"))
        assert done.returncode == 0, done.stderr
        sent[method] = result(tmp_path / method)[0]["wire_bytes"]
    assert sent["lora"] < sent["full"] / 10


@pytest.mark.parametrize("others", [1, 3])
def test_a_killed_worker_ends_the_job_and_another_number_of_processes_goes_on(others, tmp_path):
    whole = run(1, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    died = run(2, tmp_path / "died", "--die-at", "5")
    assert died.returncode != 0
    assert "Signal 9" in died.stderr, "torchrun says which worker died, and how"
    assert not (tmp_path / "died" / "result.json").exists()
    goes_on = run(others, tmp_path / "died", "--resume")
    assert goes_on.returncode == 0, goes_on.stderr
    (expected, _), (resumed, _) = result(tmp_path / "whole"), result(tmp_path / "died")
    assert resumed["losses"] == pytest.approx(expected["losses"], rel=1e-4)


@pytest.mark.timeout(900)  # ten processes that each import torch
def test_the_benchmark_runs_here(tmp_path):
    """On a CPU with the tiny GPT; on two GPUs it is the same program."""
    out = tmp_path / "table.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "several_processes.py"), "--out", str(out)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    recorded = json.loads(out.read_text(encoding="utf-8"))
    assert [row["method"] for row in recorded["rows"]] == ["full"] * 3 + ["lora"] * 3 + ["qlora"] * 3
    for row in recorded["rows"]:
        width = 4 if row["processes"] > 1 else 0  # fp32, once a step; a process alone sends nothing
        assert row["bytes_sent_per_step"] == width * row["trained"]
        # the same rows: what differs is the order of sums in fp32, 1e-6 a step, which Adam's division may magnify
        assert row.get("largest_difference_of_a_loss", 0) < 1e-4
        if "adapter_difference" in row:
            assert row["adapter_difference"] < row["adapter_difference_at_most"]
    assert recorded["killed"]["largest_difference_of_a_loss"] < 1e-4
