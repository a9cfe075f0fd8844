"""Text into rows: nothing lost or shifted wrongly, masks held against transformers' own."""

import json
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from minilora.training import chat
from minilora.training.corpora import STYLES, style_corpus, support_chat
from minilora.training.datasets import IGNORE, TokenData, encode_chat, encode_text, load_jsonl, load_text
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
@given(text=st.text(min_size=40, max_size=300), sequence_length=st.integers(1, 30))
def test_packing_loses_no_token_and_predicts_each_but_the_first_once(text, sequence_length):
    ids = ids_of(text)
    data = encode_text(text, PLAIN_TOKENIZER, sequence_length)
    inputs, targets = data.input_ids.flatten().tolist(), data.targets.flatten().tolist()
    assert data.input_ids.shape[1] == sequence_length
    assert inputs[: len(ids) - 1] == ids[:-1]
    assert targets[: len(ids) - 1] == ids[1:]
    assert set(targets[len(ids) - 1 :]) <= {IGNORE}
    assert len(targets) - (len(ids) - 1) < sequence_length  # no row of padding alone


@pytest.mark.parametrize(
    ("tokenizer", "boundary"), [(PLAIN_TOKENIZER, "\n\n"), (CHAT_TOKENIZER, "<|endoftext|>")]
)
def test_documents_are_parted_by_the_mark_that_the_tokenizer_has(tokenizer, boundary):
    data = encode_text(["One dog.", "Two cats."], tokenizer, sequence_length=2)
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
    with pytest.raises(
        ValueError, match=rf"has {tokens} tokens.*needs 257.*sequence_length={tokens - 1} or less"
    ):
        encode_text("A dog.", PLAIN_TOKENIZER)
    assert len(encode_text("A dog.", PLAIN_TOKENIZER, sequence_length=tokens - 1)) == 1
    for nothing in ("", []):
        with pytest.raises(ValueError, match="has 0 tokens"):
            encode_text(nothing, PLAIN_TOKENIZER)
    with pytest.raises(ValueError, match="sequence_length=0"):
        encode_text("A dog.", PLAIN_TOKENIZER, sequence_length=0)


def test_a_text_file_is_the_same_with_any_line_ends_and_byte_order_mark(tmp_path):
    text = "The dog saw a caf\u00e9.\nIt sat down.\n\nNobody came.\n" * 3
    for name, raw in {
        "unix.txt": text.encode(),
        "windows.txt": b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
        "old_mac.txt": text.replace("\n", "\r").encode(),
    }.items():
        (tmp_path / name).write_bytes(raw)
        data = load_text(tmp_path / name, PLAIN_TOKENIZER, sequence_length=8)
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


@pytest.mark.parametrize(
    "template", [chat.CHATML, chat.PLAIN_TEXT, TRIMMING], ids=["chatml", "plain", "trimming"]
)
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
    whole = encode_chat([long], CHAT_TOKENIZER, sequence_length=400)
    with pytest.warns(UserWarning, match=r"1 of 2 examples.*sequence_length=40: example 2 \(\d+ tokens\)"):
        data = encode_chat([{"prompt": "Hi", "completion": "Yes."}, long], CHAT_TOKENIZER, sequence_length=40)
    assert torch.equal(data.targets[1], whole.targets[0, :40])
    with pytest.raises(ValueError, match=r"example 1: nothing of its answer is within sequence_length=8"):
        encode_chat(
            [{"prompt": "Where is my boat? " * 9, "completion": "At sea."}], CHAT_TOKENIZER, sequence_length=8
        )
    with warnings.catch_warnings():  # a conversation that just fits is whole
        warnings.simplefilter("error")
        fitting = encode_chat([long], CHAT_TOKENIZER, sequence_length=whole.input_ids.shape[1])
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
        ([GOOD, '"a string"'], "line 2: an example must be"),
        ([GOOD, "[1, 2]"], "line 2: an example must be"),
        (['{"text": "A story."}'], "line 1: an example must be"),
        (['{"prompt": "Hi"}'], "line 1: an example must be"),
        (['{"messages": "Hi"}'], "line 1: an example must be"),
        (['{"prompt": "Hi", "completion": 3}'], r"line 1: a turn needs.*'content': 3"),
        (['{"messages": ["Hi"]}'], "line 1: a turn needs"),
        (
            ['{"messages": [{"role": "robot", "content": "Hi"}]}'],
            r"line 1: a turn needs.*system, user, assistant",
        ),
        (['{"messages": [{"role": "user", "content": "Hi"}]}'], 'line 1: there is no "assistant" turn'),
        (['{"messages": []}'], 'line 1: there is no "assistant" turn'),
        (["", "  "], "there is not a single example"),
    ],
)
def test_a_bad_line_is_named_with_the_remedy(tmp_path, lines, message):
    (tmp_path / "talk.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"talk\.jsonl: {message}"):
        load_jsonl(tmp_path / "talk.jsonl", CHAT_TOKENIZER)


def test_a_chat_template_that_cannot_be_used_says_why():
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]
    with pytest.raises(ValueError, match="refuses this conversation: only cats"):
        chat.render_chat(messages, "{{ raise_exception('only cats') }}")
    with pytest.raises(ValueError, match="refuses this conversation"):
        chat.render_chat(messages, "{% for turn in messages %}")
    with pytest.raises(ValueError, match="refuses this conversation"):  # a template may not reach into Python
        chat.render_chat(messages, "{{ messages.__class__.__mro__ }}")
    with pytest.raises(ValueError, match="example 1: the chat template changes earlier turns"):
        encode_chat([{"messages": messages}], CHAT_TOKENIZER, chat_template="{{ messages | length }}")


# ---------------------------------------------------------------------------------------------------------------------
# The corpora that ship (tests/test_corpora.py holds how they are written)


@pytest.mark.parametrize("style", STYLES)
def test_fewer_documents_are_the_first_of_all(style):
    assert style_corpus(style, documents=20) == style_corpus(style)[:20]
    assert len(style_corpus(style)) == 640
    assert len(style_corpus(style, "validation")) == 80


def test_an_unknown_style_or_split_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no style 'medical'; choose from legal, code, support"):
        style_corpus("medical")
    with pytest.raises(ValueError, match=r"no split 'test'; choose from train, validation"):
        style_corpus("legal", "test")
    with pytest.raises(ValueError, match=r"no split 'test'; choose from train, validation"):
        support_chat("test")


@pytest.mark.parametrize("count", [0, -1, 641])
def test_more_documents_than_there_are_is_an_error(count):
    with pytest.raises(ValueError, match=rf"{count} documents are asked for; there are 640"):
        style_corpus("legal", documents=count)
    with pytest.raises(ValueError, match=rf"{count} conversations are asked for; there are 400"):
        support_chat(examples=count)


def test_support_conversations_are_distinct_and_survive_a_file(tmp_path):
    examples = support_chat()
    assert len({json.dumps(example) for example in examples}) == len(examples) == 400
    examples = examples[::10]  # of every kind; encoding is the slow part
    path = tmp_path / "support.jsonl"
    path.write_text("".join(json.dumps(example) + "\n" for example in examples), encoding="utf-8")
    data = load_jsonl(path, CHAT_TOKENIZER, sequence_length=512)
    assert torch.equal(data.targets, encode_chat(examples, CHAT_TOKENIZER, sequence_length=512).targets)
    assert all(learned_text(data, row).endswith("<|im_end|>\n") for row in range(len(data)))
