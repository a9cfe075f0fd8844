"""The pages: in step with their sources, complete in what a page has, and run again by nbval (slow).

Not here: the claims (test_pages.py), and the rules for a page's text (test_page_rules.py).
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
sys.path.insert(0, str(ROOT / "tools"))

import build_notebooks  # noqa: E402


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_leads_to_its_exercises(page):
    exercises = ROOT / "exercises" / page.name
    if not exercises.exists():
        return
    cells = nbformat.read(page, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    names = re.findall(r'check\(\\"([a-z0-9-]+)\\"', exercises.read_text(encoding="utf-8"))
    missing = [name for name in names if f"`{name}`" not in prose]
    assert f"(../exercises/{page.name})" in prose
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_line_fits_a_window_of_1280_pixels(page):
    """106 signs beside JupyterLab's list of files; longer code is cut off."""
    for cell in nbformat.read(page, as_version=4).cells:
        if cell.cell_type == "code":
            assert [line for line in cell.source.splitlines() if len(line) > 106] == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nbval_runs_the_pages_from_the_top(tmp_path):
    """Every cell runs without an error; outputs are not stored, so there are none to compare."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "--nbval-current-env",
        "--nbval-cell-timeout=300",
    ]
    command += ["-p", "no:cacheprovider", "-o", "addopts=", *map(str, PAGES)]
    environment = dict(os.environ, MINILORA_HOME=str(tmp_path), MINILORA_CACHE=str(tmp_path))
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_an_executed_copy_holds_nothing_that_ails(tmp_path):
    """What build_notebooks.py looks for in an executed copy: errors, warnings, and places on this machine."""
    fine = new_code_cell("1", outputs=[new_output("stream", text="3 kB saved in my-style-adapter")])
    error = new_code_cell("2", outputs=[new_output("error", ename="E", evalue="", traceback=[])])
    warning = new_code_cell("3", outputs=[new_output("stream", name="stderr", text="a warning")])
    place = new_code_cell("4", outputs=[new_output("stream", text=f"in {ROOT / 'notebooks'}")])
    for cell, problems in ((fine, 0), (error, 1), (warning, 1), (place, 1)):
        assert len(build_notebooks.unfit_outputs(new_notebook(cells=[cell]))) == problems


def test_a_notebook_with_outputs_is_not_in_step(tmp_path, monkeypatch):
    source = tmp_path / "03_lora.py"
    source.write_text("# %%\n1 + 1\n", encoding="utf-8")
    monkeypatch.setattr(build_notebooks, "NOTEBOOKS", tmp_path)
    built = build_notebooks.target(source)
    assert "never built" in build_notebooks.differences(source)[0]
    built.write_text(build_notebooks.as_text(source), encoding="utf-8")
    assert build_notebooks.differences(source) == []
    notebook = nbformat.read(built, as_version=4)
    notebook.cells[0].execution_count = 1
    nbformat.write(notebook, built)
    assert "not what its source gives" in build_notebooks.differences(source)[0]
