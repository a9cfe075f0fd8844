"""`minilora finetune` stopped at any moment, by kill -9 and by Ctrl-C: nothing is lost, and the resumed file is equal.

Each round starts the command in a child, stops it after a random time, looks at what it left, runs the line that
resumes, and compares the adapter with that of an uninterrupted run, byte by byte. Not here: Ctrl-C during the imports,
before there is anything to lose.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minilora import cli, style_corpus
from minilora.finetune import run  # noqa: F401 - loaded before the fork, so that a round takes a moment
from tests.helpers import small_gpt

ADAPTER = "adapter_model.safetensors"
ROUNDS = 100


def start(words: list[str], log: Path) -> int:
    """Runs the command in a fork; returns its process once it has begun."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            os.write(writer, b"!")
            status = cli.main(words)
            sys.stdout.flush()
            sys.stderr.flush()
        except KeyboardInterrupt:  # before or after all that the command does
            status = 130
        finally:
            os._exit(status)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return child


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def words(tmp_path, story_model) -> list[str]:
    torch.set_num_threads(1)  # the threads of torch do not survive a fork
    model = small_gpt(vocab_size=3072, max_position_embeddings=128)
    model.tokenizer = story_model.tokenizer
    model.save_pretrained(tmp_path / "base")
    (tmp_path / "text.txt").write_text("\n\n".join(style_corpus("legal", documents=12)), encoding="utf-8")
    words = ["finetune", "--data", str(tmp_path / "text.txt"), "--base", str(tmp_path / "base")]
    words += ["--max-steps", "12", "--save-steps", "2", "--sequence-length", "32", "--lora-dropout", "0.1"]
    return [*words, "--no-samples"]  # which would take most of the time


def line_that_resumes(status: int, log: Path, out: Path, words: list[str]) -> list[str]:
    """What the command advised after Ctrl-C; else what its help says, or the same once more if nothing was begun."""
    if not (out / "run.json").exists():
        return [*words, "--out", str(out)]
    if status != 130:
        return ["finetune", "--resume", "--out", str(out)]
    line = log.read_text(encoding="utf-8").strip().splitlines()[-1].strip()
    assert line.startswith("minilora finetune --resume"), "it did not say how to continue"
    return shlex.split(line)[1:]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.name != "posix", reason="forks, and kills that no process can see coming")
@pytest.mark.parametrize("name", ["kill -9", "Ctrl-C"])
def test_nothing_is_lost_at_any_moment(name, words, tmp_path):
    log, out, rng = tmp_path / "log", tmp_path / "out", random.Random(0)
    begin = time.perf_counter()
    assert status_of(start([*words, "--out", str(tmp_path / "whole")], log)) == 0, log.read_text()
    longest = time.perf_counter() - begin
    whole = (tmp_path / "whole" / ADAPTER).read_bytes()
    counts: Counter[str] = Counter()
    for n in range(ROUNDS):
        if n % 10 == 0:
            print(n, dict(counts), flush=True)
        shutil.rmtree(out, ignore_errors=True)
        child = start([*words, "--out", str(out)], log)
        time.sleep(rng.uniform(0, longest))
        os.kill(child, signal.SIGKILL if name == "kill -9" else signal.SIGINT)
        status, said = status_of(child), log.read_text(encoding="utf-8")
        assert status in (0, -signal.SIGKILL if name == "kill -9" else 130), said
        assert "Traceback" not in said
        counts["complete" if status == 0 else "begun" if (out / "run.json").exists() else "not begun"] += 1
        counts["with a save"] += (out / "training_state.safetensors").exists() and status != 0
        if status == 0:
            assert (out / ADAPTER).read_bytes() == whole
        elif (out / ADAPTER).exists() and name == "Ctrl-C":
            part = load_file(out / ADAPTER)
            assert any(value.any() for key, value in part.items() if "lora_B" in key), "an untrained adapter"
        elif (out / ADAPTER).exists():
            assert (out / ADAPTER).read_bytes() == whole
        again = line_that_resumes(status, log, out, words)
        assert status_of(start(again, log)) == 0, log.read_text(encoding="utf-8")
        assert (out / ADAPTER).read_bytes() == whole
    print(dict(counts))
    assert counts["with a save"] > ROUNDS // 10
