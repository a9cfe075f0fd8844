"""The predictions of page 07. Not here: the measurements, which the page takes."""

from minilora.lesson.prediction import Choice, Estimate, Prediction

PREDICTIONS: dict[str, Prediction] = {
    "strength-zero": Choice(
        "An adapter has strength 0. What does the model write?",
        ["nonsense", "something close to the base", "the base's text, letter for letter"],
    ),
    "three-trainings": Choice(
        "Three adapters are trained one after the other on one model. How good is the first one at the end?",
        ["better than before", "worse than before", "exactly as it was"],
    ),
    "wrong-adapter": Choice(
        "The legal adapter reads a letter from customer support. Compared with no adapter at all, its loss is ...",
        {"a third lower": 0.67, "about the same": 1, "half again as high": 1.5},
        "times",
    ),
    "switches-per-load": Estimate(
        "How many switches of adapter fit into the time in which this small model loads?",
        [1, 10, 100, 1_000, 10_000, 100_000],
        log=True,
    ),
    "twenty-voices": Choice(
        "You want twenty voices. Twenty full models take how many times the space of one model and twenty adapters?",
        {"twice": 2, "seven times": 7, "twenty times": 20},
        "times",
    ),
    "adapters-on-a-gpu": Choice(
        "Llama-3.1-8B fills 16 of a GPU's 80 GB. How many adapters fit into the rest?",
        {"8": 8, "80": 80, "800": 800},
    ),
    "price-of-an-adapter": Choice(
        "A separate adapter has to be computed, too. How much longer does this model read with one?",
        {"1% longer": 1, "half again as long": 50, "five times as long": 400},
        "%",
    ),
}
