"""The predictions of page 08. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Choice, Prediction

PREDICTIONS: dict[str, Prediction] = {
    "attention-share": Choice(
        "The listing puts adapters of rank 8 on the attention layers. What share of all weights does it train?",
        {"0.3%": 0.3, "2%": 2, "20%": 20},
        "%",
    ),
    "seen-or-held-out": Choice(
        "After training: is the loss lower on the text that was trained on, or on the held-out text?",
        ["on the training text", "on the held-out text"],
    ),
    "adapter-file": Choice(
        "The model takes 12 MB on disk. How large is the file that save_adapter wrote?",
        {"4 kB": 4, "400 kB": 400, "12 MB": 12_000},
        "kB",
    ),
    "share-of-smollm": Choice(
        "The same listing on SmolLM2, a model twenty times as large: does it train a larger or a smaller share?",
        {"about 4%": 4, "about the same": 1.8, "less than 1%": 0.7},
        "%",
    ),
}
