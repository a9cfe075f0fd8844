"""Do our base and its adapters write the same texts in llama.cpp? Converted by its own converters.

    python benchmarks/gguf_texts.py --source FOLDER [--json FILE]

FOLDER is llama.cpp's source, for example vendor/llama.cpp of the package llama-cpp-python, which must be installed too
(it builds llama.cpp, about ten minutes); where it is not, the benchmark says so and is skipped (status 77).

Not here: llama.cpp's tokenizer. Its converter knows tokenizers by a checksum and does not know tiny-gpt's, so it is
told to use the nearest one that it has, and both sides are given the same token ids; how many prompts that tokenizer
splits as ours does is reported.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from page_parts import table, versions

from minilora import GPT
from minilora.lora import LoraModel
from minilora.training.corpora import STYLES

PROMPTS = (
    "Once upon a time there was a little red hen",
    '"Come in," said the old man,\n\nand he shut the door.',
    "The wind blew all night, and in the morning",
    "In the year 1912 Aunt Martha had 7 cats.",
    "Dear customer, thank you for",
)
TOKENS = 40
NEAREST = "smollm"  # each digit by itself, then GPT-2's pattern
# The converter's own program, with one answer given to it: which tokenizer this is.
CONVERT = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
from conversion import base
base.TextModel.get_vocab_base_pre = lambda self, tokenizer: {nearest!r}
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def convert(source: Path, program: str, *arguments: str | Path) -> None:
    code = CONVERT.format(nearest=NEAREST)
    command = [sys.executable, "-c", code, source, source / program, *arguments, "--outtype", "f32"]
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def theirs(model_file: Path, adapter: Path | None, prompts: list[list[int]]) -> list[list[int]]:
    import llama_cpp

    model = llama_cpp.Llama(
        str(model_file),
        lora_path=str(adapter) if adapter else None,
        n_ctx=256,
        n_threads=1,
        n_threads_batch=1,
        verbose=False,
    )
    found = []
    for prompt in prompts:
        model.reset()
        ids: list[int] = []
        for token in model.generate(prompt, temp=0.0, repeat_penalty=1.0):
            if token == model.token_eos() or len(ids) == TOKENS:
                break
            ids.append(token)
        found.append(ids)
    return found


@torch.no_grad()
def ours(model: Any, prompts: list[list[int]]) -> list[list[int]]:
    """Greedy, without a cache: the plainest way."""
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        for _ in range(TOKENS):
            token = model(ids)[:, -1].argmax(-1, keepdim=True)
            if int(token) == 0:  # end of text
                break
            ids = torch.cat([ids, token], 1)
        found.append(ids[0, len(prompt) :].tolist())
    return found


def measure(source: Path) -> dict[str, Any]:
    import llama_cpp

    base = GPT.from_pretrained("tiny-gpt")
    prompts = [base.tokenizer.encode(prompt).ids for prompt in PROMPTS]
    model = LoraModel.from_pretrained(base, "legal", "legal").eval()
    for style in STYLES:
        model.load_adapter(style, style, replace=True)
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        GPT.from_pretrained("tiny-gpt").save_pretrained(folder / "base")
        convert(source, "convert_hf_to_gguf.py", folder / "base", "--outfile", folder / "base.gguf")
        reader = llama_cpp.Llama(str(folder / "base.gguf"), vocab_only=True, verbose=False)
        split = sum(
            reader.tokenize(text.encode(), add_bos=False) == ids
            for text, ids in zip(PROMPTS, prompts, strict=True)
        )
        with model.disable_adapter():
            rows["tiny-gpt"] = same(ours(model, prompts), theirs(folder / "base.gguf", None, prompts))
        for style in STYLES:
            model.set_adapter(style)
            model.save_adapter(folder / style)
            file = folder / f"{style}.gguf"
            convert(
                source,
                "convert_lora_to_gguf.py",
                folder / style,
                "--base",
                folder / "base",
                "--outfile",
                file,
            )
            rows[f"adapter {style}"] = same(ours(model, prompts), theirs(folder / "base.gguf", file, prompts))
            print(style, rows[f"adapter {style}"], flush=True)
    return {
        "machine": {"llama-cpp-python": llama_cpp.__version__, "torch": torch.__version__},
        "prompts": len(PROMPTS),
        "tokenized alike": split,
        "rows": rows,
    }


def same(one: list[list[int]], other: list[list[int]]) -> dict[str, int]:
    return {"texts": sum(a == b for a, b in zip(one, other, strict=True)), "tokens": sum(map(len, one))}


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    number = recorded["prompts"]
    rows = recorded["rows"].items()
    lines = [[name, f"{row['texts']} of {number}", row["tokens"]] for name, row in rows]
    return (
        f"{versions(recorded['machine'])}. Greedy continuations of {number} prompts, up to {TOKENS} tokens, from the "
        f"same token ids. The converter was told to use its tokenizer '{NEAREST}', which splits "
        f"{recorded['tokenized alike']} of the {number} prompts as ours does.\n\n"
        + table(["", "equal texts", "tokens"], lines)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help="the folder of llama.cpp's converters")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    if options.source is None or importlib.util.find_spec("llama_cpp") is None:
        print("gguf_texts: needs the package llama-cpp-python and --source; skipped")
        return 77
    result = measure(options.source)
    print(page(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
