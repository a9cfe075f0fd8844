"""What page 09 claims: when LoRA is enough, and when it is not."""

import statistics

from tests.claims import claim


@claim(
    "close-to-full",
    broken=[lambda page: {"base": dict.fromkeys(page["losses"], 0.0)}],
)
def most_of_full_fine_tunings_gain(page):
    for style, losses in page["losses"].items():
        gain = {method: page["base"][style] - statistics.mean(values) for method, values in losses.items()}
        assert min(gain["LoRA"], gain["QLoRA"]) > 0.7 * gain["full"] > 0


@claim(
    "full-when-maximal",
    broken=[
        lambda page: {"known": page["known"] | {1: 0.7}},
        lambda page: {"known": page["known"] | {2: page["known"][1]}},
        lambda page: {"known": page["known"] | {2: 1.1}},
        lambda page: {"known": page["known"] | {"full": 0.94, 2: 0.8}},
    ],
)
def low_ranks_meet_a_wall(page):
    known = page["known"]
    assert known[1] < 0.6
    assert known[1] < known[2]
    assert known[2] < known["full"]
    assert known["full"] > 0.95
