"""The predictions of page 05. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Choice, Prediction

PREDICTIONS: dict[str, Prediction] = {
    "spot-the-original": Choice(
        "Which of the three texts was written by the original model, in 32 bits?", ["A", "B", "C"]
    ),
    "heaviest-part": Choice(
        "LoRA trains a model of 8 billion weights, with one row of 512 tokens per step. What takes the most memory?",
        ["frozen weights", "adapters and their training", "activations"],
    ),
    "half-of-the-weights": Choice(
        "int4 has fifteen evenly spaced levels. How many of them, the fullest ones, hold half of all weights?",
        {"two": 2, "four": 4, "seven": 7, "ten": 10},
        "levels",
    ),
    "bits-per-weight": Choice(
        "A 4-bit code for each weight, and a 32-bit absmax for each block of 64. How many bits per weight is that?",
        {"4": 4, "4.5": 4.5, "5": 5, "8": 8},
        "bits",
    ),
    "one-outlier": Choice(
        "4,096 weights in a single block; one of them grows to 32 times the usual size. How large is the error of the "
        "others?",
        {"10%": 10, "20%": 20, "40%": 40, "80%": 80},
        "%",
    ),
    "loss-in-four-bits": Choice(
        "All linear layers go to 4 bits, as NF4 in blocks of 64. By how much does the loss rise?",
        {"1%": 1, "5%": 5, "20%": 20, "100%": 100},
        "%",
    ),
    "qlora-ends": Choice(
        "LoRA lowers the loss. How much of that gain does QLoRA reach, in as many steps on a model in 4 bits?",
        {"a third": 33, "two thirds": 67, "practically all": 100},
        "%",
    ),
}
