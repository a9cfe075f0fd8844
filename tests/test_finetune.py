"""A fine-tuning run from the command line: what it prints, what it leaves, how it ends, and how it goes on."""

import json
import math
import os
import re
import shlex
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from minilora import GPT, cli, style_corpus
from minilora.finetune import data, run
from minilora.finetune.models import load_base
from minilora.training import Trainer
from minilora.training.datasets import IGNORE
from tests.helpers import small_gpt

ADAPTER = "adapter_model.safetensors"


TEXT = "\n\n".join(style_corpus("legal", documents=30))


@pytest.fixture
def text_file(tmp_path) -> Path:
    path = tmp_path / "letters.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def small_base(tmp_path_factory, story_model) -> str:
    """A checkpoint folder with a model that takes a hundredth of the tiny GPT's time, and its tokenizer."""
    model = small_gpt(vocab_size=3072, max_position_embeddings=128)
    model.tokenizer = story_model.tokenizer
    folder = tmp_path_factory.mktemp("models") / "small base"
    model.save_pretrained(folder)
    return str(folder)


def words_for(text: Path, base: str) -> list[str]:
    words = ["finetune", "--data", str(text), "--base", base, "--max-steps", "6", "--no-samples"]
    return [*words, "--target-modules", "attention"]


@pytest.fixture
def usual(text_file, small_base) -> list[str]:
    """A short run without samples; --out is missing."""
    return words_for(text_file, small_base)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small_base) -> Path:
    """The adapter of the usual run, uninterrupted."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "letters.txt").write_text(TEXT, encoding="utf-8")
    assert cli.main([*words_for(folder / "letters.txt", small_base), "--out", str(folder / "out")]) == 0
    return folder / "out" / ADAPTER


@pytest.fixture
def interrupted_after(monkeypatch):
    """Makes runs stop after so many steps, as an interrupt does."""

    def prepare(steps: int) -> None:
        step = Trainer._train_step

        def stopping(self):
            loss = step(self)
            if self.step == steps:
                self.stop()
            return loss

        monkeypatch.setattr(Trainer, "_train_step", stopping)

    return prepare


# -- a whole run -----------------------------------------------------------------------------------------------


def test_finetune_then_generate_then_peft(text_file, tmp_path, capsys, story_model, small_base):
    out = tmp_path / "adapter"
    options = ["finetune", "--data", str(text_file), "--out", str(out), "--max-steps", "12", "--r", "4"]
    assert cli.main([*options, "--base", small_base]) == 0
    printed = capsys.readouterr().out
    table, _, report = printed.partition("for the 9 steps left")
    for words in ("device", "trainable weights", "rows", "tokens to see", "planned memory", "learning rate"):
        assert words in table
    for words in ("saved file", "peak memory", "time", "prompt:", "before", "next:"):
        assert words in report
    before, after = map(
        float, re.search(r"validation loss +([\d.]+) before, ([\d.]+) after", report).groups()
    )
    assert after < before
    assert "step 2: loss " in printed

    asked = ["generate", "--adapter", str(out), "--prompt", "The little dog", "--max-new-tokens", "15"]
    assert cli.main([*asked, "--temperature", "0"]) == 0  # the base is known from the run
    text = capsys.readouterr().out
    base = AutoModelForCausalLM.from_pretrained(small_base, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, str(out)).eval()
    ids = story_model.tokenizer.encode("The little dog").ids
    tokens = theirs.generate(torch.tensor([ids]), max_new_tokens=15, do_sample=False)[0, len(ids) :].tolist()
    assert text.rstrip("\n") == story_model.tokenizer.decode(tokens).rstrip("\n")


def test_history_has_each_step_and_the_report_as_json_the_same_numbers(usual, tmp_path, capsys):
    words = [word for word in usual if word != "--no-samples"]
    assert cli.main([*words, "--out", str(tmp_path / "out"), "--format", "json", "--eval-steps", "2"]) == 0
    report = json.loads(capsys.readouterr().out)
    lines = [json.loads(line) for line in (tmp_path / "out/history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(7))
    assert [line["step"] for line in lines if "validation_loss" in line] == [0, 2, 4, 6]
    assert report["validation_before"] == lines[0]["validation_loss"]
    assert report["validation_after"] == lines[-1]["validation_loss"]
    assert report["sample_before"] == lines[0]["sample"]
    assert [line["step"] for line in lines if "sample" in line] == [0, 2, 4]
    assert report["sample_after"] is not None
    assert report["file_bytes"] == (tmp_path / "out" / ADAPTER).stat().st_size


def test_the_commands_that_the_report_names_run(usual, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.txt").write_text("The dog ran to the garden. " * 40, encoding="utf-8")
    assert cli.main([*usual, "--out", "my out"]) == 0
    lines = capsys.readouterr().out.split("next:\n")[1].splitlines()
    assert [line.split()[1] for line in lines] == ["generate", "evaluate", "merge", "finetune"]
    for line in lines:
        more = ["--max-new-tokens", "5"] if "generate" in line else []
        assert cli.main([*shlex.split(line)[1:], *more]) == 0, line
    assert cli.main(["evaluate", "--base", "my out-merged", "--data", "other.txt", "--format", "json"]) == 0


@pytest.mark.parametrize(("method", "file"), [("qlora", ADAPTER), ("full", "model.safetensors")])
def test_the_other_methods(method, file, usual, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main([*usual, "--out", str(out), "--method", method]) == 0
    assert (out / file).exists()
    assert method in capsys.readouterr().out
    model = ["--base" if method == "full" else "--adapter", str(out)]
    assert cli.main(["generate", *model, "--prompt", "The", "--max-new-tokens", "3"]) == 0


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (["--learning-rate", "0.1"], True),
        (["--lr-scheduler-type", "constant"], True),
        (["--warmup-ratio", "0.9"], True),
        (["--weight-decay", "0.9"], True),
        (["--max-grad-norm", "0.001"], True),
        (["--seed", "3"], True),
        (["--batch-size", "2"], True),
        (["--sequence-length", "32"], True),
        (["--lora-dropout", "0.5"], True),
        (["--lora-alpha", "1"], True),
        (["--use-rslora"], True),
        (["--r", "2"], True),
        (["--dtype", "bf16"], True),
        (["--target-modules", "q_proj", "v_proj"], True),
        (["--gradient-checkpointing"], False),
        (["--gradient-checkpointing", "--activation-offloading"], False),
        (["--save-steps", "1"], False),
        (["--eval-steps", "1"], False),
        (["--device", "cpu"], False),
    ],
)
def test_each_option_reaches_the_run(options, changes, usual, whole, tmp_path):
    assert cli.main([*usual, *options, "--out", str(tmp_path / "out")]) == 0
    found, plain = load_file(tmp_path / "out" / ADAPTER), load_file(whole)
    same = found.keys() == plain.keys() and all(torch.equal(found[name], plain[name]) for name in plain)
    assert same is not changes


def test_tensorboard_where_it_is_not_installed_is_one_line_and_nothing_is_written(usual, tmp_path, capsys):
    if run.import_summary_writer.__module__ and _has("tensorboard"):
        pytest.skip("tensorboard is installed")
    assert cli.main([*usual, "--out", str(tmp_path / "out"), "--tensorboard"]) == 1
    assert "needs the package tensorboard" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def _has(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def test_tensorboard_gets_the_numbers(usual, tmp_path, monkeypatch):
    logged = []

    class Writer:
        def __init__(self, folder, purge_step):
            logged.append((folder, purge_step))

        def add_scalar(self, key, value, step):
            logged.append((key, step))

        def close(self):
            logged.append("closed")

    from minilora.finetune import watch

    for module in (run, watch):
        monkeypatch.setattr(module, "import_summary_writer", lambda: Writer)
    assert cli.main([*usual, "--out", str(tmp_path / "out"), "--tensorboard"]) == 0
    assert logged[0] == (str(tmp_path / "out" / "tensorboard"), 0)
    assert ("loss", 6) in logged
    assert ("validation_loss", 6) in logged
    assert logged[-1] == "closed"


# -- warnings before training ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("The dog ran. " * 400, ["--max-steps", "6"], "6 steps change little"),
        ("The dog ran. " * 40, ["--max-steps", "60"], "times: the model will recite it"),
        ("The dog ran. " * 40, ["--max-steps", "2"], "tokens only; it says little"),
        ("Собака бежала в сад. " * 100, ["--max-steps", "2"], "breaks this text into pieces of 1."),
        (
            "The dog ran. " * 100,
            ["--max-steps", "2", "--r", "200"],
            "no matrix of that shape has a rank above",
        ),
        ("The dog ran. " * 100, ["--max-steps", "2", "--method", "full", "--dtype", "bf16"], "too coarse"),
    ],
)
def test_what_cannot_work_is_said_before_training(text, options, said, tmp_path, capsys, small_base):
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    words = ["finetune", "--data", str(path), "--base", small_base, "--out", str(tmp_path / "out")]
    assert cli.main([*words, *options, "--no-samples"]) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert any(said in line for line in warned), warned


def test_a_good_run_warns_of_nothing(text_file, tmp_path, capsys, small_base):
    words = ["finetune", "--data", str(text_file), "--base", small_base, "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--max-steps", "25", "--no-samples", "--batch-size", "1"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_a_short_text_gets_short_rows_and_more_epochs(tmp_path, capsys, small_base):
    path = tmp_path / "short.txt"
    path.write_text("\n\n".join(style_corpus("legal", documents=2)), encoding="utf-8")
    words = ["finetune", "--data", str(path), "--base", small_base, "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--no-samples"]) == 0
    kept = json.loads((tmp_path / "out/run.json").read_text())["settings"]
    assert kept["max_steps"] == run.MOST_EPOCHS * 2  # seven rows to train on, four a step
    assert kept["sequence_length"] < 128


# -- honest ends -----------------------------------------------------------------------------------------------


def test_an_interrupt_says_so_saves_and_prints_the_line_that_resumes(
    usual, whole, tmp_path, capsys, interrupted_after, monkeypatch
):
    parts = tmp_path / "in parts"
    capsys.readouterr()
    with monkeypatch.context():
        interrupted_after(2)
        assert cli.main([*usual, "--out", str(parts)]) == 130
    monkeypatch.undo()
    said = capsys.readouterr()
    assert "Interrupted after step 2 of 6" in said.err
    assert "after" not in said.out.split("tokens to see")[1], "nothing was measured after the interrupt"
    assert cli.main([*usual, "--out", str(parts)]) == 1, "a folder in use is not overwritten"
    assert "--resume" in capsys.readouterr().err
    line = said.err.strip().splitlines()[-1]
    assert cli.main(shlex.split(line)[1:]) == 0
    assert (parts / ADAPTER).read_bytes() == whole.read_bytes()
    lines = [json.loads(line)["step"] for line in (parts / "history.jsonl").read_text().splitlines()]
    assert lines == list(range(7))


def test_an_interrupt_before_the_first_step_saves_no_adapter(usual, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    evaluate = Trainer._evaluate

    def stopping(self):
        evaluate(self)
        self.stop()

    with monkeypatch.context() as interrupted:
        interrupted.setattr(Trainer, "_evaluate", stopping)
        assert cli.main([*usual, "--out", str(out)]) == 130
    said = capsys.readouterr().err
    assert "nothing was trained" in said
    assert not (out / ADAPTER).exists()
    assert cli.main(shlex.split(said.strip().splitlines()[-1])[1:]) == 0
    assert (out / ADAPTER).exists()


def test_an_interrupt_while_loading_leaves_nothing(usual, tmp_path, capsys, monkeypatch):
    def load(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run.models, "load_base", load)
    assert cli.main([*usual, "--out", str(tmp_path / "out")]) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_second_interrupt_stops_at_once_and_the_last_save_resumes(
    usual, whole, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    step = Trainer._train_step

    def stopping(self):
        if self.step == 3:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(Trainer, "_train_step", stopping)
        assert cli.main([*usual, "--out", str(out)]) == 130
    said = capsys.readouterr().err
    assert "Stopped at once" in said
    assert cli.main(shlex.split(said.strip().splitlines()[-1])[1:]) == 0
    assert (out / ADAPTER).read_bytes() == whole.read_bytes()


def test_a_reader_that_has_gone_costs_nothing_that_was_learned(usual, tmp_path, monkeypatch):
    out = tmp_path / "out"
    from minilora.finetune.watch import Watch

    show = Watch._show

    def broken(self, trainer, line):
        if trainer.step == 4:
            raise BrokenPipeError
        show(self, trainer, line)

    with monkeypatch.context() as piped:
        piped.setattr(Watch, "_show", broken)
        piped.setattr(os, "dup2", lambda *_: None)
        assert cli.main([*usual, "--out", str(out), "--save-steps", "100"]) == 141
    assert cli.main(["finetune", "--resume", "--out", str(out)]) == 0


@pytest.mark.parametrize("warmup", ["0.05", "0.5"])
def test_a_run_that_diverges_saves_an_adapter_only_if_it_has_learned(warmup, usual, tmp_path, capsys):
    """At once with the first rate of a steep warmup; after two good steps with 1e-30 of it."""
    out = tmp_path / "out"
    assert cli.main([*usual, "--out", str(out), "--learning-rate", "1e30", "--warmup-ratio", warmup]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("minilora: step ")
    assert "--learning-rate below" in said
    assert "no adapter is saved" in said
    assert not (out / ADAPTER).exists()


def test_a_run_that_diverges_late_leaves_its_last_good_adapter(usual, tmp_path, capsys, monkeypatch):
    step = Trainer._train_step

    def worse(self):
        if self.step == 4:
            with torch.no_grad():
                next(iter(self.parameters.values())).fill_(math.nan)
        return step(self)

    monkeypatch.setattr(Trainer, "_train_step", worse)
    out = tmp_path / "out"
    assert cli.main([*usual, "--out", str(out)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"That adapter is saved in {out}")
    assert all(tensor.isfinite().all() for tensor in load_file(out / ADAPTER).values())


# -- resume ----------------------------------------------------------------------------------------------------


def test_a_finished_run_is_extended_or_reported_again(usual, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main([*usual, "--out", str(out)]) == 0
    first = (out / ADAPTER).read_bytes()
    assert cli.main(["finetune", "--resume", "--out", str(out)]) == 0
    assert (out / ADAPTER).read_bytes() == first
    capsys.readouterr()
    assert cli.main(["finetune", "--resume", "--out", str(out), "--max-steps", "9"]) == 0
    assert "9 steps" in capsys.readouterr().out
    assert (out / ADAPTER).read_bytes() != first
    lines = [json.loads(line)["step"] for line in (out / "history.jsonl").read_text().splitlines()]
    assert lines == list(range(10))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--r", "4"], "--r was 8 and is 4"),
        (["--method", "qlora"], "--method was lora and is qlora"),
        (["--seed", "2", "--batch-size", "8"], "--batch-size was 4 and is 8; --seed was 0 and is 2"),
        (["--target-modules", "mlp"], "--target-modules was attention and is mlp"),
        (["--max-steps", "3"], "--max-steps was 6 and is now 3"),
        (["--data", "pirate"], "training data"),
        (["--base", "tiny-gpt"], "the base model is not the same"),
    ],
)
def test_what_contradicts_the_run_is_named_in_one_line(options, said, whole, capsys):
    out = whole.parent
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert cli.main(["finetune", "--resume", "--out", str(out), *options]) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning")]
    assert len(error) == 1
    assert said in error[0]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_text_that_has_moved_may_be_named_anew_and_one_that_has_changed_may_not(
    usual, tmp_path, capsys, text_file
):
    out = tmp_path / "out"
    assert cli.main([*usual, "--out", str(out)]) == 0
    moved = text_file.rename(tmp_path / "moved.txt")
    resume = ["finetune", "--resume", "--out", str(out), "--max-steps", "7"]
    assert cli.main(resume) == 1
    assert "there is no file" in capsys.readouterr().err
    assert cli.main([*resume, "--data", str(moved)]) == 0
    moved.write_text(moved.read_text().replace("the", "a"), encoding="utf-8")
    assert cli.main(["finetune", "--resume", "--out", str(out), "--max-steps", "8"]) == 1
    assert "training data" in capsys.readouterr().err


def test_a_folder_that_holds_something_else_is_left_alone(usual, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("years of work", encoding="utf-8")
    assert cli.main([*usual, "--out", str(tmp_path / "out")]) == 1
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


# -- data ------------------------------------------------------------------------------------------------------

PAIRS = [
    {"prompt": "Where is boat {}?", "completion": "In the garden, dear friend."},
    {"instruction": "Where is boat {}?", "input": "", "output": "In the garden, dear friend."},
    {"messages": [{"role": "user", "content": "Where is boat {}?"},
                  {"role": "assistant", "content": "In the garden, dear friend."}]},
]  # fmt: skip


@pytest.mark.parametrize("form", PAIRS, ids=["completion", "alpaca", "messages"])
def test_each_form_of_a_conversation_gives_the_same_rows_and_learns_its_end(form, tmp_path, story_model):
    path = tmp_path / "talk.jsonl"
    path.write_text(
        "".join(json.dumps(form).replace("{}", str(n)) + "\n" for n in range(4)), encoding="utf-8"
    )
    texts = data.read_texts(path, story_model, 1024)
    assert (texts.count, texts.chat) == (4, True)
    learned = [token for token in texts.rows.targets[0].tolist() if token != IGNORE]
    end = story_model.tokenizer.token_to_id("<|endoftext|>")
    assert end in learned
    text = story_model.tokenizer.decode(learned)
    assert text.strip() == "In the garden, dear friend."


def test_a_folder_of_texts_is_read_in_order_with_their_ends(tmp_path, story_model):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("One dog ran. " * 20, encoding="utf-8")
    (tmp_path / "sub/b.md").write_text("# Two\n\nA cat sat. " * 20, encoding="utf-8")
    (tmp_path / "c.jsonl").write_text(
        json.dumps({"text": "Three birds sang. " * 20}) + "\n", encoding="utf-8"
    )
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    texts = data.read_texts(tmp_path, story_model, 1024)
    assert (texts.count, texts.chat) == (3, False)
    end = story_model.tokenizer.token_to_id("<|endoftext|>")
    assert texts.rows.targets.flatten().tolist().count(end) == 2


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.txt": "The dog ran."}, "needs"),
        ({"a.txt": "  \n"}, "holds no text"),
        ({"a.exe": "x"}, "there is no .txt, .md or .jsonl file"),
        ({"a.jsonl": '{"question": "?"}'}, "line 1: an example must be"),
        ({"a.jsonl": '{"prompt": "?", "completion": "!"}'}, "the data is one conversation"),
        ({"a.jsonl": "{"}, "line 1 is not JSON"),
        ({"a.jsonl": '{"prompt": "?", "completion": "!"}', "b.txt": "x"}, "1 texts beside 1 conversations"),
        ({"a.jsonl": '{"instruction": 3, "output": "!"}'}, 'a turn needs "role"'),
    ],
)
def test_data_that_cannot_be_used_says_why(files, said, tmp_path, capsys, small_base):
    folder = tmp_path / "data"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    assert cli.main(["finetune", "--data", str(folder), "--base", small_base, "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not out.exists()


def test_validation_data_of_its_own(usual, tmp_path, capsys, text_file):
    other = tmp_path / "other.txt"
    other.write_text("\n\n".join(style_corpus("code", documents=4)), encoding="utf-8")
    out = ["--out", str(tmp_path / "out"), "--format", "json"]
    assert cli.main([*usual, *out, "--validation-data", str(other)]) == 0
    report = json.loads(capsys.readouterr().out)
    length = json.loads((tmp_path / "out/run.json").read_text())["settings"]["sequence_length"]
    words = ["evaluate", "--adapter", str(tmp_path / "out"), "--data", str(other), "--format", "json"]
    assert cli.main([*words, "--sequence-length", str(length)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["base"]["loss"] == pytest.approx(report["validation_before"], rel=1e-5)
    assert found["adapter"]["loss"] == pytest.approx(report["validation_after"], rel=1e-5)
    assert found["base"]["perplexity"] == pytest.approx(math.exp(found["base"]["loss"]))


def test_samples_start_with_words_even_where_a_text_is_full_of_blanks(story_model):
    class Rows:
        input_ids = torch.tensor([story_model.tokenizer.encode(" " * 200).ids[:20] * 2 + [0] * 8])

    text = "  " * 90 + "\n\nThe old miller went to the market with his two goats. " * 6
    ids = story_model.tokenizer.encode(text).ids
    rows = Rows()
    rows.input_ids = torch.tensor([ids[start : start + 40] for start in range(0, len(ids) - 40, 40)])
    prompt = data.prompt_from(rows, story_model.tokenizer, chat=False)
    assert len(prompt.split()) >= 4
    assert sum(map(str.isalpha, prompt)) > 12


# -- other models ----------------------------------------------------------------------------------------------


def test_any_causal_model_of_transformers_is_a_base(tmp_path, capsys, text_file, story_model):
    """GPT-2's layout, which our GPT does not compute: trained, continued, evaluated, merged, opened by peft."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=3072, n_embd=32, n_layer=2, n_head=2, n_positions=128, bos_token_id=0, eos_token_id=0
    )
    base, out, merged = (str(tmp_path / name) for name in ("gpt2", "out", "merged"))
    GPT2LMHeadModel(config).save_pretrained(base)
    (tmp_path / "gpt2/tokenizer.json").write_text(story_model.tokenizer.to_str(), encoding="utf-8")
    words = ["finetune", "--data", str(text_file), "--base", base, "--out", out, "--max-steps", "5"]
    assert cli.main([*words, "--learning-rate", "0.02"]) == 0
    assert "not planned" in capsys.readouterr().out
    asked = ["--prompt", "The dog", "--max-new-tokens", "8", "--temperature", "0"]
    texts = []
    assert cli.main(["merge", "--adapter", out, "--out", merged]) == 0
    capsys.readouterr()
    for model in (["--adapter", out], ["--base", merged], ["--base", base]):
        assert cli.main(["generate", *model, *asked]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), out).eval()
    ids = torch.tensor([story_model.tokenizer.encode("The dog").ids])
    tokens = theirs.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :].tolist()
    assert texts[0].rstrip("\n") == story_model.tokenizer.decode(tokens).rstrip("\n")


