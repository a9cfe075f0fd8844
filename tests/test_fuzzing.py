"""Thousands of damaged files: each loads and works, or is refused by an error that names the file; nothing half done.

A case is a reader and a number, from which the damage follows, so that every failure can be repeated:

    python -m tests.test_fuzzing adapter 1234 1

`benchmarks/reliability.py` runs many more of them. Not here: files that are damaged while they are written
(test_kill.py), programs of students that do harm (test_grading.py).
"""

from __future__ import annotations

import contextlib
import copy
import faulthandler
import io
import json
import random
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from minilora.exercises import registry
from minilora.files import checkpoints
from minilora.gpt import GPT
from minilora.grading.session import as_cells
from minilora.grading.submission import entries, load
from minilora.lora import LoraConfig, add_lora
from minilora.training import Trainer
from minilora.training.datasets import load_jsonl, load_text
from tests.helpers import counting_rows, randomize_adapter, small_gpt

SECONDS = 20  # after which a reader hangs; the slowest takes some hundredths
CLEAR = (ValueError, TypeError, OSError)  # what the readers promise; FileNotFoundError is an OSError
SEEDS = st.integers(0, 2**32 - 1)
FAST = settings(max_examples=40, deadline=None, derandomize=True, database=None)
TEXT = "The horse went to the wood shed. It came back with a letter, and read it aloud. " * 8

# -- damage ----------------------------------------------------------------------------------------------------

DEEP = object()  # stands for JSON that is nested too deep for any parser
NASTY: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e400,
    float("nan"),
    2**31,
    2**63,
    10**5000,
    "",
    "x",
    "(",
    "*",
    "\ud800",
]
NASTY += ["../../etc/passwd", "\0", [], [1], [[]], ["("], {}, {"a": 1}, [None], DEEP, 7, 64, "q_proj", "lora"]


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """One small accident, or up to three: cut off, flipped, inserted, doubled, swapped, overwritten."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        i, j = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        if rng.random() < 0.5:  # where files say what they hold
            i, j = min(i, rng.randrange(300)), min(j, rng.randrange(300, 600))
        kind = rng.randrange(8)
        if kind == 0:
            del data[i:]
        elif kind == 1 and i < len(data):
            data[i] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[i:i] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 3:
            data[i:i] = data[i:j]
        elif kind == 4:
            del data[i:j]
        elif kind == 5:
            data[i:j] = bytes(j - i)
        elif kind == 6:
            data[i : i + 8] = rng.choice([b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f\0\0\0\0"])
        else:
            k = rng.randrange(len(data) + 1)
            data[i:j], data[k : k + 4] = data[k : k + 4], data[i:j]
    return bytes(data)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in items:
        found += [(value, key), *places(inside)]
    return found


@contextlib.contextmanager
def any_digits() -> Iterator[None]:
    """Lets numbers be written that Python refuses to read."""
    limit = sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else 0
    if limit:
        sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        if limit:
            sys.set_int_max_str_digits(limit)


def digits(value: Any) -> str:
    with any_digits():
        return str(value)


def damage_json(value: Any, rng: random.Random) -> bytes:
    """Another value, type or name somewhere, something missing, or said twice; the text is still JSON, mostly."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 2])):
        found = places(value)
        if not found:
            break
        top = [place for place in found if place[0] is value]
        container, key = rng.choice(top if rng.random() < 0.5 else found)
        kind = rng.randrange(6)
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, dict):
            container[rng.choice([f"{key}x", "", "\ud800", "__class__"])] = container.pop(key)
        elif kind == 2:
            container[key] = rng.choice(
                [container[key], [container[key]], {"x": container[key]}, digits(container[key])]
            )
        else:
            container[key] = rng.choice(NASTY)
    with any_digits():
        text = json.dumps(value, default=lambda _: "DEEP")
    text = text.replace('"DEEP"', "[" * 100_000 + "]" * 100_000)
    if rng.random() < 0.05 and text.startswith("{") and len(text) > 2:
        text = text[:-1] + ", " + text[1:]  # every name twice
    return text.encode("utf-8")


