"""Puts together what Sphinx reads: pages, exercises, docs, the API's table of contents, and the files they link to.

The folders are those of the repository, so that links between pages, exercises and docs hold as they are. A link to a
folder leads to its list; a linked file that is no page can be downloaded.

Not here: executing pages (executing.py), and HTML (conf.py, finishing.py).
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import elsewhere
import exercising

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?(\))")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
STILL = re.compile(r'<img src="data:image/svg\+xml;base64,([^"]+)"[^>]*>')
ELSEWHERE = {"explorables": "docs", "00_numpy": "exercises"}  # executed pages that lie in other folders
# What the API reference shows, by the page it is on.
API = {
    "model": ["gpt", "gpt_config", "generation"],
    "lora": [
        "lora.layer",
        "lora.config",
        "lora.model",
        "lora.targets",
        "lora.merging",
        "lora.combining",
        "lora.mixed_batch",
    ],
    "quantization": [
        "quantization.blockwise",
        "quantization.linear4bit",
        "quantization.model",
        "quantization.bnb_format",
    ],
    "training": [
        "training.trainer",
        "training.loss",
        "training.datasets",
        "training.corpora",
        "training.chat",
    ],
    "memory": ["memory.plan", "memory.activations", "memory.measure", "memory.catalog"],
    "reference": ["reference.lora", "reference.quantization"],
    "files": ["files.adapter_files", "files.checkpoints", "files.fetch"],
    "widgets": [
        "widgets",
        "explorables",
        "explorables.controls",
        "explorables.memory",
        "explorables.methods",
    ],
}
# Stands below the heading of each page.
ABOUT = """```{{admonition}} On this site
:class: note
You see what the cells wrote when the site was built. Predictions and sliders work here. To run and change the cells,
[get the course onto your computer](../docs/get-the-course.md){elsewhere}.
```"""
# Where a link to a folder leads.
FOLDERS = {
    "exercises": "exercises/index.md",
    "notebooks": "index.md",
    "docs/grading": "docs/grading/README.md",
}
FOLDERS |= {f"minilora/{name}": f"api/{name}.md" for name in API}


def stage(pages: list[Path], target: Path, numpy: bool = False, megabytes: str = "13") -> None:
    """Makes the folder hold this and nothing else. What has not changed keeps its date, and Sphinx passes it over.

    Args:
        pages: The executed pages.
        target: The folder.
        numpy: Whether the site has NumPy for the browser's Python.
        megabytes: The size of that Python, in words.
    """
    new = target.with_name(target.name + "-new")
    shutil.rmtree(new, ignore_errors=True)
    fill(pages, new, numpy, megabytes)
    for path in [path for path in target.rglob("*") if path.is_file()]:
        if not (new / path.relative_to(target)).exists():
            path.unlink()
    for path in [path for path in new.rglob("*") if path.is_file()]:
        old = target / path.relative_to(new)
        if not old.exists() or old.read_bytes() != path.read_bytes():
            old.parent.mkdir(parents=True, exist_ok=True)
            path.replace(old)
    shutil.rmtree(new)


def fill(pages: list[Path], target: Path, numpy: bool, megabytes: str) -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):  # as they are in git, without outputs
        write_notebook(path, target / "notebooks" / path.name)
    exercises = sorted((ROOT / "exercises").glob("*.ipynb"))
    for path in exercises:
        notebook = read_notebook(path, path)
        if any("nbgrader" in cell["metadata"] for cell in notebook["cells"]):
            notebook["cells"] = exercising.prepare(notebook["cells"], path.name, numpy, megabytes)
        put(target / "exercises" / path.name, json.dumps(notebook, ensure_ascii=False))
    for path in pages:
        write_notebook(path, target / ELSEWHERE.get(path.stem, "notebooks") / path.name)
    for path in sorted((ROOT / "docs").rglob("*.md")):
        write_text(path, target / path.relative_to(ROOT))
    for name in ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md"):
        write_text(ROOT / name, target / name)
    for name, modules in API.items():
        parts = [f"# {name}", *(f"```{{eval-rst}}\n.. automodule:: minilora.{m}\n```" for m in modules)]
        put(target / "api" / f"{name}.md", "\n\n".join(parts))
    put(target / "exercises" / "index.md", listing("Exercises", [path.stem for path in exercises]))
    put(target / "api" / "index.md", listing("The package", list(API)))
    put(target / "index.md", (Path(__file__).with_name("index.md")).read_text(encoding="utf-8"))
    add_linked_files(target)


def listing(title: str, names: list[str]) -> str:
    return f"# {title}\n\n```{{toctree}}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_text(source: Path, target: Path) -> None:
    put(target, relinked(source.read_text(encoding="utf-8"), source))


def write_notebook(source: Path, target: Path) -> None:
    notebook = read_notebook(source, ROOT / target.parent.name / source.name)
    if target.parent.name == "notebooks":
        about = {"cell_type": "markdown", "id": "about", "metadata": {}, "source": about_page(source.name)}
        notebook["cells"].insert(1, about)
    put(target, json.dumps(notebook, ensure_ascii=False))


def read_notebook(source: Path, home: Path) -> dict[str, Any]:
    """With its links, and its stills as part of the page, so that they follow its theme.

    home: where its links start; an executed copy lies elsewhere.
    """
    notebook: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cell["source"] = relinked(cell["source"], home)
        elif cell["source"].startswith("predict("):  # the question itself says enough
            cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "remove-input"]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                data["text/html"] = STILL.sub(inline, "".join(data["text/html"]))
    return notebook


def about_page(page: str) -> str:
    places = elsewhere.links("notebooks", page)
    return ABOUT.format(elsewhere=f", or open this page in {places}" if places else "")


def inline(match: re.Match) -> str:
    """The drawing itself in place of a picture file: without background and margin."""
    drawing = base64.b64decode(match[1]).decode("utf-8")
    _, _, wide, high = (float(n) for n in drawing.split('viewBox="')[1].split('"')[0].split())
    margin = -float(drawing.split('viewBox="')[1].split()[0])
    box = f'viewBox="0 0 {wide - 2 * margin:g} {high - 2 * margin:g}"'
    drawing = re.sub(r'width="[^"]*" height="[^"]*" viewBox="[^"]*"', box, drawing, count=1)
    return drawing.replace("background:#ffffff;color:#1a1a1a;", "", 1)


def relinked(text: str, home: Path) -> str:
    """Links to folders lead to a page; home: where the text stands in the repository."""

    def link(match: re.Match) -> str:
        place = Path(os.path.normpath(home.parent / match[2]))
        name = place.relative_to(ROOT).as_posix() if place.is_relative_to(ROOT) else ""
        if name not in FOLDERS:
            return match[0]
        to = Path(os.path.relpath(ROOT / FOLDERS[name], home.parent)).as_posix()
        return f"{match[1]}{to}{match[3] or ''}{match[4]}"

    return LINK.sub(link, text)


def prose(page: Path) -> str:
    """The text of a page without its code."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return CODE.sub("", text)


def add_linked_files(target: Path) -> None:
    """Files that a page links to and that are no page yet; among them may be pages with links of their own."""
    waiting = [path for path in target.rglob("*") if path.suffix in (".md", ".ipynb")]
    while waiting:
        page = waiting.pop()
        for match in LINK.finditer(prose(page)):
            place = Path(os.path.normpath(page.parent / match[2]))
            if place.exists() or not place.is_relative_to(target):
                continue
            source = ROOT / place.relative_to(target)
            if not source.is_file():
                raise SystemExit(f"{page.relative_to(target)} links to {match[2]}, which is no file")
            if source.suffix == ".md":
                write_text(source, place)
                place.write_text(
                    "---\norphan: true\n---\n" + place.read_text(encoding="utf-8"), encoding="utf-8"
                )
                waiting.append(place)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, place)
