"""Names that learning platforms give to what one downloads, and whose work it is then.

    Moodle   Jane Doe_1234567_assignsubmission_file/        a folder, or the beginning of a file's name
    Canvas   doejane_48311_9876543_03_lora-1.ipynb          and doejane_LATE_48311_... for late work

Not here: the tables that marks go into (lms.py).
"""

from __future__ import annotations

import collections
import dataclasses
import re
import sys

from minilora.grading.plain_text import one_line

PATTERNS = {
    "moodle": r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_(?:file|onlinetext)_?(?P<file>.*)",
    "canvas": r"(?P<name>[^_]+)(?P<late>_LATE)?_(?P<id>\d{2,})_\d{3,}_(?P<file>.+)",
}
AS_THEY_ARE = "as-they-are"


@dataclasses.dataclass(frozen=True)
class Person:
    """Whose work it is. ids: what the platform's table may call them besides; late: as the platform says."""

    student: str
    ids: tuple[str, ...] = ()
    late: bool = False


def people(names: list[str], how: str = "auto") -> dict[str, Person]:
    """Name of an entry -> the person; says aloud which names do not match where others do.

    how: auto, moodle, canvas, as-they-are, or a regular expression with a group `id`, and perhaps `name`.

    >>> people(["Jane Doe_12_assignsubmission_file", "Jane Doe_13_assignsubmission_file"])
    ... # doctest: +ELLIPSIS
    {'Jane Doe_12_assignsubmission_file': Person(student='Jane Doe (12)', ids=('12', 'Participant 12'), ...}
    """
    pattern = _choose(names, how)
    if pattern is None:
        return {name: Person(name) for name in names}
    found = {name: match for name in names if (match := pattern.fullmatch(name))}
    _say(names, list(found))
    ids_of = collections.defaultdict(set)
    for match in found.values():
        ids_of[_name(match).lower()].add(match["id"])
    told = {name: Person(name) for name in names}
    for name, match in found.items():
        several = len(ids_of[_name(match).lower()]) > 1
        student = f"{_name(match)} ({match['id']})" if several else _name(match)
        told[name] = Person(
            student, (match["id"], f"Participant {match['id']}"), bool(match.groupdict().get("late"))
        )
    return told


def _choose(names: list[str], how: str) -> re.Pattern[str] | None:
    """The pattern asked for; on auto the platform's that most names follow, if at least half of them do."""
    if how == AS_THEY_ARE:
        return None
    if how in PATTERNS:
        return re.compile(PATTERNS[how])
    if how != "auto":
        try:
            pattern = re.compile(how)
        except re.error as error:
            raise ValueError(f"--names {how!r} is no regular expression: {error}") from error
        if "id" not in pattern.groupindex:
            raise ValueError(f"--names {how!r} has no group for the id; write (?P<id>...) where it stands")
        return pattern
    patterns = [re.compile(text) for text in PATTERNS.values()]
    best = max(patterns, key=lambda pattern: sum(map(bool, map(pattern.fullmatch, names))))
    return best if 2 * sum(map(bool, map(best.fullmatch, names))) >= max(len(names), 1) else None


def _say(names: list[str], found: list[str]) -> None:
    others = [one_line(name) for name in names if name not in found]
    if others:
        told = ", ".join(others[:10]) + (f" and {len(others) - 10} more" if len(others) > 10 else "")
        print(
            f"minilora: {len(others)} of {len(names)} names do not follow the pattern of the others, and count as they "
            f"are: {told}",
            file=sys.stderr,
        )


def _name(match: re.Match[str]) -> str:
    return (match.groupdict().get("name") or match["id"]).strip()


def bare_name(file: str) -> str:
    """A file's name without what the platform put around it.

    >>> bare_name("doejane_48311_9876543_03_lora-1.ipynb"), bare_name("03_lora.ipynb")
    ('03_lora.ipynb', '03_lora.ipynb')
    """
    for text in PATTERNS.values():
        match = re.fullmatch(text, file)
        if match and match["file"]:
            return re.sub(r"-\d+(\.\w+)$", r"\1", match["file"])
    return file


def feedback_name(entry: str) -> str:
    """The name that Moodle wants feedback files to have, for an entry that it named; else nothing.

    Its import splits a name at underscores into full name, id, kind of plugin, plugin, and file
    (mod/assign/feedback/file/importziplib.php).

    >>> feedback_name("Jane Doe_1234567_assignsubmission_file"), feedback_name("ada.ipynb")
    ('Jane Doe_1234567_assignsubmission_file_feedback.html', '')
    """
    match = re.match(r"(.+?_\d+_assignsubmission_file)(_|$)", entry)
    return f"{match[1]}_feedback.html" if match else ""