def damage_tensors(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file whose header lies, or whose tensors have another type, shape, name or value."""
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    kind = rng.randrange(5)
    if kind == 0:
        name = rng.choice([name for name in header if name != "__metadata__"])
        types = [
            "F64",
            "F16",
            "BF16",
            "I64",
            "I32",
            "I8",
            "U8",
            "BOOL",
            "F8_E4M3",
            "F4",
            "C64",
            "U16",
            "no type",
        ]
        key, new = rng.choice([("dtype", rng.choice(types)), ("shape", [2**40, 2**40]), ("shape", [])])
        header[name][key] = new
    if kind == 1 and "__metadata__" in header:
        metadata = header["__metadata__"]
        key = rng.choice(sorted(metadata))
        try:
            metadata[key] = damage_json(json.loads(metadata[key]), rng).decode("utf-8")
        except ValueError:
            metadata[key] = rng.choice(["", "x", "{", "[]", "null"])
        text = json.dumps(header).encode("utf-8")
    else:
        text = json.dumps(header).encode("utf-8") if kind == 0 else damage_json(header, rng)
    length = rng.choice([len(text)] * 12 + [2**63 - 1, 10**8, 0])
    return length.to_bytes(8, "little") + text + body


def retype_tensors(path: Path, rng: random.Random) -> None:
    """A file that is whole, with tensors of other types, shapes and values."""
    tensors = load_file(path)
    name = rng.choice(sorted(name for name in tensors if tensors[name].ndim))
    t = tensors[name]
    types = [
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.uint8,
        torch.bool,
        torch.complex64,
    ]
    types += [torch.float8_e4m3fn]
    tensors[name] = rng.choice(
        [
            lambda: t.to(rng.choice(types)),
            lambda: t.T,
            lambda: t[:0],
            lambda: t.flatten(),
            lambda: t * torch.nan,
        ]
    )().contiguous()
    save_file(tensors, path)


def damage_file(path: Path, rng: random.Random) -> None:
    """Spoils the file in one of the ways that fit its kind."""
    data = path.read_bytes()
    roll = rng.random()
    if roll < 0.03:
        path.unlink()
        path.mkdir()
    elif roll < 0.06:
        path.unlink()
        path.symlink_to(path.name)  # a link to itself
    elif roll < 0.12:
        path.write_bytes(
            rng.choice([b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"null", b"[" * 200_000, b"NaN", b"\n"])
        )
    elif roll < 0.4:
        path.write_bytes(damage_bytes(data, rng))
    elif path.suffix == ".safetensors":
        if rng.random() < 0.4:
            retype_tensors(path, rng)
        else:
            path.write_bytes(damage_tensors(data, rng))
    elif path.suffix in (".json", ".ipynb"):
        path.write_bytes(damage_json(json.loads(data), rng))
    elif path.suffix == ".jsonl":
        lines = data.splitlines()
        n = rng.randrange(len(lines))
        lines[n] = damage_json(json.loads(lines[n]), rng)
        path.write_bytes(b"\n".join(lines))
    else:
        path.write_bytes(damage_bytes(data, rng))


# -- readers: each writes a good folder, and reads one that was spoiled ----------------------------------------


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"])
    made.train_from_iterator([TEXT], trainer)
    return made


def model() -> GPT:
    made = small_gpt(vocab_size=280, hidden_size=16, intermediate_size=24, num_attention_heads=2)
    made.tokenizer, made.chat_template = tokenizer(), "{% for m in messages %}{{ m.content }}{% endfor %}"
    return made


BASE = model()
IDS = torch.arange(8).view(1, 8)


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def unchanged(module: torch.nn.Module, act: Callable[[], None]) -> None:
    """What fails must leave names, values and active adapters as they were."""
    before, active = state(module), getattr(module, "adapter_scales", {})
    try:
        act()
    except BaseException as error:
        if not same(state(module), before) or getattr(module, "adapter_scales", {}) != active:
            raise AssertionError(f"refused, yet the model is changed: {error}") from error
        raise


def write_adapter(folder: Path) -> None:
    made = add_lora(copy.deepcopy(BASE), LoraConfig(r=2, target_modules="attention"))
    randomize_adapter(made)
    made.save_adapter(folder)


def read_adapter(folder: Path) -> None:
    """Into a model that has an adapter of that name: a new one takes its place whole, or not at all."""
    made = add_lora(copy.deepcopy(BASE), LoraConfig(r=4, target_modules="mlp"))
    randomize_adapter(made)
    base = state(BASE)
    unchanged(made, lambda: made.load_adapter(folder, "default", replace=True))
    assert same(state(made.unload()), base)
    made = add_lora(copy.deepcopy(BASE), LoraConfig(r=4, target_modules="mlp"))
    made.load_adapter(folder, "default", replace=True)
    # A flipped bit may make a weight 1e38: the file is whole, and no reader can tell; so the logits may overflow.
    assert all(p.isfinite().all() for p in made.parameters())
    with torch.no_grad():
        assert made(IDS).shape == (1, 8, 280)


def write_model(folder: Path) -> None:
    BASE.save_pretrained(folder)


def write_shards(folder: Path) -> None:
    BASE.save_pretrained(folder)
    whole = folder / "model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    names = sorted(tensors)
    halves = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    index = {"metadata": {}, "weight_map": {name: file for file, part in halves.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def read_model(folder: Path) -> None:
    made = GPT.from_pretrained(folder)
    with torch.no_grad():
        assert (
            made(IDS[:, : made.config.max_position_embeddings] % made.config.vocab_size).dtype
            == torch.float32
        )


def write_tokenizer(folder: Path) -> None:
    folder.mkdir()
    (folder / "tokenizer.json").write_text(tokenizer().to_str(), encoding="utf-8")


def read_tokenizer(folder: Path) -> None:
    made = checkpoints.read_tokenizer(folder)
    if made is not None:
        made.decode(made.encode("The horse.").ids)


def write_text(folder: Path) -> None:
    folder.mkdir()
    (folder / "data.txt").write_text(TEXT, encoding="utf-8")


def read_text(folder: Path) -> None:
    assert len(load_text(folder / "data.txt", BASE.tokenizer, 8)) > 0


def write_chat(folder: Path) -> None:
    folder.mkdir()
    turns = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There."}]
    lines = [{"messages": turns}, {"prompt": "Who?", "completion": "The horse."}]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines * 3)), encoding="utf-8")


def read_chat(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(load_jsonl(folder / "data.jsonl", BASE.tokenizer, 40)) > 0


def notebook() -> dict[str, Any]:
    source = registry.get("merge").solution_source()
    code = {"cell_type": "code", "id": "a", "metadata": {"tags": ["x"], "nbgrader": {"grade_id": "merge"}}}
    cells = [
        code | {"source": source, "outputs": []},
        {"cell_type": "markdown", "metadata": {}, "source": ["a", "b"]},
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def write_notebook(folder: Path) -> None:
    folder.mkdir()
    (folder / "work.ipynb").write_text(json.dumps(notebook()), encoding="utf-8")


def write_zip(folder: Path) -> None:
    folder.mkdir()
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("b.ipynb", json.dumps(notebook()))
    with zipfile.ZipFile(folder / "work.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ä.ipynb", json.dumps(notebook()))
        archive.writestr("c.zip", inner.getvalue())


def read_submission(folder: Path) -> None:
    """The grader's reader never raises: what is wrong is among the problems, and the rest counts."""
    found = [e for path in sorted(folder.iterdir()) if path.exists() for e in entries(path)]
    for entry in [*found, *entries(folder, "ada")]:
        handed_in = load(entry)
        assert handed_in.notebooks or handed_in.problems
        for cells in handed_in.notebooks.values():
            as_cells(cells)
        if handed_in.problems:
            raise ValueError(f"{folder.name}: {handed_in.problems}")  # said to the student: refused


def trainer(seed: int) -> Trainer:
    made = add_lora(small_gpt(hidden_size=16, intermediate_size=24, num_attention_heads=2), LoraConfig(r=2))
    randomize_adapter(made, seed=seed)
    return Trainer(made, counting_rows(8), max_steps=3, batch_size=4, progress=False)


def write_training(folder: Path) -> None:
    made = trainer(seed=0)
    made.train()
    made.save(folder)


def read_training(folder: Path) -> None:
    made = trainer(seed=1)
    unchanged(made.model, lambda: made.resume(folder))
    made.train()


READERS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "adapter": (write_adapter, read_adapter),
    "checkpoint": (write_model, read_model),
    "shards": (write_shards, read_model),
    "tokenizer": (write_tokenizer, read_tokenizer),
    "text": (write_text, read_text),
    "chat": (write_chat, read_chat),
    "notebook": (write_notebook, read_submission),
    "zip": (write_zip, read_submission),
    "training": (write_training, read_training),
}
APART = ("tokenizer", "checkpoint", "shards")  # read by a foreign parser that could take our process along


