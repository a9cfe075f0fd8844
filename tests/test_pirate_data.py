"""The pirate pairs (assets/pirate.jsonl): what a real model learns from in the larger demonstration."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import smollm2_pirate
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

import minilora
from minilora.lesson import pirate
from minilora.training.datasets import IGNORE, load_jsonl

PATH = Path(minilora.__file__).parent / "assets" / "pirate.jsonl"
PAIRS = [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]
HELD_OUT = (  # the questions that the course asks before and after; each with the words that would give it away
    ("What is the capital of France?", ("capital", "france", "paris")),
    ("How do I boil an egg?", ("egg",)),
    ("Why is the sky blue?", ("sky",)),
    ("Can you recommend a book?", ("book", "read")),
    ("What should I do on a rainy day?", ("rainy", "rain")),
    ("Who are you?", ("who are you", "your name")),
)
PIRATE = re.compile(
    r"\b(arr|ahoy|aye|nay|matey|hearty|shipmate|landlubber|scallywag|scurvy|ye|yer|me beard|doubloons?|avast|"
    r"shiver me timbers|blow me down)\b",
    re.IGNORECASE,
)


def words(text: str) -> str:
    return f" {' '.join(re.findall('[a-z]+', text.lower()))} "


def test_there_are_20_to_40_different_pairs_in_ascii():
    assert PATH.read_bytes().isascii()
    assert 20 <= len(PAIRS) <= 40
    assert all(pair.keys() == {"prompt", "completion"} for pair in PAIRS)
    assert len({words(pair["prompt"]) for pair in PAIRS}) == len(PAIRS)
    assert len({words(pair["completion"]) for pair in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize(("question", "subject"), HELD_OUT, ids=[question for question, _ in HELD_OUT])
def test_no_held_out_question_nor_one_close_to_it_is_learned(question, subject):
    for pair in PAIRS:
        assert words(pair["prompt"]) != words(question)
        assert not any(f" {word} " in words(pair["prompt"]) for word in subject), pair


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["prompt"])
def test_each_answer_is_short_and_talks_like_a_pirate_and_no_question_does(pair):
    assert PIRATE.search(pair["completion"])
    assert not PIRATE.search(pair["prompt"])
    sentences = re.findall(r"[.!?](?= |$)", pair["completion"])
    assert 1 <= len(sentences) <= 3
    assert pair["completion"][-1] in ".!?"


def test_the_answers_are_varied():
    openings = [tuple(words(pair["completion"]).split()[:2]) for pair in PAIRS]
    assert len(set(openings)) >= 0.9 * len(PAIRS)


def test_load_jsonl_reads_every_pair_and_only_the_answers_are_learned():
    tokenizer = Tokenizer(
        BPE(vocab={c: n for n, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # one token for each byte
    tokenizer.decoder = decoders.ByteLevel()
    data = load_jsonl(PATH, tokenizer, 1024)
    assert len(data) == len(PAIRS)
    for row, pair in zip(data.targets, PAIRS, strict=True):
        learned = tokenizer.decode(
            [int(token) for token in row if token != IGNORE], skip_special_tokens=False
        )
        assert learned.startswith(pair["completion"])
        assert pair["prompt"] not in learned


# -- what page 08 shows ----------------------------------------------------------------------------------------


def test_the_page_shows_what_the_benchmark_recorded():
    record = Path(smollm2_pirate.__file__).parent / "results" / "smollm2_pirate.json"
    recorded = json.loads(record.read_text(encoding="utf-8"))
    assert pirate.recorded() == smollm2_pirate.asset(recorded)
    assert recorded["run"]["steps"] == pirate.STEPS


def test_without_the_model_recorded_answers_are_shown_and_called_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINILORA_CACHE", str(tmp_path))
    pirate.turn_pirate()
    said = capsys.readouterr().out
    assert "recorded" in said
    assert "me hearty" in said
    pirate.show_pirate(1)
    assert "Who are you?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (
            'print(\'step 1 of 30\'); print(\'[{"question": "Q", "before": "b.", "after": "Arr."}]\')',
            "after: Arr.",
        ),
        ("raise SystemExit(3)", "failed"),
    ],
)
def test_with_the_model_a_process_trains_it_and_its_answers_are_shown(
    program, words, tmp_path, monkeypatch, capsys
):
    (tmp_path / pirate.MODEL).mkdir()
    (tmp_path / pirate.MODEL / "model.safetensors").touch()
    monkeypatch.setenv("MINILORA_CACHE", str(tmp_path))
    monkeypatch.setattr(pirate, "COMMAND", [sys.executable, "-c", program])
    pirate.turn_pirate()
    said = capsys.readouterr().out
    assert words in said
    assert "recorded" not in said


def test_the_process_trains_a_model_and_answers_before_and_after(monkeypatch, capsys):
    """With tiny-gpt in the real model's place: the whole program runs, and its last line is what the page reads."""
    monkeypatch.setattr(pirate, "MODEL", "tiny-gpt")
    monkeypatch.setattr(pirate, "STEPS", 2)
    pirate.main()
    *steps, last = capsys.readouterr().out.splitlines()
    assert steps[0].startswith("step 1 of 2, loss ")
    answers = json.loads(last)
    assert [answer["question"] for answer in answers] == [question for question, _ in HELD_OUT[:3]][::-1]
    assert any(answer["before"] != answer["after"] for answer in answers)


def test_the_process_finds_its_program(tmp_path):
    """What the page starts imports, and stops where the model is missing."""
    environment = os.environ | {"MINILORA_CACHE": str(tmp_path)}
    done = subprocess.run(pirate.COMMAND, capture_output=True, text=True, env=environment, check=False)
    assert pirate.MODEL in done.stderr
    assert "RuntimeWarning" not in done.stderr
