"""Training: text into tokens (datasets, chat), our own texts (corpora), the loop (trainer) and what it needs.

To read: trainer.py, then loss.py and datasets.py; run_state.py and distributed.py when you need them.
"""

from typing import TYPE_CHECKING

from minilora._lazy import lazy_names

if TYPE_CHECKING:
    from minilora.training.corpora import style_corpus as style_corpus
    from minilora.training.corpora import support_chat as support_chat
    from minilora.training.datasets import TokenData as TokenData
    from minilora.training.datasets import encode_chat as encode_chat
    from minilora.training.datasets import encode_text as encode_text
    from minilora.training.datasets import load_jsonl as load_jsonl
    from minilora.training.datasets import load_text as load_text
    from minilora.training.loss import evaluate as evaluate
    from minilora.training.run_state import History as History
    from minilora.training.trainer import Trainer as Trainer
    from minilora.training.trainer import TrainingDiverged as TrainingDiverged

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "corpora": ["style_corpus", "support_chat"],
        "datasets": ["TokenData", "encode_chat", "encode_text", "load_jsonl", "load_text"],
        "loss": ["evaluate"],
        "run_state": ["History"],
        "trainer": ["Trainer", "TrainingDiverged"],
    },
)  # fmt: skip
