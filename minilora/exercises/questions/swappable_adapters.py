"""Question 4: swappable adapters, three examples, and why not three copies."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from minilora.exercises.question import (
    Choice,
    Number,
    Numbers,
    Observed,
    Option,
    Prediction,
    Prose,
    Question,
    Slip,
)


def draw(rng: random.Random) -> Numbers:
    return {
        "base_gigabytes": rng.choice((2.2, 6.4, 14.0)),
        "adapter_megabytes": rng.choice((84, 168, 336)),
        "tasks": rng.choice((3, 5, 12, 40)),
    }


def shared(n: Numbers) -> float:
    return n["base_gigabytes"] + n["tasks"] * n["adapter_megabytes"] / 1000


def load_and_swap(numbers: Numbers) -> Observed:
    """Seconds to load the tiny GPT, beside seconds to switch between two adapters on it; the best of several."""
    import time

    from minilora import GPT, LoraConfig, add_lora

    def seconds(action: Callable[..., Any], *arguments: Any) -> float:
        start = time.perf_counter()
        action(*arguments)
        return time.perf_counter() - start

    load = min(seconds(GPT.from_pretrained, "tiny-gpt") for _ in range(3))
    model = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(), "legal")
    model.add_adapter("support", LoraConfig())
    swap = min(seconds(model.set_adapter, name) for name in ("legal", "support") * 5)
    sentence = (
        f"Loading takes {1e3 * load:.0f} ms, a swap {1e6 * swap:.1f} µs: {load / swap:,.0f} times less."
    )
    return Observed("a" if load < 3 * swap else "b" if load < 100 * swap else "c", sentence)


QUESTION = Question(
    name="swappable-adapters",
    title="Many adapters, one base",
    minutes=15,
    statement="""
