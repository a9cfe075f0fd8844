"""The pages: in step with their sources, executed, without names of this machine; run again by nbval (slow)."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

from minilora import widgets
from minilora.figures.svg import still_html

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


AS_MADE = {  # explorables that the pages show as they are made, before anything is moved
    "LoraAnatomy": widgets.lora_anatomy,
    "MemoryExplorer": widgets.memory_explorer,
    "MethodChooser": widgets.method_chooser,
    "ParameterExplorer": widgets.parameter_explorer,
    "QuantizationExplorer": widgets.quantization_explorer,
}


@pytest.mark.parametrize("kind", AS_MADE)
def test_stored_stills_are_what_the_code_draws_today(kind):
    """Fails when a figure has changed and its pages were not built again: python tools/build_notebooks.py"""
    today = words_in(still_html(AS_MADE[kind]().svg, ""))
    stored = {page.stem: words_in(html) for page in PAGES for html in stills(page, kind)}
    assert today
    assert stored, f"no page holds a still of {kind}"
    stale = [page for page, words in stored.items() if words != today]
    assert not stale, "figures have changed; build these pages again"


def stills(page, kind):
    """The HTML of each explorable of this kind in the page; beside it stand words that begin with the kind."""
    for cell in nbformat.read(page, as_version=4).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if data.get("text/plain", "").startswith(f"{kind}:") and "text/html" in data:
                yield data["text/html"]


def words_in(html):
    """All that is written in a still."""
    picture = base64.b64decode(html.split("base64,")[1].split('"')[0])
    return [node.text for node in ElementTree.fromstring(picture).findall(".//{*}text")]


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
