"""What a running notebook answers to the questions: its dicts, told apart by their keys, as plain data.

Each change of a dict is taken over when it happens, since several questions of a notebook use the same name for theirs.
What an answer is, the learner's own Python says; a value that is no plain data, or whose line failed, is kept as
unreadable with the reason, for a person to decide. The worker in the sandbox gets a copy of this file.

Not here: whether an answer is right (minilora/exercises/question.py).
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterator
from typing import Any

from minilora.exercises import learner_side

MAX_KEYS = 500  # of a dict that is looked at
MAX_TEXT = 100_000  # characters of one answer
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
OPERATORS[ast.FloorDiv] = operator.floordiv
USUAL_NAME = "answers"  # as the notebooks call it; other dicts do not replace what stands in it


class Unreadable:
    """In the place of an answer: why there is none."""

    def __init__(self, why: str):
        self.why = why


class AnswerBook:
    """Question -> key -> the last answer that is not empty. questions: name -> the keys of its dict."""

    def __init__(self, questions: dict[str, list[str]]):
        self.questions = {name: set(keys) for name, keys in questions.items()}
        self.kept: dict[str, dict[str, tuple[bool, Any]]] = {name: {} for name in questions}
        self.seen: dict[str, dict[str, Any]] = {}  # variable -> its dict, when it was looked at last

    def look(self, namespace: dict[str, Any], ids: tuple[str, ...] = ()) -> None:
        """Takes over what has changed in the dicts of a namespace. ids: of the cell that runs."""
        for variable, value in list(namespace.items()):
            if isinstance(value, dict) and dict.__len__(value) <= MAX_KEYS and variable != "__builtins__":
                now = {key: _plain(item) for key, item in dict.items(value) if self._is_ours(key)}
                before = self.seen.get(variable, {})
                changed = {k: v for k, v in now.items() if k not in before or not _same(before[k], v)}
                self.seen[variable] = now
                self.take(changed, set(now), ids, variable == USUAL_NAME)

    def take(self, changed: dict[str, Any], keys: set[str], ids: tuple[str, ...], usual: bool = True) -> None:
        """keys: of the whole dict, which say what question it belongs to; changed: the answers to take over."""
        for key, value in changed.items():
            if key in self.questions:  # a dict of dicts, by the names of the questions
                if isinstance(value, dict):
                    self._keep(key, {k: v for k, v in value.items() if k in self.questions[key]}, True)
                continue
            names = [name for name, own in self.questions.items() if key in own]
            most = max(len(keys & self.questions[name]) for name in names)
            best = [name for name in names if len(keys & self.questions[name]) == most]
            own = [name for name in best if any(i.startswith(name) for i in ids)] or best
            for name in own:
                if len(own) == 1 or key not in self.kept[name]:  # subtle: a doubtful one replaces nothing
                    self._keep(name, {key: value}, usual)

    def _keep(self, name: str, answers: dict[str, Any], usual: bool) -> None:
        for key, value in answers.items():
            empty = value is None or (isinstance(value, str) and not value.strip())
            if not empty and usual >= self.kept[name].get(key, (False, None))[0]:
                self.kept[name][key] = (usual, value)

    def _is_ours(self, key: Any) -> bool:
        return type(key) is str and (
            key in self.questions or any(key in keys for keys in self.questions.values())
        )

    def salvage(
        self, statement: ast.stmt, namespace: dict[str, Any] | None, ids: tuple[str, ...] = ()
    ) -> None:
        """The answers that stand in a statement which failed, each worked out alone.

        namespace: in which they are evaluated; None where nothing may run any more: then plain values alone are read.
        """
        for pairs in _pairs(statement):
            found = {key: _worked_out(value, namespace) for key, value in pairs.items() if self._is_ours(key)}
            self.take(found, set(found), ids)

    def as_dict(self) -> dict[str, Any]:
        """{"answers": question -> key -> value, "unreadable": question -> key -> why}."""
        told: dict[str, Any] = {"answers": {}, "unreadable": {}}
        for name, kept in self.kept.items():
            values = {key: value for key, (_, value) in kept.items()}
            told["answers"][name] = {k: v for k, v in values.items() if not isinstance(v, Unreadable)}
            told["unreadable"][name] = {k: v.why for k, v in values.items() if isinstance(v, Unreadable)}
        return told


def _plain(value: Any) -> Any:
    try:
        plain = learner_side.to_plain(value)
    except learner_side.NotPlain as error:
        return Unreadable(str(error)[:200])
    except Exception as error:  # a learner's own class, or a patched library
        return Unreadable(f"{type(error).__name__}: {error}"[:200])
    if isinstance(plain, str) and len(plain) > MAX_TEXT:
        return Unreadable(f"a text of {len(plain):,} characters")
    return plain


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Unreadable) or isinstance(b, Unreadable):
        return type(a) is type(b) and a.why == b.why
    return learner_side.same(a, b)


# -- the text of a statement ---------------------------------------------------------------------------------------


def _pairs(statement: ast.stmt) -> Iterator[dict[str, ast.expr]]:
    """Key -> value of each dict that stands in it, of each call with keywords, and of `answers["key"] = value`."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Dict):
            yield {
                key.value: value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
        elif isinstance(node, ast.Call):
            yield {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            key = node.targets[0].slice
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield {key.value: node.value}


def _worked_out(node: ast.expr, namespace: dict[str, Any] | None) -> Any:
    try:
        if namespace is None:
            return read_value(node)
        return _plain(eval(compile(ast.Expression(node), "<answer>", "eval", dont_inherit=True), namespace))
    except BaseException as error:
        return Unreadable(f"{type(error).__name__}: {error}"[:200])


def read_value(node: ast.expr) -> Any:
    """A plain value as it is written; arithmetic with numbers is worked out, and nothing else runs.

    >>> read_value(ast.parse("2 * 3", mode="eval").body)
    6
    """
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS | {ast.Pow: None}:
        left, right = read_value(node.left), read_value(node.right)
        if not all(isinstance(side, int | float) and abs(side) < 1e30 for side in (left, right)):
            raise ValueError("not a number, or too large")
        if not isinstance(node.op, ast.Pow):
            return OPERATORS[type(node.op)](left, right)
        if not (abs(left) <= 1e6 and abs(right) <= 16) and not (left == 2 and abs(right) <= 64):
            raise ValueError("a power that is too large")
        return left**right
    return ast.literal_eval(node)