# -- cases -----------------------------------------------------------------------------------------------------


def attempt(reader: str, seed: int, good: Path) -> str:
    """ "loaded", or the kind of a clear error; AssertionError for anything else."""
    rng = random.Random(seed)
    _, read = READERS[reader]
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "spoiled-folder"
        shutil.copytree(good, folder)
        damage_file(rng.choice(sorted(folder.iterdir())), rng)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(folder)
        except CLEAR as error:
            if "spoiled-folder" not in str(error):
                raise AssertionError(f"seed {seed}: {error!r} does not name the file") from error
            return type(error).__name__
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of a foreign parser is no Exception
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {str(error)[:200]}") from error
    return "loaded"


def run_cases(reader: str, first: int, count: int) -> dict[str, Any]:
    """Counts by outcome, and what went wrong."""
    counts: Counter[str] = Counter()
    wrong = []
    with tempfile.TemporaryDirectory() as work:
        good = Path(work) / "good"
        READERS[reader][0](good)
        for seed in range(first, first + count):
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            try:
                counts[attempt(reader, seed, good)] += 1
            except AssertionError as error:
                wrong.append(str(error)[:300] or f"seed {seed}: an assertion")
            faulthandler.cancel_dump_traceback_later()
    return {"cases": count, "outcomes": dict(sorted(counts.items())), "wrong": wrong}


