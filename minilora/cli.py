"""The command `minilora`: finds the sub-command in commands/, and turns what goes wrong into one helpful line.

Exit status: 0 only on success; 1 for an error, 2 for a wrong option, 130 after an interrupt. An error is a line on
standard error that says what to do, without a traceback.

Not here: what the commands do (commands/), and how their options are read (options.py).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from minilora import __version__
from minilora.options import Options, name_options, nearest, parse

COMMANDS = {
    "doctor": "check this installation",
    "fetch": "get a real small model once",
    "finetune": "fine-tune a model on a text or on conversations",
    "generate": "continue a prompt, with or without an adapter",
    "chat": "talk with a model, with or without an adapter",
    "evaluate": "measure loss and perplexity on a text",
    "merge": "write base and adapter as one plain checkpoint",
    "plan": "how much memory training takes, with each method",
    "grade": "grade a submission, or a class, in a sandbox",
    "carry-over": "take your answers over into a corrected notebook",
}
USAGE = (
    "usage: minilora COMMAND [options]\n\nLoRA, 4-bit quantization and adapters on small language models.\n"
)
CLOSED_PIPE = 128 + 13  # what a shell reports where the reader of a pipe has gone


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with contextlib.suppress(
        AttributeError
    ):  # characters that a Windows console cannot show must not stop it
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"minilora {__version__}")
        return 0
    if words[0] not in COMMANDS:
        print(f"minilora: there is no command {words[0]}{nearest(words[0], COMMANDS)}", file=sys.stderr)
        print(f"choose from {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    module: Any = importlib.import_module(f"minilora.commands.{words[0].replace('-', '_')}")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _run(words[0], module, words[1:])


def _run(name: str, module: Any, words: list[str]) -> int:
    options: type[Options] = module.Settings
    try:
        examples = "".join(f"  {line}\n" for line in module.EXAMPLES)
        settings = parse(
            options, words, f"minilora {name}", module.__doc__, examples, getattr(module, "CONFIG", False)
        )
        status = 0 if settings is None else int(module.run(settings))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `| head` has seen enough
        with contextlib.suppress(OSError, ValueError):  # or Python would complain when it flushes at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except (ValueError, TypeError, ArithmeticError, ImportError, OSError) as error:
        print(f"minilora: {name_options(str(error), options)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nminilora: interrupted", file=sys.stderr)
        return 130


def _overview() -> str:
    rows = [f"  {name:10} {summary}" for name, summary in COMMANDS.items()]
    last = "minilora COMMAND --help has the options and an example; minilora --version"
    return "\n".join([USAGE, "commands:", *rows, "", last])


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: Any = None,
) -> None:
    """One line, without the place in our code."""
    print(f"warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
