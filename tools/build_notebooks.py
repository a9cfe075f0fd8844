"""Builds the pages: notebooks/src/*.py (jupytext's percent format) -> notebooks/*.ipynb, without outputs.

    python tools/build_notebooks.py                      writes every page
    python tools/build_notebooks.py 03 05                writes these two
    python tools/build_notebooks.py --check              are sources and notebooks in step? writes nothing
    python tools/build_notebooks.py --execute 03         executes copies in build/pages and says how long each takes
    python tools/build_notebooks.py --execute --out web  executes copies of all pages in the folder web
    python tools/build_notebooks.py --twice 03           runs every cell two times in a row; writes nothing

Nobody edits the .ipynb files: change the source and build. An executed copy holds outputs that read well without a
kernel: stills in place of live widgets, finished progress bars, and nothing of the machine that built it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
SOURCES = NOTEBOOKS / "src"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
PAGE_SECONDS = 600  # a page that takes longer hangs
SILENT_SECONDS = 3.0  # a reader who sees nothing for longer wonders whether anything happens
VISIBLE = {"stream", "display_data", "execute_result", "update_display_data", "comm_msg"}
WIDGET = "application/vnd.jupyter.widget-view+json"
BAR = re.compile(r"^ *\d+%\|[^|]*\| *\d+/(\d+).*$", re.MULTILINE)  # as tqdm writes it


def main() -> int:
    parser = page_parser(__doc__)
    parser.add_argument("--execute", action="store_true", help="execute copies of the pages")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "pages", help="where these copies go")
    parser.add_argument("--twice", action="store_true", help="run every cell two times; write nothing")
    options = parser.parse_args()
    if options.child:
        execute(Path(options.child[0]), Path(options.child[1]), options.twice)
        return 0
    sources = chosen_sources(SOURCES, options.pages)
    if options.check:
        problems = [problem for path in sources for problem in differences(path)]
        print("\n".join(problems) or f"{len(sources)} pages are in step with their sources")
        return 1 if problems else 0
    if options.execute or options.twice:
        total = sum(executed_copy(path, options.out, options.twice) for path in sources)
        print(f"{total:6.1f} s  in all")
        return 0
    for path in sources:
        target(path).write_bytes(as_text(path).encode("utf-8"))
        print(f"{path.stem}: built")
    return 0


def page_parser(about: str | None) -> argparse.ArgumentParser:
    """What this program and the builder of exercises understand alike: pages, --check, and --child for a child."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", help="beginnings of page names, such as 03; default: all")
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--child", nargs=2, metavar=("NOTEBOOK", "RESULT"), help=argparse.SUPPRESS)
    return parser


def chosen_sources(folder: Path, beginnings: list[str]) -> list[Path]:
    """The sources whose names begin so, all if nothing is asked for; ends the program if there is none."""
    every = sorted(folder.glob("*.py"))
    found = [path for path in every if path.name.startswith(tuple(beginnings or [""]))]
    if not found:
        names = ", ".join(path.stem for path in every)
        sys.exit(f"no page begins with {' or '.join(beginnings)}; there is: {names}")
    return found


def target(source: Path) -> Path:
    return NOTEBOOKS / f"{source.stem}.ipynb"


# -- from source to notebook -----------------------------------------------------------------------------------


