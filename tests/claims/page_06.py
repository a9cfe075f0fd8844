"""What page 06 claims: the ladder from full fine-tuning to QLoRA."""

from tests.claims import claim


def with_gpus(name, **counts):
    return lambda page: {"cards": page["cards"] | {name: page["cards"][name] | counts}}


@claim(
    "payoff-ladder",
    broken=[
        with_gpus("llama-3.2-1b", full=1, LoRA=2),
        with_gpus("llama-3.2-1b", LoRA=1, QLoRA=2, full=2),
        with_gpus("llama-3.1-8b", QLoRA=2, LoRA=2),
        with_gpus("llama-3.1-8b", full=3, LoRA=1),
        with_gpus("llama-2-13b", full=2, LoRA=2),
        with_gpus("llama-2-13b", LoRA=1),
        with_gpus("llama-2-13b", QLoRA=2, LoRA=3, full=99),
        with_gpus("llama-3.1-70b", full=20, LoRA=19),
    ],
)
def fewer_gpus_at_each_step(page):
    for gpus in page["cards"].values():
        assert gpus["full"] >= gpus["LoRA"]
        assert gpus["LoRA"] >= gpus["QLoRA"]
    small, medium, large = (page["cards"][name] for name in ("llama-3.1-8b", "llama-2-13b", "llama-3.1-70b"))
    assert small["QLoRA"] == 1
    assert small["full"] >= 4
    assert medium["full"] > medium["LoRA"]
    assert medium["LoRA"] > medium["QLoRA"]
    assert medium["QLoRA"] == 1
    assert large["full"] > 5 * large["LoRA"]
