"""Run by test_distributed.py under torchrun: trains the same small model and leaves the result in a folder.

python tests/distributed_worker.py FOLDER [--full] [--steps N] [--die-at STEP] [--resume]
"""

import argparse
import json
import os
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from minilora.lora import LoraConfig, add_lora
from minilora.training import Trainer
from tests.helpers import counting_rows, small_gpt


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--die-at", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--rows", type=int, default=21)
    options = parser.parse_args()

    torch.set_num_threads(1)
    model = small_gpt()
    if not options.full:
        torch.manual_seed(int(os.environ.get("RANK", 0)))  # all must start with the first one's adapter
        model = add_lora(model, LoraConfig(r=4, lora_alpha=8, target_modules="attention"), "main")
        model.add_adapter("resting", LoraConfig(r=2, target_modules="mlp"))  # must not be waited for
    trainer = Trainer(
        model,
        counting_rows(options.rows),
        max_steps=6,
        batch_size=8,
        learning_rate=1e-2,
        gradient_accumulation_steps=2,
        output_dir=options.folder,
        save_steps=2,
        progress=False,
    )
    wire = 0
    reduce = dist.all_reduce

    def count(tensor: torch.Tensor) -> None:
        nonlocal wire
        wire += tensor.nbytes if tensor.ndim else 0  # not losses and the like
        reduce(tensor)

    dist.all_reduce = count
    if options.resume:
        trainer.resume()
    if options.die_at is not None:
        step = trainer._train_step

        def step_or_die() -> float:
            if trainer.step == options.die_at and trainer.process_rank == trainer.world_size - 1:
                os.kill(os.getpid(), 9)
            return step()

        trainer._train_step = step_or_die
    history = trainer.train()
    if trainer.process_rank == 0:
        save_file(
            {n: p.detach().contiguous() for n, p in trainer.parameters.items()},
            options.folder / "result.safetensors",
        )
        result = {
            "losses": history.losses,
            "wire_bytes": wire,
            "trained": sum(p.numel() for p in trainer.parameters.values()),
        }
        (options.folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
