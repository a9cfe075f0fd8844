"""`minilora doctor`: is this installation sound? A table that a bug report can quote.

It runs as a program of its own too (python minilora/doctor.py), because it must still run where the package cannot be
imported. Not here: repairing anything.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# What each package is for, whether the engine runs without it, and versions that are known not to work.
PACKAGES = {
    "torch": ("the engine", True, ()),
    "numpy": ("the engine", True, ()),
    "safetensors": ("files of weights", True, ()),
    "tokenizers": ("text to tokens", True, ()),
    "tqdm": ("progress bars", True, ()),
    "jinja2": ("chat templates", True, ()),
    "python-dateutil": ("dates of submissions", True, ()),
    "jupyterlab": ("the lessons", False, ()),
    "ipykernel": ("the lessons", False, ("7.0.0", "7.0.1", "7.1.0", "7.2.0", "7.3.0")),
    "ipywidgets": ("the explorables", False, ()),
    "anywidget": ("the explorables", False, ()),
    "matplotlib": ("charts of your own", False, ()),
    "gguf": ("fetching SmolLM2", False, ()),
    "huggingface_hub": ("models from the hub", False, ()),
    # A learner's environment lacks these three.
    "peft": ("page 08 compares with it, if it is there", None, ()),
    "transformers": ("page 08 compares with it, if it is there", None, ()),
    "bitsandbytes": ("only tests compare with it", None, ()),
}


@dataclasses.dataclass
class Check:
    """One row of the table; status is "ok", "warn" (something optional is missing) or "fail"."""

    name: str
    status: str
    found: str


def checks() -> Iterator[Check]:
    recent = sys.version_info >= (3, 10)
    yield Check("python", "ok" if recent else "fail", f"{platform.python_version()} ({sys.executable})")
    yield Check("system", "ok", platform.platform())
    yield Check("processor", "ok", f"{platform.machine()}, {os.cpu_count()} cores")
    for package, (purpose, needed, broken) in PACKAGES.items():
        yield package_check(package, purpose, needed, broken)
    for name, look in (
        ("torch build", torch_build),
        ("gpu", gpu),
        ("4-bit on the gpu", four_bits),
        ("tiny-gpt", tiny_gpt),
        ("training", training_step),
        ("explorables", explorable),
    ):
        yield guarded(name, look)
    yield from (
        writable("working folder", Path.cwd()),
        writable("temporary folder", Path(tempfile.gettempdir())),
    )
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Check("free disk", "ok" if free > 1 else "warn", f"{free:.1f} GB")


def package_check(package: str, purpose: str, needed: bool | None, broken: tuple[str, ...]) -> Check:
    """Looks for an installed package.

    Args:
        package: Its name.
        purpose: What needs it.
        needed: By the engine (True), by something optional (False), or by nothing that a learner runs (None).
        broken: Versions that are known not to work.
    """
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        if needed is None:
            return Check(package, "ok", f"not installed ({purpose})")
        advice = "run: python tools/environment.py" if needed else f"only {purpose} need it"
        return Check(package, "fail" if needed else "warn", f"not installed ({advice})")
    if version in broken:
        return Check(package, "fail", f"{version} is known not to work; run: python tools/environment.py")
    return Check(package, "ok", version)


def guarded(name: str, look: Callable[[], str]) -> Check:
    """A look that fails is a row of the table, never a traceback."""
    try:
        return Check(name, "ok", look())
    except Exception as error:  # whatever is broken on this machine is what we want to read
        return Check(name, "fail", f"{type(error).__name__}: {error}".splitlines()[0])


def torch_build() -> str:
    import torch

    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    return f"{torch.__version__}, {cuda}, {torch.get_num_threads()} threads"


def gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none (not needed)"
    card = torch.cuda.get_device_properties(0)
    return f"{card.name}, {card.total_memory / 1e9:.0f} GB"


def four_bits() -> str:
    """Which code decodes 4-bit weights there; the other one works too, so neither is a failure."""
    import torch

    from minilora.quantization.blockwise import why_not_triton

    if not torch.cuda.is_available():
        return "no GPU; on the CPU by NumPy"
    broken = why_not_triton()
    if broken:
        return f"by PyTorch, many times slower than by Triton, which does not work: {broken.splitlines()[0]}"
    return f"by Triton {importlib.metadata.version('triton')}"


def tiny_gpt() -> str:
    from minilora import GPT

    start = time.perf_counter()
    model = GPT.from_pretrained("tiny-gpt")
    weights = sum(p.numel() for p in model.parameters())
    return f"{weights:,} weights, loaded in {time.perf_counter() - start:.2f} s"


def training_step() -> str:
    """Some real LoRA steps on the tiny GPT, on the same rows, whose loss must fall."""
    from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, style_corpus

    model = GPT.from_pretrained("tiny-gpt")
    data = encode_text(style_corpus("legal", documents=1), model.tokenizer, 64)
    trainer = Trainer(add_lora(model, LoraConfig()), data, max_steps=3, batch_size=len(data), progress=False)
    history = trainer.train()
    if not history.losses[-1] < history.losses[0]:
        raise RuntimeError(f"the loss did not fall: {history.losses}")
    return f"loss {history.losses[0]:.2f} -> {history.losses[-1]:.2f}, {history.seconds[-1]:.2f} s a step"


def explorable() -> str:
    """One is built and moved, without a browser: that ipywidgets has a version number does not mean that it works."""
    missing = [name for name in ("ipywidgets", "anywidget") if importlib.util.find_spec(name) is None]
    if missing:
        return f"not tried, without {' and '.join(missing)}"
    from minilora.widgets import parameter_explorer

    explorer = parameter_explorer()
    start = time.perf_counter()
    before = explorer.sentence
    explorer.rank.value *= 2
    if explorer.sentence == before:
        raise RuntimeError("a slider was moved, and the explorable did not follow")
    return f"{type(explorer).__name__} draws again in {(time.perf_counter() - start) * 1e3:.0f} ms"


def writable(name: str, folder: Path) -> Check:
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check(
            name, "warn", f"{folder} cannot be written ({error.strerror}); adapters could not be saved there"
        )
    return Check(name, "ok", str(folder))


def run(as_json: bool = False) -> int:
    """Prints the table and returns the exit status: 1 if something that is needed is broken."""
    rows = []
    for check in checks():
        rows.append(check)
        if not as_json:
            # plain ASCII: a Windows console may know no other characters
            line = f"{check.status:4}  {check.name:17} {check.found}"
            print(line.encode("ascii", "replace").decode(), flush=True)
    if as_json:
        print(json.dumps([dataclasses.asdict(check) for check in rows], indent=2))
    failed = [check.name for check in rows if check.status == "fail"]
    if not as_json:
        print(f"\nbroken: {', '.join(failed)}" if failed else "\nall that is needed works")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(run("json" in sys.argv[1:]))
