"""After Sphinx: Python and the model's runtime for the browser, the content security policy, the service worker.

Not here: the pages themselves (staging.py, conf.py).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

from executing import digest

ROOT = Path(__file__).resolve().parents[1]
MARKS = re.compile(r'<script src="[^"]*sphinx_highlight\.js[^"]*"></script>')
SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)
# Styles stand in the drawings and tables themselves. `wasm-unsafe-eval` allows WebAssembly, not eval.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'{hashes}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'"
)
# What comes from npm: the package, its files, and the folder of the site.
FROM_NPM = {
    "pyodide": (
        "",
        ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "pyodide-lock.json", "python_stdlib.zip"],
    ),
    "onnxruntime-web": (
        "dist",
        [
            "ort.wasm.min.mjs",
            "ort-wasm-simd-threaded.mjs",
            "ort-wasm-simd-threaded.wasm",
        ],  # the last one compressed
    ),
}
LARGE = (
    "_static/pyodide/",
    "_static/onnxruntime-web/",
    "_static/model/",
    "_static/training/",
)  # kept when first used
# What runs in the browser's Python: these modules and all of minilora that they import.
IN_BROWSER = [f"minilora.explorables.{name}" for name in ("memory", "methods", "picture")]
IN_BROWSER += ["minilora.exercises.in_page", "minilora.exercises.no_numpy", "minilora.exercises.registry"]
# Where the other files of Pyodide's release lie: an address, or a folder. {version} is that of site/package-lock.json.
PYODIDE_FILES = "MINILORA_PYODIDE_FILES"
LOADED = """\
import importlib, sys
for name in {names}: importlib.import_module(name)
print(*(m.__file__ for n, m in sorted(sys.modules.items()) if n.split(".")[0] == "minilora"), sep="\\n")
"""


def add_npm_packages(static: Path, cache: Path) -> None:
    """Installs site/package-lock.json, unless that is done, and copies what the site needs."""
    lock = Path(__file__).with_name("package-lock.json")
    done = cache / "lock"
    if not done.exists() or done.read_bytes() != lock.read_bytes():
        cache.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(lock.with_name(name), cache)
        npm = shutil.which("npm")
        if npm is None:
            sys.exit("the site needs npm (it comes with Node.js) for Python and the model in the browser")
        subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=cache, check=True)
        shutil.copy(lock, done)
    for package, (folder, names) in FROM_NPM.items():
        (static / package).mkdir(parents=True)
        for name in names:
            shutil.copy(cache / "node_modules" / package / folder / name, static / package)


def add_numpy(static: Path, cache: Path) -> bool:
    """NumPy for the browser's Python: the file whose name and sha256 stand in Pyodide's own list.

    Returns:
        Whether the site has it now; it has not where no place is named from which to take it.
    """
    place = os.environ.get(PYODIDE_FILES, "")
    if not place:
        return False
    listed = json.loads((static / "pyodide" / "pyodide-lock.json").read_text(encoding="utf-8"))["packages"][
        "numpy"
    ]
    package = json.loads((cache / "node_modules" / "pyodide" / "package.json").read_text(encoding="utf-8"))
    address = place.format(version=package["version"]).rstrip("/") + "/" + listed["file_name"]
    if "://" in address:
        with urllib.request.urlopen(address, timeout=120) as reply:
            data = reply.read()
    else:
        data = Path(address).read_bytes()
    if hashlib.sha256(data).hexdigest() != listed["sha256"]:
        sys.exit(f"{address} is not the file that Pyodide {package['version']} lists: its sha256 is another")
    (static / "pyodide" / listed["file_name"]).write_bytes(data)
    return True


def python_megabytes(static: Path) -> str:
    """What a reader's browser fetches to start Python."""
    files = [*(static / "pyodide").iterdir(), static / "minilora.zip"]
    return f"{sum(path.stat().st_size for path in files) / 1e6:.0f}"


def add_model(static: Path, cache: Path) -> None:
    """The model for the switch, and texts that it wrote; made anew if anything that they are made of has changed."""
    model = made_by("exporting", cache / "model", "model.json")
    voices = json.loads(made_by("voices", cache / "voices.json").read_text(encoding="utf-8"))
    target, runtime = static / "model", static / "onnxruntime-web" / "ort-wasm-simd-threaded.wasm"
    target.mkdir()
    for name in ("model.json", "tokenizer.json"):
        shutil.copy(model / name, target)
    graph = (model / "model.onnx").read_bytes()
    # Of numbers with 16 bits, first one half and then the other: like stands by like, and packs 7 % smaller.
    compress(graph[::2] + graph[1::2], target / "model.onnx.gzip")
    compress(runtime.read_bytes(), runtime.with_name(runtime.name + ".gzip"))
    runtime.unlink()
    size = sum(path.stat().st_size for folder in (target, runtime.parent) for path in folder.iterdir())
    voices["megabytes"] = f"{size / 1e6:.1f}"
    (target / "voices.json").write_text(json.dumps(voices, ensure_ascii=False), encoding="utf-8")


