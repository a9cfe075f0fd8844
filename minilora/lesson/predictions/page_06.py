"""The predictions of page 06. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Choice, Prediction

PREDICTIONS: dict[str, Prediction] = {
    "plan-error": Choice(
        "Several runs were measured on a GPU. How far off is the worst of our plans for them?",
        {"0.1%": 0.1, "1%": 1, "5%": 5, "25%": 25},
        "%",
    ),
    "gpus-for-8b": Choice(
        "How many GPUs with 24 GB does full fine-tuning of 8 billion weights take?",
        {"one": 1, "three": 3, "six": 6, "twenty": 20},
        "GPUs",
    ),
    "largest-with-qlora": Choice(
        "What is the largest model that QLoRA can train on a single GPU with 24 GB?",
        {"3 billion": 3, "8 billion": 8, "13 billion": 13, "33 billion": 33, "70 billion": 70},
        "billion weights",
    ),
    "batch-on-24": Choice(
        "QLoRA, 8 billion weights, 512 tokens per row, 24 GB, no checkpointing. What is the largest batch that fits?",
        {"1": 1, "4": 4, "16": 16, "64": 64},
        "rows",
    ),
    "in-parts": Choice(
        "A batch of 16 rows at once, or in four parts with one update at the end. How do the losses compare?",
        ["clearly different", "equal but for rounding"],
    ),
    "checkpointing-saves": Choice(
        "Checkpointing keeps only what enters each block. How much of the activations' memory does that save here?",
        {"a tenth": 10, "half": 50, "nine tenths": 90},
        "%",
    ),
}
