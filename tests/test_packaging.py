"""What is installed where: versions that agree with each other, a wheel that is whole, and machines unlike ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import minilora

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read_lock(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


LOCK, DEV_LOCK = read_lock("requirements.lock"), read_lock("requirements-dev.lock")
# What a learner must not wait for: drivers of browsers, checkers, tools of instructors and of clusters.
ONLY_FOR_TESTS = {
    "bitsandbytes",
    "dask",
    "distributed",
    "mypy",
    "nbgrader",
    "notebook",
    "peft",
    "playwright",
    "pytest",
}
ONLY_FOR_TESTS |= {"ruff", "transformers", "voila"}
WORKFLOWS = ROOT / ".github" / "workflows"
STEPS = """
from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, style_corpus
model = GPT.from_pretrained("tiny-gpt")
data = encode_text(style_corpus("legal", documents=4), model.tokenizer, 64)
model = add_lora(model, LoraConfig(target_modules=["attention"]))
Trainer(model, data, max_steps=2, batch_size=2).train()
model.save_adapter("my adapter é")
print("trained", model.generate("The dog", 3, seed=1))
"""


def read_yaml(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def run(*command: object, **options) -> str:
    """What it printed; the test fails with what it said if it failed."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        **options,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


# -- versions agree ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_the_lock_serves_what_the_package_asks_for(python, system):
    place = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": system}
    extras = PROJECT["optional-dependencies"]
    for lock, names in ((LOCK, ("models", "pages", "lab")), (DEV_LOCK, tuple(extras))):
        wanted = [*PROJECT["dependencies"], *(line for name in names for line in extras[name])]
        for requirement in map(Requirement, wanted):
            if requirement.name == "minilora" or not applies(requirement, place):
                continue
            pins = [pin for pin in pins_of(requirement.name, lock) if applies(pin, place)]
            assert pins, f"{requirement.name} is in no lock; run: python tools/lock.py"
            for pin in pins:
                [version] = [specifier.version for specifier in pin.specifier]
                assert version in requirement.specifier, f"{requirement} is not met by {pin}"


def pins_of(name: str, lock: list[Requirement]) -> list[Requirement]:
    return [pin for pin in lock if canonicalize_name(pin.name) == canonicalize_name(name)]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_a_learner_installs_little_and_tests_use_the_same_versions(python, system):
    place = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": system}
    place |= {"os_name": "nt" if system == "win32" else "posix", "implementation_name": "cpython"}
    pins = {canonicalize_name(pin.name): pin.specifier for pin in LOCK if applies(pin, place)}
    assert len(pins) <= 125
    assert not ONLY_FOR_TESTS & pins.keys()
    tests = {canonicalize_name(pin.name): pin.specifier for pin in DEV_LOCK if applies(pin, place)}
    assert {name: tests.get(name) for name in pins} == pins, "both install into one environment"


def test_no_lock_asks_for_a_cuda_build():
    for lock in (LOCK, DEV_LOCK):
        assert not [pin.name for pin in lock if pin.name.startswith(("nvidia", "cuda", "triton"))]
        assert [str(pin) for pin in pins_of("torch", lock)] == ["torch==2.13.0"]


