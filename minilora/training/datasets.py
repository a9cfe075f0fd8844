"""Text into rows of tokens.

`encode_text`, `load_text`, `encode_chat` and `load_jsonl` turn text into `TokenData`, which is all that a Trainer
needs.

Not here: texts of our own to fine-tune on (corpora.py), chat templates (chat.py), shuffling (trainer.py draws the order
of the rows), texts larger than memory, several conversations in one row.
"""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from minilora.training import chat

IGNORE = -100  # a target that does not count; the default of torch's cross entropy too


@dataclasses.dataclass(repr=False)
class TokenData:
    """Rows of tokens, and what to predict after each token.

    Attributes:
        input_ids: int64 (rows, tokens).
        targets: int64 (rows, tokens): the inputs one step later, so nothing is shifted again; IGNORE (-100) where
            there is nothing to learn.

    Raises:
        TypeError: If one of them is not int64.
        ValueError: If their shapes differ or are not (rows, tokens).

    >>> TokenData(torch.tensor([[1, 2, 3]]), torch.tensor([[2, 3, IGNORE]]))
    TokenData(1 rows of 3 tokens, 2 to learn)
    """

    input_ids: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        inputs, targets = tuple(self.input_ids.shape), tuple(self.targets.shape)
        if inputs != targets or len(inputs) != 2:
            raise ValueError(
                f"input_ids is {inputs} and targets {targets}; both must have the same shape, (rows, tokens)"
            )
        types = (self.input_ids.dtype, self.targets.dtype)
        if types != (torch.int64, torch.int64):
            raise TypeError(f"token numbers are {types[0]} and {types[1]}; use torch.int64")

    def __len__(self) -> int:
        return len(self.input_ids)

    def __repr__(self) -> str:
        learned = int((self.targets != IGNORE).sum())
        return f"TokenData({len(self)} rows of {self.input_ids.shape[1]} tokens, {learned:,} to learn)"

    def split(self, fraction: float = 0.1, seed: int = 0) -> tuple[TokenData, TokenData]:
        """Splits the rows at random.

        Args:
            fraction: Share of the rows that is held out, at least one row and never all.
            seed: Seed of the random split.

        Returns:
            The training rows and the held-out rows.

        Raises:
            ValueError: If fraction is not between 0 and 1, or there are fewer than 2 rows.

        >>> rows = torch.arange(20).view(10, 2)
        >>> [len(part) for part in TokenData(rows, rows + 1).split(0.2)]
        [8, 2]
        """
        if not 0 < fraction < 1 or len(self) < 2:
            raise ValueError(
                f"cannot hold out {fraction} of {len(self)} rows; it takes 0 < fraction < 1 and at least 2 rows"
            )
        held_out = min(max(1, round(fraction * len(self))), len(self) - 1)
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        drawn = (order[held_out:].sort().values, order[:held_out].sort().values)
        train, validation = (TokenData(self.input_ids[rows], self.targets[rows]) for rows in drawn)
        return train, validation


