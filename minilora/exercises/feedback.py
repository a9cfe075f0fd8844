"""How verdicts, hints and progress look: a panel in JupyterLab, plain text anywhere else, and the same words in both.

Every function here is pure: values in, text or HTML out. Color never says anything that a word does not say too.
"""

from __future__ import annotations

import html
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from minilora.exercises.judging import Result

SIGNS = {
    "correct": "✓",
    "incorrect": "✗",
    "not attempted": "○",
    "crashed": "!",
    "can't be checked": "?",
    "unfinished": "◐",
    "kept": "✎",
}
COLORS = {
    "correct": "#009E73",
    "incorrect": "#D55E00",
    "not attempted": "#777777",
    "crashed": "#AA4499",
    "can't be checked": "#777777",
    "unfinished": "#0072B2",
}
PAGE_COLOR = "#0072B2"
BUTTON = "display:inline-block;cursor:pointer;border:1px solid #777;border-radius:3px;padding:2px 10px"
WIDTH = 100
MAX_LINES = 12  # of one value


def as_text(result: Result) -> str:
    """The verdict as lines of text."""
    lines = [f"{SIGNS[result.outcome]} {heading(result)}"]
    lines += [wrap(text) for text in (result.sentence, result.note) if text]
    for item in result.items:
        lines.append(f"  {SIGNS[item.outcome]} {item.key}: {item.sentence}")
    lines += [f"    line {number}: {code}" if number else "    …" for number, code in result.lines]
    for name, value in details(result):
        lines.append(f"  {name}:" if "\n" in value else f"  {name}: {value}")
        if "\n" in value:
            lines.append(textwrap.indent(value, "    "))
    lines += [wrap(text) for text in (result.after, next_step(result)) if text]
    return "\n".join(lines)


def as_html(result: Result) -> str:
    """The verdict as one panel."""
    parts = [paragraph(text) for text in (result.sentence, result.note) if text]
    if result.items:
        rows = "".join(
            f"<tr>{label(SIGNS[item.outcome] + ' ' + item.outcome)}{label(item.key)}{cell(item.sentence)}</tr>"
            for item in result.items
        )
        parts.append(f"<table style='text-align:left'>{rows}</table>")
    if result.lines:
        parts.append(preformatted("\n".join(f"line {n}: {code}" if n else "…" for n, code in result.lines)))
    found = details(result)
    if found:
        rows = "".join(f"<tr>{cell(name)}<td>{preformatted(value)}</td></tr>" for name, value in found)
        parts.append(f"<table style='text-align:left'>{rows}</table>")
    parts += [paragraph(text) for text in (result.after,) if text]
    if next_step(result):
        parts.append(folded_hints(result.hints) or paragraph(next_step(result)))
    return panel(f"{SIGNS[result.outcome]} {heading(result)}", "".join(parts), COLORS[result.outcome])


def heading(result: Result) -> str:
    """One line: which exercise, and what came of it."""
    if result.outcome == "correct":
        return f"{result.title}: correct, {result.earned} of {result.points} points"
    if result.items and result.outcome != "not attempted":
        return f"{result.title}: {result.outcome}, {result.earned} of {result.points} points"
    if result.passed:
        return f"{result.title}: {result.outcome} in {result.total - result.passed} of {result.total} cases"
    return f"{result.title}: {result.outcome}"


def details(result: Result) -> list[tuple[str, str]]:
    """(name, value) of the call that is shown: the arguments, what came back, what was expected."""
    if result.case is None:
        return []
    shown = [("case", result.case.label)]
    shown += [(name, show(value)) for name, value in result.case.arguments.items()]
    if result.shows_values:
        shown.append(("came back", show(_named(result.received, result.parts))))
    if result.expected is not None:
        shown.append(("expected", show(_named(result.expected, result.parts))))
    return shown


def _named(value: Any, names: list[str]) -> Any:
    if names and isinstance(value, list) and len(value) == len(names):
        return dict(zip(names, value, strict=True))
    return value


def next_step(result: Result) -> str:
    """What the learner can do now."""
    if result.outcome in ("incorrect", "crashed", "not attempted", "unfinished"):
        return f'Stuck? hint("{result.name}")'
    return ""


