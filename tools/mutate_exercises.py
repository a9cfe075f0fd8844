"""How many small slips would the exercises' checks let pass? Each reference solution is changed in one place at a time.

    python tools/mutate_exercises.py             all exercises with a function to write
    python tools/mutate_exercises.py merge       one; --json FILE also writes what was found

One operator, constant, comparison, axis, function or transposition is another in each mutant. A mutant that passes is
either another way to be right (equivalent on every allowed input) or a hole in the check; a person decides which, and
writes the equivalent ones down in EQUIVALENT, with the reason. Exit status 1 if a mutant passes that is not listed.

Needs SIGVTALRM, so not Windows: a mutant may loop for ever.
"""

from __future__ import annotations

import argparse
import ast
import copy
import functools
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minilora.exercises.exercise import Exercise
from minilora.exercises.judging import find_problem, find_problems
from minilora.exercises.learner_side import Reply, call, copy_plain
from minilora.exercises.naming import run_ours
from minilora.exercises.registry import BY_NAME, HANDS_ON
from minilora.exercises.verdict import SEEDS

CPU_SECONDS = 2.0  # for a mutant; the slowest exercise takes a hundredth of it
WHOLE = "NumPy's whole numbers count as whole numbers"
LIST = "a list of numbers counts as an array"
ANY_STEP = "for zeros any finite step is right"
NEGATIVE = "NumPy takes every negative length for the one to work out"
NAN = "0 / 0 is NaN, which becomes the whole number 0; and for zeros a step of 0 is right too"
# (exercise, what the mutant's changed line reads) -> why it is right all the same
EQUIVALENT = {
    ("count-trainable", "base += np.prod(shape)"): WHOLE,
    ("quantize-int8", "if step == 1:"): NAN,
    ("quantize-int8", "if step == -1:"): NAN,
    ("quantize-int8", "return (np.zeros(x.shape, np.int8), 2.0)"): ANY_STEP,
    ("quantize-int8", "return (np.zeros(x.shape, np.int8), 0.0)"): ANY_STEP,
    ("quantize-blockwise", "x = x.reshape(-2)"): NEGATIVE,
    ("quantize-blockwise", "return (np.concatenate(indices).astype(np.uint8), absmax)"): LIST,
    (
        "pack-nibbles",
        "return indices[0::2] << 4 ^ indices[1::2]",
    ): "the two share no bit, so | and ^ give the same",
    ("dequantize", "n = np.prod(shape)"): WHOLE,
    ("dequantize", "indices = np.stack([packed >> 4, packed & 15], axis=1).reshape(-2)[:n]"): NEGATIVE,
    ("double-quantize", "return (np.concatenate(indices).astype(np.uint8), nested, mean)"): LIST,
    ("training-memory", "weights = frozen * frozen_bits // 8 + trained * 4"): "off by less than a byte",
    ("choose-rank", "return np.argmax(energy >= share * energy[-1]) + 1"): WHOLE,
}