def encode_text(text: str | Sequence[str], tokenizer: Tokenizer, sequence_length: int = 256) -> TokenData:
    """Packs a text, or documents one after the other, into rows of tokens; no token is lost.

    Every token but the first is predicted exactly once; the last row is padded with targets that do not count.
    Documents are separated by ``<|endoftext|>`` if the tokenizer has it, otherwise by a blank line.

    Args:
        text: One text, or several documents.
        tokenizer: The model's.
        sequence_length: Tokens per row.

    Returns:
        Rows of `sequence_length` tokens.

    Raises:
        ValueError: If the text does not fill one row.
    """
    _check_sequence_length(sequence_length)
    boundary = "\n\n" if tokenizer.token_to_id("<|endoftext|>") is None else "<|endoftext|>"
    ids = _ids(text if isinstance(text, str) else boundary.join(text), tokenizer)
    if len(ids) <= sequence_length:
        smaller = f", or sequence_length={len(ids) - 1} or less" if len(ids) > 1 else ""
        raise ValueError(
            f"the text has {len(ids)} tokens, but one row of sequence_length={sequence_length} needs "
            f"{sequence_length + 1}; give a longer text{smaller}"
        )
    rows = -(-(len(ids) - 1) // sequence_length)
    padding = rows * sequence_length + 1 - len(ids)
    return TokenData(
        torch.tensor(ids[:-1] + [0] * padding).view(rows, sequence_length),  # one long row -> (rows, tokens)
        torch.tensor(ids[1:] + [IGNORE] * padding).view(rows, sequence_length),
    )


def load_text(path: str | os.PathLike[str], tokenizer: Tokenizer, sequence_length: int = 256) -> TokenData:
    """Reads your own .txt file and packs it with `encode_text`.

    Args:
        path: A text file in UTF-8.
        tokenizer: The model's.
        sequence_length: Tokens per row.

    Returns:
        Rows of `sequence_length` tokens.

    Raises:
        ValueError: If the file is not UTF-8 or has too few tokens.
    """
    try:
        return encode_text(read_text(path), tokenizer, sequence_length)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def encode_chat(
    examples: Iterable[Any],
    tokenizer: Tokenizer,
    sequence_length: int = 256,
    chat_template: str | None = None,
) -> TokenData:
    """Encodes one conversation per row; only the assistant's turns are learned, with the token that ends each.

    An example is {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}, or, for
    one question and its answer, {"prompt": "...", "completion": "..."}.

    Args:
        examples: The conversations.
        tokenizer: The model's.
        sequence_length: Longer conversations lose their end, with a warning.
        chat_template: The model's own (Jinja); by default `chat.default_template`.

    Returns:
        Rows as long as the longest conversation.

    Raises:
        ValueError: If an example is malformed, or nothing to learn is left of it.
    """
    named = [(f"example {n}", example) for n, example in enumerate(examples, start=1)]
    return encode_conversations(named, tokenizer, sequence_length, chat_template)


def load_jsonl(
    path: str | os.PathLike[str],
    tokenizer: Tokenizer,
    sequence_length: int = 256,
    chat_template: str | None = None,
) -> TokenData:
    """Reads your own .jsonl file of conversations, one per line, and encodes them with `encode_chat`.

    Args:
        path: A file in UTF-8.
        tokenizer: The model's.
        sequence_length: Longer conversations lose their end, with a warning.
        chat_template: The model's own (Jinja); by default `chat.default_template`.

    Returns:
        Rows as long as the longest conversation.

    Raises:
        ValueError: If the file is not UTF-8 or JSON, or an example is malformed; it names the line.
    """
    try:
        return encode_conversations(read_jsonl(path), tokenizer, sequence_length, chat_template)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_data(data: Any, name: str) -> None:
    """Raises TypeError or ValueError, naming the argument, unless data is `TokenData` with something to learn."""
    if not isinstance(data, TokenData):
        raise TypeError(
            f"{name} is a {type(data).__name__}; make it from text first, for example with "
            "load_text('my.txt', model.tokenizer) or encode_text(documents, model.tokenizer)"
        )
    if len(data) == 0 or not (data.targets != IGNORE).any():
        raise ValueError(f"{name} holds no token to learn from; give at least one whole row of text")


def _check_sequence_length(sequence_length: int) -> None:
    if sequence_length < 1:
        raise ValueError(
            f"sequence_length={sequence_length}: a row needs at least one token; 128 to 512 are usual"
        )


def read_text(path: str | os.PathLike[str]) -> str:
    """Reads a file in UTF-8, with line ends as on Unix; a ValueError says where it is not UTF-8."""
    raw = Path(path).read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8 text: the byte at position {error.start} is 0x{raw[error.start]:02x}; "
            "save the file again in your editor with the encoding UTF-8"
        ) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def read_jsonl(path: str | os.PathLike[str]) -> list[tuple[str, Any]]:
    """Reads a .jsonl file: ("line 3", its value) for each line that is not blank; a ValueError names a bad one."""
    # subtle: not splitlines(), which also splits at the rarer line ends that JSON allows inside a string
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(f"line {n}", _parse(f"line {n}", line)) for n, line in lines if line.strip()]


def _ids(text: str, tokenizer: Tokenizer) -> list[int]:
    # Some tokenizer.json files ask for truncation or padding; here nothing may be lost.
    if tokenizer.truncation or tokenizer.padding:
        tokenizer = Tokenizer.from_str(tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return tokenizer.encode(text, add_special_tokens=False).ids


def _parse(where: str, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:  # the second: brackets in brackets, thousands deep
        raise ValueError(f"{where} is not JSON: {error}") from error


def encode_conversations(
    examples: list[tuple[str, Any]], tokenizer: Tokenizer, sequence_length: int, template: str | None
) -> TokenData:
    """As `encode_chat`; each example comes with its name for messages, "line 3" for instance."""
    _check_sequence_length(sequence_length)
    template = template or chat.default_template(tokenizer)
    inputs, targets, cut = [], [], []
    for where, example in examples:
        ids, learned = [], []  # learned: the same tokens, with IGNORE outside the assistant's turns
        try:
            # subtle: each piece is encoded by itself, because in generation the prompt ends where the answer begins
            for text, is_assistant in chat.chat_pieces(chat.as_messages(example), template):
                text.encode("utf-8")  # JSON can write half a character, which no tokenizer takes
                piece = _ids(text, tokenizer)
                ids += piece
                learned += piece if is_assistant else [IGNORE] * len(piece)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if len(ids) > sequence_length + 1:
            cut.append(f"{where} ({len(ids)} tokens)")
        inputs.append(ids[:-1][:sequence_length])
        targets.append(learned[1:][:sequence_length])  # what follows each input token
        if all(target == IGNORE for target in targets[-1]):
            raise ValueError(
                f"{where}: nothing of its answer is within sequence_length={sequence_length}; shorten the question"
            )
    if not inputs:
        raise ValueError("there is not a single example")
    if cut:
        warnings.warn(
            f"{len(cut)} of {len(inputs)} examples lost their end at sequence_length={sequence_length}: "
            f"{', '.join(cut[:3])}",
            stacklevel=3,
        )
    width = max(map(len, inputs))
    return TokenData(
        torch.tensor([row + [0] * (width - len(row)) for row in inputs]),  # (conversations, width)
        torch.tensor([row + [IGNORE] * (width - len(row)) for row in targets]),
    )