def applies(requirement: Requirement, place: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(place)


def test_the_workflow_tests_the_pythons_and_torches_that_are_supported():
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    pythons = jobs["systems"]["strategy"]["matrix"]["python"]
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from environment import NEWEST, OLDEST
    finally:
        sys.path.pop(0)
    assert pythons == [f"3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert {name.split("-")[0] for name in jobs["systems"]["strategy"]["matrix"]["os"]} == {
        "ubuntu",
        "macos",
        "windows",
    }
    oldest, newest = (Version(row["torch"]) for row in jobs["torch"]["strategy"]["matrix"]["include"])
    [torch] = [Requirement(line) for line in PROJECT["dependencies"] if line.startswith("torch")]
    assert str(torch.specifier) == f">={oldest.major}.{oldest.minor}"
    assert [str(pin.specifier) for pin in LOCK if pin.name == "torch"] == [f"=={newest}"]


@pytest.mark.parametrize("name", [path.name for path in sorted(WORKFLOWS.glob("*.yml"))])
def test_a_workflow_is_whole_and_runs_files_that_exist(name):
    workflow = read_yaml(f".github/workflows/{name}")
    assert workflow[True], "the key `on`, which YAML 1.1 reads as a truth value"
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 150
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            for path in re.findall(r"(?:tests|tools|minilora|\.ci)/[\w./]+", step.get("run", "")):
                assert (ROOT / path).exists(), path


def test_a_release_is_published_without_a_password_and_only_after_it_was_tried():
    workflow = read_yaml(".github/workflows/release.yml")
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    publish = workflow["jobs"]["publish"]
    assert publish["needs"] == "build"
    assert publish["permissions"] == {"id-token": "write"}
    assert "minilora doctor" in [step.get("run") for step in workflow["jobs"]["build"]["steps"]]


def test_the_bug_form_asks_for_the_doctors_table():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("[bq]*.yml"):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= form.keys()
    bug = read_yaml(".github/ISSUE_TEMPLATE/bug.yml")
    [doctor] = [field for field in bug["body"] if field.get("id") == "doctor"]
    assert doctor["validations"] == {"required": True}
    assert read_yaml(".github/dependabot.yml")["version"] == 2


def test_conda_users_get_what_the_lock_pins():
    environment = read_yaml("environment.yml")
    [python] = [part for part in environment["dependencies"] if str(part).startswith("python=")]
    assert Version(python.split("=")[1]) in Requirement(f"p{PROJECT['requires-python']}").specifier
    [pip] = [part["pip"] for part in environment["dependencies"] if isinstance(part, dict)]
    assert pip == ["--requirement requirements.lock", "--editable ."]  # the same set, by being the same file
    names = {part.split("=")[0] for part in environment["dependencies"] if isinstance(part, str)}
    assert names == {"python", "pip"}


def test_the_citation_names_this_version():
    assert read_yaml("CITATION.cff")["version"] == minilora.__version__


# -- the built package ---------------------------------------------------------------------------------------


def copy_sources(folder: Path) -> None:
    """All that the package is built from, so that building leaves nothing in the repository."""
    shutil.copytree(ROOT / "minilora", folder / "minilora", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with wheel and sdist, built from a copy in a path with a space and an accent."""
    work = tmp_path_factory.mktemp("bâti ici")
    copy_sources(work / "src")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", work / "dist", work / "src")
    return work / "dist"


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The Python of a fresh environment that has the wheel, and torch and the rest from this one."""
    folder = tmp_path_factory.mktemp("été 2") / "env"
    run(sys.executable, "-m", "venv", folder)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    [wheel] = built.glob("*.whl")
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", wheel)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # Only packages: an editable minilora is a .pth file there, and those are not read from a path in a .pth.
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def assets() -> set[str]:
    kept = run("git", "ls-files", "minilora", cwd=ROOT).splitlines()
    return set(kept)


@pytest.mark.slow
def test_wheel_and_sdist_hold_every_file_of_the_package(built):
    [wheel], [sdist] = built.glob("*.whl"), built.glob("*.tar.gz")
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    assert assets() - in_wheel == set()
    assert assets() - in_sdist == set()
    assert wheel.stat().st_size < 40e6  # the tiny GPT and little else


@pytest.mark.slow
def test_the_wheel_trains_in_a_fresh_environment(installed, tmp_path):
    """Outside the repository, in a folder with a space and accents; no network is there to be asked."""
    where = run(installed, "-c", "import minilora; print(minilora.__file__)", cwd=tmp_path)
    assert str(installed.parent.parent) in where
    folder = tmp_path / "mes données ü"
    folder.mkdir()
    offline = dict(os.environ, HTTPS_PROXY="http://127.0.0.1:9", HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
    assert "trained" in run(installed, "-c", STEPS, cwd=folder, env=offline)
    assert {path.name for path in (folder / "my adapter é").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="modes do not make a folder read-only there")
def test_a_read_only_installation_works(installed, tmp_path):
    """Nothing is written beside the package. Root may write anywhere, so the files are compared."""
    package = Path(run(installed, "-c", "import minilora; print(minilora.__path__[0])", cwd=tmp_path).strip())
    before = {path: path.stat().st_mtime_ns for path in package.rglob("*") if "__pycache__" not in path.parts}
    folders = [package, *(path for path in package.rglob("*") if path.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o555)
        run(installed, "-B", "-c", STEPS, cwd=tmp_path)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    after = {path: path.stat().st_mtime_ns for path in package.rglob("*") if "__pycache__" not in path.parts}
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert not {path for path in changed if path.is_file()}


# -- other machines ------------------------------------------------------------------------------------------


def test_a_terminal_without_colors_gets_plain_text():
    plain = dict(os.environ, NO_COLOR="1", TERM="dumb", COLUMNS="80")
    plain.pop("FORCE_COLOR", None)
    assert "\x1b" not in run(sys.executable, "-m", "minilora.cli", "plan", "--help", env=plain)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process's memory work on Linux")
def test_the_listing_needs_less_than_2_gb(tmp_path):
    """Page 00's cell under a limit on the data of the process: what it writes to, not what it maps of libraries."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (2 * 10**9, 2 * 10**9))\n"
    listing = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[
        0
    ]
    run(sys.executable, "-c", limit + listing.replace("epochs=3", "epochs=1"), cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_pip_section_of_environment_yml_resolves_to_the_lock_in_a_fresh_environment(tmp_path):
    """As conda does it: the section becomes a file of requirements, for a Python that has little more than pip.

    pip looks at every package's own requirements, so pins that contradict each other, or that can no longer be had, end
    it. Nothing is unpacked: that the same packages work together is what every other test runs on.
    """
    copy_sources(tmp_path / "repository")
    shutil.copy(ROOT / "requirements.lock", tmp_path / "repository")
    [section] = [
        part["pip"] for part in read_yaml("environment.yml")["dependencies"] if isinstance(part, dict)
    ]
    (tmp_path / "repository" / "condaenv.txt").write_text("\n".join(section), encoding="utf-8")
    run(sys.executable, "-m", "venv", tmp_path / "env")
    python = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    arguments = [
        "--dry-run",
        "--quiet",
        "--report",
        tmp_path / "report.json",
        "--requirement",
        "condaenv.txt",
    ]
    run(python, "-m", "pip", "install", *arguments, cwd=tmp_path / "repository")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    found = {
        canonicalize_name(package["metadata"]["name"]): Version(package["metadata"]["version"])
        for package in report["install"]
    }
    assert found.pop("minilora") == Version(minilora.__version__)
    pins = {
        canonicalize_name(pin.name): Version(next(iter(pin.specifier)).version)
        for pin in LOCK
        if pin.marker is None or pin.marker.evaluate()
    }
    for_cuda = {name for name in found.keys() - pins.keys() if name.startswith(("nvidia", "cuda", "triton"))}
    builds = {name: Version(version.public) for name, version in found.items() if name not in for_cuda}
    assert builds == pins  # "2.13.0+cpu" is a build of 2.13.0
