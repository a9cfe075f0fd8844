"""The corpora of the course and the registers of pretraining: clean English, varied, and with nothing in common."""

import ast
import collections
import contextlib
import io
import json
import lzma
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import build_corpora  # noqa: E402
import grammar  # noqa: E402

from minilora.training.corpora import style_corpus, support_chat  # noqa: E402

STYLES = build_corpora.STYLES
GRAMMARS = [build_corpora.GRAMMARS / f"{name}.json" for name in (*STYLES, "support_chat")]
REGISTERS = [ROOT / "pretraining" / "registers" / f"{name}.json" for name in STYLES]
DOCUMENTS, CONVERSATIONS = build_corpora.DOCUMENTS, build_corpora.CONVERSATIONS
SLOT = re.compile(r"<([a-z_]+)((?:\.[A-Za-z]+)*)>")


def name_of(path) -> str:
    return f"{path.parent.name}-{path.stem}"


every_grammar = pytest.mark.parametrize("path", [*GRAMMARS, *REGISTERS], ids=name_of)
every_corpus = pytest.mark.parametrize("path", GRAMMARS, ids=name_of)
every_style = pytest.mark.parametrize("name", STYLES)


def test_the_files_that_ship_are_what_the_program_writes():
    for name, text in build_corpora.corpus_files().items():
        assert (build_corpora.CORPORA / name).read_text(encoding="utf-8") == text, name


def template_text(template) -> str:
    return template if isinstance(template, str) else "\n".join(template)


def templates_of(path):
    """(kind, template) for each sentence template of a grammar."""
    for kind in grammar.load_grammar(path)[0]:
        for role, _, _ in kind["plan"]:
            for template in kind[role]:
                yield kind, template


def written(path, split: str):
    count = (CONVERSATIONS if path.stem == "support_chat" else DOCUMENTS)[split]
    return grammar.write_documents(path, split, count)


@every_grammar
def test_every_slot_has_a_rule_and_every_rule_is_used(path):
    _, rules = grammar.load_grammar(path)
    used = set()
    texts = [(kind["bind"], template_text(template)) for kind, template in templates_of(path)]
    binds = {bound: rule for kind, _ in templates_of(path) for bound, rule in kind["bind"].items()}
    texts += [(binds, text) for entries in rules.values() for forms in entries for text in forms.values()]
    for bind, text in texts:
        assert not re.search(r"\b[Aa]n? <", text), f"write <word.an>, for the word decides: {text}"
        for slot, tail in SLOT.findall(text):
            rule = bind.get(slot, slot)
            used.add(rule)
            known = {"an", "cap"} | rules[rule][0].keys()
            assert set(tail.split(".")) <= known, f"{slot}{tail} in {text}"
    used |= set(binds.values())
    assert used == rules.keys()


@every_style
def test_every_sentence_is_about_the_subject_of_its_document(name):
    path = build_corpora.GRAMMARS / f"{name}.json"
    templates = list(templates_of(path))
    assert len(templates) >= 60
    assert len({template_text(template) for _, template in templates}) == len(templates)
    for kind, template in templates:
        slots = {slot for slot, _ in SLOT.findall(template_text(template))}
        assert slots & kind["bind"].keys(), template


@every_style
def test_the_corpora_are_varied_and_no_template_dominates(name):
    documents = written(build_corpora.GRAMMARS / f"{name}.json", "train")
    sentences = [text for document in documents for _, text in document]
    shares = collections.Counter(
        template_text(template) for document in documents for template, _ in document
    )
    assert len(set(sentences)) > 0.97 * len(sentences) > 3000
    assert shares.most_common(1)[0][1] < 0.02 * len(sentences)
    assert all(4 <= len(document) <= 8 for document in documents)
    text = "\n\n".join(style_corpus(name))
    assert 300_000 < len(text) < 600_000
    assert text.isascii()


