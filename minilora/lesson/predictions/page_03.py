"""The predictions of page 03. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Choice, Prediction

PREDICTIONS: dict[str, Prediction] = {
    "two-thin-matrices": Choice(
        "How many numbers do A and B hold together, compared with W's 65,536?",
        {"as many": 100, "about half": 50, "about one in sixteen": 6, "about one in a thousand": 0.1},
        "%",
    ),
    "first-mover": Choice(
        "B starts at zero, A at random numbers. Which of them has moved after the first training step?",
        ["only A", "only B", "both"],
    ),
    "fresh-adapter": Choice(
        "Before any training, how do the adapted model's scores compare with the original model's?",
        ["clearly different", "different by rounding", "identical to the last bit"],
    ),
    "both-zero": Choice(
        "Let A start at zero, too. How does the adapter learn now?",
        ["just as well", "more slowly", "not at all"],
    ),
    "base-tensors": Choice(
        "The adapter was trained for 20 steps. How many tensors of the original model have changed?",
        ["none", "only those beside an adapter", "all"],
    ),
}
