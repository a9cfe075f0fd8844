"""What page 04 claims: why so little is enough, and the three savings."""

import torch

from tests.claims import claim


@claim(
    "update-low-rank",
    broken=[
        lambda page: {"held": page["chance"]},
        lambda page: {"ahead": page["ahead"] - 1},
        lambda page: {"changes": {}},
    ],
)
def a_few_directions_hold_much(page):
    layer = "model.layers.4.self_attn.q_proj.weight"
    assert page["held"][layer] > 2 * page["chance"][layer]
    assert page["ahead"] == len(page["held"])
    assert len(page["changes"]) == 56


@claim(
    "rank-enough",
    broken=[
        lambda page: {"reached": page["reached"] | {4: 0.4}},
        lambda page: {"reached": page["reached"] | {16: 2.0}},
    ],
)
def a_small_rank_reaches_most(page):
    reached = page["reached"]
    assert reached[4] > 0.5
    assert reached[16] - reached[4] < reached[4] - reached[1]


@claim(
    "tiny-to-train",
    broken=[
        lambda page: {"needs": page["needs"] | {"LoRA": page["needs"]["full"]}},
        lambda page: {"on_top": page["on_top"] | {"LoRA": page["on_top"]["full"]}},
    ],
)
def far_less_memory(page):
    assert page["needs"]["LoRA"].peak < 0.6 * page["needs"]["full"].peak
    assert page["on_top"]["LoRA"] < 0.3 * page["on_top"]["full"]


@claim(
    "tiny-to-store",
    broken=[{"times": 2}, lambda page: {"planned": page["planned"] | {"lora": page["planned"]["full"]}}],
)
def megabytes_instead_of_gigabytes(page):
    assert page["times"] > 20
    assert page["planned"]["lora"] < 1e9 < page["planned"]["full"]


@claim(
    "base-preserved",
    broken=[
        lambda page: {"without": page["with_adapter"]},
        lambda page: {"with_adapter": page["untouched"]},
    ],
)
def the_original_comes_back(page):
    assert torch.equal(page["without"], page["untouched"])
    assert not torch.equal(page["with_adapter"], page["untouched"])
