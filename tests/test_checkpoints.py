"""Base models on disk: what transformers writes, we read; what cannot be computed is refused; saving is atomic."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from minilora.files import checkpoints
from minilora.gpt import GPT
from minilora.training.chat import render_chat
from tests.helpers import small_gpt

IDS = torch.arange(1, 21).view(1, 20)


def equal_logits(a, b) -> bool:
    with torch.no_grad():
        return torch.equal(a(IDS), b(IDS))


def edit(path, **changes):
    value = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in value.items() if v != "remove"}), encoding="utf-8")


@pytest.mark.parametrize("tied", [True, False])
def test_save_and_load_are_exact(tied, tmp_path):
    model = small_gpt(tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    again = GPT.from_pretrained(tmp_path)
    assert again.config == model.config
    assert equal_logits(again, model)
    assert (again.lm_head.weight is again.model.embed_tokens.weight) == tied
    assert all(p.requires_grad for p in again.parameters())


def test_a_sharded_bf16_checkpoint_of_transformers_loads(tmp_path):
    config = LlamaConfig(
        vocab_size=100,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    theirs = LlamaForCausalLM(config).to(torch.bfloat16).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    ours = GPT.from_pretrained(tmp_path)
    assert ours.model.norm.weight.dtype == torch.float32
    with torch.no_grad():
        assert (ours(IDS) - theirs.float()(IDS).logits).abs().max() < 1e-5
    assert GPT.from_pretrained(tmp_path, dtype=torch.bfloat16).model.norm.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gemma"}, "model_type is 'gemma'"),
        ({"model_type": "qwen2"}, "does not fit together"),  # it has biases
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"rope_scaling": {"factor": 8.0}}, "'factor': 8.0"),
        ({"rope_scaling": {"type": "linear", "factor": 8.0}}, "'default' in one place and 'linear'"),
        ({"rope_parameters": {"type": "yarn", "rope_theta": 1e4}}, "type 'yarn'"),
        ({"rope_parameters": {"rope_type": "default", "type": "yarn"}}, "'default' in one place and 'yarn'"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "llama3 needs all four"),
        ({"rope_parameters": {"rope_theta": 5e5}}, "500000.0 in one place and 10000.0"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"sliding_window": 4096}, "sliding_window is 4096"),
        ({"model_type": "qwen2", "use_sliding_window": True}, "use_sliding_window is True"),
        ({"layer_types": ["sliding_attention"]}, "layer_types"),
        ({"hidden_size": "remove"}, "has no 'hidden_size'"),
        ({"head_dim": 32}, "does not fit together"),
        ({"intermediate_size": 97}, "does not fit together"),
        ({"num_hidden_layers": 1}, "not part of the model"),
        ({"num_hidden_layers": 3}, "missing in the file"),
    ],
)
def test_what_would_be_computed_wrongly_is_refused(change, message, tmp_path):
    small_gpt().save_pretrained(tmp_path)
    edit(tmp_path / "config.json", **change)
    with pytest.raises(ValueError, match=message):
        GPT.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut off", "empty"])
def test_a_damaged_folder_names_the_file(name, damage, tmp_path):
    small_gpt().save_pretrained(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(
        whole[: len(whole) // 2 if damage == "cut off" else 0]
    )
    with pytest.raises(FileNotFoundError if damage == "missing" else ValueError, match=name):
        GPT.from_pretrained(tmp_path)


def test_a_damaged_tokenizer_is_named(tmp_path):
    small_gpt().save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer"):
        GPT.from_pretrained(tmp_path)


def test_an_unknown_name_lists_what_there_is(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILORA_CACHE", str(tmp_path))
    (tmp_path / "fetched-model").mkdir()
    with pytest.raises(FileNotFoundError, match="available: tiny-gpt, fetched-model"):
        GPT.from_pretrained("no-such-model")


def test_a_hub_name_without_a_network_says_so(monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded from the hub \(ConnectionError\)"):
        GPT.from_pretrained("org/name")


def test_a_hub_name_with_a_network_is_what_the_hub_gives(monkeypatch, tmp_path):
    model = small_gpt()
    model.save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}", encoding="utf-8")
    (tmp_path / "consolidated.safetensors").write_bytes(b"the same weights once more")

    def download(name, allow_patterns):
        """As the hub's library does: what matches no pattern stays away."""
        local = tmp_path / "cache" / name
        local.mkdir(parents=True)
        for path in tmp_path.iterdir():
            if any(path.match(pattern) for pattern in allow_patterns):
                shutil.copy(path, local)
        return str(local)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    fetched = GPT.from_pretrained("org/name")
    assert equal_logits(fetched, model)
    assert fetched.chat_template == "{{ messages[0].content }}"
    assert not (tmp_path / "cache" / "org" / "name" / "consolidated.safetensors").exists()


def test_rotary_angles_of_an_older_checkpoint_are_passed_over(tmp_path):
    model = small_gpt()
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    save_file(tensors, tmp_path / "model.safetensors")
    assert equal_logits(GPT.from_pretrained(tmp_path), model)


