"""The pages: in step with their sources, executed, without names of this machine; run again by nbval (slow)."""

import ast
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
CLAIMS = Path(__file__).parent / "claims.tsv"  # the 29 claims of the textbook chapter, in our words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_code_cell_was_executed_and_names_no_machine(page):
    notebook = nbformat.read(page, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in cells)
    outputs = json.dumps([cell.outputs for cell in cells])
    assert '"output_type": "error"' not in outputs
    assert not re.search(r"/(root|home|tmp|work|Users)/\w", outputs)


def cells_of_claims() -> dict[str, tuple[Path, str]]:
    """Claim -> (page, code of its cell)."""
    found: dict[str, tuple[Path, str]] = {}
    for page in PAGES:
        for cell in nbformat.read(page, as_version=4).cells:
            for tag in cell.metadata.get("tags", []):
                if tag.startswith("claim:"):
                    assert tag not in found, f"{tag} is proven in two places"
                    found[tag.removeprefix("claim:")] = page, cell.source
    return found


def test_the_peak_that_page_05_quotes_is_the_recorded_one():
    record = ROOT / "benchmarks" / "results" / "seven_billion.json"
    peak = json.loads(record.read_text(encoding="utf-8"))["qlora_in_24_gb"]["peak"]
    assert f"measured = {peak:_}  # bytes" in cells_of_claims()["single-gpu"][1]


def test_every_claim_of_the_chapter_has_its_cell():
    listed = [line.split("\t")[0] for line in CLAIMS.read_text(encoding="utf-8").splitlines()[1:]]
    assert len(listed) == 29
    assert sorted(cells_of_claims()) == sorted(listed)


@pytest.mark.parametrize("claim", sorted(cells_of_claims()))
def test_the_assertions_of_a_claim_can_fail(claim):
    """Each compares something that the page computed; between literals alone there is nothing to find out."""
    page, source = cells_of_claims()[claim]
    code = "\n".join(
        cell.source for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "code"
    )
    computed = names_that_are_computed(ast.parse(code))
    tests = [node.test for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
    assert tests, f"{page.name}: the cell of {claim} asserts nothing"
    for test in tests:
        assert depends_on(test, computed), f"{page.name}, {claim}: {ast.unparse(test)} cannot fail"


def names_that_are_computed(tree: ast.Module) -> set[str]:
    """Names whose value comes from a call, on whatever way; what is made of literals alone is not computed."""
    computed: set[str] = set()
    while True:
        before = len(computed)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.NamedExpr) and node.value:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                value = node.value
            elif isinstance(node, ast.For | ast.comprehension):
                targets, value = [node.target], node.iter
            else:
                continue
            if depends_on(value, computed):
                computed |= {
                    name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)
                }
        if len(computed) == before:
            return computed


def depends_on(expression: ast.expr, computed: set[str]) -> bool:
    """Whether the expression reads a computed name or calls something that is more than arithmetic on literals."""
    arithmetic = {
        "range",
        "len",
        "abs",
        "min",
        "max",
        "sum",
        "zip",
        "enumerate",
        "float",
        "int",
        "items",
        "values",
    }
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and node.id in computed:
            return True
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name not in arithmetic:
                return True
    return False


def test_an_assertion_between_literals_is_found():
    tree = ast.parse("a = 3\nb = {'x': a * 2}\nfor k, v in b.items():\n    pass\nc = measure(a)\nd = c / 2")
    computed = names_that_are_computed(tree)
    assert computed == {"c", "d"}
    assert not depends_on(ast.parse("v < 24e9 and max(a, 2) > 1", mode="eval").body, computed)
    assert depends_on(ast.parse("a < d", mode="eval").body, computed)


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
    """106 signs beside JupyterLab's list of files; longer code is cut off, longer print breaks within a word."""
    for cell in nbformat.read(page, as_version=4).cells:
        printed = [output.text for output in cell.get("outputs", []) if output.output_type == "stream"]
        if ".stream(" in cell.source:  # a model's words as they come, wherever they end
            printed = []
        if cell.cell_type == "code":
            lines = "\n".join([cell.source, *printed]).splitlines()
            assert [line for line in lines if len(line) > 106] == []


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
