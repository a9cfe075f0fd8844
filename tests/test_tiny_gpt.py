"""The model that ships: small, whole, the same in transformers, a judge of English; and its program still runs."""

import ast
import importlib.util
import math
import re
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

from minilora.files.checkpoints import EMBEDDED
from minilora.gpt import GPT

FOLDER = EMBEDDED["tiny-gpt"]
PROGRAM = Path(__file__).parent.parent / "pretraining" / "pretrain.py"
SENTENCES = [
    'The little dog ran down the road to meet the children. "Where have you been?" asked Anna.',
    "Grandmother gave each of them a piece of cake and a glass of milk, and then they went out to play.",
    "When the sun went down the old bear went back to his cave and slept until the morning.",
]


@pytest.fixture(scope="module")
def model():
    return GPT.from_pretrained("tiny-gpt")


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("pretrain", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    sys.modules["pretrain"] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    yield module
    del sys.modules["pretrain"]


def bits_per_byte(model, text: str) -> float:
    ids = torch.tensor([[0, *model.tokenizer.encode(text).ids]])
    with torch.no_grad():
        nats = F.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:], reduction="sum").item()
    return nats / math.log(2) / len(text.encode("utf-8"))


def test_the_files_are_small():
    assert {"config.json", "model.safetensors", "tokenizer.json", "MODEL_CARD.md"} <= {
        path.name for path in FOLDER.iterdir()
    }
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 14_000_000


def test_the_model_card_tells_the_number_of_weights(model):
    weights = sum(p.numel() for p in model.parameters())
    assert 4_000_000 <= weights <= 7_000_000
    assert f"{weights:,} weights" in (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_transformers_computes_the_same(model):
    theirs = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
    ids = torch.tensor([model.tokenizer.encode(" ".join(SENTENCES)).ids])
    with torch.no_grad():
        # The very same operations in the same order, so mostly no bit differs; logits reach 20, where the last bit of
        # float32 is worth 2e-6: room for a few roundings on machines whose kernels take sums in another order.
        torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=0, atol=1e-5)
    assert theirs.config.eos_token_id == model.tokenizer.token_to_id("<|endoftext|>") == 0


def test_transformers_reads_the_same_tokens(model):
    theirs = AutoTokenizer.from_pretrained(FOLDER)
    for text in SENTENCES:
        assert theirs(text).input_ids == model.tokenizer.encode(text).ids


@pytest.mark.parametrize(
    "text",
    [
        "".join(map(chr, range(32, 127))),
        "def f(x):\n    return x + 1\n\n\n",
        " two  spaces, a\ttab\r\nand 1,234.50 ",
        "Größe, naïve, 你好, 🙂",
        "",
    ],
)
def test_the_tokenizer_loses_nothing(model, text):
    assert model.tokenizer.decode(model.tokenizer.encode(text).ids) == text


def test_words_in_order_are_far_likelier_than_words_shuffled(model):
    order = torch.Generator().manual_seed(0)
    for sentence in SENTENCES:
        words = sentence.split()
        shuffled = " ".join(words[i] for i in torch.randperm(len(words), generator=order))
        assert bits_per_byte(model, sentence) < 1.6  # held-out stories: 1.2 on average, short texts need more
        assert bits_per_byte(model, shuffled) > bits_per_byte(model, sentence) + 0.7


@pytest.mark.slow
def test_the_samples_of_the_model_card_can_be_had_again(model):
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    samples = re.findall(r"```python\nmodel\.(generate\([^\n]*\))\n```\n```text\n(.*?)\n```", card, re.DOTALL)
    assert len(samples) == 3
    for call, text in samples:
        call = ast.parse(call, mode="eval").body
        arguments = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        assert model.generate(ast.literal_eval(call.args[0]), **arguments).strip() == text


# -- the program ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_program_runs_from_text_to_checkpoint(program, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pretrain.py", "--smoke", "--out", str(tmp_path)])
    program.main()
    toy = GPT.from_pretrained(tmp_path)
    text = program.toy_corpus()["heldout"]
    untrained = program.new_model(program.SMOKE.student, torch.device("cpu"))
    # An untrained model needs log2(300) = 8.2 bits a token; 30 steps on a toy language take a good third of them away.
    before = program.bits_per_byte(untrained, text, toy.tokenizer, 32)
    assert program.bits_per_byte(toy, text, toy.tokenizer, 32) < 0.67 * before
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ids = torch.tensor([toy.tokenizer.encode("The cat went to the pond.").ids])
    with torch.no_grad():
        torch.testing.assert_close(toy(ids), theirs(ids).logits, rtol=0, atol=1e-5)