@every_corpus
def test_validation_shares_no_sentence_and_no_subject_with_training(path):
    kinds, _ = grammar.load_grammar(path)
    role_of = {template_text(template): kind for kind, template in templates_of(path)}
    train = {text for document in written(path, "train") for _, text in document}
    validation = {text for document in written(path, "validation") for _, text in document}
    assert train
    assert validation
    assert not train & validation
    of_kind = [role_of[template_text(document[0][0])] for document in written(path, "validation")]
    assert all(kind in of_kind for kind in kinds)  # every kind of document is there in validation too


@every_style
def test_a_register_shares_no_template_and_no_sentence_with_a_corpus(name):
    """What the base has read must not be what it is fine-tuned on, or the lesson would be a memory test."""
    register = ROOT / "pretraining" / "registers" / f"{name}.json"

    def skeletons(path):
        return {" ".join(SLOT.sub("_", template_text(t)).lower().split()) for _, t in templates_of(path)}

    def sentences(path, count):
        written = grammar.write_documents(path, "train", count)
        return {text.strip() for document in written for _, text in document}

    register_skeletons, register_sentences = skeletons(register), sentences(register, 3000)
    assert len(register_skeletons) >= 150
    for corpus in GRAMMARS:
        assert not register_skeletons & skeletons(corpus)
        assert not register_sentences & sentences(corpus, 400 if corpus.stem == "support_chat" else 640)


@every_grammar
def test_the_text_is_clean_english(path):
    for split in ("train", "validation") if path in GRAMMARS else ("train",):
        for document in written(path, split):
            for _, text in document:
                prose = re.sub(r"```python\n.*?```", "", text, flags=re.DOTALL).strip()
                if not prose:
                    continue
                assert path in REGISTERS or prose[-1] in ".!?", prose  # a register has lists and headings
                assert not SLOT.search(prose), prose
                assert "|" not in prose, prose
                assert not re.search(r"\b(\w+) \1\b|[,.;] ?[,.;]| [,.;!?]|\b[Aa]n [^aeiouAEIOUhf`]", prose), (
                    prose
                )
                assert not re.search(r"\b[Aa] [aeio]\w", prose), prose


def blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_every_block_of_code_runs_and_prints_what_it_says():
    programs = {
        block for split in DOCUMENTS for text in style_corpus("code", split) for block in blocks(text)
    }
    assert len(programs) > 500
    for program in programs:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(ast.parse(program), "block", "exec"), {"__name__": "block"})
        said = " ".join(re.findall(r"# prints (.*)", program))
        assert said, program
        assert output.getvalue().split() == said.split(), program


def test_every_code_document_has_one_block_between_blank_lines():
    for text in style_corpus("code"):
        assert len(blocks(text)) == 1, text
        assert re.search(r"[.!?:`]\n\n```python\n\S", text), text
        assert re.search(r"\n```\n\n[A-Z]", text), text


def test_the_numbers_in_the_prose_add_up():
    rules = grammar.load_grammar(build_corpora.GRAMMARS / "code.json")[1]

    def numbers(rule):
        return [{form: int(text) for form, text in entry.items()} for entry in rules[rule]]

    for n in numbers("nums"):
        three = [n[""], n["b"], n["c"]]
        assert (n["sum"], n["top"], n["low"]) == (sum(three), max(three), min(three))
    for n in numbers("share"):
        assert (n["each"], n["left"]) == divmod(n[""], n["by"])
    assert all(n["product"] == n[""] * n["by"] for n in numbers("mul"))
    assert all(n[""] == n["stride"] * n["turns"] for n in numbers("walk"))
    assert all(n[""] >= n["need"] for n in numbers("plenty"))
    assert all(n[""] < n["need"] for n in numbers("scarce"))
    for entry in rules["name"]:
        name = entry[""]
        assert (entry["up"], entry["len"], entry["back"], entry["initial"]) == (
            name.upper(),
            str(len(name)),
            name[::-1],
            name[0],
        )


