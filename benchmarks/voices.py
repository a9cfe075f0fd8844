"""What the tiny GPT and its adapters write: do the words exist, does Python parse, and which style does one hear?

    python benchmarks/voices.py [--json FILE]          about half an hour on two processor cores
    python benchmarks/voices.py --stories FOLDER       counts the pretraining stories anew, into story_words.json.gz

The base and the adapters continue ten openings of stories with fifty seeds each, 60 tokens at the default temperature,
and what the listing trains with ten; openings and seeds are those of no page. Then

- non-words: the share of words that occur in none of our texts (stories, registers, corpora);
- heard as: the style to which a naive Bayes classifier over words and pairs of words gives the continuation, out of
  stories, legal writing, a coding assistant and customer support;
- parses: of the finished Python blocks in longer texts, those that `ast.parse` accepts.

The stories are not part of the repository, so their words are kept, and the counts of a sample.
"""

from __future__ import annotations

import argparse
import ast
import collections
import functools
import gzip
import itertools
import json
import math
import random
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from page_parts import table, this_machine, versions

from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, style_corpus
from minilora.lora import LoraModel
from minilora.training.corpora import STYLES

HERE = Path(__file__).parent
STORY_WORDS = HERE / "story_words.json.gz"
SAMPLE_BYTES = 400_000  # of the stories: as much as each style has, so that no class is favored
OPENINGS = (
    "The farmer's wife opened the kitchen door and",
    "One rainy afternoon the two squirrels",
    '"Where is my red hat?" asked the boy, and',
    "Down by the river there lived an old badger who",
    "The children had just finished supper when",
    "A small gray kitten was sitting on the",
    "Far away in the hills a shepherd",
    "Aunt Martha put on her bonnet and",
    "The wind blew all night, and in the morning",
    "When the bear came home that evening he",
)
SEEDS = (*range(1001, 1011), *range(2001, 2041))
FEW = SEEDS[:10]
LISTING_SEEDS = (0, 1, 2)


# -- the measures --------------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """
    >>> words("Don't say so, old Mouse!")
    ["don't", 'say', 'so', 'old', 'mouse']
    """
    return re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower())


def features(text: str) -> list[str]:
    """Words and marks, and pairs of neighbors, as the classifier counts them.

    >>> features("Oh, sir")
    ['oh', ',', 'sir', 'oh ,', ', sir']
    """
    single = re.findall(r"[a-z]+(?:'[a-z]+)*|```|[^\sa-z]", text.lower())
    return single + [f"{a} {b}" for a, b in itertools.pairwise(single)]


class StyleClassifier:
    """Naive Bayes over words and pairs of words, every class equally likely beforehand."""

    def __init__(self, counts: dict[str, collections.Counter[str]]) -> None:
        self.counts = counts
        self.size = len(set().union(*counts.values()))
        self.totals = {name: sum(counter.values()) for name, counter in counts.items()}

    def heard(self, text: str) -> str:
        """The class that is likeliest to have written `text`."""

        def log_probability(name: str) -> float:
            norm = self.totals[name] + 0.1 * self.size
            return sum(math.log((self.counts[name][feature] + 0.1) / norm) for feature in features(text))

        return max(self.counts, key=log_probability)


@functools.cache
def story_words() -> dict[str, Any]:
    return json.loads(gzip.decompress(STORY_WORDS.read_bytes()))


@functools.cache
def known_words() -> set[str]:
    """All words of the stories, the registers and the corpora."""
    sys.path.insert(0, str(HERE.parent / "pretraining"))
    from pretrain import FULL, register_works

    known = set(story_words()["words"])
    texts = [text for work in register_works(FULL.register_bytes) for text in work]
    for style in STYLES:
        texts += style_corpus(style) + style_corpus(style, "validation")
    return known.union(*map(words, texts))


@functools.cache
def classifier() -> StyleClassifier:
    counts = {"story": collections.Counter(story_words()["counts"])}
    for style in STYLES:
        counts[style] = collections.Counter(f for text in style_corpus(style) for f in features(text))
    return StyleClassifier(counts)


def python_blocks(text: str) -> list[str]:
    """Finished blocks of Python in Markdown.

    >>> python_blocks("So:\\n\\n```python\\nx = 1\\n```\\n\\nand ```python\\ny")
    ['x = 1\\n']
    """
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def parses(block: str) -> bool:
    try:
        ast.parse(block)
    except (SyntaxError, ValueError):
        return False
    return True


def measure(texts: Iterable[str], style: str) -> dict[str, Any]:
    """Shares over all `texts`, as they are heard for `style`."""
    texts = list(texts)
    # subtle: a text that reached its limit may end within a word, so the last one is not judged
    said = [word for text in texts for word in words(text)[:-1]]
    unknown = [word for word in said if word not in known_words()]
    return {
        "texts": len(texts),
        "words": len(said),
        "nonwords": len(unknown) / max(len(said), 1),
        "broken": sum("�" in text for text in texts),
        "heard": sum(classifier().heard(text) == style for text in texts) / len(texts),
        "examples of nonwords": sorted(set(unknown))[:10],
    }


def continuations(model: Any, openings: Iterable[str] = OPENINGS, seeds: Iterable[int] = SEEDS,
                  tokens: int = 60) -> list[str]:  # fmt: skip
    return [model.generate(opening, tokens, seed=seed) for opening in openings for seed in seeds]


# -- what is measured ----------------------------------------------------------------------------------------


def shipped() -> LoraModel:
    model = LoraModel(GPT.from_pretrained("tiny-gpt"))
    for style in STYLES:
        model.load_adapter(style, style)
    return model


def listing(style: str, seed: int) -> tuple[Any, float]:
    """The chapter's listing on the text of a style: the trained model, and the seconds that training took."""
    base_model = GPT.from_pretrained("tiny-gpt")
    train_data = encode_text(style_corpus(style, documents=160), base_model.tokenizer, 64)
    torch.manual_seed(seed)
    model = add_lora(base_model, LoraConfig(r=8, target_modules=["attention"]))
    start = time.perf_counter()
    Trainer(model=model, train_data=train_data, epochs=3, seed=seed, progress=False).train()
    return model, time.perf_counter() - start


