"""Text into rows: nothing lost or shifted wrongly, masks held against transformers' own; the corpora as promised."""

import ast
import collections
import contextlib
import io
import json
import lzma
import os
import re
import subprocess
import sys
import warnings
import zlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from minilora import chat, grammar
from minilora.datasets import (
    CONVERSATIONS,
    DOCUMENTS,
    IGNORE,
    STYLES,
    TokenData,
    encode_chat,
    encode_text,
    load_jsonl,
    load_text,
    style_corpus,
    support_chat,
)
from tests.helpers import peer

CHAT_MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_level_bpe(*special_tokens: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        style_corpus("legal", documents=30) + style_corpus("code", documents=30), trainer
    )
    return tokenizer


PLAIN_TOKENIZER = byte_level_bpe()
CHAT_TOKENIZER = byte_level_bpe(*CHAT_MARKS)


def ids_of(text: str, tokenizer: Tokenizer = PLAIN_TOKENIZER) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


# ---------------------------------------------------------------------------------------------------------------------
# TokenData


def numbered_rows(rows: int) -> TokenData:
    ids = torch.arange(rows * 3).view(rows, 3)
    return TokenData(ids, ids + 1)


@pytest.mark.parametrize(
    ("rows", "fraction", "kept"), [(2, 0.01, 1), (2, 0.99, 1), (10, 0.25, 2), (50, 0.1, 5)]
)
def test_a_split_shares_out_every_row_once(rows, fraction, kept):
    train, validation = numbered_rows(rows).split(fraction, seed=3)
    assert (len(train), len(validation)) == (rows - kept, kept)
    assert sorted(train.input_ids[:, 0].tolist() + validation.input_ids[:, 0].tolist()) == list(
        range(0, rows * 3, 3)
    )
    assert torch.equal(train.targets, train.input_ids + 1)
    assert torch.equal(validation.targets, validation.input_ids + 1)


def test_a_split_is_a_function_of_its_seed():
    first, again, other = (numbered_rows(50).split(0.2, seed)[1].input_ids for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("rows", "fraction"), [(1, 0.5), (0, 0.5), (10, 0.0), (10, 1.0), (10, -0.1)])
def test_an_impossible_split_says_so(rows, fraction):
    with pytest.raises(ValueError, match=rf"{fraction} of {rows} rows"):
        numbered_rows(rows).split(fraction)


def test_token_data_refuses_what_is_not_rows_of_whole_numbers():
    ids = torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"\(2, 3\) and targets \(2, 2\)"):
        TokenData(ids, ids[:, :2])
    with pytest.raises(ValueError, match="rows, tokens"):
        TokenData(ids[0], ids[0])
    with pytest.raises(TypeError, match=r"torch\.int32"):
        TokenData(ids, ids.int())


# ---------------------------------------------------------------------------------------------------------------------
# Plain text


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=40, max_size=300), block_size=st.integers(1, 30))
def test_packing_loses_no_token_and_predicts_each_but_the_first_once(text, block_size):
    ids = ids_of(text)
    data = encode_text(text, PLAIN_TOKENIZER, block_size)
    inputs, targets = data.input_ids.flatten().tolist(), data.targets.flatten().tolist()
    assert data.input_ids.shape[1] == block_size
    assert inputs[: len(ids) - 1] == ids[:-1]
    assert targets[: len(ids) - 1] == ids[1:]
    assert set(targets[len(ids) - 1 :]) <= {IGNORE}
    assert len(targets) - (len(ids) - 1) < block_size  # no row of padding alone


@pytest.mark.parametrize(
    ("tokenizer", "boundary"), [(PLAIN_TOKENIZER, "\n\n"), (CHAT_TOKENIZER, "<|endoftext|>")]
)
def test_documents_are_parted_by_the_mark_that_the_tokenizer_has(tokenizer, boundary):
    data = encode_text(["One dog.", "Two cats."], tokenizer, block_size=2)
    ids = ids_of(f"One dog.{boundary}Two cats.", tokenizer)
    assert data.input_ids.flatten().tolist()[: len(ids) - 1] == ids[:-1]


def test_a_tokenizer_that_cuts_and_pads_loses_nothing_and_is_left_as_it_was():
    tokenizer = byte_level_bpe()
    tokenizer.enable_truncation(max_length=4)
    tokenizer.enable_padding(length=4)
    text = "The little dog ran to the garden and found a button."
    assert torch.equal(encode_text(text, tokenizer, 5).targets, encode_text(text, PLAIN_TOKENIZER, 5).targets)
    assert tokenizer.truncation["max_length"] == 4


