"""Past one process: a Dask cluster that loses a machine midway, GNU parallel, and an example for Kubernetes."""

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from minilora import cli
from minilora.grading import cluster, results
from minilora.grading.batch import grade_all
from minilora.grading.marks import FAILED, Course
from minilora.grading.sandbox import Sandbox, choose
from minilora.grading.submission import entries
from tests.grading_cases.names import HOSTILE
from tests.test_grading import ALSO_GOOD, GOOD, RIGHT, as_notebook, merge_that

NAMES = ["merge", "unmerge"]
SECRET = "a secret of thirty-two bytes ..."
COURSE = Course(SECRET.encode(), tuple(NAMES))
DOCS = Path(__file__).parents[1] / "docs" / "grading"


@pytest.fixture
def classroom(tmp_path, monkeypatch):
    """Right and wrong ones, which take a second each, so that there is a midway."""
    monkeypatch.setenv(results.SECRET_VARIABLE, SECRET)
    folder = tmp_path / "class"
    folder.mkdir()
    for number in range(8):
        answer = RIGHT if number % 2 else "W"
        slow = merge_that(f"return {answer}", "import time\ntime.sleep(1)")
        (folder / f"s{number}.ipynb").write_bytes(as_notebook(slow, ALSO_GOOD))
    (folder / "torn.ipynb").write_bytes(b"{")
    return folder


@pytest.mark.slow
def test_a_dask_cluster_that_loses_a_worker_midway_gives_the_same_marks(classroom, tmp_path):
    distributed = pytest.importorskip("distributed")
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    kept = tmp_path / "marks"
    with distributed.LocalCluster(**settings) as machines, distributed.Client(machines) as client:
        pids = list(client.run(os.getpid).values())
        assert len(set(pids)) == 2
        assert os.getpid() not in pids
        found = []
        arguments = (entries(classroom), COURSE, "auto", kept, machines.scheduler_address)
        thread = threading.Thread(target=lambda: found.extend(cluster.grade_all(*arguments)))
        thread.start()
        limit = time.monotonic() + 100
        while not list(kept.glob("s*.json")) and time.monotonic() < limit:
            time.sleep(0.02)
        assert len(list(kept.glob("s*.json"))) < 8, "this is not midway"
        os.kill(pids[0], signal.SIGKILL)  # one of the two workers that this test has started
        thread.join(150)
    assert [result["score"] for result in found] == [1, 3] * 4 + [0]
    alone = grade_all(entries(classroom), COURSE, choose(), tmp_path / "alone", workers=1)
    assert found == alone
    for path in sorted((tmp_path / "alone").iterdir()):
        assert (kept / path.name).read_bytes() == path.read_bytes()


def test_where_dask_is_missing_it_says_what_to_install(classroom, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert cli.main(["grade", str(classroom), "--dask", "tcp://127.0.0.1:1"]) == 1
    assert 'pip install "minilora[dask]"' in capsys.readouterr().err


@pytest.mark.slow
def test_another_version_on_the_cluster_is_a_failure_and_no_zero(classroom):
    with pytest.raises(RuntimeError, match="another version"):
        cluster.grade_there(None, COURSE, "plain", "another digest")
    distributed = pytest.importorskip("distributed")
    settings = {"n_workers": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**settings) as machines, pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "program_digest", iter(["ours", "theirs"]).__next__)
        one = entries(classroom)[:1]
        found = cluster.grade_all(one, COURSE, "plain", None, machines.scheduler_address)
    assert [(result["status"], result["score"]) for result in found] == [(FAILED, None)]


@pytest.mark.slow
def test_three_processes_that_share_a_folder_of_results_give_the_same_marks(classroom, tmp_path):
    """Started at once, as three machines with a common disk would be; one of them is killed midway."""
    kept = tmp_path / "marks"
    command = [sys.executable, "-m", "minilora.cli", "grade", str(classroom), "--results", str(kept)]
    command += ["--exercises", *NAMES, "--workers", "1", "--format", "json"]
    three = [
        subprocess.Popen([*command, "--output", str(tmp_path / f"{n}.json")], stderr=subprocess.PIPE)
        for n in range(3)
    ]
    limit = time.monotonic() + 200
    while not list(kept.glob("s*.json")) and time.monotonic() < limit:
        time.sleep(0.02)
    three[0].kill()
    said = [one.communicate(timeout=250)[1] for one in three]
    assert [one.returncode for one in three] == [-signal.SIGKILL, 0, 0], said
    for number in (1, 2):
        found = json.loads((tmp_path / f"{number}.json").read_text(encoding="utf-8"))
        assert [result["score"] for result in found] == [1, 3] * 4 + [0]
    alone = grade_all(entries(classroom), COURSE, choose(), tmp_path / "alone", workers=1)
    for result in alone:
        path = results.path_for(kept, result["student"])
        assert path.read_bytes() == results.path_for(tmp_path / "alone", result["student"]).read_bytes()
    assert len(list(kept.glob("*.json"))) == len(alone)
    assert sum(path.suffix == ".new" for path in kept.iterdir()) <= 1  # what the killed one was writing


