"""How many directions a fine-tuning needs: the spectrum of the weight change, and the loss that each rank reaches.

    python benchmarks/rank_spectrum.py [--steps N] [--json minilora/assets/rank_spectrum.json]

The tiny GPT is fully fine-tuned on the legal corpus; the singular values are those of one layer's change, beside a
random matrix of its shape. Then LoRA of several ranks on all linear layers takes the same steps on the same rows. The
file that it writes is what the rank explorer shows when it is given no measurement of one's own.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, style_corpus

RANKS = (1, 2, 4, 8, 16, 32, 64)
LAYER = "model.layers.4.self_attn.q_proj.weight"
# The best of those in results/rates_sweep.json; None is full fine-tuning.
RATES = {None: 5e-4, 1: 1e-2, 2: 5e-3, 4: 5e-3, 8: 5e-3, 16: 2e-3, 32: 2e-3, 64: 1e-3}


def train(rank: int | None, steps: int) -> tuple[GPT, list[float]]:
    """The trained model and its validation losses, before and after; rank None is full fine-tuning."""
    model = GPT.from_pretrained("tiny-gpt")
    data, validation = (
        encode_text(style_corpus("legal", split), model.tokenizer, 128) for split in ("train", "validation")
    )
    if rank is not None:
        torch.manual_seed(0)
        model = add_lora(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
    trainer = Trainer(
        model, data, max_steps=steps, validation_data=validation, learning_rate=RATES[rank], progress=False
    )
    return model, trainer.train().validation_losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=320)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()

    before = GPT.from_pretrained("tiny-gpt").state_dict()
    model, validation = train(None, options.steps)
    model.cpu()  # where it was before; training may have moved it to a GPU
    losses = {"base": validation[0], "full": validation[-1]}
    print(f"full fine-tuning: validation loss {validation[0]:.3f} -> {validation[-1]:.3f}", file=sys.stderr)
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            if weight.ndim == 2 and "layers" in name:
                s = torch.linalg.svdvals(weight - before[name])
                share = s[:8].square().sum() / s.square().sum()
                print(f"{name:45} {len(s):4} directions, 8 hold {share:.1%}", file=sys.stderr)
        change = model.state_dict()[LAYER] - before[LAYER]
    random = torch.randn(change.shape, generator=torch.Generator().manual_seed(0)) * change.std()
    spectra = {"the change": change, "a random matrix": random}
    about = f"tiny-gpt, legal corpus, {options.steps} steps; the change of {LAYER}"
    for rank in RANKS:
        losses[str(rank)] = train(rank, options.steps)[1][-1]
        print(f"LoRA r={rank}: {losses[str(rank)]:.3f}", file=sys.stderr)
    result = {
        "about": about,
        "spectra": {
            name: [float(f"{v:.4g}") for v in torch.linalg.svdvals(m).tolist()] for name, m in spectra.items()
        },
        "losses": {name: round(loss, 4) for name, loss in losses.items()},
    }
    print(json.dumps(result["losses"]))
    if options.json:
        options.json.write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