Describe what is gained when adapters can be swapped on one base. Give three adapters that you might train on
the same base, and say why this is better than three whole models. Three is the example; your own numbers may be larger.
""",
    draw=draw,
    given={
        "base_gigabytes": "size of the base model, GB of 10^9 bytes",
        "adapter_megabytes": "size of one adapter, MB of 10^6 bytes",
        "tasks": "how many tasks there are, each with its adapter",
    },
    prediction=Prediction(
        "Two adapters are on the tiny GPT, and one of them is active. Compared with loading the model "
        "anew, switching to the "
        "other takes",
        ("about as long", "a tenth to a hundredth of the time", "less than a hundredth of the time"),
        "c",
        load_and_swap,
    ),
    parts=(
        Choice(
            "what-happens",
            "When one adapter is swapped for another, the base's weights",
            (
                Option(
                    "are loaded again, to be clean",
                    "reloaded",
                    "They were never touched, so there is nothing to clean and nothing to load.",
                ),
                Option("stay, and other thin matrices are added to them in use"),
                Option(
                    "are turned back from the first task and set for the second",
                    "rewritten",
                    "That is merging and unmerging. A swap changes which update is added, and no "
                    "weight of the base.",
                ),
            ),
        ),
        Choice(
            "another-base",
            "An adapter was trained on one base. On another model of exactly the same shape it",
            (
                Option(
                    "works as well, since every matrix has the right shape for it",
                    "shapes-suffice",
                    "Shapes fit, meanings do not: the update was learned for the numbers of the other base.",
                ),
                Option(
                    "works after a conversion of its file",
                    "convertible",
                    "No conversion knows what the other base would have needed. It has to be trained again.",
                ),
                Option("does nothing sensible: its updates fit other weights"),
            ),
        ),
        Choice(
            "one-batch",
            "Three customers with three adapters ask at the same moment. One base",
            (
                Option(
                    "has to serve them one after the other, or in three copies",
                    "one-at-a-time",
                    "The base's part is the same for all rows; only the thin update differs, row by row.",
                ),
                Option(
                    "answers all three with the average of the adapters",
                    "averaged",
                    "Blending is possible, but here each row gets its own adapter, and no other row notices.",
                ),
                Option("computes for all at once; each row gets its own adapter"),
            ),
        ),
        Choice(
            "bad-adapter",
            "The adapter for legal prose turns out to be badly trained. Also affected is",
            (
                Option("no other, nor the base"),
                Option(
                    "the base, which has to be restored from a backup",
                    "base-damaged",
                    "The base was frozen while it trained, and is what it was.",
                ),
                Option(
                    "every adapter that was trained on this base later",
                    "shared-fate",
                    "Later ones were trained on the same untouched base. They never met the bad one.",
                ),
            ),
        ),
        Number(
            "copies-gigabytes",
            "GB of disk for a whole fine-tuned model per task, three digits",
            lambda n: n["tasks"] * n["base_gigabytes"],
            (
                Slip(
                    "one-copy",
                    lambda n: n["base_gigabytes"],
                    "That is one model; there is one for each task.",
                ),
                Slip("shared", shared, "That is one base with its adapters. Asked for are whole copies."),
                Slip(
                    "copies-and-adapters",
                    lambda n: n["tasks"] * (n["base_gigabytes"] + n["adapter_megabytes"] / 1000),
                    "A fully fine-tuned model has no adapter beside it.",
                ),
            ),
        ),
        Number(
            "shared-gigabytes",
            "GB of disk for one base and an adapter per task, three digits",
            shared,
            (
                Slip(
                    "base-each",
                    lambda n: n["tasks"] * (n["base_gigabytes"] + n["adapter_megabytes"] / 1000),
                    "You store the base once per task. All adapters share one.",
                ),
                Slip(
                    "no-base",
                    lambda n: n["tasks"] * n["adapter_megabytes"] / 1000,
                    "The base is missing; an adapter alone can say nothing.",
                ),
                Slip(
                    "one-adapter",
                    lambda n: n["base_gigabytes"] + n["adapter_megabytes"] / 1000,
                    "That is one adapter; each task has its own.",
                ),
                Slip(
                    "megabytes-as-gigabytes",
                    lambda n: n["base_gigabytes"] + n["tasks"] * n["adapter_megabytes"],
                    "You added megabytes to gigabytes; a thousand of the first make one of the second.",
                ),
            ),
        ),
        Number(
            "as-heavy-as-a-copy",
            "How many adapters weigh as much as one whole model? Three digits",
            lambda n: 1000 * n["base_gigabytes"] / n["adapter_megabytes"],
            (
                Slip(
                    "upside-down",
                    lambda n: n["adapter_megabytes"] / (1000 * n["base_gigabytes"]),
                    "That is the share of one adapter; the question is how many shares make a whole.",
                ),
                Slip(
                    "no-conversion",
                    lambda n: n["base_gigabytes"] / n["adapter_megabytes"],
                    "One size is in GB and the other in MB.",
                ),
                Slip(
                    "binary",
                    lambda n: 1024 * n["base_gigabytes"] / n["adapter_megabytes"],
                    "With these units a GB is 1000 MB, not 1024.",
                ),
            ),
        ),
        Prose(
            "three-adapters",
            "Name three adapters for one base, each with what it would be trained on, and say why "
            "not three whole copies.",
            "A base that knows plain English gets one adapter for contract prose (trained on "
            "anonymized contracts), one for "
            "answering customers (on good past answers) and one for commenting code (on functions "
            "with their comments). "
            "Three copies would take three times the disk and the memory, would each have to be "
            "loaded, and would each "
            "have to be replaced when something is wrong. With adapters the base is loaded once, a "
            "swap takes no "
            "noticeable time, each task can be improved or dropped alone, and the plain base is "
            "always there.",
            (
                "Three tasks that differ, each with its training text.",
                "It says that all three need the same base, the very one that they were trained on.",
                "At least two advantages: storage, memory, time of a swap, independence, the base kept.",
            ),
        ),
        Prose(
            "gap",
            "What did the experiment show, and what had you predicted? If they differ, which idea "
            "misled you?",
            "A swap took about a microsecond, loading many milliseconds: a difference of thousands "
            "even with this tiny "
            "model. Who expected a tenth thought that something is copied. Nothing is: all adapters "
            "lie in memory, and the "
            "swap notes which of them is added from now on.",
            (
                "It names the figures of the experiment.",
                "It compares them with the prediction as it was locked.",
                "It says what a swap does and does not do.",
            ),
            points=1,
        ),
    ),
    hints=(
        "Imagine a machine with exchangeable tips. What of it is there once, and what is there once per job?",
        "Bring both sizes to one unit before you add. And ask of each statement what it would do to "
        "the base.",
        "copies = tasks · base; shared = base + tasks · adapter / 1000; as heavy as a copy = 1000 · "
        "base / adapter.",
    ),
    pitfalls=("GB and MB: here a GB is 1000 MB.", "The three examples are a text, and no program judges it."),
    explanation="One base and many adapters is cheap in three ways: on disk, in memory, and when a "
    "task has to be changed. The "
    "condition is that all of them were trained on that very base.",
)
