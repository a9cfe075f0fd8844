"""Pages away from the repository: the links to them, and a page in an environment that has only its first cell.

Not here: the site's other links (test_site_building.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOTEBOOKS = [*PAGES, *sorted((ROOT / "exercises").glob("*.ipynb"))]
EXECUTE = """
import os, sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
"""


@pytest.fixture(autouse=True)
def site_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "site"))


def test_without_a_repository_there_are_no_links(monkeypatch):
    import elsewhere

    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert elsewhere.links("notebooks", "03_lora.ipynb") == ""
    done = subprocess.run(
        [sys.executable, ROOT / "site" / "elsewhere.py", "nowhere"], capture_output=True, check=False
    )
    assert done.returncode
    assert not Path("nowhere").exists()


def test_each_copy_is_its_notebook_with_one_cell_more(tmp_path, monkeypatch):
    import elsewhere

    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/minilora")
    elsewhere.write_copies(tmp_path / "copies")
    for path in NOTEBOOKS:
        copy = nbformat.read(tmp_path / "copies" / path.parent.name / path.name, as_version=4)
        nbformat.validate(copy)
        original = nbformat.read(path, as_version=4)
        [place] = [i for i, cell in enumerate(copy.cells) if cell.id == "install"]
        assert "git+https://github.com/someone/minilora" in copy.cells[place].source
        assert all(cell.cell_type == "markdown" for cell in copy.cells[:place])
        del copy.cells[place]
        assert copy == original


@pytest.fixture(scope="session")
def course(tmp_path_factory) -> Path:
    """The course as pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
    ]
    subprocess.run([*command, folder, ROOT], check=True)
    return next(folder.glob("*.whl"))


def bare_environment(folder: Path) -> Path:
    """The Python of an environment with all packages that are installed here, but without the course.

    It shows the packages by links, so that nothing is copied and the course can be installed beside them.
    """
    packages = folder / "packages"
    packages.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "minilora" not in path.name and path.suffix != ".pth":
            (packages / path.name).symlink_to(path)
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    # before Python 3.12 an old one comes along
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"], check=False)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    inside = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    (Path(inside) / "packages.pth").write_text(str(packages), encoding="utf-8")
    return python


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(os.name == "nt", reason="links to packages need more rights on Windows")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_runs_where_its_first_cell_installs_the_course(path, course, tmp_path):
    """Without the repository, and without a network: what the course asks for is there already, as on Colab."""
    import elsewhere

    python = bare_environment(tmp_path)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    copy = tmp_path / path.name
    asked = f"minilora[pages] @ {course.as_uri()}"
    copy.write_text(json.dumps(elsewhere.with_installation(notebook, asked)), encoding="utf-8")
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = clean | {
        "PIP_NO_INDEX": "1",
        "MINILORA_HOME": str(tmp_path),
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    missing = subprocess.run(
        [python, "-c", "import minilora"], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert b"No module named 'minilora'" in missing.stderr
    done = subprocess.run(
        [python, "-c", EXECUTE, copy],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
