"""What page 03 claims about LoRA."""

import numpy as np

from tests.claims import claim


@claim(
    "two-small-matrices",
    broken=[
        lambda page: {"W": page["A"]},
        lambda page: {"W": np.zeros((2000, 2000))},
        lambda page: {"A": np.zeros_like(page["A"])},
        {"difference": 1e-6},
    ],
)
def product_of_two_thin_matrices(page):
    W, A, B = page["W"], page["A"], page["B"]
    assert A.size + B.size < W.size / 10
    assert (B @ A).shape == W.shape
    assert np.linalg.matrix_rank(B @ A) == 8
    assert page["difference"] < 1e-9  # both in double precision


@claim(
    "starts-identical",
    broken=[{"adapted": type("Model", (), {"lora_layers": lambda self: {}})()}, {"difference": 1e-7}],
)
def an_untrained_adapter_changes_nothing(page):
    assert len(page["adapted"].lora_layers()) == 56
    assert page["difference"] == 0


@claim(
    "adapters-few",
    broken=[
        {"trained": ["model.embed_tokens.weight"]},
        lambda page: {"remembered": page["remembered"] + 1},
        lambda page: {"moved": page["moved"][1:]},
    ],
)
def only_the_adapter_trains(page):
    assert all(".lora_A." in name or ".lora_B." in name for name in page["trained"])
    assert page["remembered"] == int(page["model"].trainable_parameter_count())
    assert page["moved"] == page["trained"]


@claim(
    "base-frozen",
    broken=[
        lambda page: {"loss_after": page["loss_before"]},
        {"old": []},
        lambda page: {"touched": page["old"][:1]},
    ],
)
def no_bit_of_the_base_changes(page):
    assert page["loss_after"] < page["loss_before"] - 0.1
    assert len(page["old"]) == len(page["before"]) - len(page["trained"])
    assert page["touched"] == []
