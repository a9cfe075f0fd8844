"""What page 03 claims about LoRA."""

import numpy as np

from tests.claims import claim


@claim(
    "two-small-matrices",
    broken=[
        lambda page: {"W": page["A"]},
        lambda page: {"W": np.zeros((2000, 2000))},
        lambda page: {"A": np.zeros_like(page["A"])},
        lambda page: {"theirs": page["theirs"] | {"y": (page["y"] + 1, page["outputs"])}},
    ],
)
def product_of_two_thin_matrices(page):
    W, A, B = page["W"], page["A"], page["B"]
    assert A.size + B.size < W.size / 10
    assert (B @ A).shape == W.shape
    assert np.linalg.matrix_rank(B @ A) == 8
    for by_hand, pytorch in page["theirs"].values():
        assert np.abs(by_hand - pytorch.detach().numpy()).max() < 1e-9


@claim(
    "starts-identical",
    broken=[{"model": type("Model", (), {"lora_layers": lambda self: {}})()}, {"difference": 1e-7}],
)
def an_untrained_adapter_changes_nothing(page):
    assert len(page["model"].lora_layers()) == 56
    assert page["difference"] == 0


@claim(
    "adapters-few",
    broken=[
        {"trainable": ["model.embed_tokens.weight"]},
        lambda page: {"remembered": page["remembered"] + 1},
        lambda page: {"moved": page["moved"] - 1},
    ],
)
def only_the_adapter_trains(page):
    assert all(".lora_A." in name or ".lora_B." in name for name in page["trainable"])
    assert page["remembered"] == int(page["model"].trainable_parameter_count())
    assert page["moved"] == len(page["trainable"])


@claim(
    "base-frozen",
    broken=[
        lambda page: {"loss_after": page["loss_before"]},
        lambda page: {"prints_after": page["prints_after"] | {"one more": ""}},
        {"noticed": False},
    ],
)
def no_bit_of_the_base_changes(page):
    assert page["loss_after"] < page["loss_before"] - 0.1
    assert page["prints_after"] == page["prints_before"]
    assert page["noticed"]
