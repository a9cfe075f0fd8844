"""Importing minilora is cheap, and what a browser or a bare Python runs never needs torch.

Not here: that these parts also work without torch (without_torch.py tries them).
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import minilora

PACKAGE = Path(minilora.__file__).parent
LAZY = ("minilora", "minilora.finetune", "minilora.quantization", "minilora.training")


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "action",
    [
        "import minilora, minilora.quantization, minilora.training, minilora.memory, minilora.files",
        "from minilora.memory import plan_memory; plan_memory('llama-3.1-8b', 'qlora')",
        "import minilora.cli, contextlib\nwith contextlib.suppress(SystemExit): minilora.cli.main(['plan', '--help'])",
        "import minilora.cli; minilora.cli.main(['plan'])",
    ],
    ids=["packages", "plan", "plan --help", "plan command"],
)
def test_nothing_heavy_is_imported(action):
    heavy = "[name for name in ('torch', 'numpy', 'matplotlib', 'safetensors') if name in sys.modules]"
    assert run(f"import sys\n{action}\nprint({heavy})").splitlines()[-1] == "[]"


def test_modules_without_torch():
    paths = [
        PACKAGE / "memory" / f"{name}.py"
        for name in ("__init__", "catalog", "plan", "activations", "measure")
    ]
    paths += [PACKAGE / "cli.py", PACKAGE / "options.py", PACKAGE / "finetune" / "settings.py"]
    paths += [PACKAGE / "quantization" / "codes.py"]
    paths += [
        path
        for folder in ("commands", "explorables", "figures", "reference", "exercises")
        for path in (PACKAGE / folder).rglob("*.py")
    ]
    names = [".".join(("minilora", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in paths]
    names = [name.removesuffix(".__init__") for name in names if not name.endswith(".freeze")]
    assert len(names) > 50
    program = f"import sys, importlib\nsys.modules['torch'] = None\nfor name in {names}: importlib.import_module(name)"
    run(program)


@pytest.mark.parametrize("package", LAZY)
def test_each_public_name_is_there(package):
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        value = getattr(module, name)
        if getattr(value, "__module__", None):  # classes and functions
            assert value is getattr(sys.modules[value.__module__], name)
    star: dict[str, object] = {}
    exec(f"from {package} import *", star)
    assert set(module.__all__) <= set(star)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'minilora' has no attribute 'GTP'"):
        _ = minilora.GTP
    with pytest.raises(ImportError, match="GTP"):
        exec("from minilora import GTP")


@pytest.mark.parametrize("package", ["minilora", "minilora.exercises", "minilora.lesson", "minilora.widgets"])
def test_no_module_takes_the_name_of_a_function(package):
    """Loaded after the function was bound, it would replace it: a page's import cell could not run twice."""
    folder = Path(importlib.import_module(package).__path__[0])
    public = "{name: getattr(package, name) for name in package.__all__}"
    inside = [path.stem for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")]
    run(
        f"import importlib\npackage = importlib.import_module({package!r})\nbefore = {public}\n"
        f"for name in {inside}: importlib.import_module(f'{package}.{{name}}')\nassert before == {public}"
    )
