"""The command line as a person uses it: it does what it says, and its errors are one line that helps."""

import importlib
import json
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest

from minilora import __version__, cli, doctor
from minilora.memory import METHODS, gigabytes, plan_memory
from minilora.options import REQUIRED, declared, flag

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


COMMANDS = list(cli.COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finetune", "--data", "missing.txt", "--out", "x"], "there is no file missing.txt"),
        (["finetune", "--data", "setup.exe", "--out", "x"], "there is no file"),
        (["finetune", "--out", "x"], "--data is missing"),
        (["finetune", "--resume", "--out", "x"], "there is no run to resume in x"),
        (["finetune", "--data", "pirate", "--out", "x", "--r", "0"], "--r is 0; it must be a whole number"),
        (["finetune", "--data", "pirate", "--out", "x", "--method", "lorra"], "full; did you mean lora?"),
        (
            ["finetune", "--data", "pirate", "--out", "x", "--epochs", "1", "--max-steps", "2"],
            "--epochs 1, --max-steps 2: give one",
        ),
        (["finetune", "--data", "pirate", "--out", "x", "--lora-dropout", "1.5"], "--lora-dropout is 1.5"),
        (["finetune", "--data", "pirate", "--out", "x", "--learning-rate", "-1"], "--learning-rate is -1"),
        (["finetune", "--data", "pirate", "--out", "x", "--target-modules", "nose"], "'nose'"),
        (["finetune", "--data", "pirate", "--out", "x", "--device", "toaster"], '--device is "toaster"'),
        (
            ["finetune", "--data", "pirate", "--out", "x", "--config", "none.toml"],
            "there is no file none.toml",
        ),
        (["evaluate", "--data", "missing.txt"], "there is no file missing.txt"),
        (["merge", "--adapter", "nowhere", "--out", "x"], "no adapter folder nowhere"),
        (["generate", "--prompt", "Hi", "--temperature", "-1"], "--temperature is -1"),
        (["generate", "--prompt", ""], "the prompt is empty"),
        (["generate", "--base", "no-such-model", "--prompt", "Hi"], "available: tiny-gpt"),
        (["generate", "--adapter", "nowhere", "--prompt", "Hi"], "no adapter folder nowhere"),
        (["generate", "--prompt", "Hi", "--max-new-tokens", "100000"], "lower --max-new-tokens"),
        (["fetch", "gpt-5"], "available: smollm2-135m-instruct"),
        (["plan", "--model", "gpt-5"], "no model 'gpt-5' in the catalog; it has tiny-gpt"),
        (["plan", "--gpu", "0"], "--gpu is 0; give the GPU's memory in GB"),
        (["plan", "--gpu", "inf"], "--gpu is inf"),
        (["plan", "--r", "0"], "--r is 0; it must be a whole number of at least 1"),
        (
            ["plan", "--sequence-length", "999999"],
            "--sequence-length 999999 is longer than the 131072 tokens",
        ),
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


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_examples_that_parse_and_a_sentence_and_a_default_for_each_option(
    name, capsys, monkeypatch
):
    with pytest.raises(SystemExit) as stopped:
        cli.main([name, "--help"])
    assert stopped.value.code == 0
    text, _, examples = capsys.readouterr().out.partition("examples:\n")
    module = importlib.import_module(f"minilora.commands.{name.replace('-', '_')}")
    words = " ".join(text.split())
    for field in declared(module.Settings):
        assert field.metadata["positional"] or flag(field.name) in words
        assert len(field.metadata["help"]) > 4
        if type(field.default) in (int, float, str) and field.default != "" and field.default is not REQUIRED:
            assert re.search(r"\(default .*?\)", words.split(flag(field.name) + " ")[-1]), field.name
    seen = []
    monkeypatch.setattr(module, "run", lambda settings: seen.append(settings) or 0)
    for line in examples.strip().splitlines():
        assert cli.main(shlex.split(line)[1:]) == 0
    assert len(seen) == len(module.EXAMPLES) > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["finetune", "--lerning-rate", "1", "--out", "x"], "did you mean --learning-rate?"),
        (["finetune", "--save-every", "1", "--out", "x"], "did you mean --save-steps?"),
        (["finetune", "--steps=9", "--out", "x"], "did you mean --max-steps?"),
        (["finetune", "--data", "a.txt"], "--out must be given"),
        (["finetune", "--out", "x", "--r", "four"], "invalid int value: 'four'"),
        (["generate", "--prompt", "The", "dog"], "'dog' is one word too many"),
        (["generate"], "--prompt must be given"),
        (["merge", "--base", "x"], "--adapter, --out must be given"),
    ],
)
def test_a_wrong_option_gets_one_line_with_the_nearest_name(words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"minilora {words[0]}: ")
    assert said in line


