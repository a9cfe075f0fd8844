"""What page 05 claims about QLoRA."""

from tests.claims import altered, claim


@claim(
    "lora-floor",
    broken=[
        {"tiny": {"frozen weights": 1, "a": 1, "b": 1}},
        {"large": {"frozen weights": 1, "a": 1, "b": 1}},
    ],
)
def frozen_weights_are_the_floor(page):
    tiny, large = page["tiny"], page["large"]
    assert tiny["frozen weights"] > sum(tiny.values()) / 2
    assert large["frozen weights"] > sum(large.values()) / 2


@claim(
    "fewer-bits",
    broken=[
        lambda page: {"packed": altered(page["packed"], nbytes=0)},
        lambda page: {"bits": page["bits"] | {"nf4": 8.0}},
    ],
)
def four_and_a_half_bits(page):
    packed = page["packed"]
    assert packed.nbytes == packed.packed.nbytes + packed.absmax.nbytes
    assert [round(bits, 3) for bits in page["bits"].values()] == [32, 16, 4.5, 4.127]


@claim(
    "small-loss",
    broken=[
        lambda page: {"outliers": page["outliers"] | {64: (0.1, 0.3)}},
        lambda page: {"outliers": page["outliers"] | {4096: (0.1, 0.1)}},
        lambda page: {"good": page["good"]._replace(error=page["naive"].error)},
        lambda page: {"good": page["good"]._replace(loss=page["naive"].loss)},
        lambda page: {
            "exact": page["exact"]._replace(loss=0.0),
            "good": page["good"]._replace(loss=0.01),
            "naive": page["naive"]._replace(loss=1.0),
        },
    ],
)
def rounding_costs_little(page):
    exact, good, naive, outliers = (page[name] for name in ("exact", "good", "naive", "outliers"))
    assert outliers[64][1] < 2 * outliers[64][0]
    assert outliers[4096][1] > 3 * outliers[4096][0]
    assert good.error < naive.error / 2
    assert good.loss - exact.loss < (naive.loss - exact.loss) / 3
    assert good.loss - exact.loss < 0.05 * exact.loss


@claim(
    "qlora-trains",
    broken=[
        {"reached": 0.5},
        lambda page: {"memory": page["memory"] | {"QLoRA": page["memory"]["LoRA"]}},
    ],
)
def qlora_learns_as_well(page):
    assert abs(1 - page["reached"]) < 0.1
    assert page["memory"]["QLoRA"].peak < 0.7 * page["memory"]["LoRA"].peak
