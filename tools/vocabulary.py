"""Finds words that this project once used in place of the standard term; a person decides about each.

    python tools/vocabulary.py                  all pages, exercises, docs and messages
    python tools/vocabulary.py docs notebooks   only these

Prints where each stands and what the field calls it. The exit status is 0 whatever it finds, because many are fine
where they stand: a legal text says "shall", and a person speaks. It reads Markdown, the pages' sources, and of other
Python files the strings, docstrings and comments. A word in `code` or in braces is a name, and names are left alone.

Not here: spelling (codespell), and English as such.
"""

from __future__ import annotations

import argparse
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHERE = ["README.md", "CONTRIBUTING.md", "docs", "notebooks/src", "exercises/src", "minilora", "benchmarks"]
NOT_PROSE = {"LOG.md", "lawyer.txt"}
TRAINING_TEXT = "assets"  # stories and legal documents

# What to look for (a regular expression, any case) -> the standard term.
STANDARD = {
    r"rows? at a time": "batch size",
    r"tokens in a row|length of a row": "sequence length",
    r"kept[- ]back|keeps? (\w+ ){0,3}back\b": "held out",
    r"notes of the (forward|pass)|notes that the": "activations",
    r"(?<!model )\b(graphics )?cards?\b": "GPU",
    r"\bspeaks?\b|\bspeaking\b": "active; generates text",
    r"\bcorrections?\b": "update, delta",
    r"\b(goes|go|going|went) on\b": "continue, resume",
    r"\bby heart\b|learns? (\w+ ){0,2}by rote": "memorize",
    r"one block (a|per|for (a|each)) matrix": "per tensor",
    r"\bcomput(es?|ed|ing) (them |it )?(again|anew|twice)": "recompute (gradient checkpointing)",
    r"\bforeign adapters?\b": "an adapter for another style",
    r"\bspecialit(y|ies)\b": "task",
    r"\bsafety cop(y|ies)\b": "backup",
    r"\bscrews?\b|\bto the brim\b": "setting, knob",
    r"\bsmall pieces\b": "fragmentation",
    r"\bfar apart\b|\bthey are apart\b": "different, difference",
    r"\bdice\b": "random seed",
    r"\bshall\b": "must, will",
    r"[,;] for (it|they|there|this|that|these|those|we|you|he|she|its|his|the \w+ (is|are|was|has|have))\b": "because",
    r"\bwhoever\b|(?<!no )(?<!th[ei]s )(?<!xt )\bone (needs|sees|wants|writes|knows|can|must)\b": "you; people who",
    r"\bnot its doing\b|\bdreams?\b|\bschool\b|\bblame\b": "say it plainly",
    r"\bput its table\b|\bsays? what is missing\b": "say it plainly",
    r"\bmakes? good for\b|\bmake another\b": "recovers; changes",
    r"\bneed we\b|\bmust it\b|\bneed not be\b": "spoken word order",
    r"\bwhen it would be otherwise\b|\byou may meet\b": "where this stops being true",
    r"\blicences?\b|\bcolour|\bcatalogue\b|\bgrey\b|\bbehaviour\b|\boptimis|\bquantis|\bmemoris": "American spelling",
}
PATTERNS = [(re.compile(pattern, re.IGNORECASE), term) for pattern, term in STANDARD.items()]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """(number of the line, its words) of all prose in a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.split("\n"), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        is_prose = token.type == tokenize.COMMENT or "STRING" in tokenize.tok_name[token.type]
        if is_prose and " " in token.string:  # without a space it is a key or a name
            yield from enumerate(token.string.split("\n"), token.start[0])


def found(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """(line, the word, the standard term, the words around it) for each one in a file."""
    for number, line in prose(path):
        words = re.sub(r"`[^`]*`|{[^{}]*}", lambda code: " " * len(code[0]), line)
        for pattern, term in PATTERNS:
            for hit in pattern.finditer(words):
                yield number, hit[0], term, line[max(0, hit.start() - 45) : hit.end() + 45].strip()


def files(names: list[str]) -> Iterator[Path]:
    for name in names:
        path = ROOT / name
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        for each in inside:
            if each.suffix in (".md", ".py", ".txt") and not {*each.parts} & {*NOT_PROSE, TRAINING_TEXT}:
                yield each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=WHERE, help="files or folders; default: all")
    for path in files(parser.parse_args().names):
        for number, word, term, around in found(path):
            print(f"{path.relative_to(ROOT)}:{number}: {word!r} -> {term}:  {around}")


if __name__ == "__main__":
    main()