def test_a_text_that_does_not_fill_one_row_gives_both_counts():
    tokens = len(ids_of("A dog."))
    with pytest.raises(ValueError, match=rf"has {tokens} tokens.*needs 257.*block_size={tokens - 1} or less"):
        encode_text("A dog.", PLAIN_TOKENIZER)
    assert len(encode_text("A dog.", PLAIN_TOKENIZER, block_size=tokens - 1)) == 1
    for nothing in ("", []):
        with pytest.raises(ValueError, match="has 0 tokens"):
            encode_text(nothing, PLAIN_TOKENIZER)
    with pytest.raises(ValueError, match="block_size=0"):
        encode_text("A dog.", PLAIN_TOKENIZER, block_size=0)


def test_a_text_file_is_the_same_with_any_line_ends_and_byte_order_mark(tmp_path):
    text = "The dog saw a caf\u00e9.\nIt sat down.\n\nNobody came.\n" * 3
    for name, raw in {
        "unix.txt": text.encode(),
        "windows.txt": b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
        "old_mac.txt": text.replace("\n", "\r").encode(),
    }.items():
        (tmp_path / name).write_bytes(raw)
        data = load_text(tmp_path / name, PLAIN_TOKENIZER, block_size=8)
        assert torch.equal(data.targets, encode_text(text, PLAIN_TOKENIZER, 8).targets), name


@pytest.mark.parametrize(
    ("raw", "position", "byte"),
    [
        (b"caf\xe9 and tea", 3, "e9"),
        (b"\xff\xfed\x00o\x00g\x00", 0, "ff"),
        (b"\xef\xbb\xbfdog \x80", 7, "80"),
    ],
)
def test_a_text_file_that_is_not_utf8_names_the_byte_and_the_remedy(tmp_path, raw, position, byte):
    (tmp_path / "mine.txt").write_bytes(raw)
    with pytest.raises(ValueError, match=rf"mine\.txt: not UTF-8.*position {position} is 0x{byte}.*UTF-8"):
        load_text(tmp_path / "mine.txt", PLAIN_TOKENIZER)


def test_a_file_that_is_too_short_or_missing_is_named(tmp_path):
    (tmp_path / "short.txt").write_text("A dog.", encoding="utf-8")
    with pytest.raises(ValueError, match=r"short\.txt: the text has"):
        load_text(tmp_path / "short.txt", PLAIN_TOKENIZER)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        load_text(tmp_path / "nowhere.txt", PLAIN_TOKENIZER)


# ---------------------------------------------------------------------------------------------------------------------
# Conversations

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Where is my boat?"},
    {"role": "assistant", "content": "Hello! It sails on Monday."},
    {"role": "user", "content": "Thanks <b>&</b> bye"},
    {"role": "assistant", "content": "Warmly yours."},
]


def transformers_tokenizer(chat_template: str):
    tokenizer = peer("transformers").PreTrainedTokenizerFast(tokenizer_object=CHAT_TOKENIZER)
    tokenizer.chat_template = chat_template
    return tokenizer


TRIMMING = """{% if messages[0].role == 'system' %}
    {%- set rest = messages[1:] %}
{% else %}
    {%- set rest = messages %}
{% endif %}
{% for turn in rest %}
    {% set role = turn['role'] | upper %}
    {{- '[' + role + '] ' + turn['content'] | trim + '\n' }}
{% endfor %}
{% if add_generation_prompt %}
    {{- '[ASSISTANT] ' }}
{% endif %}
"""


@pytest.mark.parametrize("template", [chat.CHATML, chat.PLAIN, TRIMMING], ids=["chatml", "plain", "trimming"])
@pytest.mark.parametrize("turns", [2, 3, 5])
@pytest.mark.parametrize("prompt", [True, False])
def test_a_rendered_chat_is_that_of_transformers(template, turns, prompt):
    expected = transformers_tokenizer(template).apply_chat_template(
        TALK[:turns], tokenize=False, add_generation_prompt=prompt
    )
    assert chat.render_chat(TALK[:turns], template, add_generation_prompt=prompt) == expected


def test_the_learned_tokens_are_those_that_transformers_marks_as_the_assistants():
    marked = chat.CHATML.replace(
        "<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n",
        "<|im_start|>{{ turn.role }}\n{% if turn.role == 'assistant' %}{% generation %}{{ turn.content "
        "}}<|im_end|>\n"
        "{% endgeneration %}{% else %}{{ turn.content }}<|im_end|>\n{% endif %}",
    )
    oracle = transformers_tokenizer(marked).apply_chat_template(
        TALK, return_dict=True, return_assistant_tokens_mask=True
    )
    data = encode_chat([{"messages": TALK}], CHAT_TOKENIZER)
    ids, mask = oracle["input_ids"], oracle["assistant_masks"]
    assert 0 < sum(mask) < len(mask)
    assert data.input_ids[0].tolist() == ids[:-1]
    assert data.targets[0].tolist() == [
        token if said else IGNORE for token, said in zip(ids[1:], mask[1:], strict=True)
    ]


