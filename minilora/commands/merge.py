"""Merges an adapter into its base and writes a plain checkpoint, which opens wherever the base does."""

from __future__ import annotations

import dataclasses

from minilora.finetune.settings import BASE, DTYPES
from minilora.options import REQUIRED, Options, option

EXAMPLES = ("minilora merge --adapter my-style-adapter --out my-style-model",)


@dataclasses.dataclass(kw_only=True)
class Settings(Options):
    adapter: str = option(REQUIRED, "model", "folder of an adapter, ours or PEFT's; or legal, code, support")
    out: str = option(REQUIRED, "model", "a new folder for the checkpoint", metavar="FOLDER")
    base: str | None = option(None, "model", f"{BASE} (default: the adapter's own)")
    any_base: bool = option(False, "model", "merge even if the adapter was trained on another base")
    dtype: str = option("fp32", "model", "type of the merged weights", choices=DTYPES)


def run(settings: Settings) -> int:
    """Merges, and prints where the result is."""
    from pathlib import Path

    from minilora.finetune.models import load_model, save_plain
    from minilora.finetune.settings import ModelSettings

    out = Path(settings.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty; choose another --out")
    names = {"base", "adapter", "any_base", "dtype"}
    model = load_model(ModelSettings(device="cpu", **{name: getattr(settings, name) for name in names}))
    save_plain(model.merge_and_unload(), out)
    size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    print(f"merged into {out}, {size / 1e6:.1f} MB; try it: minilora generate --base {out} --prompt ...")
    return 0
