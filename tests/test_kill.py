"""A process that is killed while it saves, trains or grades: whole files, an exact resume, complete and equal marks.

Each round starts a child, kills it after a random time, and looks at what it left. `benchmarks/reliability.py` runs a
hundred rounds of each. Not here: a full disk and a refused write (test_adapter_files.py); what a cut of power leaves
of bytes that the system had not yet written, which a kill cannot show.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from minilora.exercises import registry
from minilora.gpt import GPT
from minilora.grading import command, results
from minilora.lora import LoraConfig, LoraModel, add_lora
from minilora.training import Trainer
from minilora.training.run_state import STATE_FILE
from tests.helpers import counting_rows, small_gpt

LONGEST = 0.15  # seconds from the child's first sign of work to the kill, at most; many saves fit in
STEPS = 30
SECRET = "a secret of thirty-two bytes ..."
NAMES = ("merge", "unmerge")
PUPILS = ("ada", "bob", "cyn", "dan", "eve", "fay")


def filled(value: float) -> GPT:
    """A model that is `value` everywhere, so that a mixture of two saves shows."""
    model = small_gpt(tie_word_embeddings=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def filled_adapter(value: float) -> LoraModel:
    model = add_lora(small_gpt(), LoraConfig(r=4, lora_alpha=value, target_modules="all-linear"))
    with torch.no_grad():
        for parameter in model.trainable_parameters().values():
            parameter.fill_(value)
    return model


def trainer(folder: Path) -> Trainer:
    torch.manual_seed(0)
    model = add_lora(small_gpt(), LoraConfig(r=4, lora_dropout=0.1))
    return Trainer(
        model, counting_rows(), max_steps=STEPS, batch_size=4, save_steps=1, output_dir=folder, progress=False
    )


# -- what the children do --------------------------------------------------------------------------------------


def save_models(folder: Path, begin: Callable[[], None]) -> None:
    models = [filled(1.0), filled(2.0)]
    for n in range(10**6):
        models[n % 2].save_pretrained(folder)
        begin()


def save_adapters(folder: Path, begin: Callable[[], None]) -> None:
    models = [filled_adapter(1.0), filled_adapter(2.0)]
    for n in range(10**6):
        models[n % 2].save_adapter(folder)
        begin()


def train(folder: Path, begin: Callable[[], None]) -> None:
    """Trains to the end, from where the last one was killed."""
    run = trainer(folder)
    begin()
    if (folder / STATE_FILE).exists():
        run.resume()
    run.train()


def grade_class(folder: Path, begin: Callable[[], None] = lambda: None) -> None:
    begin()
    asked = {"exercises": list(NAMES), "results": folder / "marks", "output": folder / "said", "workers": 1}
    command.run(command.Request(path=folder / "class", **asked))


def kill_during(work: Callable[..., None], folder: Path, delay: float) -> bool:
    """Lets a child work, kills it `delay` seconds after it began; False if it had already ended.

    The child is a fork: it has everything loaded, so that a hundred rounds take a minute.
    """
    torch.set_num_threads(1)  # the threads of torch do not survive a fork
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    child = context.Process(target=work, args=(folder, begun.set))
    child.start()
    assert begun.wait(60), "the child did not begin"
    time.sleep(delay)
    child.kill()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL), "the child failed by itself"
    return child.exitcode != 0


# -- what they leave -------------------------------------------------------------------------------------------


def leftovers(folder: Path) -> int:
    """Half-written files beside the whole ones; the next save removes them."""
    return len(list(folder.glob(".*.partial")))


def round_of_model(folder: Path, rng: random.Random) -> Counter[str]:
    killed = kill_during(save_models, folder, rng.uniform(0, LONGEST))
    half = leftovers(folder)
    values = {v for p in GPT.from_pretrained(folder).state_dict().values() for v in p.unique().tolist()}
    assert values in ({1.0}, {2.0}), f"a mixture of two saves: {values}"
    return Counter(killed=killed, kills_within_a_save=half > 0)


def round_of_adapter(folder: Path, rng: random.Random) -> Counter[str]:
    killed = kill_during(save_adapters, folder, rng.uniform(0, LONGEST))
    half = leftovers(folder)
    model = add_lora(small_gpt(), LoraConfig(), "other")
    model.load_adapter(folder, "default")
    values = {v for layer in model.lora_layers().values() if "default" in layer.configs
              for m in (layer.lora_A, layer.lora_B) for v in m["default"].unique().tolist()}  # fmt: skip
    assert values in ({1.0}, {2.0}), f"a mixture of two saves: {values}"
    assert {model.peft_config["default"].lora_alpha} == values, (
        "the settings of one save, the weights of another"
    )
    return Counter(killed=killed, kills_within_a_save=half > 0)


def round_of_training(folder: Path, rng: random.Random) -> Counter[str]:
    """Killed three times and let go on; in the end it is the uninterrupted run, to the bit."""
    shutil.rmtree(folder, ignore_errors=True)
    killed = within = 0
    for _ in range(3):
        killed += kill_during(train, folder, rng.uniform(0, 0.8 * LONGEST))
        within += leftovers(folder) > 0
        if (folder / STATE_FILE).exists():
            trainer(folder).resume()
    last = trainer(folder)
    if (folder / STATE_FILE).exists():
        last.resume()
    last.train()
    whole = trainer(folder.with_name("uninterrupted"))
    whole.train()
    assert last.history.losses == whole.history.losses
    for name, parameter in last.parameters.items():
        assert torch.equal(parameter, whole.parameters[name]), name
    return Counter(killed=killed, kills_within_a_save=within)


def write_class(folder: Path) -> None:
    folder.mkdir(parents=True)
    sources = [registry.get(name).solution_source() for name in NAMES]
    for n, pupil in enumerate(PUPILS):
        cells = [
            {"cell_type": "code", "metadata": {}, "source": source, "outputs": []}
            for source in sources[: 1 + n % 2]
        ]
        book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (folder / f"{pupil}.ipynb").write_text(json.dumps(book), encoding="utf-8")


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}


def assert_marks_as_deserved(kept_results: dict[str, bytes]) -> None:
    marks = {name.removesuffix(".json"): json.loads(text)["score"] for name, text in kept_results.items()}
    points = [registry.get(name).points for name in NAMES]
    assert marks == {pupil: sum(points[: 1 + n % 2]) for n, pupil in enumerate(PUPILS)}


def round_of_grading(folder: Path, rng: random.Random) -> Counter[str]:
    """Killed once; what it left is whole, the next run finishes it, and one more changes nothing."""
    shutil.rmtree(folder / "marks", ignore_errors=True)
    os.environ[results.SECRET_VARIABLE] = SECRET
    if not (folder / "class").exists():
        write_class(folder / "class")
    killed = kill_during(grade_class, folder, rng.uniform(0, 2.0))
    first = kept(folder / "marks")
    assert all(json.loads(text)["status"] == "graded" for text in first.values())
    for _ in range(2):
        before = kept(folder / "marks")
        grade_class(folder)
        after = kept(folder / "marks")
        assert {name: after[name] for name in before} == before, "a finished result was changed"
        assert_marks_as_deserved(after)
    assert after == before, "a run with nothing to do changed a result"
    return Counter(killed=killed, kills_within_the_class=0 < len(first) < len(PUPILS))


ROUNDS: dict[str, Callable[[Path, random.Random], Counter[str]]] = {
    "model": round_of_model,
    "adapter": round_of_adapter,
    "training": round_of_training,
    "grading": round_of_grading,
}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a kill that no process can see coming")
@pytest.mark.parametrize("name", ROUNDS)
def test_a_kill_at_any_moment_loses_nothing(name, tmp_path, monkeypatch):
    monkeypatch.setenv(results.SECRET_VARIABLE, SECRET)
    rng = random.Random(0)
    counts = sum(
        (ROUNDS[name](tmp_path / "folder", rng) for _ in range(2 if name == "grading" else 4)), Counter()
    )
    assert counts["killed"] > 0


def processes_of(session: int) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "sid,stat,args"], capture_output=True, text=True, check=True).stdout
    found = [line.split(None, 2) for line in listed.splitlines()]
    return [words[2] for words in found if words[0] == str(session) and not words[1].startswith("Z")]


def wait_until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or not shutil.which("ps"), reason="looks for processes with ps")
def test_two_processes_that_grade_end_with_the_one_that_started_them(tmp_path, monkeypatch):
    """Killed amid the class: nobody stays behind, what is finished is whole, and the next run does the rest."""
    monkeypatch.setenv(results.SECRET_VARIABLE, SECRET)
    write_class(tmp_path / "class")
    marks = tmp_path / "marks"
    command = [
        sys.executable,
        "-m",
        "minilora.cli",
        "grade",
        str(tmp_path / "class"),
        "--results",
        str(marks),
    ]
    command += ["--exercises", *NAMES, "--workers", "2"]
    running = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert wait_until(lambda: kept(marks)), "nothing was graded"
    running.kill()
    running.wait()
    try:
        assert wait_until(lambda: not processes_of(running.pid), 60), processes_of(running.pid)
    finally:
        if processes_of(running.pid):  # of our own session alone
            os.killpg(running.pid, signal.SIGKILL)
    first = kept(marks)
    assert len(first) > 0
    subprocess.run(command, check=True, capture_output=True)
    after = kept(marks)
    assert {name: after[name] for name in first} == first, "a finished result was changed"
    assert_marks_as_deserved(after)
