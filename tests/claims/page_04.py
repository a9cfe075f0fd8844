"""What page 04 claims: why so little is enough, and the three savings."""

import torch

from tests.claims import claim


@claim(
    "update-low-rank",
    broken=[lambda page: {"of_change": page["of_chance"]}, lambda page: {"ahead": page["ahead"] - 1}],
)
def a_few_directions_hold_much(page):
    assert page["of_change"] > 2 * page["of_chance"]
    assert page["ahead"] == len(page["linear"])


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
    broken=[{"share_of_memory": 0.9}, lambda page: {"bookkeeping": page["bookkeeping"] | {"LoRA": 1e9}}],
)
def far_less_memory(page):
    assert page["share_of_memory"] < 0.6
    assert page["bookkeeping"]["LoRA"] < 0.05 * page["bookkeeping"]["full"]


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