def learned_text(data: TokenData, row: int, tokenizer: Tokenizer = CHAT_TOKENIZER) -> str:
    targets = data.targets[row]
    return tokenizer.decode(targets[targets != IGNORE].tolist(), skip_special_tokens=False)


def test_prompt_and_completion_are_a_conversation_of_two_turns():
    short = encode_chat([{"prompt": "Where is my boat?", "completion": "At sea."}], CHAT_TOKENIZER)
    turns = [{"role": "user", "content": "Where is my boat?"}, {"role": "assistant", "content": "At sea."}]
    assert torch.equal(short.targets, encode_chat([{"messages": turns}], CHAT_TOKENIZER).targets)
    assert learned_text(short, 0) == "At sea.<|im_end|>\n"


def test_a_tokenizer_without_chat_marks_gets_plain_text():
    data = encode_chat([{"prompt": "Where is my boat?", "completion": "At sea."}], PLAIN_TOKENIZER)
    assert learned_text(data, 0, PLAIN_TOKENIZER) == "At sea.\n\n"
    assert (
        PLAIN_TOKENIZER.decode(data.input_ids[0].tolist())
        == "user:\nWhere is my boat?\n\nassistant:\nAt sea.\n"
    )


def test_rows_are_padded_to_the_longest_and_padding_is_not_learned():
    examples = [
        {"prompt": "Hi", "completion": "Yes."},
        {"prompt": "Hi", "completion": "Yes, and again yes. " * 4},
    ]
    data = encode_chat(examples, CHAT_TOKENIZER)
    alone = encode_chat(examples[:1], CHAT_TOKENIZER)
    width = alone.input_ids.shape[1]
    assert data.input_ids.shape[1] == encode_chat(examples[1:], CHAT_TOKENIZER).input_ids.shape[1] > width
    assert torch.equal(data.input_ids[0, :width], alone.input_ids[0])
    assert torch.equal(data.targets[0, :width], alone.targets[0])
    assert (data.targets[0, width:] == IGNORE).all()


def test_what_is_too_long_is_cut_with_a_warning_and_refused_if_nothing_is_left():
    long = {"prompt": "Where is my boat?", "completion": "At sea. " * 50}
    whole = encode_chat([long], CHAT_TOKENIZER, block_size=400)
    with pytest.warns(UserWarning, match=r"1 of 2 examples.*block_size=40: example 2 \(\d+ tokens\)"):
        data = encode_chat([{"prompt": "Hi", "completion": "Yes."}, long], CHAT_TOKENIZER, block_size=40)
    assert torch.equal(data.targets[1], whole.targets[0, :40])
    with pytest.raises(ValueError, match=r"example 1: nothing of its answer is within block_size=8"):
        encode_chat(
            [{"prompt": "Where is my boat? " * 9, "completion": "At sea."}], CHAT_TOKENIZER, block_size=8
        )
    with warnings.catch_warnings():  # a conversation that just fits is whole
        warnings.simplefilter("error")
        fitting = encode_chat([long], CHAT_TOKENIZER, block_size=whole.input_ids.shape[1])
    assert torch.equal(fitting.targets, whole.targets)


GOOD = '{"prompt": "Hi", "completion": "Yes."}'