def rows() -> dict[str, dict[str, Any]]:
    model = shipped()
    found = {}
    with model.disable_adapter():
        found["tiny-gpt"] = measure(continuations(model), "story")
        print("tiny-gpt", found["tiny-gpt"], flush=True)
    for style in STYLES:
        model.set_adapter(style)
        row = measure(continuations(model), style)
        if style == "code":
            blocks = [
                b for text in continuations(model, seeds=FEW[:5], tokens=200) for b in python_blocks(text)
            ]
            row |= {"blocks": len(blocks), "parse": sum(map(parses, blocks)) / max(len(blocks), 1)}
        found[f"adapter {style}"] = row
        print(style, row, flush=True)
    for style in ("legal", "support"):
        for seed in LISTING_SEEDS:
            model, seconds = listing(style, seed)
            row = measure(continuations(model, seeds=FEW), style) | {"seconds": seconds}
            found[f"listing {style} {seed}"] = row
            print("listing", style, seed, row, flush=True)
    return found


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = []
    for name, row in recorded["rows"].items():
        kind, _, rest = name.partition(" ")
        label = {"tiny-gpt": "the base", "adapter": f"shipped adapter: {rest}"}.get(
            kind, f"the listing: {rest}"
        )
        if kind == "listing":
            label = "the listing as printed: " + ", seed ".join(rest.split())
        parse = f"{row['parse']:.0%} of {row['blocks']}" if "parse" in row else ""
        seconds = f"{row['seconds']:.0f} s" if "seconds" in row else ""
        lines.append([label, f"{row['heard']:.0%}", f"{row['nonwords']:.2%}", row["broken"], parse, seconds])
    head = [
        "what writes",
        "heard as its style",
        "non-words",
        "texts with U+FFFD",
        "Python parses",
        "training",
    ]
    about = (
        f"{versions(recorded['machine'])}. {len(OPENINGS)} openings of stories, {len(SEEDS)} seeds each "
        f"({len(FEW)} for the listing), 60 tokens at the default temperature; Python in texts of 200 tokens. Neither "
        "openings nor seeds are those of a page."
    )
    return f"{about}\n\n{table(head, lines)}"


def count_stories(folder: Path) -> None:
    """Writes the words of all stories, and the counts of a sample of their paragraphs."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*/*.txt"))]
    paragraphs = [paragraph for text in texts for paragraph in text.split("\n\n")]
    known = sorted({word for text in texts for word in words(text)})
    random.Random(0).shuffle(paragraphs)
    counts: collections.Counter[str] = collections.Counter()
    size = 0
    for paragraph in paragraphs:
        size += len(paragraph)
        if size > SAMPLE_BYTES:
            break
        counts.update(features(paragraph))
    record = json.dumps({"words": known, "counts": dict(sorted(counts.items()))})
    STORY_WORDS.write_bytes(gzip.compress(record.encode(), mtime=0))
    print(f"{len(known):,} words, {len(counts):,} features, {STORY_WORDS.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument(
        "--stories", type=Path, help="the folder of the corpus: count its words, measure nothing"
    )
    options = parser.parse_args()
    if options.stories:
        count_stories(options.stories)
        return
    result = {"machine": this_machine("torch"), "rows": rows()}
    print(page(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
