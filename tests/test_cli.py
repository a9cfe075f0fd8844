"""The command line as a person uses it: it does what it says, and its errors are one line that helps."""

import json
import re
import subprocess
import sys
import types
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from minilora import cli, doctor, style_corpus
from minilora.memory import METHODS, gigabytes, plan_memory
from tests.helpers import small_gpt

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def text_file(tmp_path) -> Path:
    path = tmp_path / "letters.txt"
    path.write_text("\n\n".join(style_corpus("legal", documents=30)), encoding="utf-8")
    return path


@pytest.fixture
def small_base(tmp_path, story_model) -> str:
    """A checkpoint folder with a model that takes a hundredth of the tiny GPT's time, and its tokenizer."""
    model = small_gpt(vocab_size=3072, max_position_embeddings=128)
    model.tokenizer = story_model.tokenizer
    model.save_pretrained(tmp_path / "small base")
    return str(tmp_path / "small base")


def test_finetune_then_generate_then_peft(text_file, tmp_path, capsys, story_model, small_base):
    out = tmp_path / "adapter"
    options = ["finetune", "--data", str(text_file), "--out", str(out), "--max-steps", "12", "--r", "4"]
    options += ["--base", small_base]
    assert cli.main(options) == 0
    printed = capsys.readouterr().out
    for words in ("trainable weights", "validation loss", "saved file", "peak memory", "time", "step 2:"):
        assert words in printed
    before, after = (float(word) for word in printed.split("validation loss")[1].split()[0:3:2])
    assert after < before
    assert sorted(p.name for p in out.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]

    asked = ["generate", "--adapter", str(out), "--prompt", "The little dog", "--max-new-tokens", "15"]
    assert cli.main([*asked, "--base", small_base, "--temperature", "0"]) == 0
    text = capsys.readouterr().out
    base = AutoModelForCausalLM.from_pretrained(small_base, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, str(out)).eval()
    ids = story_model.tokenizer.encode("The little dog").ids
    tokens = theirs.generate(torch.tensor([ids]), max_new_tokens=15, do_sample=False)[0, len(ids) :].tolist()
    assert text.rstrip("\n") == story_model.tokenizer.decode(tokens).rstrip("\n")


@pytest.mark.parametrize(
    ("method", "file"), [("qlora", "adapter_model.safetensors"), ("full", "model.safetensors")]
)
def test_the_other_methods(method, file, text_file, tmp_path, capsys, small_base):
    out = tmp_path / "out"
    options = ["finetune", "--data", str(text_file), "--out", str(out), "--base", small_base]
    assert cli.main([*options, "--max-steps", "2", "--method", method]) == 0
    assert (out / file).exists()
    assert method in capsys.readouterr().out


def test_a_run_that_diverges_leaves_its_last_good_adapter(text_file, tmp_path, capsys, small_base):
    out = tmp_path / "out"
    options = [
        "finetune",
        "--data",
        str(text_file),
        "--out",
        str(out),
        "--base",
        small_base,
        "--max-steps",
        "9",
        "--learning-rate",
        "1e30",
    ]
    assert cli.main(options) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("minilora: step ")
    assert said.endswith(f"That adapter is saved in {out}")
    weights = load_file(out / "adapter_model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_an_embedded_adapter_goes_by_its_name(capsys):
    asked = ["generate", "--prompt", "The little dog", "--max-new-tokens", "15", "--seed", "1"]
    texts = []
    for adapter in ([], ["--adapter", "legal"]):
        assert cli.main([*asked, *adapter]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] != texts[1]
    assert cli.main([*asked, "--adapter", "pirate"]) == 1
    assert "code, legal, support" in capsys.readouterr().err


def test_chat_data_and_a_chat_prompt(tmp_path, capsys):
    rows = [{"prompt": f"Where is boat {i}?", "completion": "In the garden, dear friend."} for i in range(20)]
    path = tmp_path / "chat.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    options = [
        "finetune",
        "--data",
        str(path),
        "--out",
        str(tmp_path / "out"),
        "--max-steps",
        "3",
        "--no-samples",
    ]
    assert cli.main(options) == 0
    assert cli.main(["generate", "--chat", "--prompt", "Where?", "--max-new-tokens", "5", "--seed", "1"]) == 0