def test_a_jsonl_file_is_read_line_by_line(tmp_path):
    (tmp_path / "talk.jsonl").write_bytes(
        ("\ufeff" + GOOD + "\r\n\r\n" + json.dumps({"messages": TALK}) + "\r\n").encode()
    )
    # U+2028 is no line end in JSON, though str.splitlines takes it for one.
    odd = {"prompt": "Hi", "completion": "One\u2028two."}
    (tmp_path / "odd.jsonl").write_text(json.dumps(odd, ensure_ascii=False), encoding="utf-8")
    data = load_jsonl(tmp_path / "talk.jsonl", CHAT_TOKENIZER)
    assert [learned_text(data, row) for row in range(2)] == [
        "Yes.<|im_end|>\n",
        "Hello! It sails on Monday.<|im_end|>\nWarmly yours.<|im_end|>\n",
    ]
    assert learned_text(load_jsonl(tmp_path / "odd.jsonl", CHAT_TOKENIZER), 0) == "One\u2028two.<|im_end|>\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([GOOD, "", '{"prompt": "Hi", '], "line 3 is not JSON"),
        ([GOOD, '"a string"'], "line 2: it needs"),
        ([GOOD, "[1, 2]"], "line 2: it needs"),
        (['{"text": "A story."}'], "line 1: it needs"),
        (['{"prompt": "Hi"}'], "line 1: it needs"),
        (['{"messages": "Hi"}'], "line 1: it needs"),
        (['{"prompt": "Hi", "completion": 3}'], r"line 1: a turn needs.*'content': 3"),
        (['{"messages": ["Hi"]}'], "line 1: a turn needs"),
        (
            ['{"messages": [{"role": "robot", "content": "Hi"}]}'],
            r"line 1: a turn needs.*system, user, assistant",
        ),
        (['{"messages": [{"role": "user", "content": "Hi"}]}'], "line 1: no turn is the"),
        (['{"messages": []}'], "line 1: no turn is the"),
        (["", "  "], "there is not a single example"),
    ],
)
def test_a_bad_line_is_named_with_the_remedy(tmp_path, lines, message):
    (tmp_path / "talk.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"talk\.jsonl: {message}"):
        load_jsonl(tmp_path / "talk.jsonl", CHAT_TOKENIZER)


def test_a_chat_template_that_cannot_be_used_says_why():
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]
    with pytest.raises(ValueError, match="does not take this conversation: only cats"):
        chat.render_chat(messages, "{{ raise_exception('only cats') }}")
    with pytest.raises(ValueError, match="does not take this conversation"):
        chat.render_chat(messages, "{% for turn in messages %}")
    with pytest.raises(
        ValueError, match="does not take this conversation"
    ):  # a template may not reach into Python
        chat.render_chat(messages, "{{ messages.__class__.__mro__ }}")
    with pytest.raises(ValueError, match="example 1: the chat template changes earlier turns"):
        encode_chat([{"messages": messages}], CHAT_TOKENIZER, chat_template="{{ messages | length }}")


# ---------------------------------------------------------------------------------------------------------------------
# The corpora

GRAMMARS = (*STYLES, "support_chat")
SLOT = re.compile(r"<([a-z_]+)((?:\.[A-Za-z]+)*)>")


def template_text(template) -> str:
    return template if isinstance(template, str) else "\n".join(template)


def templates_of(name: str):
    """(kind, template) for each sentence template of a grammar."""
    for kind in grammar.load_grammar(name)[0]:
        for role, _, _ in kind["plan"]:
            for template in kind[role]:
                yield kind, template


def written(name: str, split: str, seed: int = 0):
    count = (CONVERSATIONS if name == "support_chat" else DOCUMENTS)[split]
    return grammar.write_documents(name, split, seed, count)


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_slot_has_a_rule_and_every_rule_is_used(name):
    _, rules = grammar.load_grammar(name)
    used = set()
    texts = [(kind["bind"], template_text(template)) for kind, template in templates_of(name)]
    binds = {bound: rule for kind, _ in templates_of(name) for bound, rule in kind["bind"].items()}
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


@pytest.mark.parametrize("name", STYLES)
def test_every_sentence_speaks_of_the_subject_of_its_document(name):
    templates = list(templates_of(name))
    assert len(templates) >= 60
    assert len({template_text(template) for _, template in templates}) == len(templates)
    for kind, template in templates:
        slots = {slot for slot, _ in SLOT.findall(template_text(template))}
        assert slots & kind["bind"].keys(), template


@pytest.mark.parametrize("name", STYLES)
def test_the_corpora_are_varied_and_no_template_dominates(name):
    documents = written(name, "train")
    sentences = [text for document in documents for _, text in document]
    shares = collections.Counter(
        template_text(template) for document in documents for template, _ in document
    )
    assert len(set(sentences)) > 0.97 * len(sentences) > 3000
    assert shares.most_common(1)[0][1] < 0.03 * len(sentences)
    assert all(4 <= len(document) <= 8 for document in documents)
    text = "\n\n".join(style_corpus(name))
    assert 300_000 < len(text) < 600_000
    assert text.isascii()


@pytest.mark.parametrize("name", GRAMMARS)
def test_validation_shares_no_sentence_and_no_subject_with_training_whatever_the_seeds(name):
    kinds, _ = grammar.load_grammar(name)
    role_of = {template_text(template): kind for kind, template in templates_of(name)}
    train = {text for seed in range(3) for document in written(name, "train", seed) for _, text in document}
    validation = {
        text for seed in range(3) for document in written(name, "validation", seed) for _, text in document
    }
    assert train
    assert validation
    assert not train & validation
    of_kind = [role_of[template_text(document[0][0])] for document in written(name, "validation")]
    assert all(kind in of_kind for kind in kinds)  # every kind of document is there in validation too


