"""The options of a command, declared once: a dataclass whose fields say what `--help`, the parser and a TOML file need.

    @dataclasses.dataclass(kw_only=True)
    class Settings(Options):
        batch_size: int = option(4, "training", "rows per step", least=1)

gives `--batch-size 8` on the command line and `batch_size = 8` in a file; the type comes from the annotation.

Not here: the commands themselves (commands/), and sub-commands, dates, files that must exist.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import re
import sys
import types
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REQUIRED: Any = dataclasses.MISSING


@dataclasses.dataclass(kw_only=True)
class Options:
    """The base of all declared options.

    Attributes:
        given: Names of the options that the user gave, on the command line or in a file.
    """

    given: frozenset[str] = dataclasses.field(default=frozenset(), repr=False, compare=False)

    def __post_init__(self) -> None:
        for field in declared(type(self)):
            _check_range(field, getattr(self, field.name))


def option(
    default: Any,
    group: str,
    help: str,
    *,
    choices: Sequence[str] = (),
    least: float | None = None,
    most: float | None = None,
    positional: bool = False,
    metavar: str | None = None,
) -> Any:
    """Declares an option as the field of a subclass of `Options`.

    Args:
        default: Its value if it is not given, or REQUIRED. A bool starts as False, and its flag turns it on.
        group: The heading in `--help` under which it stands.
        help: What it does. The default is added to it, unless the text names one.
        choices: The values that are allowed.
        least: The lowest number that is allowed.
        most: The highest number that is allowed.
        positional: Given by its place, without its name.
        metavar: What stands for the value in `--help`.
    """
    about = {"group": group, "help": help, "choices": tuple(choices), "least": least, "most": most}
    about |= {"positional": positional, "metavar": metavar}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=about)
    return dataclasses.field(default=default, metadata=about)


def declared(cls: type[Options]) -> list[dataclasses.Field[Any]]:
    """The fields that were made with `option`, those of the class itself before those of its bases."""
    fields = [field for field in dataclasses.fields(cls) if field.metadata]
    return sorted(fields, key=lambda field: field.name not in cls.__annotations__)


def flag(name: str) -> str:
    """The name of an option on the command line.

    >>> flag("batch_size")
    '--batch-size'
    """
    return "--" + name.replace("_", "-")


def nearest(word: str, words: Iterable[str]) -> str:
    """Returns "; did you mean X?" for the word that is most like the given one, or nothing."""
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


# -- the command line ------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest name."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parse(
    cls: type[Options], words: Sequence[str], prog: str, about: str, examples: str, config: bool
) -> Any:
    """Reads the words of a command line.

    Args:
        cls: The options.
        words: What follows the command's name.
        prog: "minilora" and that name.
        about: What the command does.
        examples: For the end of `--help`.
        config: Whether there are the options --config and --print-config.

    Returns:
        An instance of `cls`, or None if only the configuration was asked for, and printed.
    """
    parser = _parser(cls, prog, about, examples, config)
    found, unknown = parser.parse_known_args(words)
    flags = parser._option_string_actions
    for word in unknown:
        name = word.split("=")[0]
        if name.startswith("--"):
            parser.error(f"there is no option {name}{nearest(name, flags)} All options: {prog} --help")
    if unknown:
        parser.error(f"'{unknown[0]}' is one word too many; put a text with spaces in quotes")
    given = vars(found)
    file, show = given.pop("config", None), given.pop("print_config", False)
    given = (read_config(file, cls) if file else {}) | given
    fields = declared(cls)
    missing = [field for field in fields if field.name not in given and _required(field)]
    if missing:
        needed = ", ".join(_shown(field) for field in missing)
        parser.error(f"{needed} must be given; see {prog} --help")
    options = cls(**given, given=frozenset(given))
    if show:
        print(as_toml(options), end="")
        return None
    return options


def _parser(cls: type[Options], prog: str, about: str, examples: str, config: bool) -> Parser:
    fields, hints = declared(cls), typing.get_type_hints(cls)
    needed = " ".join(
        _shown(field) if field.metadata["positional"] else f"{flag(field.name)} {_metavar(field, hints)}"
        for field in fields
        if _required(field)
    )
    parser = Parser(
        prog=prog,
        usage=f"{prog} {needed} [options]".replace("  ", " "),
        description=about,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    groups: dict[str, Any] = {}
    for field in fields:
        group = field.metadata["group"]
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        _add(groups[group], field, hints[field.name])
    if config:
        group = parser.add_argument_group("configuration")
        group.add_argument(
            "--config", metavar="FILE", help="take options from this TOML file, e.g. batch_size = 8"
        )
        group.add_argument(
            "--print-config",
            action="store_true",
            help="print all options as such a file, and do nothing else",
        )
    return parser


def _add(group: Any, field: dataclasses.Field[Any], hint: Any) -> None:
    about, kind = field.metadata, _kind(hint)
    text = about["help"].replace("%", "%%")
    if about["choices"] and not all(choice in text for choice in about["choices"]):
        text += f": {', '.join(about['choices'])}"
    shown = _default_in_words(field)
    if shown and "default" not in text:
        text += f" (default {shown})"
    name = field.name if about["positional"] else flag(field.name)
    if kind is bool:
        group.add_argument(name, action="store_true", help=text)
        return
    more: dict[str, Any] = {"help": text, "metavar": _metavar(field, {field.name: hint})}
    if kind is list:
        more["nargs"] = "+"
    elif about["positional"] and not _required(field):
        more["nargs"] = "?"
    group.add_argument(name, type=str if kind is list else kind, **more)


def _default_in_words(field: dataclasses.Field[Any]) -> str:
    make: Any = field.default_factory
    default = field.default if make is REQUIRED else make()
    if isinstance(default, list):
        return " ".join(default)
    if default is REQUIRED or default is None or isinstance(default, bool):
        return ""
    return f"{default:g}" if isinstance(default, float) else str(default)


def _kind(hint: Any) -> Any:
    """int for `int | None`, list for `list[str]`."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return typing.get_origin(hint) or hint


