"""Where a page can be opened without a copy of the repository: Colab, Codespaces, Binder.

    python site/elsewhere.py FOLDER     writes copies of all notebooks with a first cell that installs the course

The workflow that publishes the site puts these copies on the branch `colab`: Colab opens notebooks and has no course,
while Codespaces and Binder build the whole environment. GITHUB_REPOSITORY says whose repository it is; without it there
are neither links nor copies.

Not here: the environments (.devcontainer, environment.yml).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BRANCH = "colab"
FOLDERS = ("notebooks", "exercises")
PLACES = {
    "Colab": "https://colab.research.google.com/github/{repository}/blob/{branch}/{folder}/{page}",
    "Codespaces": "https://codespaces.new/{repository}",
    "Binder": "https://mybinder.org/v2/gh/{repository}/HEAD?labpath={folder}%2F{page}",
}
CELL = """\
# Installs the course where it is missing, as on Colab. This takes about a minute.
import importlib.util

if importlib.util.find_spec("minilora") is None:
    %pip install --quiet "{course}\""""


def repository() -> str:
    """OWNER/NAME, empty where it is not known."""
    return os.environ.get("GITHUB_REPOSITORY", "")


def links(folder: str, page: str) -> str:
    """Where a page can be opened, as a part of a sentence; empty where the repository is not known."""
    if not repository():
        return ""
    found = [
        f"[{name}]({address.format(repository=repository(), branch=BRANCH, folder=folder, page=page)})"
        for name, address in PLACES.items()
    ]
    return f"{', '.join(found[:-1])} or {found[-1]}"


def with_installation(notebook: dict[str, Any], course: str) -> dict[str, Any]:
    """A copy of the notebook whose first code cell installs the course.

    Args:
        notebook: As it is in the repository.
        course: What pip is asked for.
    """
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": "install",
        "metadata": {},
        "outputs": [],
        "source": CELL.format(course=course),
    }
    place = next(i for i, other in enumerate(notebook["cells"]) if other["cell_type"] == "code")
    return notebook | {"cells": [*notebook["cells"][:place], cell, *notebook["cells"][place:]]}


def write_copies(target: Path) -> None:
    course = f"minilora[pages] @ git+https://github.com/{repository()}"
    for folder in FOLDERS:
        (target / folder).mkdir(parents=True)
        for path in sorted((ROOT / folder).glob("*.ipynb")):
            notebook = with_installation(json.loads(path.read_text(encoding="utf-8")), course)
            text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
            (target / folder / path.name).write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "LICENSE", target)


if __name__ == "__main__":
    if not repository():
        sys.exit("GITHUB_REPOSITORY names no repository, so no copy could install the course")
    write_copies(Path(sys.argv[1]))
