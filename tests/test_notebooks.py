"""The pages: in step with their sources, executed, without names of this machine; run again by nbval (slow)."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_pages_are_in_step_with_their_sources():
    command = [sys.executable, str(ROOT / "tools" / "build_notebooks.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_code_cell_was_executed_and_names_no_machine(page):
    notebook = nbformat.read(page, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in cells)
    outputs = json.dumps([cell.outputs for cell in cells])
    assert '"output_type": "error"' not in outputs
    assert not re.search(r"/(root|home|tmp|work|Users)/\w", outputs)


def test_claims_that_have_a_cell_assert_something():
    ids = []
    for page in PAGES:
        for cell in nbformat.read(page, as_version=4).cells:
            for tag in cell.metadata.get("tags", []):
                if tag.startswith("claim:"):
                    ids.append(tag)
                    assert re.search(r"^ *assert (?!True)", cell.source, re.MULTILINE), f"{page.name}: {tag}"
    assert len(ids) == len(set(ids)), "a claim is proven in one place"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nbval_runs_the_pages_from_the_top(tmp_path):
    """Outputs are compared where they do not depend on the machine (cells without nbval-ignore-output)."""
    sanitize = tmp_path / "sanitize.cfg"
    sanitize.write_text("[address]\nregex: 0x[0-9a-f]+\nreplace: ADDRESS\n", encoding="utf-8")
    options = [
        "--nbval",
        "--nbval-current-env",
        f"--nbval-sanitize-with={sanitize}",
        "--nbval-cell-timeout=300",
    ]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *options,
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        *map(str, PAGES),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
