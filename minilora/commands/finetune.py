"""Fine-tunes a model on a text or on conversations, and saves an adapter (or a checkpoint) that can be resumed."""

from __future__ import annotations

import os
import sys

from minilora.finetune.settings import FinetuneSettings

EXAMPLES = (
    "minilora finetune --data letters.txt --out my-style-adapter",
    "minilora finetune --base smollm2-135m-instruct --data pirate --out pirate --max-steps 30",
    "minilora finetune --resume --out my-style-adapter --max-steps 200",
)
CONFIG = True
Settings = FinetuneSettings


def run(settings: FinetuneSettings) -> int:
    """Trains and prints the report; 130 after an interrupt."""
    import json
    from dataclasses import asdict

    from minilora.finetune.run import Interrupted, finetune

    as_json = settings.format == "json"
    first = int(os.environ.get("RANK", 0)) == 0  # under torchrun, only one process prints
    try:
        report = finetune(
            settings, say=lambda line: print(line, file=sys.stderr if as_json else sys.stdout, flush=True)
        )
    except Interrupted as stop:
        if first:
            print(f"\n{stop}", file=sys.stderr)
        return 130
    if first:
        print(json.dumps(asdict(report), indent=2) if as_json else f"\n{report}")
    return 0
