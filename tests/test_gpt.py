"""The model against transformers' Llama on the same weights, and its own generation against itself without a cache."""

import json

import pytest
import torch
from transformers import LlamaForCausalLM

from minilora.gpt import GPT, GPTConfig
from minilora.memory.catalog import MODELS
from tests.helpers import small_gpt

SHAPES = {
    "one key/value head per query head, tied": {"num_key_value_heads": 4, "tie_word_embeddings": True},
    "grouped queries, own output layer": {"num_key_value_heads": 2, "tie_word_embeddings": False},
    "a single key/value head": {"num_key_value_heads": 1, "tie_word_embeddings": True, "rope_theta": 500.0},
    "wide feed-forward, one layer": {"num_hidden_layers": 1, "intermediate_size": 200, "rms_norm_eps": 1e-6},
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def model(request) -> GPT:
    return small_gpt(**request.param)


def test_logits_equal_transformers_on_the_same_checkpoint(model, tmp_path):
    model.save_pretrained(tmp_path)
    theirs = LlamaForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(0, model.config.vocab_size, (3, 50))
    with torch.no_grad():
        assert (model(ids) - theirs(ids).logits).abs().max() <= 1e-5


def test_a_checkpoint_of_transformers_loads_with_equal_logits(model, tmp_path):
    model.save_pretrained(tmp_path / "ours")
    theirs = LlamaForCausalLM.from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # so that nothing of ours is left in it
    theirs.save_pretrained(tmp_path / "theirs")
    back = GPT.from_pretrained(tmp_path / "theirs")
    assert back.config == model.config
    ids = torch.randint(0, model.config.vocab_size, (3, 50))
    with torch.no_grad():
        assert (back(ids) - theirs(ids).logits).abs().max() <= 1e-5


def test_gradients_equal_transformers(model, tmp_path):
    model.save_pretrained(tmp_path)
    theirs = LlamaForCausalLM.from_pretrained(tmp_path)
    ids = torch.randint(0, model.config.vocab_size, (2, 20))
    model(ids).logsumexp(-1).sum().backward()
    theirs(ids).logits.logsumexp(-1).sum().backward()
    other = dict(theirs.named_parameters())
    for name, parameter in model.named_parameters():
        # 1e-4 of the largest entry: sums of some thousand float32 products taken in another order
        bound = 1e-4 * other[name].grad.abs().max()
        assert (parameter.grad - other[name].grad).abs().max() <= bound, name


def test_gradient_checkpointing_changes_no_gradient(model):
    ids = torch.randint(0, model.config.vocab_size, (2, 20))
    gradients = []
    for checkpointing in (False, True):
        model.train().zero_grad()
        model.model.gradient_checkpointing = checkpointing
        model(ids).logsumexp(-1).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_greedy_text_with_the_cache_is_the_uncached_models_token_by_token(model):
    ids = [1, 2, 3, 4, 5]
    expected = list(ids)
    with torch.no_grad():
        for _ in range(40):
            expected.append(int(model(torch.tensor([expected]))[0, -1].argmax()))
    assert list(model.generate_tokens(ids, 40, temperature=0)) == expected[5:]


def test_the_seed_decides_the_text_and_streaming_gives_the_same(story_model):
    prompt = "The little dog"
    first = story_model.generate(prompt, 16, seed=1)
    assert first == story_model.generate(prompt, 16, seed=1)
    assert first != story_model.generate(prompt, 16, seed=2)
    pieces = list(story_model.stream(prompt, 16, seed=1))
    assert first == "".join(pieces)
    assert len(pieces) > 5, "pieces must come one by one"


def likeliest(model, prompt: str) -> int:
    return next(model.generate_tokens(model.tokenizer.encode(prompt).ids, 1, temperature=0))


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("several", [False, True])
def test_text_ends_at_the_checkpoints_own_stop_tokens(file, several, story_model, tmp_path):
    """A Llama 3, for example, ends its answers with a token that no list of usual names has."""
    story_model.save_pretrained(tmp_path)
    token = likeliest(story_model, "The little dog")
    path = tmp_path / file
    settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(
        json.dumps(settings | {"eos_token_id": [1, token] if several else token}), encoding="utf-8"
    )
    model = GPT.from_pretrained(tmp_path)
    assert story_model.generate("The little dog", 5, temperature=0)
    assert model.generate("The little dog", 5, temperature=0) == ""
    model.save_pretrained(tmp_path / "again")
    assert (
        GPT.from_pretrained(tmp_path / "again").stop_token_ids
        == model.stop_token_ids
        == (1, token)[not several :]
    )


def test_without_stop_tokens_the_tokenizers_usual_ones_end_the_text(story_model, monkeypatch):
    assert story_model.stop_token_ids == (0,), "from its config.json"
    monkeypatch.setattr(story_model, "stop_token_ids", ())
    end = story_model.tokenizer.token_to_id("<|endoftext|>")
    monkeypatch.setattr(story_model, "generate_tokens", lambda ids, *rest: iter([*ids[:2], end, *ids[:2]]))
    prompt = "The little dog"
    assert story_model.generate(prompt) == story_model.tokenizer.decode(
        story_model.tokenizer.encode(prompt).ids[:2]
    )


def test_a_stop_token_that_is_no_number_is_refused(story_model, tmp_path):
    story_model.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": "</s>"}', encoding="utf-8")
    with pytest.raises(ValueError, match="eos_token_id is '</s>'"):
        GPT.from_pretrained(tmp_path)


def test_top_k_of_one_is_greedy(model):
    greedy = list(model.generate_tokens([1, 2], 20, temperature=0))
    assert list(model.generate_tokens([1, 2], 20, temperature=1.5, top_k=1, seed=3)) == greedy


def test_generation_leaves_training_mode_as_it_was(model):
    model.train()
    list(model.generate_tokens([1], 2, temperature=0))
    assert model.training


@pytest.mark.parametrize(
    ("ids", "new", "message"),
    [
        ([], 5, "the prompt is empty"),
        (list(range(60)), 5, "context"),
        ([1], 64, "lower max_new_tokens"),
        ([1], 0, "max_new_tokens"),
        ([100], 5, "outside the vocabulary of 100"),
        ([-1], 5, "outside the vocabulary"),
    ],
)
def test_impossible_requests_say_what_is_possible(ids, new, message):
    with pytest.raises(ValueError, match=message):
        list(small_gpt().generate_tokens(ids, new, temperature=0))


def test_input_of_the_wrong_kind_or_length():
    model = small_gpt()
    with pytest.raises(ValueError, match=r"\(batch, tokens\)"):
        model(torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="do not fit the context of 64"):
        model(torch.zeros(1, 65, dtype=torch.long))
    with pytest.raises(ValueError, match="no tokenizer"):
        model.generate("Once")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden_size": 30}, "does not divide"),
        ({"num_key_value_heads": 3}, "must divide"),
        ({"vocab_size": 0}, "vocab_size is 0"),
    ],
)
def test_impossible_shapes_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GPTConfig(**{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 4} | wrong)


def test_a_published_shape_of_another_layout_is_refused():
    with pytest.raises(ValueError, match="gpt2 has GPT-2's layout"):
        GPTConfig.from_shape(MODELS["gpt2"])


def test_a_published_shape_with_biases_has_its_weights():
    with torch.device("meta"):
        model = GPT(GPTConfig.from_shape(MODELS["qwen2.5-0.5b"]))
    assert sum(p.numel() for p in model.parameters()) == MODELS["qwen2.5-0.5b"].parameter_count