def read_source(path: Path) -> NotebookNode:
    """The notebook without outputs; ids and metadata follow from the source alone."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{path.stem[:2]}-{number:02}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def as_text(source: Path) -> str:
    """The file that belongs in notebooks/."""
    return nbformat.writes(read_source(source), version=4) + "\n"


def differences(source: Path) -> list[str]:
    """What keeps the notebook from being its source without outputs, in words; empty if it is."""
    advice = f"run: python tools/build_notebooks.py {source.stem[:2]}"
    if not target(source).exists():
        return [f"{source.stem}: never built; {advice}"]
    if target(source).read_text(encoding="utf-8") != as_text(source):
        return [f"{source.stem}: the notebook is not what its source gives; {advice}"]
    return []


def unfit_outputs(notebook: NotebookNode) -> list[str]:
    """Errors, warnings, and traces of the machine that built the page."""
    problems = []
    home = re.escape(str(Path.home()))
    trace = re.compile(rf"{re.escape(str(ROOT))}|{home}[/\\]|site-packages|/tmp/|[A-Z]:\\\\Users")
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            where = f"cell {cell.id}"
            if output.output_type == "error" or output.get("name") == "stderr":
                problems.append(f"{where} wrote to stderr: {json.dumps(output)[:300]}")
            found = trace.search(json.dumps(output, ensure_ascii=False))
            if found:
                problems.append(f"{where}: its output names a place on this machine: {found.group()}")
    return problems


# -- executed copies --------------------------------------------------------------------------------------------


def executed_copy(source: Path, folder: Path, twice: bool) -> float:
    """Executes one page in a process and a folder of its own; returns its seconds."""
    with tempfile.TemporaryDirectory() as work:
        result = Path(work) / "result.ipynb"
        start = time.perf_counter()
        options = ["--twice"] if twice else []
        # an empty cache: what a page shows must not depend on models that were fetched on this machine
        folders = {"MINILORA_HOME": work, "MINILORA_CACHE": work}
        execute_apart(__file__, source, result, PAGE_SECONDS, *options, **folders)
        seconds = time.perf_counter() - start
        notebook = nbformat.read(result, as_version=4)
    problems = unfit_outputs(notebook)
    if problems:
        sys.exit("\n".join(problems))
    print(f"{seconds:6.1f} s  {source.stem}", flush=True)
    if not twice:
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, folder / f"{source.stem}.ipynb")
    return seconds


def execute_apart(
    program: str, page: Path, result: Path, seconds: int, *options: str, **variables: str
) -> None:
    """Runs `program --child page result` as a process with settings of its own; if it fails or hangs, ours ends."""
    folders = dict.fromkeys(("IPYTHONDIR", "MPLCONFIGDIR", "JUPYTER_RUNTIME_DIR"), str(result.parent))
    environment = os.environ | folders | variables
    environment.setdefault("GOMP_SPINCOUNT", "10000")  # as in environment.py
    environment.pop("NBGRADER_EXECUTION", None)
    command = [sys.executable, program, "--child", str(page), str(result), *options]
    how = {"env": environment, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    try:
        subprocess.run(command, check=True, timeout=seconds, **how)
    except subprocess.TimeoutExpired:
        sys.exit(f"{page.name}: no end after {seconds} s")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.stderr}\n{page.name}: a cell failed; see above")


def execute(source: Path, result: Path, twice: bool) -> None:
    notebook = read_source(source)
    if twice:
        notebook.cells = [
            nbformat.from_dict(cell | {"id": cell.id + turn})
            for cell in notebook.cells
            for turn in (("", "-again") if cell.cell_type == "code" else ("",))
        ]
    # When each cell began and showed something; a bar that moves is a sign too.
    signs: dict[str, list[float]] = {}

    class Client(NotebookClient):
        def process_message(self, msg: Any, cell: NotebookNode, cell_index: int) -> Any:
            if msg["msg_type"] in VISIBLE:
                signs[cell.id].append(time.perf_counter())
            return super().process_message(msg, cell, cell_index)

    def on_start(cell: NotebookNode, cell_index: int) -> None:
        signs[cell.id] = [time.perf_counter()]

    def on_end(cell: NotebookNode, cell_index: int) -> None:
        if cell.cell_type != "code":
            return
        signs[cell.id].append(time.perf_counter())
        silent = max(after - before for before, after in itertools.pairwise(signs[cell.id]))
        if silent > SILENT_SECONDS:
            took = signs[cell.id][-1] - signs[cell.id][0]
            print(f"        {cell.id} showed nothing for {silent:.1f} s of {took:.1f} s", flush=True)

    Client(
        notebook,
        timeout=PAGE_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(result.parent)}},  # what a page writes stays there
        record_timing=False,
        on_cell_execute=on_start,
        on_cell_complete=on_end,
    ).execute()
    tidy(notebook)
    nbformat.write(notebook, result)


def tidy(notebook: NotebookNode) -> None:
    """Leaves what a viewer without a kernel can show: no live widgets, and progress bars at their end."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "data" in output:
                output.data.pop(WIDGET, None)
                words = output.data.get("text/plain", "")
                output.data["text/plain"] = BAR.sub(r"100%|██████████| \1/\1", words)


if __name__ == "__main__":
    sys.exit(main())
