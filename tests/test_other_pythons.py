"""Other Pythons than this one: what can be shown here, and that the workflow's lines for the rest can run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")
FOLDERS = ("minilora", "tools", "tests", "benchmarks", "pretraining")
PEERS = ("peft", "transformers", "bitsandbytes")


def python(version: str) -> str | None:
    """A Python of this version on the path, or among pyenv's."""
    kept = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")
    for program in (shutil.which(f"python{version}"), *map(str, kept)):
        if program and run([program, "-c", ""]).returncode == 0:
            return program
    return None


def run(command: list[str], **more: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | more
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("version", SUPPORTED)
def test_another_python_can_read_every_file_and_the_doctor_speaks_in_it(version, tmp_path):
    """With nothing installed: all of it compiles without a warning, and what is missing is named, not a traceback."""
    program = python(version)
    if program is None:
        pytest.skip(f"there is no Python {version} here")
    compiled = run(
        [program, "-W", "error", "-m", "compileall", "-q", *FOLDERS], PYTHONPYCACHEPREFIX=str(tmp_path)
    )
    assert compiled.returncode == 0, compiled.stdout
    doctor = run([program, "-S", str(ROOT / "minilora" / "doctor.py")])
    assert doctor.returncode == 1
    assert re.search(r"fail +torch +", doctor.stdout)
    assert "broken: torch" in doctor.stdout
    assert "Traceback" not in doctor.stdout + doctor.stderr
    helped = run([program, "-S", str(ROOT / "tools" / "environment.py"), "help"])
    assert helped.returncode == 0
    assert "make lab" in helped.stdout


def test_what_needs_no_pytorch_works_without():
    done = run([sys.executable, str(ROOT / "tests" / "without_torch.py")])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "right and wrong answers get their verdict" in done.stdout


# -- the workflow ------------------------------------------------------------------------------------------------------


def lines(job: str) -> list[str]:
    return [" ".join(step["run"].split()) for step in WORKFLOW[job]["steps"] if "run" in step]


def test_the_workflow_names_each_supported_python():
    assert tuple(WORKFLOW["systems"]["strategy"]["matrix"]["python"]) == SUPPORTED
    assert tuple(WORKFLOW["without-torch"]["strategy"]["matrix"]["python"]) == SUPPORTED
    assert {row["python"] for row in WORKFLOW["torch"]["strategy"]["matrix"]["include"]} <= set(SUPPORTED)


@pytest.mark.slow
def test_the_files_for_the_oldest_pytorch_are_collected_without_the_libraries_that_ask_for_a_newer_one(
    tmp_path,
):
    """As that job does, with the peers out of reach; what it doesn't install must not be imported at the top."""
    hidden = "\n".join(f"sys.modules[{name!r}] = None" for name in PEERS)
    (tmp_path / "hide_peers.py").write_text(f"import sys\n{hidden}\n", encoding="utf-8")
    commands = [shlex.split(line) for line in lines("torch") if line.startswith("pytest")]
    assert commands
    for command in commands:
        arguments = ["-p", "hide_peers", "-p", "no:cacheprovider", "--collect-only", "-q"]
        done = run([sys.executable, "-m", *command, *arguments], PYTHONPATH=str(tmp_path))
        assert done.returncode == 0, done.stdout[-3000:]
        assert "skipped" not in done.stdout, "a whole file would be left out"


def test_the_job_for_the_oldest_pytorch_installs_what_its_tests_import():
    installed = " ".join(line for line in lines("torch") if line.startswith("pip install"))
    third = {"hypothesis", "pytest", "yaml", *PEERS}
    files = [word for line in lines("torch") for word in line.split() if re.match(r"tests/\w+\.py$", word)]
    assert {"tests/test_lora.py", "tests/test_training.py", "tests/test_quantization.py"} <= set(files)
    for file in (*files, "tests/helpers.py"):
        source = (ROOT / file).read_text(encoding="utf-8")
        for name in re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE):
            assert name not in third or name in installed, f"{file} imports {name}"