def test_the_command_alone(capsys):
    assert cli.main(["fintune"]) == 2
    assert "did you mean finetune?" in capsys.readouterr().err
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"minilora {__version__}\n"
    assert cli.main([]) == 2
    assert cli.main(["--help"]) == 0
    assert all(f"  {name} " in capsys.readouterr().out for name in COMMANDS[:1])


def test_every_command_has_a_module_and_the_reverse():
    files = {path.stem for path in (Path(cli.__file__).parent / "commands").glob("[!_]*.py")}
    assert files == {name.replace("-", "_") for name in COMMANDS}


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close in another way there")
def test_a_reader_that_has_seen_enough_ends_it_quietly():
    """The command writes more than a pipe holds, to a reader that has gone."""
    code = "import sys; from minilora import cli; sys.exit(cli.main(['plan', '--format', 'json']))"
    slow = f"import time; time.sleep(0.5); {code}"
    running = subprocess.Popen(
        [sys.executable, "-c", slow], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    running.stdout.close()
    assert running.stderr.read() == ""
    assert running.wait() == 141


def test_an_interrupt_is_130(monkeypatch, capsys):
    from minilora.commands import plan

    def interrupted(settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(plan, "run", interrupted)
    assert cli.main(["plan"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_doctor_finds_nothing_wrong_here_and_says_what_is_broken_elsewhere(capsys, monkeypatch):
    assert cli.main(["doctor"]) == 0
    table = capsys.readouterr().out
    assert table.isascii()
    assert "training" in table
    assert "s a step" in table
    for slow in (
        "training_step",
        "explorable",
    ):  # tried above; from here on it is about how the outcome is told
        monkeypatch.setattr(doctor, slow, lambda: "tried before")
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
    names = {re.match(r"[\w-]+", line)[0] for line in asked} - {"psutil", "minilora", "tomli"}
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
        method: plan_memory(
            "llama-3.1-8b",
            method,
            target_modules="all-linear",
            sequence_length=1024,
            optimizer="adamw-master",
        )
        for method in METHODS
    }
    assert cli.main(options) == 0
    table = capsys.readouterr().out
    rows = {line[:26].strip(): line[26:].split("  ") for line in table.splitlines()}
    for row, number in (("weights", lambda p: p.parts["weights"].bytes), ("at the peak", lambda p: p.total)):
        cells = [cell.strip() for cell in rows[row] if cell.strip()]
        assert cells == [gigabytes(number(plan)) for plan in plans.values()]
    missing = gigabytes(-plans["full"].headroom(24) * 1e9)
    assert f"Full   {missing} over (needs 6 GPUs)" in table
    assert f"QLoRA  fits, {gigabytes(plans['qlora'].headroom(24) * 1e9)} to spare" in table

    assert cli.main([*options, "--format", "json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert {method: row["total"] for method, row in read.items()} == {m: p.total for m, p in plans.items()}
    assert [row["fits"] for row in read.values()] == [False, True, True]
    assert read["full"]["cards"] == 6


def test_each_option_of_plan_reaches_the_planner(capsys):
    def totals(*options: str) -> dict[str, int]:
        assert cli.main(["plan", "--model", "smollm2-135m", "--format", "json", *options]) == 0
        return {method: row["total"] for method, row in json.loads(capsys.readouterr().out).items()}

    usual = totals()
    more = (["--batch-size", "8"], ["--sequence-length", "2048"], ["--r", "64"], ["--dtype", "fp32"])
    for options in (*more, ["--target-modules", "mlp"]):
        assert any(totals(*options)[method] > usual[method] for method in METHODS), options
    for options in (["--gradient-checkpointing"], ["--double-quant"], ["--optimizer", "adamw"]):
        assert any(
            totals("--sequence-length", "2048", *options)[m] < totals("--sequence-length", "2048")[m]
            for m in METHODS
        ), options