def run_apart(readers: Sequence[str], first: int, count: int) -> dict[str, dict[str, Any]]:
    """The same of each reader, in one process apart; its end by a signal or by the clock is a finding too."""
    command = [sys.executable, "-m", "tests.test_fuzzing", *readers, str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    if done.returncode:
        wrong = [f"seeds {first} to {first + count - 1}: exit {done.returncode}: {done.stderr[-400:]}"]
        return {reader: {"cases": count, "outcomes": {}, "wrong": wrong} for reader in readers}
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    for name in set(READERS) - set(APART):
        READERS[name][0](folder / name)
    return folder


@pytest.mark.parametrize("reader", sorted(set(READERS) - set(APART)))
def test_a_damaged_file_loads_or_is_refused_by_name(reader, good):
    @FAST
    @given(SEEDS)
    def check(seed):
        attempt(reader, seed, good / reader)

    check()


def test_a_whole_file_of_too_high_a_rank_loads_with_a_warning(tmp_path):
    write_adapter(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    wide = {
        name: torch.ones(20, t.shape[1]) if ".lora_A." in name else torch.ones(t.shape[0], 20)
        for name, t in load_file(path).items()
    }
    save_file(wide, path)  # without our metadata, as another tool would
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"r": 20}), encoding="utf-8")
    with pytest.warns(UserWarning, match="r=20"):  # as in PEFT: it buys nothing, and computes the right thing
        read_adapter(tmp_path)


def test_a_damaged_file_cannot_take_the_process_along():
    for reader, found in run_apart(APART, 0, 40).items():
        assert found["wrong"] == [], reader
        assert set(found["outcomes"]) - {"loaded"}, f"{reader}: no file was spoiled enough to be refused"


if __name__ == "__main__":
    *names, start, number = sys.argv[1:]
    print(json.dumps({name: run_cases(name, int(start), int(number)) for name in names}))
