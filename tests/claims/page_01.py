"""What page 01 claims: full fine-tuning moves and holds everything."""

from minilora.memory import plan_memory
from tests.claims import altered, claim


@claim(
    "full-updates-all",
    broken=[
        lambda page: {"loss_after": page["loss_before"]},
        lambda page: {"changes": altered(page["changes"], tensors=page["changes"].tensors - 1)},
        lambda page: {"changes": altered(page["changes"], numbers=page["changes"].all_numbers // 2)},
    ],
)
def every_tensor_moves(page):
    changes = page["changes"]
    assert page["loss_after"] < page["loss_before"]
    assert changes.tensors == changes.all_tensors == len(list(page["model"].parameters()))
    assert changes.numbers / changes.all_numbers > 0.999


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
    plan = plan_memory("tiny-gpt", "full", dtype="fp32", batch_size=4, sequence_length=64)
    assert page["weight_bytes"] == plan.parts["weights"].largest
    assert page["gradient_bytes"] == plan.parts["gradients"].largest
    assert page["adam_bytes"] == plan.parts["optimizer"].largest
    assert page["held"] == 16 * page["total"]


@claim(
    "full-needs-fleet",
    broken=[
        lambda page: {"gpus": {**page["gpus"], "7B": 1}},
        lambda page: {"gpus": {**page["gpus"], "70B": 9}},
        lambda page: {"in_16_bits": {**page["in_16_bits"], "70B": 4}},
    ],
)
def several_gpus(page):
    assert all(number > 1 for number in page["gpus"].values())
    assert page["gpus"]["70B"] >= 10
    assert page["in_16_bits"]["70B"] >= 5