def add_training(static: Path, cache: Path) -> None:
    """A step of training, for the adapter that the reader makes. It has no weights; the exported model has them."""
    model = cache / "model" / "model.onnx"
    made = made_by("exporting_training", cache / "training", "training.json", model)
    target = static / "training"
    target.mkdir()
    shutil.copy(made / "training.json", target)
    compress((made / "training.onnx").read_bytes(), target / "training.onnx.gzip")


def made_by(program: str, target: Path, last: str = "", *inputs: Path) -> Path:
    """Runs site/PROGRAM.py, which writes the target (`last` is its last file), unless it would do the same again.

    The inputs are files that it reads besides those of the package.
    """
    parts = [
        ROOT / "site" / f"{program}.py",
        ROOT / "site" / "exporting.py",
        *(
            ROOT / "minilora" / name
            for name in (
                "gpt.py",
                "gpt_config.py",
                "generation.py",
                "training/loss.py",
                "files/adapter_files.py",
                "assets/pirate.jsonl",
            )
        ),
        *inputs,
    ]
    for folder in ("lora", "assets/tiny-gpt", "assets/adapters"):
        parts += [path for path in sorted((ROOT / "minilora" / folder).rglob("*")) if path.is_file()]
    wanted = digest(path for path in parts if "__pycache__" not in path.parts)
    key = target.with_name(target.name + ".key")
    if not (target / last).exists() or not key.exists() or key.read_text(encoding="utf-8") != wanted:
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, str(parts[0]), str(target), *map(str, inputs)], cwd=ROOT, check=True)
        key.write_text(wanted, encoding="utf-8")
    return target


def compress(data: bytes, target: Path) -> None:
    target.write_bytes(gzip.compress(data, 9, mtime=0))


def add_package(static: Path) -> None:
    """minilora.zip: the files of ours that the browser's Python imports, with the data beside them."""
    program = LOADED.format(names=IN_BROWSER)
    listed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [Path(line) for line in listed.stdout.split()]
    files += sorted((ROOT / "minilora" / "assets").glob("*.json"))
    with zipfile.ZipFile(static / "minilora.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:  # with one date for all: the same files give the same archive
            entry = zipfile.ZipInfo(path.relative_to(ROOT).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


def finish(site: Path) -> None:
    """A policy in every page, and a service worker that knows all files."""
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        if (
            "Content-Security-Policy" not in html
        ):  # else Sphinx has left the page of an earlier build as it was
            html = with_levels(with_policy(html))
            page.write_text(html if page.name == "search.html" else without_marks(html), encoding="utf-8")
    paths = [path for path in sorted(site.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    files = {path.relative_to(site).as_posix(): path for path in paths if path.name != "sw.js"}
    whole = hashlib.sha256()
    for name, path in files.items():
        whole.update(name.encode() + path.read_bytes())
    small = [name for name in files if not name.startswith(LARGE)]
    worker = (Path(__file__).with_name("static") / "sw.js").read_text(encoding="utf-8")
    worker = worker.replace("@VERSION@", whole.hexdigest()[:12]).replace('"@FILES@"', json.dumps(small))
    (site / "sw.js").write_text(worker, encoding="utf-8")
    (site / ".nojekyll").touch()  # GitHub Pages would leave out folders that begin with an underscore


def without_marks(html: str) -> str:
    """Sphinx marks what was searched for, and fails at the hints within a drawing. The search page needs the file."""
    return MARKS.sub("", html)


def with_levels(html: str) -> str:
    """Furo's captions of the page list say that they are headings, but not of which level; screen readers ask."""
    return html.replace('class="caption" role="heading"', 'class="caption" role="heading" aria-level="2"')


def with_policy(html: str) -> str:
    """Only this site's own files, and the scripts that stand in the page itself."""
    hashes = {
        f" 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in SCRIPT.findall(html)
    }
    policy = POLICY.format(hashes="".join(sorted(hashes)))
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return html.replace('<meta charset="utf-8"', f'{meta}<meta charset="utf-8"', 1)
