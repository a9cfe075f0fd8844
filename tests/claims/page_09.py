"""What page 09 claims: when LoRA is enough, and when it is not."""

import dataclasses

from tests.claims import claim


@claim(
    "close-to-full",
    broken=[
        lambda page: {"legal": page["legal"] | {"LoRA": page["legal"]["base"]}},
        lambda page: {
            "recorded": dataclasses.replace(
                page["recorded"], before=dict.fromkeys(page["recorded"].before, 2.0)
            )
        },
    ],
)
def most_of_full_fine_tunings_gain(page):
    legal, recorded = page["legal"], page["recorded"]
    assert legal["base"] - legal["LoRA"] > 0.6 * (legal["base"] - legal["full"]) > 0
    assert all(0.7 < recorded.share(m, s) < 1 for m in ("LoRA", "QLoRA") for s in recorded.before)


@claim(
    "full-when-maximal",
    broken=[
        lambda page: {"learned": _with(page, "rank-16 change", 4, 0.9)},
        lambda page: {"learned": _with(page, "rank-64 change", 16, 0.99)},
        lambda page: {"learned": _with(page, "rank-64 change", "full", 0.9)},
    ],
)
def a_rank_learns_as_many_patterns(page):
    *smaller, largest = page["learned"].items()
    for task, shares in smaller:
        for r, share in shares.items():
            expected = 1 if r == "full" else min(1, r / int(task.split()[0].split("-")[1]))
            assert abs(share - expected) < 0.02, (task, r)
    assert max(share for r, share in largest[1].items() if r != "full") < 0.3
    assert largest[1]["full"] > 0.98


def _with(page, task, r, share):
    return page["learned"] | {task: page["learned"][task] | {r: share}}