def test_without_transformers_such_a_model_is_refused_with_the_reason(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ValueError, match=r"model_type is 'gpt2'.*Where transformers is installed"):
        load_base(tmp_path)


# -- with a trained model --------------------------------------------------------------------------------------


def test_an_embedded_adapter_goes_by_its_name(capsys):
    asked = ["generate", "--prompt", "The little dog", "--max-new-tokens", "15", "--seed", "1"]
    texts = []
    for adapter in ([], ["--adapter", "legal"], ["--adapter", "legal", "--load-in-4bit"]):
        assert cli.main([*asked, *adapter]) == 0
        texts.append(capsys.readouterr().out)
    assert len(set(texts)) == 3
    assert cli.main([*asked, "--adapter", "pirate"]) == 1
    assert "code, legal, support" in capsys.readouterr().err


def test_an_adapter_on_another_base_needs_an_option_that_the_message_names(capsys, small_base):
    words = ["generate", "--prompt", "The", "--adapter", "legal", "--base", small_base]
    assert cli.main(words) == 1
    assert "--any-base" in capsys.readouterr().err


def test_a_merged_checkpoint_says_the_same_as_base_and_adapter(tmp_path, capsys):
    merged = str(tmp_path / "merged")
    assert cli.main(["merge", "--adapter", "legal", "--out", merged]) == 0
    capsys.readouterr()
    texts = []
    for model in (["--adapter", "legal"], ["--base", merged]):
        words = ["--prompt", "The little dog", "--max-new-tokens", "15", "--temperature", "0"]
        assert cli.main(["generate", *model, *words]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert GPT.from_pretrained(merged).tokenizer is not None
    assert cli.main(["merge", "--adapter", "legal", "--out", merged]) == 1
    assert "--out" in capsys.readouterr().err


def test_a_chat_streams_switches_adapters_and_ends(capsys, monkeypatch):
    lines = iter(
        ["Hello", "/adapter legal", "Hello", "/strength 0", "/reset", "Hello", "/adapter off", "/adapter nowhere",
         "/strength 1", "/strenth 2", "/help", "", "/quit", "never asked"]
    )  # fmt: skip
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert cli.main(["chat", "--max-new-tokens", "6", "--temperature", "0"]) == 0
    said = capsys.readouterr().out
    assert next(lines) == "never asked"
    for words in ("adapter legal", "strength 0", "a new conversation", "the base alone", "no adapter folder"):
        assert words in said
    assert "no adapter is active" in said
    assert "did you mean strength?" in said
    assert "Traceback" not in said


def test_at_strength_0_a_chat_is_the_base(monkeypatch, capsys):
    from minilora.commands.chat import Settings, Talk

    settings = Settings(max_new_tokens=8, temperature=0.0)
    talk = Talk(GPT.from_pretrained("tiny-gpt"), settings)
    answers = []
    for change in ((), ("adapter", "legal"), ("strength", "0"), ("adapter", "off")):
        if change:
            talk.command(*change)
        talk.command("reset")
        talk.answer("The little dog")
        answers.append(talk.turns[-1]["content"])
    assert answers[0] == answers[2] == answers[3] != answers[1]


def test_a_long_chat_forgets_its_oldest_turns(monkeypatch, capsys, small_base):
    from minilora.commands.chat import Settings, Talk

    talk = Talk(GPT.from_pretrained(small_base), Settings(max_new_tokens=20, temperature=0.0))
    for n in range(12):
        talk.answer(f"Question {n} about the dog?")
    assert "Question 11" in talk.turns[-2]["content"]
    assert len(talk.turns) < 24


def test_ctrl_c_ends_an_answer_and_not_the_chat(monkeypatch, capsys):
    from minilora.commands.chat import Settings, Talk

    def stream(*_):
        yield "Ahoy"
        raise KeyboardInterrupt

    talk = Talk(GPT.from_pretrained("tiny-gpt"), Settings())
    monkeypatch.setattr(talk.model, "stream", stream)
    talk.answer("Hello")
    assert talk.turns[-1] == {"role": "assistant", "content": "Ahoy"}
    assert "[stopped]" in capsys.readouterr().out
