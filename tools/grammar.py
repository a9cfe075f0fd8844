"""Writes documents from a grammar that is kept as data: the style corpora, and the registers of pretraining.

A grammar has kinds of document and rules. A kind has lists of sentence templates and a plan of how many to take from
each. In a template `<name>` stands for any entry of the rule "name", which may have slots of its own:

    rules       {"beast|s": ["dog|dogs", "mouse|mice"], "adj": ["old", "little"]}
    template    "<adj.an.cap> <beast> met two <beast.s>."
    text        "An old dog met two mice."

A rule "beast|s" gives each entry two forms, <beast> and <beast.s>. The modifiers are `an` (puts "a" or "an" before) and
`cap` (capital letter). A template that is a list of lines is a block of Python. The names that a kind binds are its
subject: drawn once, they mean the same from the first sentence of the document to the last.

Not here: grammar in the linguist's sense; whoever writes a template sees to it that all its fillers fit.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

Template = str | list[str]
_SLOT = re.compile(r"<([a-z_]+(?:\.[A-Za-z]+)*)>")
_MODIFIERS = {
    "an": lambda word: ("an " if word[0].lower() in "aeiou" else "a ") + word,
    "cap": lambda word: word[0].upper() + word[1:],
}


def write_texts(grammar: Path, split: str, count: int) -> list[str]:
    """`count` documents of the grammar in the file `grammar`, as text."""
    joined = [" ".join(sentence for _, sentence in doc) for doc in write_documents(grammar, split, count)]
    # A block of code starts and ends with a blank line: no space there.
    return [text.replace(" \n\n```", "\n\n```").replace("```\n\n ", "```\n\n").strip() for text in joined]


def write_documents(grammar: Path, split: str, count: int) -> list[list[tuple[Template, str]]]:
    """`count` documents, each a list of (template, the sentence made from it).

    "train" and "validation" share no sentence and no subject: see `split_of`. The same arguments give the same text
    on every machine, and fewer documents are the first of many.
    """
    kinds, rules = load_grammar(grammar)
    rng = random.Random(_number(f"{grammar.stem} {split} 0"))
    documents = []
    for _ in range(count):
        kind, document = _pick(kinds, rng), None
        while document is None:  # most subjects are not for validation
            document = _write_document(kind, _Writer(rules, rng), split)
        documents.append(document)
    return documents


def split_of(text: str) -> str:
    """Where a sentence, or the words of a subject, belongs: one in eight, by its checksum, is for validation.

    >>> [split_of(f"dog+{place}") for place in ("barn", "garden", "pantry")]
    ['train', 'train', 'validation']
    """
    return "validation" if _number(text) % 8 == 0 else "train"


def _number(text: str) -> int:
    """A large number that depends on all of the text and on nothing else, as `hash` would not."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


@functools.cache
def load_grammar(path: Path) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, str]]]]:
    """(kinds, rules) of a grammar; each entry of a rule as a dictionary from form to text, "" being the plain form."""
    grammar = json.loads(path.read_text(encoding="utf-8"))
    rules = {}
    for header, entries in grammar["rules"].items():
        rule, *forms = header.split("|")
        rules[rule] = [dict(zip(["", *forms], entry.split("|"), strict=True)) for entry in entries]
    return list(grammar["kinds"].values()), rules


class _Writer:
    """Fills the slots of one document, and prefers words that it has not used in it yet."""

    def __init__(self, rules: dict[str, list[dict[str, str]]], rng: random.Random) -> None:
        self.rules, self.rng = rules, rng
        self.bound: dict[str, dict[str, str]] = {}
        self.used: set[str] = set()

    def bind(self, name: str, rule: str) -> None:
        self.bound[name] = {form: self.expand(text) for form, text in self._draw(rule).items()}

    def expand(self, template: str) -> str:
        return _SLOT.sub(self._fill, template)

    def _fill(self, slot: re.Match[str]) -> str:
        name, *tail = slot[1].split(".")
        forms = self.bound[name] if name in self.bound else self._draw(name)
        word = self.expand(forms[tail.pop(0) if tail and tail[0] in forms else ""])
        for modifier in tail:
            word = _MODIFIERS[modifier](word)
        return word

    def _draw(self, rule: str) -> dict[str, str]:
        fresh = [entry for entry in self.rules[rule] if entry[""] not in self.used]
        entry = _pick(fresh or self.rules[rule], self.rng)
        self.used.add(entry[""])
        return entry


def _write_document(kind: dict[str, Any], writer: _Writer, split: str) -> list[tuple[Template, str]] | None:
    """One document, or None if its subject is not of this split, or a sentence that is could not be found."""
    for name, rule in kind["bind"].items():
        writer.bind(name, rule)
    if split_of("+".join(writer.bound[name][""] for name in kind["held_out"])) != split:
        return None
    sentences: list[tuple[Template, str]] = []
    for role, least, most in kind["plan"]:
        for _ in range(least + int(writer.rng.random() * (most - least + 1))):
            unused = [template for template in kind[role] if template not in [seen for seen, _ in sentences]]
            sentence = _write_sentence(unused, writer, split)
            if sentence is None:
                return None
            sentences.append(sentence)
    return sentences


def _write_sentence(templates: list[Template], writer: _Writer, split: str) -> tuple[Template, str] | None:
    before = writer.used
    for _ in range(100):
        writer.used = set(before)  # the words of a rejected sentence are free again
        template = _pick(templates, writer.rng)
        block = isinstance(template, list)
        text = writer.expand("\n".join(["\n\n```python", *template, "```\n\n"]) if block else template)
        if split_of(text) == split:
            return template, text
    return None


def _pick(options: list[Any], rng: random.Random) -> Any:
    # Of all the methods, only random() is promised to give the same numbers in every version of Python.
    return options[int(rng.random() * len(options))]