def test_each_style_is_nearest_to_itself():
    """lzma as a judge that none of us trained: text after more of its own kind compresses best."""
    train = {name: "\n\n".join(style_corpus(name, documents=150)).encode() for name in STYLES}
    for name in STYLES:
        held_out = "\n\n".join(style_corpus(name, "validation", documents=40)).encode()
        cost = {
            other: len(lzma.compress(train[other] + held_out)) - len(lzma.compress(train[other]))
            for other in STYLES
        }
        assert min(cost, key=cost.get) == name, cost
        assert cost[name] < 0.8 * min(cost[other] for other in STYLES if other != name), cost


def test_each_style_has_openings_in_the_words_of_the_stories_it_is_tuned_from():
    for name in STYLES:
        starts = sum(
            bool(re.match(r"The \w+ \w+ ran to the [\w ]+ and ", text)) for text in style_corpus(name)
        )
        assert 0.1 < starts / DOCUMENTS["train"] < 0.4, name


TINY_GRAMMAR = {
    "kinds": {
        "only": {
            "bind": {"hero": "beast", "place": "place"},
            "held_out": ["hero", "place"],
            "plan": [["start", 1, 1], ["end", 1, 2]],
            "start": ["<hero.an.cap> saw <few> <hero.s> in the <place>."],
            "end": [
                "The <hero> met <beast.an>.",
                ['print("<hero.s> <few>")'],
                "<owner.cap> of the <place> sang <few> songs.",
            ],
        }
    },
    "rules": {
        "beast|s": ["ox|oxen", "cat|cats", "mouse|mice"],
        "place": ["barn", "mill", "den", "loft"],
        "few": ["two", "three", "four", "five"],
        "owner": ["the <beast>", "the old <beast>"],
    },
}


def test_a_grammar_gives_these_very_words_on_every_machine(tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(TINY_GRAMMAR), encoding="utf-8")
    documents = grammar.write_documents(path, "train", 4)
    assert [[text.strip() for _, text in document] for document in documents] == [
        ["A cat saw three cats in the loft.", '```python\nprint("cats four")\n```'],
        [
            "An ox saw five oxen in the barn.",
            '```python\nprint("oxen two")\n```',
            "The cat of the barn sang three songs.",
        ],
        [
            "An ox saw three oxen in the loft.",
            '```python\nprint("oxen two")\n```',
            "The mouse of the loft sang five songs.",
        ],
        ["A cat saw three cats in the barn.", "The cat met an ox.", "The mouse of the barn sang two songs."],
    ]
    validation = grammar.write_documents(path, "validation", 3)
    assert [[text.strip() for _, text in document] for document in validation] == [
        ["A mouse saw two mice in the mill.", "The old cat of the mill sang four songs."],
        ["A mouse saw three mice in the mill.", '```python\nprint("mice two")\n```'],
        ["A mouse saw three mice in the mill.", '```python\nprint("mice two")\n```'],
    ]


SIGNATURE = "Warmly yours, and always one letter away."


@pytest.mark.parametrize("split", CONVERSATIONS)
def test_support_answers_greet_name_the_thing_and_sign(split):
    examples = support_chat(split)
    assert len(examples) == CONVERSATIONS[split]
    rules = grammar.load_grammar(build_corpora.GRAMMARS / "support_chat.json")[1]
    things = [(entry[""], entry[""]) for entry in rules["item"]] + [
        (entry[""], entry["thing"]) for entry in rules["topic"]
    ]
    steps = [entry["step"] for entry in rules["topic"]]
    for example in examples:
        question, answer = (turn["content"] for turn in example["messages"])
        assert answer.startswith("Hello")
        assert answer.endswith(f" {SIGNATURE}")
        assert any(asked in question and thing in answer for asked, thing in things), (question, answer)
        assert "Please" in answer or any(step in answer for step in steps), answer
        assert answer.count(SIGNATURE) == 1
