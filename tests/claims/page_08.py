"""What page 08 claims about the dozen lines of a fine-tune."""

from tests.claims import claim


@claim("wrap-and-train", broken=[lambda page: {"loss_after": page["loss_before"]}])
def the_listing_trains(page):
    assert page["loss_after"] < page["loss_before"] - 0.5


@claim(
    "saves-only-adapter",
    broken=[
        {"saved_names": ["model.norm.weight"]},
        lambda page: {"saved_numbers": page["saved_numbers"] + 1},
    ],
)
def the_file_holds_the_adapter_alone(page):
    assert all(".lora_A." in name or ".lora_B." in name for name in page["saved_names"])
    assert page["saved_numbers"] == int(page["model"].trainable_parameter_count())


@claim("under-one-percent", broken=[{"share": 0.02}])
def under_one_percent(page):
    assert page["share"] < 0.01