def test_the_tokenizer_is_the_same_every_time(program):
    works = program.toy_corpus()["training"]
    assert program.train_tokenizer(works, 300).to_str() == program.train_tokenizer(works, 300).to_str()


def test_every_token_is_counted_once_whatever_the_stride(program, model):
    """A model that gives every token the same chance needs the same bits however the windows lie."""

    class Even(torch.nn.Module):
        config = program.TOY

        def __init__(self):
            super().__init__()
            self.lm_head = torch.nn.Linear(1, 1)

        def forward(self, ids):
            return torch.zeros(*ids.shape, 2**5)  # 5 bits for each token

    class Letters:
        @staticmethod
        def encode(text):
            return type("Encoding", (), {"ids": [1] * len(text)})  # one token, and one byte, for each letter

    for length in (1, 31, 32, 33, 64, 65, 100, 177):
        for stride in (32, 16, 5, 1):
            bits = program.bits_per_byte(Even(), ["a" * length], Letters, stride)
            assert bits == pytest.approx(5.0), (length, stride)


def test_soft_targets_are_a_distribution_that_belongs_to_its_position(program):
    works = program.toy_corpus()["training"]
    tokens = program.encode_works([works], program.train_tokenizer(works, 300))
    teacher = program.new_model(program.SMOKE.teachers[0], torch.device("cpu"))
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.normal_(std=0.3)
    probabilities, numbers = program.ask_teachers([teacher.eval()], tokens, keep=4, share=0.5)
    with (
        torch.no_grad()
    ):  # the first window ends with token 31; half a context, 16 tokens, stands before its second half
        expected = torch.softmax(teacher(tokens[None, :32])[0, 16:], dim=-1).topk(4)
    torch.testing.assert_close(probabilities[17:33].float(), 0.5 * expected.values, rtol=2e-3, atol=1e-6)
    assert torch.equal(numbers[17:33].long(), expected.indices)
    assert not probabilities[:17].any()


def test_the_loss_against_a_mixed_target_is_its_definition(program):
    torch.manual_seed(0)
    model = program.new_model(program.SMOKE.student, torch.device("cpu"))
    tokens, index = torch.randint(0, 300, (100,)), torch.arange(20)[None]
    numbers = torch.stack([torch.randperm(300)[:5] for _ in range(100)]).to(torch.int16)
    probabilities = 0.9 * torch.softmax(torch.randn(100, 5), dim=-1)
    target = torch.zeros(100, 300).scatter(1, numbers.long(), probabilities)
    target[torch.arange(100), tokens] += 1 - probabilities.sum(-1)
    want = F.cross_entropy(model(tokens[index])[0], target[1:21])
    torch.testing.assert_close(program.loss_of(model, tokens, index, (probabilities, numbers)), want)
    want = F.cross_entropy(model(tokens[index])[0], tokens[1:21])
    torch.testing.assert_close(program.loss_of(model, tokens, index), want)


def test_a_corpus_that_is_too_small_is_named(program, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"0 works in text/ and 0 in heldout/"):
        program.read_corpus(tmp_path)


def test_muon_on_all_matrices_of_a_shape_is_pytorchs_on_each(program):
    torch.manual_seed(0)
    starts = [torch.randn(shape) for shape in ((64, 32), (64, 32), (32, 64), (32, 32), (16, 32))]
    ours, theirs = ([torch.nn.Parameter(start.clone()) for start in starts] for _ in range(2))
    optimizers = (
        program.Muon(ours, 3e-3, weight_decay=0.6),
        torch.optim.Muon(theirs, 3e-3, weight_decay=0.6, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(5):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for start, a, b in zip(starts, ours, theirs, strict=True):
        # bfloat16 keeps 8 bits, and a product of many matrices may add in another order: a hundredth of what moved
        assert (a - b).abs().max() <= 0.01 * (b - start).abs().max()


def test_passages_lose_no_text_and_end_after_a_paragraph_without_speech(program):
    paragraphs = ["He went home. " * 60 + "The end." if i % 3 else '"Oh!" said he.' for i in range(40)]
    work = "\n\n".join(paragraphs)
    parts = program.passages(work)
    assert "\n\n".join(parts) == work
    assert len(parts) > 5
    assert all(part.endswith("The end.") for part in parts[:-1])
