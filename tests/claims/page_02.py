"""What page 02 claims: a tiny fraction trains, and brings most of the benefit."""

from tests.claims import claim


@claim(
    "small-fraction",
    broken=[
        {"plan_memory": lambda *_, **__: type("Plan", (), {"trained": 0})},
        lambda page: {"shares": {**page["shares"], "tiny-gpt": 0.001}},
        lambda page: {"shares": {**page["shares"], "llama-3.1-8b": 0.02}},
    ],
)
def under_a_percent_in_large_models(page):
    counted = int(page["tiny"].trainable_parameter_count())
    assert page["plan_memory"]("tiny-gpt", "lora", r=8).trained == counted == page["trainable"]
    shares = dict(page["shares"])
    assert shares.pop("tiny-gpt") > 0.01
    assert max(shares.values()) < 0.01


@claim(
    "most-of-benefit",
    broken=[
        lambda page: {"small": page["small"] | {"share": 0.5}},
        {"gain": lambda name: 0.3},
        lambda page: {"small": page["small"] | {"memory": page["full"]["memory"]}},
    ],
)
def most_of_the_gain_for_little(page):
    assert page["small"]["share"] < 0.05
    assert page["gain"]("LoRA, all layers") > 0.6
    assert page["small"]["memory"] < 0.6 * page["full"]["memory"]


@claim(
    "peft-family",
    broken=[
        {"gain": lambda name: 0.0},
        lambda page: {"results": page["results"] | {"norms only": {"share": 0.5}}},
        {"gain": lambda name: 0.5},
        lambda page: {"gain": lambda name: {"LoRA, attention": 0.9}.get(name, page["gain"](name))},
    ],
)
def every_member_learns(page):
    gain, members = page["gain"], [name for name in page["results"] if name != "full"]
    assert min(gain(name) for name in members) > 0.1
    assert max(page["results"][name]["share"] for name in members) < 0.15
    assert gain("norms only") < gain("LoRA, attention")
    assert gain("LoRA, attention") < gain("LoRA, all layers")