OPERATORS = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div, ast.Mult),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
    ast.BitOr: (ast.BitAnd, ast.BitXor),
    ast.BitAnd: (ast.BitOr,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
NAMES = {
    "max": ("min", "mean"), "min": ("max",), "argmin": ("argmax",), "argmax": ("argmin",), "sum": ("max", "mean"),
    "round": ("floor", "ceil"), "rint": ("floor", "ceil"), "ceil": ("floor",), "zeros": ("ones",), "ones": ("zeros",),
    "zeros_like": ("ones_like",), "sqrt": ("square",), "cumsum": ("cumprod",), "mean": ("sum",),
    "minimum": ("maximum",),
    "maximum": ("minimum",), "uint8": ("int8",), "int8": ("uint8",), "float32": ("float64", "float16"),
    "searchsorted": ("digitize",),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [exercise.name for exercise in HANDS_ON]
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"default: all of {', '.join(names)}")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    for name in set(options.only) - set(names):
        parser.error(f"there is no exercise {name!r} with a function to write")
    found = try_all([e for e in HANDS_ON if e.name in options.only or not options.only])
    unknown = [survivor for survivor in found["survivors"] if not survivor["reason"]]
    for survivor in found["survivors"]:
        print(f"{survivor['exercise']}: {survivor['change']}   {survivor['reason'] or '<- a hole?'}")
    tried, rejected = sum(found["tried"].values()), sum(found["tried"].values()) - len(found["survivors"])
    print(f"{tried} mutants, {rejected} rejected ({rejected / tried:.1%}), {len(found['survivors'])} pass, "
          f"{len(unknown)} of them unexplained")  # fmt: skip
    if options.json:
        text = json.dumps(found, indent=1, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8", newline="\n")
    return 1 if unknown else 0


def try_all(chosen: list[Exercise]) -> dict[str, Any]:
    """tried: exercise -> how many mutants. survivors: those that pass, each with the reason why it may, or none."""
    np.seterr(all="ignore")
    tried, survivors = {}, []
    for exercise in chosen:
        made = list(mutants(exercise))
        tried[exercise.name] = len(made)
        for change, source in made:
            if passes(exercise, source):
                reason = EQUIVALENT.get((exercise.name, change))
                survivors.append({"exercise": exercise.name, "change": change, "reason": reason})
    return {"tried": tried, "survivors": survivors}


def mutants(exercise: Exercise) -> Iterator[tuple[str, str]]:
    """(the changed line, the whole function) for each single change of the solution."""
    tree = ast.parse(exercise.marked_source())
    original = ast.unparse(tree).split("\n")
    body = tree.body[0].body  # type: ignore[attr-defined]
    places = sum(1 for statement in body[1:] for _ in ast.walk(statement))  # body[0] is the docstring
    for place in range(places):
        for number in range(12):
            changed = copy.deepcopy(tree)
            if not change_in_place(changed, place, number):
                break
            text = ast.unparse(ast.fix_missing_locations(changed))
            lines = [new for new, old in zip(text.split("\n"), original, strict=False) if new != old]
            if lines:
                yield lines[0].strip(), text


def change_in_place(tree: ast.Module, place: int, number: int) -> bool:
    """Makes change `number` at node `place`; False if there is no such change."""
    statements = tree.body[0].body[1:]  # type: ignore[attr-defined]
    nodes = [node for statement in statements for node in ast.walk(statement)]
    changes = list(possible_changes(nodes[place]))
    if number >= len(changes):
        return False
    changes[number]()
    return True


def possible_changes(node: ast.AST) -> Iterator:  # noqa: C901  # a list of kinds of change, one branch each
    """Functions that each change this node, in place."""

    def setting(name, value):
        return lambda: setattr(node, name, value)

    def becoming(other):
        def become():
            node.__class__ = other.__class__
            node.__dict__ = copy.deepcopy(other).__dict__

        return become

    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        for other in OPERATORS.get(type(node.op), ()):
            yield setting("op", other())
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.MatMult | ast.Sub | ast.Div):
            yield becoming(ast.BinOp(node.right, node.op, node.left))
        yield becoming(node.left)
        yield becoming(node.right)
    if isinstance(node, ast.Compare):
        for other in OPERATORS.get(type(node.ops[0]), ()):
            yield setting("ops", [other()])
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        values = (
            (not node.value,)
            if isinstance(node.value, bool)
            else (node.value + 1, node.value - 1, 2 * node.value)
        )
        for value in values:
            if value != node.value:
                yield setting("value", value)
    if isinstance(node, ast.UnaryOp):
        yield becoming(node.operand)
    if isinstance(node, ast.Attribute):
        if node.attr in ("T", "real"):
            yield becoming(node.value)
        for other in NAMES.get(node.attr, ()):
            yield setting("attr", other)
    if isinstance(node, ast.Call) and len(node.args) == 1 and not isinstance(node.args[0], ast.Starred):
        yield becoming(node.args[0])  # the argument itself: without abs, round, copy …
    if isinstance(node, ast.IfExp):
        yield becoming(node.body)
        yield becoming(node.orelse)


def passes(exercise: Exercise, source: str) -> bool:
    """Whether the check would say that it is right; what is wrong with it is not looked for."""
    space = {"np": np, "torch": torch}
    try:
        exec(source, space)
    except SyntaxError:
        return False
    signal.signal(signal.SIGVTALRM, out_of_time)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)  # a busy machine makes no mutant endless
    try:
        return all(is_right(exercise, space[exercise.function_name], seed) for seed in SEEDS)
    except TimeoutError:
        return False
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def is_right(exercise: Exercise, function: Callable, seed: int) -> bool:
    cases, expected, replies = exercise.cases(seed), solved(exercise.name, seed), []
    for case, right in zip(cases, expected, strict=True):
        replies.append(call(function, copy_plain(case.arguments), exercise.takes, exercise.gives))
        if find_problem(exercise, case, replies[-1], right):
            return False
    return not any(find_problems(exercise, cases, replies, expected))  # now all together


@functools.cache
def solved(name: str, seed: int) -> list[Reply]:
    exercise = BY_NAME[name]
    assert isinstance(exercise, Exercise)
    return [run_ours(exercise, exercise.solution, case.arguments) for case in exercise.cases(seed)]


def out_of_time(number: int, frame: object) -> None:
    raise TimeoutError


if __name__ == "__main__":
    sys.exit(main())
