"""exercises/AGENTS.md: what it points to is there, and what it lets an assistant pass on gives no answer away."""

import re
import subprocess
import sys
from pathlib import Path

from minilora.exercises import hint, registry
from minilora.exercises.exercise import Exercise

ROOT = Path(__file__).parents[1]
RULES = (ROOT / "exercises" / "AGENTS.md").read_text(encoding="utf-8")


def test_every_path_that_the_rules_name_exists():
    paths = re.findall(r"`([\w/]+/[\w/]*)`", RULES)
    assert len(paths) >= 4
    for path in paths:
        assert (ROOT / path).exists(), path


def test_the_command_for_a_hint_gives_the_next_one_each_time(tmp_path):
    (command,) = re.findall(r'python -c "(.+)"', RULES)
    told = [
        subprocess.run(
            [sys.executable, "-c", command.replace("NAME", "merge")],
            cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert [line.split("hint ")[1][0] for line in (text.split("\n")[0] for text in told)] == ["1", "2"]


def test_no_first_hint_holds_the_solution(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILORA_HOME", str(tmp_path))
    for exercise in registry.EXERCISES:
        said = "".join(repr(hint(exercise.name, 1)).split())
        if isinstance(exercise, Exercise):
            body = exercise.solution_source().split('"""')[-1]
            lines = ["".join(line.split()) for line in body.split("\n") if len(line.strip()) > 12]
            assert not [line for line in lines if line in said], exercise.name
