"""Texts of our own to fine-tune on: documents in three styles, and conversations with customers.

Not here: the program that wrote them (tools/build_corpora.py), and turning text into tokens (datasets.py).
"""

from __future__ import annotations

import json
from typing import Any

from minilora.files import ASSETS
from minilora.training import chat
from minilora.training.datasets import read_text

STYLES = ("legal", "code", "support")
SPLITS = ("train", "validation")
CORPORA = ASSETS / "corpora"
DOCUMENT_END = "<|endoftext|>"  # on a line of its own between two documents of a corpus


def style_corpus(name: str, split: str = "train", documents: int | None = None) -> list[str]:
    """Reads documents of 4 to 8 connected sentences in one style from the text files in `minilora/assets/corpora`.

    The splits share no sentence and no pair of main words (such as animal and place), so that the validation loss says
    how well a style was learned, not a text.

    Args:
        name: "legal", "code" (a coding assistant) or "support" (customer support).
        split: "train" (640 documents, some 400 kB) or "validation" (80).
        documents: How many to return, from the start; all by default.

    Returns:
        The documents; one of the code style holds blocks of Python in Markdown.

    Raises:
        ValueError: the name or the split is unknown, or it has fewer documents.

    Example:
        >>> len(style_corpus("legal")), len(style_corpus("legal", "validation", documents=5))
        (640, 5)
    """
    _check_choice("style", name, STYLES)
    _check_choice("split", split, SPLITS)
    text = read_text(CORPORA / f"{name}_{split}.txt")
    return _first(text.strip().split(f"\n{DOCUMENT_END}\n"), documents, "documents")


def support_chat(split: str = "train", examples: int | None = None) -> list[dict[str, Any]]:
    """Reads conversations in a warm support tone for `encode_chat`: 400 to train on, 60 to validate with.

    Each answer greets, names the thing, gives one concrete step and ends with the same signature.

    Args:
        split: "train" or "validation"; they share no conversation.
        examples: How many to return, from the start; all by default.

    Raises:
        ValueError: the split is unknown, or it has fewer conversations.

    Example:
        >>> [message["role"] for message in support_chat(examples=1)[0]["messages"]]
        ['user', 'assistant']
    """
    _check_choice("split", split, SPLITS)
    lines = read_text(CORPORA / f"support_chat_{split}.jsonl").splitlines()
    return [
        {"messages": chat.as_messages(json.loads(line))} for line in _first(lines, examples, "conversations")
    ]


def _first(texts: list[str], count: int | None, what: str) -> list[str]:
    if count is not None and not 1 <= count <= len(texts):
        raise ValueError(f"{count} {what} are asked for; there are {len(texts)}")
    return texts[:count]


def _check_choice(what: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise ValueError(f"there is no {what} {given!r}; choose from {', '.join(allowed)}")
