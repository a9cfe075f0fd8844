"""The predictions of page 02. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Choice, Prediction

PREDICTIONS: dict[str, Prediction] = {
    "share-of-8b": Choice(
        "A model of 8 billion weights, with rank 8 on its attention layers: what share of all weights is trained?",
        {"about 2%": 2, "about 0.5%": 0.5, "about 0.1%": 0.1, "about 0.01%": 0.01},
        "%",
    ),
    "share-of-gain": Choice(
        "How much of full fine-tuning's improvement does LoRA reach in the same number of steps?",
        {"a tenth": 10, "a third": 33, "two thirds": 67, "nearly all": 95},
        "%",
    ),
    "share-of-time": Choice(
        "How long does a training step with LoRA take, compared with full fine-tuning?",
        {"a twentieth": 5, "a third": 33, "two thirds": 67, "as long, or longer": 100},
        "%",
    ),
    "share-of-memory": Choice(
        "And how much memory, with one row of text per step?",
        {"a twentieth": 5, "a fifth": 20, "a third": 33, "as much": 100},
        "%",
    ),
}
