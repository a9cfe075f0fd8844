"""Question 4: swappable adapters, three examples, and why not three copies."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from minilora.exercises.question import Question
from minilora.exercises.question_parts import (
    Choice,
    Number,
    Numbers,
    Observed,
    Option,
    Prediction,
    Prose,
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
    minutes=20,
    statement="""
What do you gain if adapters can be swapped on one base? Name three adapters that you might train on the
same base, and say why this is better than three whole models. The numbers below may use more than three
tasks.
""",
    draw=draw,
    given={
        "base_gigabytes": "size of the base model, GB of 10^9 bytes",
        "adapter_megabytes": "size of one adapter, MB of 10^6 bytes",
        "tasks": "number of tasks, each with its own adapter",
    },
    prediction=Prediction(
        "The tiny GPT has two adapters, and one of them is active. Compared with loading the model again, "
        "switching to the other takes",
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
                    "are loaded again, to be unchanged",
                    "reloaded",
                    "They never changed, so there is no need to load them again.",
                ),
                Option("stay as they are; only the update that is added to their output changes"),
                Option(
                    "are changed back from the first task and then changed for the second",
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
                    "works as well, because every matrix has the right shape",
                    "shapes-suffice",
                    "The shapes match, but the update was trained for the weights of the other base.",
                ),
                Option(
                    "works after a conversion of its file",
                    "convertible",
                    "A conversion cannot know what the other base needs. A new adapter has to be trained.",
                ),
                Option("does nothing useful: its updates belong to other weights"),
            ),
        ),
        Choice(
            "one-batch",
            "Requests for three different adapters arrive at the same time. One base",
            (
                Option(
                    "has to process them one after another, or in three copies",
                    "one-at-a-time",
                    "The base's part is the same for all rows; only the small update differs from row to "
                    "row.",
                ),
                Option(
                    "answers all three with the average of the adapters",
                    "averaged",
                    "Blending is possible, but here each row gets its own adapter, without affecting the "
                    "other rows.",
                ),
                Option("processes them in one batch; each row gets its own adapter"),
            ),
        ),
        Choice(
            "bad-adapter",
            "The adapter for legal text turns out to be badly trained. What else is affected?",
            (
                Option("no other adapter, and not the base"),
                Option(
                    "the base, which has to be restored from a backup",
                    "base-damaged",
                    "The base was frozen during training and has not changed.",
                ),
                Option(
                    "every adapter that was trained on this base later",
                    "shared-fate",
                    "Later adapters were trained on the same unchanged base. The bad one had no part in it.",
                ),
            ),
        ),
        Number(
            "copies-gigabytes",
            "How many GB of disk does one whole fine-tuned model per task take? (five digits)",
            lambda n: n["tasks"] * n["base_gigabytes"],
            (
                Slip(
                    "one-copy",
                    lambda n: n["base_gigabytes"],
                    "That is one model; there is one for each task.",
                ),
                Slip(
                    "base-and-copies",
                    lambda n: (n["tasks"] + 1) * n["base_gigabytes"],
                    "One copy too many: no separate base is needed.",
                ),
                Slip(
                    "shared",
                    shared,
                    "That is one base with its adapters. The question is about whole copies.",
                ),
                Slip(
                    "copies-and-adapters",
                    lambda n: n["tasks"] * (n["base_gigabytes"] + n["adapter_megabytes"] / 1000),
                    "A fully fine-tuned model has no adapter beside it.",
                ),
            ),
        ),
        Number(
            "shared-gigabytes",
            "How many GB of disk do one base and one adapter per task take? (five digits)",
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
                    "The base is missing; an adapter does nothing without it.",
                ),
                Slip(
                    "binary",
                    lambda n: n["base_gigabytes"] + n["tasks"] * n["adapter_megabytes"] / 1024,
                    "With these units a GB is 1000 MB, not 1024.",
                ),
                Slip(
                    "one-adapter-too-few",
                    lambda n: n["base_gigabytes"] + (n["tasks"] - 1) * n["adapter_megabytes"] / 1000,
                    "One adapter is missing: every task has one, the first too.",
                ),
                Slip(
                    "base-alone",
                    lambda n: n["base_gigabytes"],
                    "That is the base alone; an adapter for each task comes on top.",
                ),
                Slip(
                    "one-adapter",
                    lambda n: n["base_gigabytes"] + n["adapter_megabytes"] / 1000,
                    "That is one adapter; each task has its own.",
                ),
                Slip(
                    "megabytes-as-gigabytes",
                    lambda n: n["base_gigabytes"] + n["tasks"] * n["adapter_megabytes"],
                    "You added megabytes to gigabytes; 1000 MB are 1 GB.",
                ),
            ),
        ),
        Number(
            "as-heavy-as-a-copy",
            "How many adapters take as much space as one whole model? (five digits)",
            lambda n: 1000 * n["base_gigabytes"] / n["adapter_megabytes"],
            (
                Slip(
                    "upside-down",
                    lambda n: n["adapter_megabytes"] / (1000 * n["base_gigabytes"]),
                    "That is one adapter as a share of the model. Take the inverse.",
                ),
                Slip(
                    "per-task",
                    lambda n: 1000 * n["base_gigabytes"] / (n["adapter_megabytes"] * n["tasks"]),
                    "You divide by all adapters together. How many single adapters weigh as much as the "
                    "model?",
                ),
                Slip(
                    "times-tasks",
                    lambda n: 1000 * n["base_gigabytes"] * n["tasks"] / n["adapter_megabytes"],
                    "You multiply by the number of tasks. Compare one adapter with one model.",
                ),
                Slip(
                    "one-less",
                    lambda n: 1000 * n["base_gigabytes"] / n["adapter_megabytes"] - 1,
                    "One too few: nothing has to be subtracted.",
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
            "A base that knows plain English gets one adapter for contracts (trained on anonymized "
            "contracts), one for answering customers (on good past answers) and one for commenting code "
            "(on functions with their comments). All three need exactly this base. Three copies would take "
            "three times the disk space and memory, and each would have to be loaded separately. With "
            "adapters the base is loaded once, a swap takes no noticeable time, each task can be improved "
            "or removed on its own, and the plain base is always available.",
            (
                "It names three different tasks, each with its training text.",
                "It says that all three need the same base, exactly the one they were trained on.",
                "It names at least two advantages: storage, memory, time of a swap, independence, the "
                "unchanged base.",
            ),
        ),
        Prose(
            "gap",
            "What did the experiment show, and what had you predicted? If they differ, which idea "
            "misled you?",
            "A swap took microseconds, loading took many milliseconds: a factor of thousands, even with "
            "this tiny model. If I expected a tenth, I was thinking that something is copied. Nothing is: "
            "all adapters are in memory, and the swap only records which one is active.",
            (
                "It gives the numbers from the experiment.",
                "It compares them with your prediction.",
                "It says what a swap does and does not do.",
            ),
            points=1,
        ),
    ),
    hints=(
        "Think of a screwdriver with exchangeable bits. What do you need once, and what do you need once "
        "per task?",
        "Convert both sizes to the same unit before you add. For each statement, ask what it would mean "
        "for the base.",
        "copies = tasks · base; shared = base + tasks · adapter / 1000; as heavy as a copy = 1000 · "
        "base / adapter.",
    ),
    pitfalls=(
        "Do not mix up GB and MB: here a GB is 1000 MB.",
        "A person reads your three examples; the check does not.",
    ),
    explanation="One base with many adapters saves disk space, memory, and time when a task changes. The "
    "condition is that all adapters were trained on exactly this base.",
)
