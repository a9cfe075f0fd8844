"""Gets a real small model once, into a folder that every other command finds."""

from __future__ import annotations

import dataclasses

from minilora.options import REQUIRED, Options, option

EXAMPLES = ("minilora fetch smollm2-135m-instruct",)


@dataclasses.dataclass(kw_only=True)
class Settings(Options):
    model: str = option(REQUIRED, "model", "smollm2-135m-instruct", positional=True)


def run(settings: Settings) -> int:
    """Prints where the model is."""
    from minilora.files.fetch import fetch

    print(f"{settings.model} is in {fetch(settings.model)}")
    return 0
