"""Writes the style corpora that ship with minilora, from the grammars in tools/corpora/.

    python tools/build_corpora.py            writes minilora/assets/corpora/
    python tools/build_corpora.py --check    are the files in step with the grammars? writes nothing

Plain text, so that a learner can open it: documents are separated by a line "<|endoftext|>", as in other public
corpora, and conversations are JSON, one to a line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from grammar import write_documents, write_texts

ROOT = Path(__file__).resolve().parents[1]
GRAMMARS = ROOT / "tools" / "corpora"
CORPORA = ROOT / "minilora" / "assets" / "corpora"
STYLES = ("legal", "code", "support")
DOCUMENTS = {"train": 640, "validation": 80}
CONVERSATIONS = {"train": 400, "validation": 60}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    stale = []
    for name, text in corpus_files().items():
        path = CORPORA / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="\n")
    if stale:
        print(
            f"{', '.join(stale)}: {'out of step; run python tools/build_corpora.py' if check else 'written'}"
        )
    return 1 if check and stale else 0


def corpus_files() -> dict[str, str]:
    """Name -> text of every file."""
    files = {"README.md": README.format(rows="\n".join(corpus_rows()))}
    for split, count in DOCUMENTS.items():
        for style in STYLES:
            texts = write_texts(GRAMMARS / f"{style}.json", split, count)
            files[f"{style}_{split}.txt"] = "\n<|endoftext|>\n".join(texts) + "\n"
    for split, count in CONVERSATIONS.items():
        pairs = [text.split("\n") for text in write_texts(GRAMMARS / "support_chat.json", split, count)]
        lines = [json.dumps({"prompt": ask, "completion": answer}) for ask, answer in pairs]
        files[f"support_chat_{split}.jsonl"] = "\n".join(lines) + "\n"
    return files


def corpus_rows() -> list[str]:
    """A row of the README's table for each style: how varied its training text is."""
    rows = []
    for style in STYLES:
        documents = write_documents(GRAMMARS / f"{style}.json", "train", DOCUMENTS["train"])
        sentences = [text for document in documents for _, text in document]
        templates = Counter(str(template) for document in documents for template, _ in document)
        most = templates.most_common(1)[0][1] / len(sentences)
        rows.append(
            f"| {style} | {len(documents):,} | {len(sentences):,} | {len(set(sentences)):,} "
            f"| {len(templates)} | {most:.1%} |"
        )
    return rows


README = """\
# The corpora that minilora fine-tunes on

Three styles in a story-book world: legal writing, a coding assistant, customer support. All text is ours (MIT). A
program wrote it from templates and word lists (`tools/build_corpora.py` and `tools/corpora/` in the repository), so it
is more regular than anything that people write: good for a lesson, useless for a lawyer. The validation files share no
sentence and no pair of main words with the training files. Documents are separated by a line `<|endoftext|>`.

| training corpus | documents | sentences | distinct | templates | most frequent template |
|---|---:|---:|---:|---:|---:|
{rows}

`support_chat_*.jsonl` holds questions and answers, for a chat model: 400 to train on, 60 to validate with.
"""


if __name__ == "__main__":
    sys.exit(main())