@pytest.mark.parametrize(
    "end", ["<|im_end|>", {"content": "<|im_end|>", "lstrip": False}], ids=["text", "object"]
)
def test_the_tokens_that_a_template_asks_for_go_with_it(end, tmp_path):
    template = "{{ bos_token }}{% for turn in messages %}{{ turn.content + eos_token }}{% endfor %}"
    settings = {"bos_token": '<"s">', "eos_token": end, "chat_template": template}
    small_gpt().save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    model = GPT.from_pretrained(tmp_path)
    text = render_chat([{"role": "user", "content": "Hi"}], model.chat_template)
    assert text == '<"s">Hi<|im_end|>'
    model.save_pretrained(tmp_path / "again")
    assert (
        render_chat(
            [{"role": "user", "content": "Hi"}], GPT.from_pretrained(tmp_path / "again").chat_template
        )
        == text
    )


def test_a_failing_save_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch):
    old = small_gpt(seed=0)
    old.save_pretrained(tmp_path)

    def full_disk(tensors, path, metadata):
        save_file({"half": torch.zeros(3)}, path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        small_gpt(seed=1).save_pretrained(tmp_path)
    assert equal_logits(GPT.from_pretrained(tmp_path), old)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    "change",
    [
        {"head_dim": None},
        {"rope_scaling": {}},
        {"rope_scaling": {"rope_type": "default"}},
        {"hidden_act": "swish"},
        {"rope_parameters": "remove"},
        {"rope_theta": "remove"},
    ],
)
def test_other_spellings_of_the_same_model_load(change, tmp_path):
    model = small_gpt()
    model.save_pretrained(tmp_path)
    edit(tmp_path / "config.json", **change)
    assert equal_logits(GPT.from_pretrained(tmp_path), model)


def test_llama_1_left_out_its_context(tmp_path):
    small_gpt().save_pretrained(tmp_path)
    edit(tmp_path / "config.json", max_position_embeddings="remove")
    assert GPT.from_pretrained(tmp_path).config.max_position_embeddings == 2048


def test_a_tied_checkpoint_with_an_output_layer_of_its_own_is_refused(tmp_path):
    small_gpt().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    same = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors | {"lm_head.weight": same}, path, metadata={"format": "pt"})
    assert equal_logits(GPT.from_pretrained(tmp_path), small_gpt())
    save_file(tensors | {"lm_head.weight": same + 1}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lm_head of its own"):
        GPT.from_pretrained(tmp_path)


WIDTHS = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
FAMILIES = {
    "Llama 3.1": ("Llama", {"rope_parameters": LLAMA3}),
    "Llama 3.2": ("Llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "Qwen2.5": ("Qwen2", {"tie_word_embeddings": True}),
    "Qwen3": ("Qwen3", {"head_dim": 16}),
    "Mistral v0.3": ("Mistral", {"sliding_window": None}),
    "Mistral Nemo": ("Mistral", {"sliding_window": None, "head_dim": 16}),
}


@pytest.mark.parametrize(("family", "changes"), FAMILIES.values(), ids=FAMILIES.keys())
def test_the_small_models_that_people_fine_tune_have_equal_logits_both_ways(family, changes, tmp_path):
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**WIDTHS | changes, eos_token_id=[7, 9])
    theirs = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.2) if parameter.ndim > 1 else parameter.uniform_(0.5, 1.5)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = GPT.from_pretrained(tmp_path / "theirs")
    assert ours.stop_token_ids == (7, 9)
    ids = torch.randint(0, 100, (2, 100))
    with torch.no_grad():
        wanted = theirs(ids).logits
        assert (ours(ids) - wanted).abs().max() < 1e-5
        # through the cache, one token at a time, the same text
        prompt, whole = ids[:1, :20], {"attention_mask": torch.ones(1, 20, dtype=torch.long)}
        greedy = theirs.generate(prompt, **whole, max_new_tokens=20, do_sample=False, eos_token_id=None)
        assert list(ours.generate_tokens(ids[0, :20].tolist(), 20, temperature=0)) == greedy[0, 20:].tolist()
        ours.save_pretrained(tmp_path / "ours")
        back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
        assert (back(ids).logits - wanted).abs().max() < 1e-5


def test_stop_tokens_and_template_travel_with_a_base(tmp_path, story_model):
    story_model.chat_template = None
    story_model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert (config["eos_token_id"], config["bos_token_id"]) == (0, 0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.eos_token == "<|endoftext|>"
    assert tokenizer("Once upon a time").input_ids == story_model.tokenizer.encode("Once upon a time").ids
    again = GPT.from_pretrained(tmp_path)
    assert again.bos_token_id == 0
    again.stop_token_ids = ()
    again.save_pretrained(tmp_path / "usual")  # the tokenizer's usual ones
    assert GPT.from_pretrained(tmp_path / "usual").stop_token_ids == (0,)


def test_the_checkpoint_holds_the_tied_tensor_once(tmp_path):
    small_gpt(tie_word_embeddings=True).save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
