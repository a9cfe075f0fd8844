"""Takes the answers of one notebook over into a corrected one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from minilora.options import REQUIRED, Options, option

EXAMPLES = ("minilora carry-over 03_lora.ipynb 03_lora.new.ipynb",)


@dataclasses.dataclass(kw_only=True)
class Settings(Options):
    old: str = option(
        REQUIRED, "notebooks", "the one with your answers; it stays as it is", positional=True, metavar="OLD"
    )
    new: str = option(REQUIRED, "notebooks", "the corrected one", positional=True, metavar="NEW")
    output: str | None = option(
        None, "notebooks", "default: beside the new one, as NEW-with-my-answers.ipynb", metavar="FILE"
    )


def run(settings: Settings) -> int:
    """Writes the new notebook with the old answers; returns the exit status."""
    from minilora.grading.carry import carry_over

    output = Path(settings.output) if settings.output else None
    print("\n".join(carry_over(Path(settings.old), Path(settings.new), output)))
    return 0
