"""Opens JupyterLab on the learner's copy of the first page. The repository is its root, so all links work.

    python tools/lab.py         in an environment that has the packages, for example conda's; options are passed on

Not here: making the environment. `make lab` and `python tools/environment.py lab` do that, then start this program.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import learner_copies

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ROOT / "tools" / "jupyter"  # no news on the first start, no menus of tools that only tests need


def main(options: list[str]) -> int:
    page = first_page()
    if not page.exists():
        sys.exit(f"{page} is missing; is this a complete copy of the repository?")
    from jupyterlab.labapp import main as jupyter_lab

    os.chdir(ROOT)
    paths = [str(SETTINGS), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(path for path in paths if path)
    # An address, not a file to open: so the address that is printed for a browser elsewhere leads there too.
    address = f"/lab/tree/{page.relative_to(ROOT).as_posix()}"
    jupyter_lab([f"--ServerApp.root_dir={ROOT}", f"--LabApp.default_url={address}", *options])
    return 0


def first_page() -> Path:
    """The page that JupyterLab opens: the learner's copy, or the page itself where no copy can be made."""
    try:
        mine = learner_copies.update(ROOT)
    except OSError as error:
        print(
            f"No copies of the pages could be made ({error}); what you change is not kept apart", flush=True
        )
        mine = ROOT
    else:
        os.environ.setdefault("MINILORA_HOME", str(mine))  # one progress file for pages and exercises
    return mine / "notebooks" / "00_start_here.ipynb"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
