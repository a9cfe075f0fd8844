"""Files and folders into rows of tokens to train on and to validate with.

A .txt or .md file is one text. A line of a .jsonl file is a conversation (`chat.as_messages` lists the forms), or a
text under "text". Texts are packed into rows; of conversations only the answers are learned, each with its end.

Not here: the encoding itself (training/datasets.py).
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch

from minilora.files import ASSETS
from minilora.training import datasets
from minilora.training.datasets import IGNORE, TokenData

EMBEDDED = {"pirate": ASSETS / "pirate.jsonl"}  # 36 questions, answered as a pirate would
SUFFIXES = (".txt", ".md", ".jsonl")
FORMS = "give a .txt, .md or .jsonl file, or a folder that holds some"
HELD_OUT = 0.1  # of the rows, where there is no validation data
ROWS = 8  # rows that a short text should make, even if they are short
SHORTEST = 16  # tokens, of a row


@dataclasses.dataclass
class Texts:
    """What a file or a folder holds.

    Attributes:
        rows: The tokens.
        count: Number of texts or conversations.
        chat: Whether they are conversations.
        start: The first 10,000 characters, to see how the tokenizer takes them.
    """

    rows: TokenData
    count: int
    chat: bool
    start: str


def read_texts(
    path: str | os.PathLike[str], model: Any, context: int, sequence_length: int | None = None
) -> Texts:
    """Reads a file or a folder.

    Args:
        path: The file or folder, or the name of embedded data.
        model: With `tokenizer` and `chat_template`.
        context: The longest row that the model can read.
        sequence_length: Tokens per row; by default what suits the data.

    Raises:
        FileNotFoundError: If there is no such file, or none that can be read.
        ValueError: If it has another format, or cannot be used.
    """
    documents, conversations = [], []
    for file in _files(path):
        if file.suffix != ".jsonl":
            documents.append(datasets.read_text(file))
            continue
        for where, example in datasets.read_jsonl(file):
            if isinstance(example, dict) and isinstance(example.get("text"), str):
                documents.append(example["text"])
            else:
                conversations.append((f"{file}: {where}", example))
    if documents and conversations:
        raise ValueError(
            f"{path} holds {len(documents)} texts beside {len(conversations)} conversations; choose one"
        )
    if conversations:
        length = min(sequence_length or 512, context)
        rows = datasets.encode_conversations(conversations, model.tokenizer, length, model.chat_template)
        return Texts(
            rows, len(conversations), True, str([example for _, example in conversations[:20]])[:10_000]
        )
    documents = [text for text in documents if text.strip()]
    if not documents:
        raise ValueError(f"{path} holds no text")
    length = min(sequence_length or _suitable_length(documents, model), context)
    try:
        rows = datasets.encode_text(documents, model.tokenizer, length)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Texts(rows, len(documents), False, documents[0][:10_000])


def _files(path: str | os.PathLike[str]) -> list[Path]:
    given = Path(path)
    if given.is_dir():
        files = sorted(file for file in given.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        if not files:
            raise FileNotFoundError(f"there is no .txt, .md or .jsonl file in {given}")
        return files
    given = given if given.is_file() else EMBEDDED.get(os.fspath(path), given)
    if not given.is_file():
        raise FileNotFoundError(
            f"there is no file {path}; {FORMS}, or the name of a data set: {', '.join(EMBEDDED)}"
        )
    if given.suffix not in SUFFIXES:
        raise ValueError(f"{path} ends in '{given.suffix}'; {FORMS}")
    return [given]


def _suitable_length(documents: list[str], model: Any) -> int:
    """128 tokens, or fewer if a short text would make only a few rows."""
    if sum(map(len, documents)) > 128 * ROWS * 16:
        return 128
    tokens = sum(len(model.tokenizer.encode(text).ids) for text in documents)
    return max(SHORTEST, min(128, -(-tokens // ROWS)))


def split(texts: Texts, seed: int) -> tuple[TokenData, TokenData]:
    """The rows to train on, and a tenth that is held out.

    Raises:
        ValueError: If there is only one row.
    """
    if len(texts.rows) < 2:
        one = "conversation" if texts.chat else "row of tokens"
        raise ValueError(
            f"the data is one {one}, so none can be held out; give more, a smaller --sequence-length, or "
            "--validation-data"
        )
    return texts.rows.split(HELD_OUT, seed)


def in_words(texts: Texts) -> str:
    """As "3 texts, 12,345 tokens to learn"."""
    kind = "conversation" if texts.chat else "text"
    return (
        f"{texts.count:,} {kind}{'s' * (texts.count != 1)}, {tokens_to_learn(texts.rows):,} tokens to learn"
    )


def tokens_to_learn(data: TokenData) -> int:
    """Number of target tokens."""
    return int((data.targets != IGNORE).sum())


def bytes_per_token(texts: Texts, tokenizer: Any) -> float:
    """How long the tokens are: 3 to 4.5 bytes in a text that the tokenizer was made for, 1 to 1.5 in another script."""
    return len(texts.start.encode()) / max(1, len(tokenizer.encode(texts.start).ids))


def prompt_from(data: TokenData, tokenizer: Any, chat: bool) -> str:
    """The start of a held-out row for samples: a conversation up to its answer, or some words of a text."""
    if chat:
        start = int((data.targets[0] != IGNORE).nonzero()[0]) + 1
        return str(tokenizer.decode(data.input_ids[0, :start].tolist(), skip_special_tokens=False))
    candidates = [_some_words(tokenizer.decode(row[:40].tolist())) for row in torch.unbind(data.input_ids)]
    good = [text for text in candidates if sum(map(str.isalpha, text)) >= 0.6 * max(len(text), 12)]
    best = max(good or candidates, key=lambda text: (text[:1].isupper(), -candidates.index(text)))
    return best or "The"


def _some_words(text: str) -> str:
    """Up to eight words, from the first whole one, or from the first sentence that begins within the text."""
    _, _, rest = text.partition(". ")
    begins = len(rest.split()) >= 6
    words = (rest if begins else text).split()
    return " ".join(words[0 if begins else 1 : -1][:8])  # without the last one, which may be cut as well
