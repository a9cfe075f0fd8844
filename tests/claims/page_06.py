"""What page 06 claims: the ladder from full fine-tuning to QLoRA, and what fits on one GPU."""

import dataclasses

from tests.claims import claim


def with_gpus(name, **counts):
    return lambda page: {"gpus": page["gpus"] | {name: page["gpus"][name] | counts}}


def measured(source, peak):
    """The runs of one source as if they had had another peak."""
    return lambda page: {
        "RECORDED": [
            dataclasses.replace(run, peak=peak) if run.source == source and run.peak else run
            for run in page["RECORDED"]
        ]
    }


@claim(
    "payoff-ladder",
    broken=[
        with_gpus("llama-3.2-1b", full=1, lora=2),
        with_gpus("llama-3.2-1b", lora=1, qlora=2, full=2),
        with_gpus("llama-3.1-8b", qlora=2, lora=2),
        with_gpus("llama-3.1-8b", full=3, lora=1),
        with_gpus("llama-2-13b", full=2, lora=2),
        with_gpus("llama-2-13b", lora=1),
        with_gpus("llama-2-13b", qlora=2, lora=3, full=99),
        with_gpus("llama-33b", qlora=2),
        with_gpus("llama-3.1-70b", full=20, lora=19),
    ],
)
def fewer_gpus_at_each_step(page):
    gpus = page["gpus"]
    for each in gpus.values():
        assert each["full"] >= each["lora"]
        assert each["lora"] >= each["qlora"]
    small, medium = gpus["llama-3.1-8b"], gpus["llama-2-13b"]
    assert small["qlora"] == 1
    assert small["full"] >= 4
    assert medium["full"] > medium["lora"]
    assert medium["lora"] > medium["qlora"]
    assert medium["qlora"] == 1
    assert gpus["llama-33b"]["qlora"] == 1
    assert gpus["llama-3.1-70b"]["full"] > 5 * gpus["llama-3.1-70b"]["lora"]


@claim(
    "single-gpu",
    broken=[
        lambda page: {"largest": page["largest"] | {"qlora": page["largest"]["full"]}},
        lambda page: {"largest": page["largest"] | {"full": page["largest"]["lora"]}},
        lambda page: {"largest": page["largest"] | {"qlora": page["MODELS"]["llama-2-13b"]}},
        measured("torchtune", 60_000_000_000),
        measured("ours", 20_000_000_000),
        measured("ours", 7_900_000_000),
        lambda page: {"how": page["how"] | {"batch_size": 64}},
        lambda page: {"gpus": page["gpus"] | {"llama-3.1-8b": {"full": 1}}},
    ],
)
def one_consumer_gpu(page):
    largest = {method: shape.parameter_count for method, shape in page["largest"].items()}
    assert largest["qlora"] > largest["lora"]
    assert largest["lora"] > largest["full"]
    assert largest["qlora"] > 30e9, "what made QLoRA famous"
    for run in page["RECORDED"]:
        if run.source == "torchtune":  # who do not state how much text a step read
            assert abs(run.plan.total / run.peak - 1) < 0.25
    recorded = next(run for run in page["RECORDED"] if run.name == "Llama-3.1-8B, QLoRA")
    assert recorded.peak < 24e9 / 3
    assert abs(recorded.plan.total / recorded.peak - 1) < 0.02
    assert page["plan_memory"]("llama-3.1-70b", "qlora", **page["how"]).cards(48) == 1
    assert page["gpus"]["llama-3.1-8b"]["full"] > 1
