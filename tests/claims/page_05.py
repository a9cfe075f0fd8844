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
        lambda page: {"stored": page["stored"] | {"nf4": 8.0}},
    ],
)
def four_and_a_half_bits(page):
    packed = page["packed"]
    assert packed.nbytes == packed.packed.nbytes + packed.absmax.nbytes
    assert [round(bits, 3) for bits in page["stored"].values()] == [32, 16, 4.5, 4.127]


@claim(
    "small-loss",
    broken=[
        lambda page: {"outliers": page["outliers"] | {64: (0.1, 0.3)}},
        lambda page: {"outliers": page["outliers"] | {4096: (0.1, 0.1)}},
        lambda page: {"good": (page["good"][0], page["naive"][1])},
        lambda page: {"good": (page["naive"][0], page["good"][1])},
        {"exact_loss": 0.0, "good": (0.01, 0.1), "naive": (1.0, 0.9)},
    ],
)
def rounding_costs_little(page):
    exact, good, naive, outliers = (page[name] for name in ("exact_loss", "good", "naive", "outliers"))
    assert outliers[64][1] < 2 * outliers[64][0]
    assert outliers[4096][1] > 3 * outliers[4096][0]
    assert good[1] < naive[1] / 2
    assert good[0] - exact < (naive[0] - exact) / 3
    assert good[0] - exact < 0.05 * exact


@claim(
    "qlora-trains",
    broken=[
        {"behind": 0.5},
        lambda page: {"memory": page["memory"] | {"QLoRA, nf4": page["memory"]["LoRA"]}},
    ],
)
def qlora_learns_as_well(page):
    assert abs(page["behind"]) < 0.1
    assert page["memory"]["QLoRA, nf4"].peak < 0.7 * page["memory"]["LoRA"].peak


@claim(
    "single-gpu",
    broken=[
        lambda page: {"largest": page["largest"] | {"qlora": page["largest"]["full"]}},
        lambda page: {"largest": page["largest"] | {"full": page["largest"]["lora"]}},
        {"published": {"lora": 60e9, "qlora": 20e9}},
        {"measured": 20e9},
        {"alone": 1},
    ],
)
def one_consumer_gpu(page):
    largest, settings, plan_memory = page["largest"], page["settings"], page["plan_memory"]
    assert largest["qlora"].parameter_count > largest["lora"].parameter_count
    assert largest["lora"].parameter_count > largest["full"].parameter_count
    for method, measured in page["published"].items():
        planned = plan_memory("llama-3.1-8b", method, **settings).total
        assert abs(planned / measured - 1) < 0.25
    assert abs(page["planned"] / page["measured"] - 1) < 0.02
    assert page["alone"] > 1
