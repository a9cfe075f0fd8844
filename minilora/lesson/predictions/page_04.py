"""The predictions of page 04. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Choice, Prediction

PREDICTIONS: dict[str, Prediction] = {
    "times-table": Choice(
        "How many rows have to be stretched and added up to make the multiplication table?",
        ["one", "five", "all ten"],
    ),
    "eight-patterns": Choice(
        "Of the 256 patterns in one layer's change, the strongest 8 hold how much?",
        {"3%, an even share": 3, "about a third": 33, "nearly all": 97},
        "%",
    ),
    "cut-to-16": Choice(
        "All changes are cut to their 16 strongest patterns. How much of what the model gained is left?",
        {"a tenth": 10, "half": 50, "three quarters or more": 80},
        "%",
    ),
    "rank-four": Choice(
        "LoRA of rank 4 gets how much of full fine-tuning's gain, in the same number of steps?",
        {"a quarter": 25, "half": 50, "most of it": 85},
        "%",
    ),
    "memory-of-lora": Choice(
        "LoRA of rank 4 trains less than 3% of the weights. What share of full fine-tuning's peak memory is needed?",
        {"3%": 3, "10%": 10, "40%": 40, "90%": 90},
        "%",
    ),
    "fall-back": Choice(
        "With the adapter off, how close are the scores to the original model's?",
        ["to about six digits", "the same to the last bit"],
    ),
}
