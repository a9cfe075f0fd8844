"""The floors of the house: imports point down only, and what is heavy or optional stays out of the engine."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minilora"

# From the ground up. A module may import from its own floor and from those below. The files of a checkpoint and of an
# adapter lie below gpt and lora: they know formats alone (names, shapes, bytes), and `GPT.from_pretrained` and
# `LoraModel.save_adapter` call them. Were they above, the two modules that a learner reads would point upwards.
# linear4bit lies there too: a layer knows no model, and lora wraps it as any other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("reference", "quantization", "catalog", "live_tensors", "grammar", "chat"),
    ("checkpoints", "linear4bit"),
    ("adapter_files", "datasets", "fetch"),
    ("lora", "gpt"),
    ("training",),
    ("memory", "finetune"),  # they plan and run whole trainings
    ("__init__",),
    ("figures",),
    ("widgets", "exercises"),
    ("grading", "doctor"),
    ("cli",),
    ("lesson",),  # what the pages import
)
ENGINE = {"adapter_files", "catalog", "checkpoints", "datasets", "gpt", "linear4bit", "live_tensors", "lora"}
ENGINE |= {"memory", "quantization", "training"}
HEART = {"gpt", "lora", "quantization", "linear4bit", "training"}  # what a reader of the chapter reads
INNER = {"numpy", "torch", "safetensors", "tokenizers", "tqdm", "jinja2"}
MAY_IMPORT = {  # of what others wrote; the standard library is always allowed, other folders are not held to a list
    # Inside functions: Windows' peak memory; a real model that is on this machine.
    "engine": INNER | {"psutil", "huggingface_hub"},
    "reference": {"numpy"},
    "figures": {"numpy", "matplotlib"},
    "grammar": set(),
    "chat": {"jinja2", "tokenizers"},
    "finetune": {"torch"},
    "fetch": {"torch", "tokenizers", "tqdm", "gguf"},  # gguf: optional, inside a function
    "doctor": {"torch"},  # inside functions: it must speak where there is none
    "cli": set(),
}
LEAF = {"reference"}  # imports nothing of ours


def imports(path: Path) -> Iterator[str]:
    """Full names of all modules that a file imports, at its top or inside a function, but not for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            inside = (
                node.module == "minilora"
            )  # `from minilora import lora` imports a module, `… import GPT` does not
            yield from (name if inside and is_module(name) else str(node.module) for name in modules)


def is_module(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").exists()


def room(name: str) -> str:
    """The part of the house that a module stands in: 'lora' for minilora.lora, 'widgets' for all in that folder."""
    return [*name.split("."), "__init__"][1]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def floor(name: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS) if name in rooms]
    assert len(found) == 1, f"minilora/{name} has no floor; put it into FLOORS"
    return found[0]


def ours(path: Path) -> set[str]:
    return {room(name) for name in imports(path) if name.split(".")[0] == "minilora"}


FILES = sorted(PACKAGE.rglob("*.py"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


@each_file
def test_arrows_point_down(path):
    here = room_of(path)
    higher = {other for other in ours(path) - {here} if floor(other) > floor(here)}
    assert not higher, f"{here} stands on floor {floor(here)} and imports from above: {sorted(higher)}"
    if here in LEAF:
        assert ours(path) <= {here}, f"{here} imports nothing of ours"


@each_file
def test_what_others_wrote_stays_where_it_belongs(path):
    kind = "engine" if room_of(path) in ENGINE else room_of(path)
    if kind in MAY_IMPORT:
        others = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"minilora"}
        assert others <= MAY_IMPORT[kind], f"a module of {kind} imports {sorted(others - MAY_IMPORT[kind])}"


def test_no_two_rooms_need_each_other():
    """Within a floor an arrow may run sideways, but never in a circle."""
    needs: dict[str, set[str]] = {}
    for path in FILES:
        needs.setdefault(room_of(path), set()).update(ours(path) - {room_of(path)})
    while needs:
        free = {name for name, needed in needs.items() if not needed & set(needs)}
        assert free, f"these import each other in a circle: {sorted(needs)}"
        needs = {name: needed for name, needed in needs.items() if name not in free}


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank lines, no comments, no docstrings."""
    source = path.read_text(encoding="utf-8")
    layout = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


@pytest.mark.parametrize(("rooms", "most"), [(HEART, 1600), (ENGINE, 2675)], ids=["its heart", "all"])
def test_the_engine_stays_small(rooms, most):
    """The limits are what it had when they were written; docs/contributing.md says why not fewer."""
    counts = {name: code_lines(PACKAGE / f"{name}.py") for name in sorted(rooms)}
    assert sum(counts.values()) <= most, f"{sum(counts.values())} lines of code, {most} allowed: {counts}"


@each_file
def test_a_module_says_what_it_is_for_and_what_it_does_not_do(path):
    """Not asked of __init__ files, and of single exercises and their list, which are data."""
    about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert len(about.split()) >= 5, "a module begins with what it is for"
    data = {"hands_on", "questions"} & set(path.relative_to(PACKAGE).parts)
    if path.stem != "__init__" and not data:
        assert re.search(r"\b(not here|does not|nothing here)\b", about, re.IGNORECASE), "add: Not here: ..."
