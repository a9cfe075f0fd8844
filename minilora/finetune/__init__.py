"""From a text to a fine-tuned model in one call: what `minilora finetune` does, and what its neighbors share.

Nothing new is computed here: it combines the engine's parts in the usual order, with usual settings, and keeps the run
in a folder from which it resumes. To read: settings.py (what can be chosen), run.py (the run), then the others.

Not here: a search for the best settings.
"""

from typing import TYPE_CHECKING

from minilora._lazy import lazy_names

if TYPE_CHECKING:
    from minilora.finetune.models import load_model as load_model
    from minilora.finetune.report import Report as Report
    from minilora.finetune.run import Interrupted as Interrupted
    from minilora.finetune.run import finetune as finetune
    from minilora.finetune.settings import FinetuneSettings as FinetuneSettings
    from minilora.finetune.settings import ModelSettings as ModelSettings

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "models": ["load_model"],
        "report": ["Report"],
        "run": ["Interrupted", "finetune"],
        "settings": ["FinetuneSettings", "ModelSettings"],
    },
)