# -- the same command, started by others -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a line for a Unix shell")
@pytest.mark.parametrize("program", ["parallel", "xargs"])
def test_one_command_for_each_submission_gives_the_same_results(tmp_path, monkeypatch, program):
    """The line as scale.md has it, with every core."""
    if not shutil.which(program):
        pytest.skip(f"there is no {program}")
    monkeypatch.setenv(results.SECRET_VARIABLE, SECRET)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "class" / "cyn").mkdir(parents=True)
    shutil.copytree(Path(__file__).parents[1] / "exercises", tmp_path / "exercises")
    (tmp_path / "class" / "ada.ipynb").write_bytes(as_notebook(GOOD, ALSO_GOOD))
    (tmp_path / "class" / "bob.ipynb").write_bytes(as_notebook("import os\nos._exit(1)"))
    (tmp_path / "class" / "cyn" / "1.ipynb").write_bytes(as_notebook(GOOD))
    (tmp_path / "class" / "cyn" / "2.ipynb").write_bytes(as_notebook(ALSO_GOOD))
    lines = code_blocks((DOCS / "scale.md").read_text(encoding="utf-8"))
    (line,) = (block for block in lines if program in block)
    subprocess.run(["bash", "-ec", line], cwd=tmp_path, check=True, capture_output=True, timeout=200)
    kept = {
        p.stem: json.loads(p.read_text(encoding="utf-8"))["score"]
        for p in (tmp_path / "marks").glob("*.json")
    }
    assert kept == {"ada": 3, "bob": 0, "cyn": 3}
    (report,) = (
        block for block in lines if block.startswith("minilora grade class/ ") and "--dask" not in block
    )
    nowhere = Sandbox("plain", python="no-such-python")
    monkeypatch.setattr("minilora.grading.sandbox.choose", lambda name: nowhere)  # nothing is graded again
    monkeypatch.chdir(tmp_path)
    assert cli.main([*report.split()[1:], "--workers", "1"]) == 0
    assert (tmp_path / "marks" / "report.md").exists()


@pytest.mark.skipif(os.name != "posix", reason="lines for a Unix shell")
@pytest.mark.parametrize("program", ["parallel", "xargs", "kubernetes"])
def test_recipes_hand_every_name_over_and_run_none(tmp_path, program):
    """The lines of the pages, with a `minilora` that writes down how it was called."""
    if program != "kubernetes" and not shutil.which(program):
        pytest.skip(f"there is no {program}")
    folder, said = tmp_path / "class", tmp_path / "said"
    for made in (folder, said, tmp_path / "bin"):
        made.mkdir()
    for name in HOSTILE:
        if "/" not in name and not name.startswith(".") and len(name.encode()) < 200:
            (folder / f"{name}.ipynb").touch()
            (folder / f"{name}.x").mkdir(exist_ok=True)
    fake = tmp_path / "bin" / "minilora"
    fake.write_text('#!/bin/sh\nprintf "%s\\0" "$@" > "$(mktemp "$SAID/XXXXXXXX")"\n', encoding="utf-8")
    fake.chmod(0o755)
    environment = os.environ | {"PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}", "SAID": str(said)}
    names = {path.name for path in folder.iterdir()}
    if program == "kubernetes":
        yaml = pytest.importorskip("yaml")
        job = yaml.safe_load((DOCS / "kubernetes-job.yml").read_text(encoding="utf-8"))
        script = job["spec"]["template"]["spec"]["containers"][0]["args"][0].replace("/class", str(folder))
        lines = [f"export JOB_COMPLETION_INDEX={index}\n{script}" for index in range(len(names) + 1)]
    else:
        blocks = code_blocks((DOCS / "scale.md").read_text(encoding="utf-8"))
        lines = [block for block in blocks if program in block]
    for line in lines:
        command = ["bash", "-ec", line]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=200)
    calls = [path.read_bytes().decode().split("\0") for path in said.iterdir()]
    chosen = [word.removeprefix("--only=") for call in calls for word in call if word.startswith("--only=")]
    assert sorted(chosen) == sorted(names)
    assert not list(tmp_path.rglob("I_RAN"))


def code_blocks(page: str) -> list[str]:
    """What a page says to type into a shell."""
    return [part.split("```")[0] for part in page.split("```bash\n")[1:]]


def test_the_job_for_kubernetes_grades_each_submission_once(tmp_path):
    """Its command, run once for each index with a `minilora` that only says how it was called."""
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((DOCS / "kubernetes-job.yml").read_text(encoding="utf-8"))
    assert (job["kind"], job["spec"]["completionMode"]) == ("Job", "Indexed")
    container = job["spec"]["template"]["spec"]["containers"][0]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]}
    (tmp_path / "class" / "cyn").mkdir(parents=True)
    for name in ("ada.ipynb", "bob.zip"):
        (tmp_path / "class" / name).touch()
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "minilora"
    fake.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    fake.chmod(0o755)
    script = container["args"][0].replace("/class", f"{tmp_path}/class")
    graded = []
    for index in range(4):
        environment = {"PATH": f"{fake.parent}:{os.environ['PATH']}", "JOB_COMPLETION_INDEX": str(index)}
        command = [*container["command"], script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        graded.append(done.stdout.split()[1:3] if done.stdout else None)
    place = f"{tmp_path}/class"
    assert graded[:3] == [
        [place, "--only=ada.ipynb"],
        [place, "--only=bob.zip"],
        [place, "--only=cyn"],
    ]
    assert graded[3] is None


def test_no_benchmark_hides_a_package():
    """They lie on the path of the tests, so that one called `distributed` was found in the place of Dask's package."""
    programs = {path.stem for path in (Path(__file__).parents[1] / "benchmarks").glob("*.py")}
    packages = set(importlib.metadata.packages_distributions()) | set(sys.stdlib_module_names)
    assert not programs & packages