def test_a_resumed_run_ends_as_an_uninterrupted_one(text_file, tmp_path, monkeypatch, capsys, small_base):
    options = ["finetune", "--data", str(text_file), "--max-steps", "6", "--batch-size", "4", "--no-samples"]
    options += ["--base", small_base]
    assert cli.main([*options, "--out", str(tmp_path / "whole")]) == 0

    from minilora.training import Trainer

    step = Trainer._train_step

    def stop_after_two(self):
        loss = step(self)
        if self.step == 2:
            self.stop()
        return loss

    with monkeypatch.context() as interrupted:
        interrupted.setattr(Trainer, "_train_step", stop_after_two)
        assert cli.main([*options, "--out", str(tmp_path / "parts")]) == 0
    assert cli.main([*options, "--out", str(tmp_path / "parts")]) == 1, "a folder in use is not overwritten"
    assert "resume" in capsys.readouterr().err
    assert cli.main([*options, "--out", str(tmp_path / "parts"), "--resume"]) == 0
    whole, parts = (load_file(tmp_path / run / "adapter_model.safetensors") for run in ("whole", "parts"))
    assert all(torch.equal(parts[name], matrix) for name, matrix in whole.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finetune", "--data", "missing.txt", "--out", "x"], "there is no file missing.txt"),
        (["finetune", "--data", "setup.exe", "--out", "x"], "there is no file"),
        (["generate", "--base", "no-such-model", "--prompt", "Hi"], "available: tiny-gpt"),
        (["generate", "--adapter", "nowhere", "--prompt", "Hi"], "no adapter folder nowhere"),
        (["generate", "--prompt", "Hi", "--max-new-tokens", "100000"], "lower max_new_tokens"),
        (["fetch", "gpt-5"], "available: smollm2-135m-instruct"),
        (["plan", "--model", "gpt-5"], "no model 'gpt-5' in the catalog; it has tiny-gpt"),
        (["plan", "--gpu", "0"], "--gpu is 0; give the GPU's memory in GB"),
        (["plan", "--gpu", "inf"], "--gpu is inf"),
        (["plan", "--r", "0"], "r is 0; it must be a whole number of at least 1"),
        (["plan", "--sequence-length", "999999"], "longer than the 131072 tokens"),
        (["plan", "--dtype", "int4"], "choose one of fp32, bf16, fp16"),
        (["plan", "--target-modules", "q_proj", "nose"], "no linear layer is called 'nose'"),
    ],
)
def test_errors_are_one_helpful_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("minilora: ")
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_utf8_is_refused_with_the_place(tmp_path, capsys):
    path = tmp_path / "latin.txt"
    path.write_bytes("Grüße aus dem Garten".encode("latin-1"))
    assert cli.main(["finetune", "--data", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "position 2 is 0xfc" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["doctor", "fetch", "finetune", "generate", "plan", "grade"])
def test_every_help_has_an_example_that_parses(name, capsys, monkeypatch):
    with pytest.raises(SystemExit) as stopped:
        cli.main([name, "--help"])
    assert stopped.value.code == 0
    example = capsys.readouterr().out.split("example:\n")[1].strip()
    import shlex

    words = shlex.split(example)[1:]
    seen = []
    monkeypatch.setattr(cli, name, lambda options: seen.append(options) or 0)
    assert cli.main(words) == 0
    assert seen


def test_doctor_finds_nothing_wrong_here_and_says_what_is_broken_elsewhere(capsys, monkeypatch):
    assert cli.main(["doctor"]) == 0
    table = capsys.readouterr().out
    assert table.isascii()
    assert "training" in table
    assert "s a step" in table
    assert cli.main(["doctor", "--format", "json"]) == 0
    assert {row["status"] for row in json.loads(capsys.readouterr().out)} <= {"ok", "warn"}

    monkeypatch.setattr(
        doctor, "PACKAGES", {"no-such-package": ("the engine", True, ()), "numpy": ("x", True, ())}
    )
    monkeypatch.setattr(doctor, "tiny_gpt", lambda: 1 / 0)
    assert cli.main(["doctor"]) == 1
    table = capsys.readouterr().out
    assert "fail  no-such-package" in table
    assert "ZeroDivisionError" in table
    assert "broken: no-such-package, tiny-gpt" in table


def test_a_version_that_is_known_to_be_broken_fails():
    import numpy

    assert doctor.package_check("numpy", "the engine", True, (numpy.__version__,)).status == "fail"
    assert doctor.package_check("no-such-package", "charts", False, ()).status == "warn"
    assert doctor.package_check("no-such-package", "tests", None, ()).status == "ok"


def test_doctor_builds_an_explorable_where_that_can_be(monkeypatch):
    check = doctor.guarded("explorables", doctor.explorable)
    assert (check.status, check.found[:17]) == ("ok", "ParameterExplorer")
    with monkeypatch.context() as broken:  # installed, and its import fails
        for name in [name for name in sys.modules if name.startswith("minilora.widgets")]:
            broken.delitem(sys.modules, name)
        broken.setitem(sys.modules, "ipywidgets", types.ModuleType("ipywidgets"))
        broken.setattr(doctor.importlib.util, "find_spec", lambda name: name)
        check = doctor.guarded("explorables", doctor.explorable)
        assert check.status == "fail"
        assert "ImportError" in check.found
    with monkeypatch.context() as still:
        from minilora.widgets import parameter_explorer

        still.setattr(parameter_explorer, "_redraw_after_change", lambda self, change: None)
        assert "did not follow" in doctor.guarded("explorables", doctor.explorable).found
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    check = doctor.guarded("explorables", doctor.explorable)
    assert (check.status, check.found) == ("ok", "not tried, without ipywidgets and anywidget")


def test_doctor_lists_what_the_package_installs():
    """All that pyproject.toml asks for but what only one system, one extra for clusters, or a developer needs."""
    project = tomllib.loads((Path(doctor.__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    asked = [*project["project"]["dependencies"], *extras["models"], *extras["lab"]]
    names = {re.match(r"[\w-]+", line)[0] for line in asked} - {"psutil", "minilora"}
    assert names <= doctor.PACKAGES.keys()


def test_doctor_speaks_without_the_package(tmp_path):
    program = Path(doctor.__file__)
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_plan_puts_the_three_methods_side_by_side(capsys):
    options = [
        "plan",
        "--model",
        "llama-3.1-8b",
        "--gpu",
        "24",
        "--sequence-length",
        "1024",
        "--target-modules",
        "all-linear",
    ]
    plans = {
        method: plan_memory("llama-3.1-8b", method, target_modules="all-linear", sequence_length=1024)
        for method in METHODS
    }
    assert cli.main(options) == 0
    table = capsys.readouterr().out
    rows = {line[:26].strip(): line[26:].split("  ") for line in table.splitlines()}
    for row, number in (("weights", lambda p: p.parts["weights"].bytes), ("at the peak", lambda p: p.total)):
        cells = [cell.strip() for cell in rows[row] if cell.strip()]
        assert cells == [gigabytes(number(plan)) for plan in plans.values()]
    missing = gigabytes(-plans["full"].headroom(24) * 1e9)
    assert f"Full   {missing} over (needs 3 GPUs)" in table
    assert f"QLoRA  fits, {gigabytes(plans['qlora'].headroom(24) * 1e9)} to spare" in table

    assert cli.main([*options, "--format", "json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert {method: row["total"] for method, row in read.items()} == {m: p.total for m, p in plans.items()}
    assert [row["fits"] for row in read.values()] == [False, False, True]
    assert read["full"]["cards"] == 3


def test_each_option_of_plan_reaches_the_planner(capsys):
    def totals(*options: str) -> dict[str, int]:
        assert cli.main(["plan", "--model", "smollm2-135m", "--format", "json", *options]) == 0
        return {method: row["total"] for method, row in json.loads(capsys.readouterr().out).items()}

    usual = totals()
    more = (["--batch-size", "8"], ["--sequence-length", "2048"], ["--r", "64"], ["--dtype", "fp32"])
    for options in (*more, ["--target-modules", "mlp"], ["--optimizer", "adamw-fp32"]):
        assert any(totals(*options)[method] > usual[method] for method in METHODS), options
    for options in (["--gradient-checkpointing"], ["--double-quant"], ["--optimizer", "sgd"]):
        assert any(
            totals("--sequence-length", "2048", *options)[m] < totals("--sequence-length", "2048")[m]
            for m in METHODS
        ), options
