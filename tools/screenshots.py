"""Pictures of every page and every explorable as a learner meets them, for a look with one's own eyes.

    python tools/screenshots.py --out shots                     all of them
    python tools/screenshots.py --out shots 03 explorables      pages that begin so, and the live explorables

Opens executed copies of the pages (`python tools/build_notebooks.py --execute` makes them) and saves the whole page
1280 and 800 pixels wide, light and dark. Then the same of one notebook in which every explorable is alive. A long page
is cut into pieces of 1500 pixels.

Not here: any judgement; the tests measure contrast and what is cut off (tests/browser).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "build" / "pages").glob("*.ipynb"))
LIVE = "explorables"
WIDTHS = (1280, 800)
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
PIECE = 1500  # pixels: more at once and the words become too small to read

sys.path.insert(0, str(ROOT / "benchmarks"))
from explorables import CELLS, SETUP, browser_page, jupyter_server, open_and_run, write_notebook  # noqa: E402

# As after `jupyter trust`: JupyterLab shows no stored picture of a notebook that it does not trust, only words.
TRUST = (
    "() => jupyterapp.shell.currentWidget.content.widgets.forEach((cell) => { cell.model.trusted = true; })"
)
SCROLLS = "() => document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer')"
HEIGHT = f"() => ({SCROLLS})().scrollHeight"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("only", nargs="*", help=f"beginnings of page names, or {LIVE}; default: all")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the pictures")
    options = parser.parse_args()
    wanted = tuple(options.only or [""])
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, jupyter_server(Path(folder)) as address:
        for path in PAGES:
            shutil.copy(path, folder)
        write_notebook(Path(folder, f"{LIVE}.ipynb"), [SETUP, *(f"{c}\nexplorer" for c in CELLS.values())])
        with browser_page() as page:
            for name in [path.stem for path in PAGES] + [LIVE]:
                if name.startswith(wanted):
                    save(page, address, name, options.out)


def save(page: Any, address: str, name: str, out: Path) -> None:
    if name == LIVE:
        open_and_run(page, address, f"{name}.ipynb", explorables=len(CELLS))
    else:
        page.goto(f"{address}/lab/tree/{name}.ipynb?reset", wait_until="domcontentloaded")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        page.evaluate(TRUST)
    for theme, full_name in THEMES.items():
        change = "(theme) => jupyterapp.commands.execute('apputils:change-theme', { theme })"
        page.evaluate(change, full_name)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(1500)  # formulas and pictures take their places
            page.set_viewport_size({"width": width, "height": page.evaluate(HEIGHT) + 120})
            page.wait_for_timeout(500)
            panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").bounding_box()
            for number, top in enumerate(range(0, int(panel["height"]), PIECE)):
                piece = min(PIECE, panel["height"] - top)
                clip = panel | {"y": panel["y"] + top, "height": piece}
                page.screenshot(path=out / f"{name}-{width}-{theme}-{number}.png", clip=clip)
    page.evaluate(
        "() => jupyterapp.shell.currentWidget.sessionContext.shutdown()"
    )  # the next page needs the memory
    print(name, flush=True)


if __name__ == "__main__":
    main()