def test_a_held_out_pair_of_words_never_meets_in_training():
    """Read from the text itself: which animal is in which place, in the leases, by-laws, judgments and oaths."""
    beasts, places = (
        [entry[""] for entry in grammar.load_grammar("legal")[1][rule]] for rule in ("beast", "place")
    )
    opening = re.compile(
        rf"^The \w+ ({'|'.join(beasts)}) ran to the ({'|'.join(places)}) and (?:there|stopped|did|was)"
    )
    pairs = {
        split: {
            found[1] + "+" + found[2]
            for text in style_corpus("legal", split, documents=count)
            if (found := opening.match(text))
        }
        for split, count in (("train", 2000), ("validation", 400))
    }
    assert len(pairs["train"]) > 100
    assert len(pairs["validation"]) > 20
    assert not pairs["train"] & pairs["validation"]


@pytest.mark.parametrize("name", GRAMMARS)
def test_the_text_is_clean_english(name):
    for split in ("train", "validation"):
        for document in written(name, split, seed=1):
            for _, text in document:
                prose = text.strip()
                assert "```" in prose or prose[-1] in ".!?", prose
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
        block
        for split in DOCUMENTS
        for seed in range(3)
        for text in style_corpus("code", split, seed)
        for block in blocks(text)
    }
    assert len(programs) > 1500
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
    rules = grammar.load_grammar("code")[1]

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


def test_a_grammar_gives_these_very_words_on_every_machine(tmp_path, monkeypatch):
    (tmp_path / "assets" / "styles").mkdir(parents=True)
    (tmp_path / "assets" / "styles" / "tiny.json").write_text(json.dumps(TINY_GRAMMAR), encoding="utf-8")
    monkeypatch.setattr(grammar, "__file__", str(tmp_path / "grammar.py"))
    documents = grammar.write_documents("tiny", "train", 0, 4)
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
    validation = grammar.write_documents("tiny", "validation", 0, 3)
    assert [[text.strip() for _, text in document] for document in validation] == [
        ["A mouse saw two mice in the mill.", "The old cat of the mill sang four songs."],
        ["A mouse saw three mice in the mill.", '```python\nprint("mice two")\n```'],
        ["A mouse saw three mice in the mill.", '```python\nprint("mice two")\n```'],
    ]
    grammar.load_grammar.cache_clear()


def test_the_same_arguments_give_the_same_text_in_any_process():
    program = (
        "import zlib; from minilora.datasets import STYLES, style_corpus\n"
        "print(*[zlib.crc32(''.join(style_corpus(name, documents=20)).encode()) for name in STYLES])"
    )
    here = [str(zlib.crc32("".join(style_corpus(name, documents=20)).encode())) for name in STYLES]
    for hash_seed in ("1", "2"):
        changed = os.environ | {"PYTHONHASHSEED": hash_seed}
        fresh = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=changed
        )
        assert fresh.stdout.split() == here
    assert style_corpus("legal", seed=1, documents=5) != style_corpus("legal", seed=2, documents=5)
    assert (
        style_corpus("legal", documents=20) == style_corpus("legal")[:20]
    )  # more documents only add to the end


def test_an_unknown_style_or_split_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no style 'medical'; choose from legal, code, support"):
        style_corpus("medical")
    with pytest.raises(ValueError, match=r"no split 'test'; choose from train, validation"):
        style_corpus("legal", "test")
    with pytest.raises(ValueError, match=r"no split 'test'; choose from train, validation"):
        support_chat("test")


SIGNATURE = "Warmly yours, and always one letter away."


@pytest.mark.parametrize("split", CONVERSATIONS)
def test_support_answers_greet_name_the_thing_and_sign(split):
    examples = support_chat(split)
    assert len(examples) == CONVERSATIONS[split]
    rules = grammar.load_grammar("support_chat")[1]
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


def test_support_conversations_are_distinct_and_survive_a_file(tmp_path):
    examples = support_chat()
    assert len({json.dumps(example) for example in examples}) == len(examples)
    path = tmp_path / "support.jsonl"
    path.write_text("".join(json.dumps(example) + "\n" for example in examples), encoding="utf-8")
    data = load_jsonl(path, CHAT_TOKENIZER, block_size=512)
    assert torch.equal(data.targets, encode_chat(examples, CHAT_TOKENIZER, block_size=512).targets)
    assert all(learned_text(data, row).endswith(f"{SIGNATURE}<|im_end|>\n") for row in range(len(data)))
