"""Measures a model's loss and perplexity on a text, and with an adapter both without and with it."""

from __future__ import annotations

import dataclasses
import json

from minilora.finetune.settings import ModelSettings
from minilora.options import REQUIRED, option

EXAMPLES = (
    "minilora evaluate --adapter my-style-adapter --data other-letters.txt",
    "minilora evaluate --base smollm2-135m-instruct --load-in-4bit --data letters.txt --format json",
)


@dataclasses.dataclass(kw_only=True)
class Settings(ModelSettings):
    data: str = option(
        REQUIRED, "data", "as for finetune: .txt, .md or .jsonl, or a folder of them", metavar="DATA"
    )
    sequence_length: int | None = option(
        None, "data", "tokens per row (default: as finetune would choose)", least=1
    )
    batch_size: int = option(4, "data", "rows of tokens that are read together", least=1)
    format: str = option("text", "output", "of the result", choices=("text", "json"))


def run(settings: Settings) -> int:
    """Prints the losses in nats per token, and e to their power."""
    import math

    from minilora.finetune.data import in_words, read_texts, tokens_to_learn
    from minilora.finetune.models import context_of, load_model
    from minilora.finetune.report import perplexity
    from minilora.training.loss import evaluate

    model = load_model(settings)
    texts = read_texts(settings.data, model, context_of(model), settings.sequence_length)
    losses = {}
    if settings.adapter:
        with model.disable_adapter():
            losses["base"] = evaluate(model, texts.rows, settings.batch_size)
    losses["adapter" if settings.adapter else "base"] = evaluate(model, texts.rows, settings.batch_size)
    if settings.format == "json":
        found = {name: {"loss": loss, "perplexity": math.exp(loss)} for name, loss in losses.items()}
        print(json.dumps({"data": settings.data, "tokens": tokens_to_learn(texts.rows), **found}, indent=2))
        return 0
    print(f"{'data':14} {settings.data}: {in_words(texts)}")
    for name, loss in losses.items():
        print(
            f"{'with adapter' if name == 'adapter' else name:14} loss {loss:.3f}, perplexity {perplexity(loss)}"
        )
    return 0
