"""Continues a prompt, with or without an adapter."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator

from minilora.finetune.settings import ModelSettings
from minilora.options import REQUIRED, option

EXAMPLES = (
    'minilora generate --adapter my-style-adapter --prompt "The little dog" --seed 1',
    'minilora generate --base smollm2-135m-instruct --chat --prompt "Why is the sky blue?" --load-in-4bit',
)


@dataclasses.dataclass(kw_only=True)
class SamplingSettings(ModelSettings):
    """How a command draws text."""

    max_new_tokens: int = option(100, "text", "upper limit; the model may end its text sooner", least=1)
    temperature: float = option(0.7, "text", "0 always takes the most likely token", least=0)
    top_k: int = option(50, "text", "draw from this many of the likeliest tokens; 0 from all", least=0)
    seed: int | None = option(None, "text", "the same seed gives the same text (default: another each time)")


@dataclasses.dataclass(kw_only=True)
class Settings(SamplingSettings):
    prompt: str = option(REQUIRED, "text", "what to continue", metavar="TEXT")
    chat: bool = option(False, "text", "put the prompt as a question to an assistant")


def run(settings: Settings) -> int:
    """Prints the text as it is generated."""
    written = ""
    for piece in generate(settings):
        print(piece, end="", flush=True)
        written += piece
    print()
    if not written.strip():
        print("minilora: the model ended its text at once", file=sys.stderr)
    return 0


def generate(settings: Settings) -> Iterator[str]:
    """Yields the text piece by piece."""
    from minilora.finetune.models import load_model
    from minilora.training.chat import default_template, render_chat

    model, prompt = load_model(settings), settings.prompt
    if settings.chat:
        template = model.chat_template or default_template(model.tokenizer)
        prompt = render_chat([{"role": "user", "content": prompt}], template)
    top_k = settings.top_k or None
    yield from model.stream(prompt, settings.max_new_tokens, settings.temperature, top_k, settings.seed)