def folded_hints(hints: tuple[str, ...]) -> str:
    """A button for the first hint, below which is one for the next. They need no kernel."""
    inner = ""
    for number, hint in reversed(list(enumerate(hints, 1))):
        title = f"<summary style='{BUTTON}'>Hint {number} of {len(hints)}</summary>"
        inner = f"<details style='margin:6px 0'>{title}{paragraph(hint)}{inner}</details>"
    return inner


def show(value: Any) -> str:
    """Plain data as text of a size that can be taken in.

    >>> print(show({"r": 2, "A": np.array([[0.5, -1.25]])}))
    r: 2
    A: [[ 0.5  -1.25]]
    """
    if isinstance(value, np.ndarray):
        text = np.array2string(value, precision=5, threshold=60, edgeitems=3, max_line_width=WIDTH - 10)
        kind = "" if value.dtype == np.float64 else f"  {value.dtype}"
        return shorten(text + (f"{kind}, shape {value.shape}" if value.size > 1 and kind else ""))
    if isinstance(value, dict):
        return shorten("\n".join(join(f"{key}:", show(item)) for key, item in value.items()) or "{}")
    if isinstance(value, list) and any(isinstance(item, np.ndarray | dict | list) for item in value):
        return shorten("\n".join(join(f"{place}:", show(item)) for place, item in enumerate(value)))
    return shorten(repr(value))


def join(name: str, text: str) -> str:
    return f"{name} {text}" if "\n" not in text else f"{name}\n{textwrap.indent(text, '  ')}"


def shorten(text: str) -> str:
    """At most MAX_LINES lines of at most 200 characters."""
    lines = [line if len(line) <= 200 else line[:199] + "…" for line in text.split("\n")]
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 3], "…", *lines[-2:]]
    return "\n".join(lines)


def wrap(text: str) -> str:
    """Paragraphs wrapped for a terminal; lines that are set apart by spaces stay as they are."""
    return "\n".join(
        line if line.startswith(" ") else textwrap.fill(line, WIDTH) for line in text.split("\n")
    )


def panel(title: str, body: str, color: str) -> str:
    """A box with a colored edge; text keeps the notebook's own color, so it is readable in a dark theme too."""
    return (
        f"<div style='border-left:6px solid {color};padding:4px 12px;margin:4px 0;max-width:60em'>"
        f"<div style='font-weight:bold'>{html.escape(title)}</div>{body}</div>"
    )


def paragraph(text: str) -> str:
    """Prose as HTML: lines break between words, and inside a word only if it is wider than the window."""
    style = "margin:6px 0;white-space:pre-wrap;overflow-wrap:break-word;word-break:normal"
    return f"<p style='{style}'>{html.escape(text)}</p>"


def preformatted(text: str) -> str:
    return f"<pre style='margin:0;background:none;text-align:left'>{html.escape(text)}</pre>"


def cell(text: str) -> str:
    return f"<td style='text-align:left;vertical-align:top'>{html.escape(text)}</td>"


def label(text: str) -> str:
    """A cell that stays in one line."""
    return f"<td style='text-align:left;vertical-align:top;white-space:nowrap'>{html.escape(text)}</td>"


class Page:
    """A title with text, code and a small table: plain text anywhere, a panel in a notebook.

    Args:
        title: The heading.
        text: Paragraphs, separated by line ends.
        table: Rows of cells, shown last.
        code: Lines of code, shown before the text.
    """

    def __init__(self, title: str, text: str, table: list[list[str]] | None = None, code: str = ""):
        self.title, self.text, self.table, self.code = title, text, table or [], code

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self.table, strict=True)]
        rows = [
            "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in self.table
        ]
        text = [self.code, ""] if self.code else []
        text += [wrap(self.text)] if self.text else []
        return "\n".join([self.title, *text, *rows])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr>{''.join(cell(text) for text in row)}</tr>" for row in self.table)
        table = f"<table style='text-align:left'>{rows}</table>" if rows else ""
        code = preformatted(self.code) if self.code else ""
        return panel(self.title, code + (paragraph(self.text) if self.text else "") + table, PAGE_COLOR)
