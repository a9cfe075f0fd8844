"""What page 01 claims: full fine-tuning moves and holds everything."""

from tests.claims import claim


@claim(
    "full-updates-all",
    broken=[
        lambda page: {"loss_after": page["loss_before"]},
        lambda page: {"changed_tensors": page["changed_tensors"] - 1},
        lambda page: {"changed_numbers": page["total"] // 2},
    ],
)
def every_tensor_moves(page):
    assert page["loss_after"] < page["loss_before"]
    assert page["changed_tensors"] == len(page["before"])
    assert page["changed_numbers"] / page["total"] > 0.999


@claim(
    "full-holds-state",
    broken=[
        {"weight_bytes": 0},
        {"gradient_bytes": 0},
        {"adam_bytes": 0},
        lambda page: {"held": page["held"] - 1},
    ],
)
def sixteen_bytes_a_weight(page):
    plan = page["plan"]
    assert page["weight_bytes"] == plan.parts["weights"].largest
    assert page["gradient_bytes"] == plan.parts["gradients"].largest
    assert page["adam_bytes"] == plan.parts["optimizer"].largest
    assert page["held"] == 16 * page["total"]


@claim(
    "full-needs-fleet",
    broken=[
        lambda page: {"cards": {**page["cards"], "7B": 1}},
        lambda page: {"cards": {**page["cards"], "70B": 9}},
        lambda page: {"thrifty": {**page["thrifty"], "70B": 4}},
    ],
)
def several_gpus(page):
    assert all(number > 1 for number in page["cards"].values())
    assert page["cards"]["70B"] >= 10
    assert page["thrifty"]["70B"] >= 5
