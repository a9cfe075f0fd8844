"""The predictions of page 09. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Choice, Estimate, Prediction

PREDICTIONS: dict[str, Prediction] = {
    "four-times-as-long": Choice(
        "The adapter of rank 4 trains four times as long. How many of the 256 pairs does it know then?",
        {"a tenth": 10, "half": 50, "all": 100},
        "%",
    ),
    "four-of-sixteen": Choice(
        "A change has 16 equally strong patterns. How much of it does an adapter of rank 4 learn?",
        {"nearly nothing": 2, "a quarter": 25, "three quarters": 75},
        "%",
    ),
    "three-styles": Estimate(
        "The three styles again, but longer, and with three seeds each. What share of full fine-tuning's gain does "
        "LoRA of rank 8 reach, on average?",
        [*range(5, 101, 5)],
        "%",
    ),
    "forgets-more": Choice(
        "Both learned legal writing. For which did the loss on the story rise more?",
        ["LoRA, adapter on", "full fine-tuning"],
    ),
    "until-full": Choice(
        "A Llama of 8 billion weights, a GPU of 24 GB, a style, 1,000 examples: the advice is LoRA. What has to change "
        "until it is full fine-tuning?",
        [
            "a larger GPU is enough",
            "a larger change is enough",
            "more examples are enough",
            "all three together",
        ],
    ),
}
