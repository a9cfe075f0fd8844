"""The steps that build the web site, each by itself.

Not here: the finished site in a browser (tests/browser/test_site.py).
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import nbformat
import pytest

from minilora import widgets
from minilora.exercises import registry
from minilora.exercises.question import Question
from minilora.figures.svg import still_html
from minilora.lesson.guessing import Reveal
from minilora.lesson.predictions import PREDICTIONS

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def site_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "site"))
    monkeypatch.syspath_prepend(str(ROOT / "tools"))


def test_everything_that_a_page_links_to_is_staged(tmp_path, monkeypatch):
    import staging

    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    executed = nbformat.read(ROOT / "exercises" / "00_numpy.ipynb", as_version=4)
    executed.cells[-1] = nbformat.v4.new_code_cell(
        "1", outputs=[nbformat.v4.new_output("stream", text="seen")]
    )
    nbformat.write(executed, tmp_path / "00_numpy.ipynb")
    staging.stage(
        [tmp_path / "00_numpy.ipynb"], tmp_path / "source"
    )  # ends the program if a link leads nowhere
    names = {path.relative_to(tmp_path / "source").as_posix() for path in (tmp_path / "source").rglob("*.*")}
    for folder in ("notebooks", "exercises"):
        assert {f"{folder}/{path.name}" for path in (ROOT / folder).glob("*.ipynb")} <= names
    assert not [name for name in names if "solutions" in name], "solutions are not published"
    page = (tmp_path / "source" / "notebooks" / "00_start_here.ipynb").read_text(encoding="utf-8")
    assert "../exercises/index.md" in page, "a link to a folder leads to its list"
    assert "seen" in (tmp_path / "source" / "exercises" / "00_numpy.ipynb").read_text(encoding="utf-8")
    assert not (tmp_path / "source" / "notebooks" / "00_numpy.ipynb").exists()
    assert "codespaces" not in page, "no repository is known"


def test_every_document_is_in_the_list_of_pages():
    listed = (ROOT / "site" / "index.md").read_text(encoding="utf-8").split()
    documents = {path.relative_to(ROOT).with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert documents <= {*listed}, "Sphinx ends the build at a page that no list names"


def test_a_build_that_knows_its_repository_links_to_where_a_page_runs(monkeypatch):
    import staging

    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/minilora")
    about = staging.about_page("00_start_here.ipynb")
    assert "https://codespaces.new/someone/minilora" in about
    assert "someone/minilora/blob/colab/notebooks/00_start_here.ipynb" in about
    assert "mybinder.org/v2/gh/someone/minilora/HEAD?labpath=notebooks%2F00_start_here.ipynb" in about


def test_a_link_to_nothing_ends_the_build(tmp_path):
    import staging

    (tmp_path / "a.md").write_text("[x](b.md)", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"b\.md"):
        staging.add_linked_files(tmp_path)
    (tmp_path / "a.md").write_text("`[x](b.md)`", encoding="utf-8")
    staging.add_linked_files(tmp_path)


def test_a_still_becomes_the_drawing_itself():
    import staging

    explorer = widgets.rank_explorer()
    html = staging.STILL.sub(staging.inline, still_html(explorer.svg, explorer.sentence))
    assert html.startswith(explorer.svg), (
        "as it was drawn: without the margin and the background of a picture file"
    )


def test_all_states_of_an_explorable_are_recorded_in_the_order_of_its_controls():
    import recording

    explorer = widgets.parameter_explorer()
    pictures = recording.explorer_states(explorer)
    counts = [len(control.values()) for control in explorer.declared.values()]
    assert len(pictures) == counts[0] * counts[1] * counts[2]
    explorer.rank.value = explorer.declared["rank"].values()[1]
    explorer.model.value = explorer.declared["model"].values()[1]
    explorer.targets.value = explorer.declared["targets"].values()[0]
    assert pictures[counts[1] * counts[2] + 1] == explorer.picture.value


def test_what_has_too_many_states_or_a_control_of_its_own_is_not_recorded():
    import recording

    assert not recording.explorer_states(widgets.memory_explorer())


def test_an_answer_is_recorded_for_each_guess(tmp_path, monkeypatch):
    import recording

    monkeypatch.setenv("MINILORA_HOME", str(tmp_path))
    id, prediction = next(iter(PREDICTIONS.items()))
    reveal = Reveal(id, prediction, next(iter(prediction.options.values())))
    pictures = recording.reveal_states(reveal)
    assert len(pictures) == 1 + len(prediction.options)
    assert "your guess" not in pictures[0]
    name = recording.save(pictures, tmp_path)
    assert json.loads((tmp_path / name).read_text(encoding="utf-8")) == pictures


def prepared(page: str, numpy: bool) -> str:
    import exercising
    import staging

    path = ROOT / "exercises" / page
    cells = exercising.prepare(staging.read_notebook(path, path)["cells"], page, numpy, "14")
    nbformat.validate(
        nbformat.from_dict({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    return "\n".join(cell["source"] for cell in cells)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "exercises").glob("0[2-9]*.ipynb")), ids=lambda path: path.stem
)
def test_each_exercise_can_be_solved_in_the_page_or_says_where_it_can(path):
    for numpy in (True, False):
        text = prepared(path.name, numpy)
        for entry in registry.EXERCISES:
            if f"## {entry.title}\n" not in text:
                continue
            live = f"&quot;name&quot;: &quot;{entry.name}&quot;" in text
            elsewhere = text.split(f"## {entry.title}\n")[1].split("\n## ")[0].count("get-the-course.md")
            assert live + elsewhere == 1, (entry.name, numpy)
            if isinstance(entry, Question):
                assert live == (not entry.program)
            else:
                assert live == (numpy and entry.name != "freeze")


def test_numpy_is_taken_from_the_place_that_is_named_and_only_if_it_is_the_listed_file(tmp_path, monkeypatch):
    import finishing

    lock = {
        "packages": {"numpy": {"file_name": "numpy.whl", "sha256": hashlib.sha256(b"arrays").hexdigest()}}
    }
    static, cache = tmp_path / "static", tmp_path / "npm"
    for folder in (static / "pyodide", cache / "node_modules" / "pyodide", tmp_path / "release-1.2"):
        folder.mkdir(parents=True)
    (static / "pyodide" / "pyodide-lock.json").write_text(json.dumps(lock), encoding="utf-8")
    (cache / "node_modules" / "pyodide" / "package.json").write_text('{"version": "1.2"}', encoding="utf-8")
    (tmp_path / "release-1.2" / "numpy.whl").write_bytes(b"arrays")
    monkeypatch.delenv(finishing.PYODIDE_FILES, raising=False)
    assert not finishing.add_numpy(static, cache)
    monkeypatch.setenv(finishing.PYODIDE_FILES, str(tmp_path / "release-{version}"))
    assert finishing.add_numpy(static, cache)
    assert (static / "pyodide" / "numpy.whl").read_bytes() == b"arrays"
    (tmp_path / "release-1.2" / "numpy.whl").write_bytes(b"others")
    with pytest.raises(SystemExit, match="sha256"):
        finishing.add_numpy(static, cache)


def test_the_policy_allows_the_scripts_of_the_page_and_no_others():
    import finishing

    html = finishing.with_policy(
        '<head><meta charset="utf-8"></head><script>go()</script><script src="a.js"></script>'
    )
    allowed = base64.b64encode(hashlib.sha256(b"go()").digest()).decode()
    assert f"'sha256-{allowed}'" in html
    assert html.count("sha256-") == 1
    assert html.index("Content-Security-Policy") < html.index("charset")
    assert "unsafe-inline'; img" in html, "for styles"
    assert "script-src 'self' 'wasm-unsafe-eval' 'sha256" in html


def test_the_packages_from_npm_are_pinned_and_no_registry_is_named():
    wanted = json.loads((ROOT / "site" / "package.json").read_text(encoding="utf-8"))
    text = (ROOT / "site" / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in text.replace("https://github.com/sponsors", "").replace("https://opencollective", "")
    packages = json.loads(text)["packages"]
    for name, version in (wanted["dependencies"] | wanted["devDependencies"]).items():
        assert packages[f"node_modules/{name}"]["version"] == version
        assert packages[f"node_modules/{name}"]["integrity"].startswith("sha512-")
