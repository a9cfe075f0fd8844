"""Text into rows of tokens, and texts of our own to fine-tune on.

`encode_text`, `load_text`, `encode_chat` and `load_jsonl` turn text into a `TokenData`, which is all that a Trainer
needs. `style_corpus` writes legal, coding-assistant and customer-support prose, `support_chat` writes conversations.

Not here: the writing itself (grammar.py), chat templates (chat.py), shuffling (training.py draws the order of the
rows), texts larger than memory, several conversations in one row.
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

from minilora import grammar
from minilora.training import chat

IGNORE = -100  # a target that counts for nothing; also the default of torch's cross entropy
STYLES = ("legal", "code", "support")
DOCUMENTS = {"train": 640, "validation": 80}
CONVERSATIONS = {"train": 400, "validation": 60}


@dataclasses.dataclass(repr=False)
class TokenData:
    """Rows of tokens with what to predict after each: `input_ids` and `targets`, both (rows, tokens), int64.

    `targets` are the inputs one step later, so nothing is shifted again; IGNORE (-100) where nothing is to be learned.

    >>> TokenData(torch.tensor([[1, 2, 3]]), torch.tensor([[2, 3, IGNORE]]))
    TokenData(1 rows of 3 tokens, 2 to learn)
    """

    input_ids: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        inputs, targets = tuple(self.input_ids.shape), tuple(self.targets.shape)
        if inputs != targets or len(inputs) != 2:
            raise ValueError(
                f"input_ids is {inputs} and targets {targets}; both must be one shape, (rows, tokens)"
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
        """(training rows, validation rows): `fraction` of the rows, drawn by `seed`, is kept for validation.

        >>> rows = torch.arange(20).view(10, 2)
        >>> [len(part) for part in TokenData(rows, rows + 1).split(0.2)]
        [8, 2]
        """
        if not 0 < fraction < 1 or len(self) < 2:
            raise ValueError(
                f"cannot keep {fraction} of {len(self)} rows back; it takes 0 < fraction < 1 and 2 rows"
            )
        kept = min(max(1, round(fraction * len(self))), len(self) - 1)
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        drawn = (order[kept:].sort().values, order[:kept].sort().values)
        train, validation = (TokenData(self.input_ids[rows], self.targets[rows]) for rows in drawn)
        return train, validation


def encode_text(text: str | Sequence[str], tokenizer: Tokenizer, block_size: int = 256) -> TokenData:
    """Packs a text, or documents one after the other, into rows of `block_size` tokens; no token is lost.

    Every token but the first is predicted exactly once; the last row is filled up with targets that do not count.
    Documents are parted by "<|endoftext|>" if the tokenizer has it, else by a blank line. ValueError if the text does
    not fill one row.
    """
    _check_block_size(block_size)
    boundary = "\n\n" if tokenizer.token_to_id("<|endoftext|>") is None else "<|endoftext|>"
    ids = _ids(text if isinstance(text, str) else boundary.join(text), tokenizer)
    if len(ids) <= block_size:
        smaller = f", or block_size={len(ids) - 1} or less" if len(ids) > 1 else ""
        raise ValueError(
            f"the text has {len(ids)} tokens, and one row of block_size={block_size} needs {block_size + 1}; "
            f"give a longer text{smaller}"
        )
    rows = -(-(len(ids) - 1) // block_size)
    padding = rows * block_size + 1 - len(ids)
    return TokenData(
        torch.tensor(ids[:-1] + [0] * padding).view(rows, block_size),  # one long row -> (rows, tokens)
        torch.tensor(ids[1:] + [IGNORE] * padding).view(rows, block_size),
    )


def load_text(path: str | os.PathLike[str], tokenizer: Tokenizer, block_size: int = 256) -> TokenData:
    """Your own .txt file, packed by `encode_text`. ValueError if it is not UTF-8 or has too few tokens."""
    try:
        return encode_text(_read_utf8(path), tokenizer, block_size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def encode_chat(
    examples: Iterable[Any], tokenizer: Tokenizer, block_size: int = 256, chat_template: str | None = None
) -> TokenData:
    """One row for each conversation; only what the assistant says is learned, with the mark that ends its turn.

    An example is {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}, or, for
    one question and its answer, {"prompt": "...", "completion": "..."}. `chat_template` is the model's own (Jinja), by
    default `chat.default_template`. What is longer than `block_size` loses its end, with a warning; ValueError if
    nothing to learn is left. Rows are as long as the longest conversation.
    """
    named = [(f"example {n}", example) for n, example in enumerate(examples, start=1)]
    return _encode_chat(named, tokenizer, block_size, chat_template)


def load_jsonl(
    path: str | os.PathLike[str],
    tokenizer: Tokenizer,
    block_size: int = 256,
    chat_template: str | None = None,
) -> TokenData:
    """Your own .jsonl file of conversations, one a line, as `encode_chat` takes them; errors name the line."""
    try:
        # subtle: not splitlines(), which also splits at the rarer line ends that JSON allows inside a string
        lines = enumerate(_read_utf8(path).split("\n"), start=1)
        examples = [(f"line {n}", _parse(f"line {n}", line)) for n, line in lines if line.strip()]
        return _encode_chat(examples, tokenizer, block_size, chat_template)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def style_corpus(name: str, split: str = "train", seed: int = 0, documents: int | None = None) -> list[str]:
    """Documents of 4 to 8 connected sentences in the voice of `name`: "legal", "code" or "support".

    "validation" has only combinations never trained on: the splits share no sentence and no pair of main words (such
    as beast and place), whatever the seeds. By default 640 documents (some 400 kB) to train on and 80 to validate with;
    the same arguments give the same text on every machine.

    >>> print(style_corpus("legal", documents=1)[0][:95])
    The lazy horse ran to the wood shed and delivered this letter, written on behalf of the Teacher
    """
    _check_choice("style", name, STYLES)
    _check_choice("split", split, tuple(DOCUMENTS))
    written = grammar.write_documents(name, split, seed, DOCUMENTS[split] if documents is None else documents)
    joined = [" ".join(sentence for _, sentence in document) for document in written]
    # A block of code starts and ends with a blank line: no space there.
    return [text.replace(" \n\n```", "\n\n```").replace("```\n\n ", "```\n\n") for text in joined]


def support_chat(split: str = "train", seed: int = 0, examples: int | None = None) -> list[dict[str, Any]]:
    """Conversations in a warm support tone for `encode_chat`: by default 400 to train on, 60 to validate with.

    Each answer greets, names the thing, gives one concrete step and ends with the same signature.

    >>> [message["role"] for message in support_chat(examples=1)[0]["messages"]]
    ['user', 'assistant']
    """
    _check_choice("split", split, tuple(CONVERSATIONS))
    count = CONVERSATIONS[split] if examples is None else examples
    pairs = [text.split("\n") for ((_, text),) in grammar.write_documents("support_chat", split, seed, count)]
    return [{"messages": chat.as_messages({"prompt": ask, "completion": answer})} for ask, answer in pairs]


def check_data(data: Any, name: str) -> None:
    if not isinstance(data, TokenData):
        raise TypeError(
            f"{name} is a {type(data).__name__}; make it from text first, for example with "
            "load_text('my.txt', model.tokenizer) or encode_text(documents, model.tokenizer)"
        )
    if len(data) == 0 or not (data.targets != IGNORE).any():
        raise ValueError(f"{name} holds no token to learn from; give at least one whole row of text")


def _check_choice(what: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise ValueError(f"there is no {what} {given!r}; choose from {', '.join(allowed)}")


def _check_block_size(block_size: int) -> None:
    if block_size < 1:
        raise ValueError(f"block_size={block_size}: a row needs at least one token; 128 to 512 are usual")


def _read_utf8(path: str | os.PathLike[str]) -> str:
    raw = Path(path).read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8 text: the byte at position {error.start} is 0x{raw[error.start]:02x}; "
            "save the file again in your editor with the encoding UTF-8"
        ) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _ids(text: str, tokenizer: Tokenizer) -> list[int]:
    # Some tokenizer.json files cut or pad; here nothing may be lost.
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


def _encode_chat(
    examples: list[tuple[str, Any]], tokenizer: Tokenizer, block_size: int, template: str | None
) -> TokenData:
    _check_block_size(block_size)
    template = template or chat.default_template(tokenizer)
    inputs, targets, cut = [], [], []
    for where, example in examples:
        ids, learned = [], []  # learned: the same tokens, with IGNORE for what the assistant does not say
        try:
            # subtle: each piece is encoded by itself, for at generation the prompt ends where the answer begins
            for text, spoken in chat.chat_pieces(chat.as_messages(example), template):
                text.encode("utf-8")  # JSON can write half a character, which no tokenizer takes
                piece = _ids(text, tokenizer)
                ids += piece
                learned += piece if spoken else [IGNORE] * len(piece)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if len(ids) > block_size + 1:
            cut.append(f"{where} ({len(ids)} tokens)")
        inputs.append(ids[:-1][:block_size])
        targets.append(learned[1:][:block_size])  # what follows each input token
        if all(target == IGNORE for target in targets[-1]):
            raise ValueError(
                f"{where}: nothing of its answer is within block_size={block_size}; shorten the question"
            )
    if not inputs:
        raise ValueError("there is not a single example")
    if cut:
        lost = f"{len(cut)} of {len(inputs)} examples lost their end at block_size={block_size}: {', '.join(cut[:3])}"
        warnings.warn(lost, stacklevel=3)
    width = max(map(len, inputs))
    return TokenData(
        torch.tensor([row + [0] * (width - len(row)) for row in inputs]),  # (conversations, width)
        torch.tensor([row + [IGNORE] * (width - len(row)) for row in targets]),
    )
