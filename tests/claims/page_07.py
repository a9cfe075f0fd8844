"""What page 07 claims about many adapters on one base."""

from tests.claims import claim


@claim(
    "many-one-base",
    broken=[
        lambda page: {"fingerprints": [*page["fingerprints"], "another"]},
        lambda page: {"first_loss_now": page["first_loss"] + 1e-6},
    ],
)
def adapters_leave_base_and_each_other_alone(page):
    assert set(page["fingerprints"]) == {page["untouched"]}
    assert page["first_loss_now"] == page["first_loss"]


@claim("snap-in", broken=[lambda page: {"switch": page["load"]}, {"untouched": ""}])
def switching_is_faster_than_loading(page):
    assert page["switch"] < page["load"] / 100
    assert page["base_digest"](page["model"]) == page["untouched"]


@claim("cheaper-than-copies", broken=[lambda page: {"adapter_bytes": {"legal": page["model_bytes"]}}])
def adapters_are_smaller_than_copies(page):
    copies = 20 * page["model_bytes"]
    assert copies > 5 * (page["model_bytes"] + 20 * max(page["adapter_bytes"].values()))