def _metavar(field: dataclasses.Field[Any], hints: dict[str, Any]) -> str:
    if field.metadata["metavar"] or field.metadata["positional"]:
        return str(field.metadata["metavar"] or field.name.upper())
    return {int: "N", float: "X", list: "NAME"}.get(
        _kind(hints[field.name]), field.name.split("_")[-1].upper()
    )


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is REQUIRED and field.default_factory is REQUIRED


def _shown(field: dataclasses.Field[Any]) -> str:
    return field.name.upper() if field.metadata["positional"] else flag(field.name)


def _check_range(field: dataclasses.Field[Any], value: Any) -> None:
    about = field.metadata
    choices, least, most = about["choices"], about["least"], about["most"]
    if value is None:
        return
    if choices and value not in choices:
        raise ValueError(
            f"{field.name} is {value!r}; choose from {', '.join(choices)}{nearest(str(value), choices)}"
        )
    if least is None:
        return
    whole = "int" in str(field.type)
    fits = type(value) is int if whole else isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not least <= value <= (float("inf") if most is None else most) or value == float("inf"):
        allowed = f"at least {least:g}" if most is None else f"from {least:g} to {most:g}"
        kind = "a whole number" if whole else "a number"
        raise ValueError(
            f"{field.name} is {value}; it must be {kind} {'of ' if most is None else ''}{allowed}"
        )


def name_options(message: str, cls: type[Options]) -> str:
    """Writes the names of Python arguments in a message as the options of a command.

    >>> @dataclasses.dataclass(kw_only=True)
    ... class Example(Options):
    ...     max_steps: int = option(1, "training", "steps")
    ...     any_base: bool = option(False, "model", "take it")
    >>> name_options("max_steps=0: too few; pass any_base=True", Example)
    '--max-steps 0: too few; pass --any-base'
    """
    before, after = r"(?<![\w\-./\\])", r"(?![\w./\\(-])"
    for field in sorted(declared(cls), key=lambda field: -len(field.name)):
        name, words = field.name, flag(field.name)
        message = re.sub(rf"{before}{name}=True\b", words, message)
        message = re.sub(rf"{before}{name}=(?=\S)", words + " ", message)
        if "_" in name:
            message = re.sub(before + name + after, words, message)
        else:  # an ordinary word, except where a message begins with it
            message = re.sub(rf"^{name}(?= is )", words, message)
    return message


# -- a file ----------------------------------------------------------------------------------------------------


def read_config(path: str, cls: type[Options]) -> dict[str, Any]:
    """Reads options from a TOML file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not TOML, or has a key or a value that no option has.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"there is no file {path}; --config takes a TOML file, with lines such as r = 8"
        )
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    fields, hints = {field.name: field for field in declared(cls)}, typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        if name not in fields:
            raise ValueError(f"{path}: there is no option {key}{nearest(name, fields)}")
        kind = _kind(hints[name])
        if kind is float and type(value) is int:
            value = float(value)
        elif kind is list and isinstance(value, str):
            value = [value]
        if type(value) is not kind:
            raise ValueError(f"{path}: {key} is {value!r}, which is no {kind.__name__}")
        values[name] = value
    return values


def as_toml(options: Options) -> str:
    """Writes all options that have a value as a file that `read_config` reads."""
    lines = []
    for field in declared(type(options)):
        value = getattr(options, field.name)
        if value is not None and value is not False:
            lines.append(f"{field.name} = {json.dumps(value)}\n")
    return "".join(lines)
