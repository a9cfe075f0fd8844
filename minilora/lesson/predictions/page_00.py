"""The predictions of page 00. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Choice, Prediction

PREDICTIONS: dict[str, Prediction] = {
    "old-numbers-changed": Choice(
        "Of the numbers that the model already has, how many will this training change?",
        {"all of them": 100, "half": 50, "one in twenty": 5, "none": 0},
        "%",
    ),
}
