"""The predictions of page 01. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Choice, Prediction

PREDICTIONS: dict[str, Prediction] = {
    "updates-everything": Choice(
        "Ten steps of full fine-tuning: what share of the model's numbers will have changed?",
        {"one in a hundred": 1, "one in ten": 10, "half": 50, "all": 100},
        "%",
    ),
    "bytes-per-weight": Choice(
        "A weight takes 4 bytes. How many bytes per weight does training keep in memory?",
        {"4 bytes": 4, "8 bytes": 8, "16 bytes": 16, "32 bytes": 32},
        "bytes",
    ),
    "largest-that-fits": Choice(
        "What is the largest model that full fine-tuning can train on a GPU with 24 GB?",
        {"100 million": 0.1, "300 million": 0.3, "1 billion": 1, "8 billion": 8},
        "billion weights",
    ),
    "gpus-for-70b": Choice(
        "How many GPUs with 80 GB does full fine-tuning of 70 billion weights take?",
        {"one": 1, "two": 2, "five": 5, "fifteen": 15, "fifty": 50},
        "GPUs",
    ),
}
