"""Question 5: run a small LoRA fine-tune, and report what trained. Checked from the adapter that was saved."""

from __future__ import annotations

import math
import random
from typing import Any

from minilora.exercises.question import Question
from minilora.exercises.question_parts import (
    Artifact,
    Choice,
    Number,
    Numbers,
    Observed,
    Option,
    Prediction,
    Prose,
    Slip,
)
from minilora.memory.catalog import MODELS

MARGIN = (
    0.3  # by so much the loss on held-out text must fall; 40 short steps reach 0.5 and more in each style
)
FOLDER = "my-run"
SAME = 0.5  # of a change that lies in the directions of another adapter: 1 for a copy, 0.01 for a run of one's own


def my_run():
    """Trains an adapter with your rank on text of your style; saves it in the folder "my-run".

    From minilora you need GPT, LoraConfig, Trainer, add_lora, encode_text and style_corpus. On
    the tiny GPT a minute is enough: about 40 steps with a batch size of 8 and a sequence length
    of 64, with adapters on the attention layers.
    """
    ### BEGIN SOLUTION
    from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, style_corpus
    from minilora.exercises import numbers

    mine = numbers("run-a-finetune")
    base = GPT.from_pretrained("tiny-gpt")
    train_data = encode_text(style_corpus(mine["style"], documents=120), base.tokenizer, sequence_length=64)
    model = add_lora(base, LoraConfig(r=mine["r"], lora_alpha=2 * mine["r"], target_modules="attention"))
    print(model.trainable_parameter_count())
    Trainer(model, train_data, max_steps=40, batch_size=8).train()
    model.save_adapter("my-run")
    ### END SOLUTION


def draw(rng: random.Random) -> Numbers:
    r = rng.choice((2, 4, 6, 8))
    tiny = MODELS["tiny-gpt"]
    attention = [tiny.linear_layers[name] for name in ("q_proj", "k_proj", "v_proj", "o_proj")]
    trained = tiny.num_hidden_layers * sum(r * (i + o) for i, o in attention)
    return {
        "style": rng.choice(("legal", "code", "support")),
        "r": r,
        "expected_trained": trained,  # of the run that the statement proposes
        "expected_total": trained + tiny.parameter_count,
    }


def observe(answers: dict[str, Any], numbers: Numbers) -> Numbers:
    """Loads the saved adapter onto its base and measures: trained, total, the loss without and with it.

    `problem` is (mistake, sentence) where something of this does not work, else None.
    """
    try:
        return _measure(str(answers.get("folder") or FOLDER), str(answers.get("base")), numbers)
    except _Problem as problem:
        return {"problem": problem.args}


NOT_FINITE = (
    "not-finite",
    "With the adapter the loss is NaN; train with a smaller learning rate.",
)


class _Problem(Exception):
    """A mistake and its sentence."""


def _measure(folder: str, base_name: str, numbers: Numbers) -> Numbers:
    from pathlib import Path

    from minilora import encode_text, evaluate, style_corpus
    from minilora.lora import count_weights

    if not Path(folder).is_dir():
        raise _Problem(
            "no-folder", f"There is no folder {folder}. Save the adapter with model.save_adapter({folder!r})."
        )
    if (
        not (Path(folder) / "adapter_model.safetensors").exists()
        and (Path(folder) / "model.safetensors").exists()
    ):
        raise _Problem(
            "whole-model", f"{folder} holds a whole model. Save the adapter alone, with save_adapter."
        )
    model = _load(folder, base_name)
    trained = sum(p.numel() for layer in model.lora_layers().values() for p in _matrices(layer))
    data = encode_text(
        style_corpus(numbers["style"], "validation", documents=8), model.tokenizer, sequence_length=64
    )  # held out: no training text has these combinations
    with model.disable_adapter():
        before = evaluate(model, data)
    after = evaluate(model, data)
    count = {"trained": trained, "total": count_weights(model)}
    problem = _run_problem(model, numbers, before, after)
    report = f"it loads, trains {trained:,} weights, and lowers the loss from {before:.2f} to {after:.2f}"
    return count | {"problem": problem, "report": report, "before": before, "after": after}


def _load(folder: str, base_name: str) -> Any:
    from pathlib import Path

    from minilora import GPT, LoraModel

    if (
        "/" in base_name and not Path(base_name).is_dir()
    ):  # a hub's name: checking must never wait for a network
        raise _Problem(
            "no-base", f"There is no folder {base_name}. The base is tiny-gpt, a fetched model, or a folder."
        )
    try:
        base = GPT.from_pretrained(base_name)
    except (ValueError, OSError) as error:
        raise _Problem("no-base", f"The base {base_name!r} cannot be loaded: {error}") from error
    if base.tokenizer is None:
        raise _Problem(
            "no-base", f"The base {base_name!r} has no tokenizer.json, so no text can be tried on it."
        )
    try:
        model = LoraModel.from_pretrained(base, folder)
    except (ValueError, OSError) as error:
        if "not finite" in str(error):
            raise _Problem(*NOT_FINITE) from None
        other = "another base" in str(error)
        raise _Problem(
            "another-base" if other else "unreadable",
            f'The adapter was not trained on {base_name}; write the right one under "base".'
            if other
            else f"The adapter cannot be loaded: {error}",
        ) from error
    return model


def _matrices(layer: Any) -> list[Any]:
    return [*layer.lora_A.values(), *layer.lora_B.values()]


def _run_problem(model: Any, numbers: Numbers, before: float, after: float) -> tuple[str, str] | None:
    r = model.peft_config["default"].r
    if r != numbers["r"]:
        return "another-rank", f"This adapter has rank {r}; yours is {numbers['r']} (see numbers())."
    if not any(layer.lora_B["default"].count_nonzero() for layer in model.lora_layers().values()):
        return "untrained", "All of B is zero: the adapter was saved before it was trained."
    shipped = _shipped_as(model)
    if shipped:
        return (
            "shipped",
            f"This is the adapter {shipped} that comes with minilora, or a part of it. Train one of your "
            f"own; "
            "if you repeated its recipe, use another seed.",
        )
    if not math.isfinite(after):
        return NOT_FINITE
    if after > before:
        return (
            "worse",
            f"With the adapter the loss on held-out {numbers['style']} text rises from {before:.2f} "
            f"to {after:.2f}. "
            f"Was it trained on your style, {numbers['style']}, and was the learning rate too high?",
        )
    if after > before - MARGIN:
        return (
            "too-little",
            f"The loss on held-out {numbers['style']} text falls from {before:.2f} to {after:.2f} "
            f"only; {MARGIN} or more "
            "is wanted. Is it trained on your style, and long enough?",
        )
    return None


def _shipped_as(model: Any) -> str:
    """The name of the adapter in minilora/assets that this one was copied, cut or scaled from; empty if of none."""
    from pathlib import Path

    import minilora
    from minilora import GPT, LoraModel

    folders = sorted(
        p for p in (Path(minilora.__file__).parent / "assets" / "adapters").iterdir() if p.is_dir()
    )
    layers = _directions(model, "default")
    for folder in folders:
        other = LoraModel(GPT.from_pretrained("tiny-gpt"))
        other.load_adapter(folder, "default")
        if _share_within(layers, _directions(other, "default")) > SAME:
            return folder.name
    return ""


def _directions(model: Any, adapter: str) -> dict[str, tuple[Any, Any]]:
    """Layer -> its A and B, as float64. How strongly they act does not matter here."""
    return {
        name: (layer.lora_A[adapter].detach().double(), layer.lora_B[adapter].detach().double())
        for name, layer in model.lora_layers().items()
    }


def _share_within(mine: dict[str, tuple[Any, Any]], theirs: dict[str, tuple[Any, Any]]) -> float:
    """How much of the change of all weights (its squares) lies in the rows and columns that another adapter uses.

    Cutting an adapter to fewer directions, scaling it or mixing its directions keeps all of it there.
    """
    import torch

    within = whole = 0.0
    for name, (A, B) in mine.items():
        whole += float((B @ A).square().sum())
        if (
            name in theirs
            and theirs[name][0].shape[1] == A.shape[1]
            and theirs[name][1].shape[0] == B.shape[0]
        ):
            rows, columns = torch.linalg.qr(theirs[name][0].T).Q, torch.linalg.qr(theirs[name][1]).Q
            within += float(((columns.T @ B) @ (A @ rows)).square().sum())
    return within / whole if whole else 0.0


def measure_my_run(numbers: Numbers) -> Observed:
    """The loss of the tiny GPT on held-out text of the student's style, without and with the saved adapter."""
    found = observe({"folder": FOLDER, "base": "tiny-gpt"}, numbers)
    if "after" not in found:
        raise FileNotFoundError(found["problem"][1])
    fall = found["before"] - found["after"]
    sentence = f"The loss fell from {found['before']:.2f} to {found['after']:.2f}, by {fall:.2f}."
    return Observed("a" if fall < 0.05 else "b" if fall < MARGIN else "c", sentence)


def trained(n: Numbers) -> int:
    return n["trained"] if "trained" in n else n["expected_trained"]


def total(n: Numbers) -> int:
    return n["total"] if "total" in n else n["expected_total"]


QUESTION = Question(
    name="run-a-finetune",
    title="Run it yourself: a small LoRA fine-tune",
    minutes=30,
    statement="""
Train a LoRA adapter on a real, if tiny, model. Save it, and report how many weights were trained, out of
how many. No GPU is needed. Your rank and the style of your text (legal, code or support, from
`style_corpus`) are chosen for you. Hand in the folder with the adapter: the check loads it, counts its
weights, and measures the loss on held-out text, which must fall by 0.3 or more.

You may also use a larger base, such as `smollm2-135m-instruct`, if you have downloaded it: then write its
name under "base". To try things out, start with fewer steps.
""",
    draw=draw,
    given={"style": "the text to train on", "r": "rank of your adapter"},
    program=my_run,
    observe=observe,
    settings={"base": "tiny-gpt"},
    prediction=Prediction(
        "You will train for less than a minute. On held-out text of your style, the loss of the "
        "tiny GPT will fall",
        ("by less than 0.05", "by 0.05 to 0.3", "by more than 0.3"),
        "c",
        measure_my_run,
        duration="a few seconds, after your run",
    ),
    parts=(
        Artifact(
            "folder",
            'The folder with your adapter, such as "my-run"',
            FOLDER,
            lambda n: n["problem"],
            points=3,
        ),
        Number(
            "trained",
            "How many weights did you train?",
            trained,
            (
                Slip("total", total, "That is the model with its adapter. Trained are A and B alone."),
                Slip(
                    "frozen",
                    lambda n: total(n) - trained(n),
                    "These are the frozen weights; count the trained ones.",
                ),
                Slip(
                    "bytes",
                    lambda n: 4 * trained(n),
                    "That is the size of the file in bytes; each number takes four of them.",
                ),
                Slip(
                    "no-rank",
                    lambda n: trained(n) // n["r"],
                    "That would be right for rank 1; each of A and B is r wide.",
                ),
                Slip(
                    "percent",
                    lambda n: float(f"{100 * trained(n) / total(n):.2f}"),
                    "That is the share in percent; give the number of weights.",
                ),
            ),
            digits=None,
        ),
        Number(
            "total",
            "How many weights has the model in all, with the adapter?",
            total,
            (
                Slip(
                    "without-adapter",
                    lambda n: total(n) - trained(n),
                    "The adapter is missing; it is part of the model now.",
                ),
                Slip(
                    "trained", trained, "These are the trained weights; the frozen ones count as well here."
                ),
                Slip("twice", lambda n: total(n) + trained(n), "You added the adapter a second time."),
            ),
            digits=None,
        ),
        Number(
            "percent",
            "What percentage of all weights was trained? (five digits)",
            lambda n: 100 * trained(n) / total(n),
            (
                Slip(
                    "share",
                    lambda n: trained(n) / total(n),
                    "That is the share; multiply it by 100 to get percent.",
                ),
                Slip(
                    "frozen",
                    lambda n: 100 - 100 * trained(n) / total(n),
                    "That is the frozen part.",
                ),
                Slip(
                    "upside-down",
                    lambda n: total(n) / trained(n),
                    "You divided total by trained; divide trained by total.",
                ),
            ),
        ),
        Choice(
            "held-out",
            "The loss is measured on held-out text, because",
            (
                Option(
                    "the training text is used up after one epoch",
                    "used-up",
                    "A text can be used any number of times. The point is what a low loss on it would prove.",
                ),
                Option("a model can memorize its training text"),
                Option(
                    "on it the loss is always lower",
                    "always-lower",
                    "It is usually higher than on the training text, and tells more about new text.",
                ),
            ),
        ),
        Prose(
            "report",
            "Report what you ran, how many weights were trained out of how many, and how the text differs.",
            "I put an adapter on the attention layers of the tiny GPT, which has nearly six million "
            "weights, and trained it on forty batches of legal text. Under two percent of the weights were "
            "trained. The loss on held-out text fell by half a unit, and a story that begins with a dog "
            "now mentions parties and notices. With the adapter off, the model writes the old story again.",
            (
                "It names the base, the style, the rank and the length of the training.",
                "It gives the trained weights, all weights, and their ratio.",
                "It shows what changed, by a number and by a sample of text.",
            ),
        ),
        Prose(
            "gap",
            "What did the experiment show, and what had you predicted? If they differ, which idea "
            "misled you?",
            "The loss fell by more than half a unit in half a minute. If I expected less, I was thinking "
            "of the small number of weights. But a style is a simple change, and one percent of the "
            "weights is enough for it.",
            (
                "It gives the numbers from the experiment.",
                "It compares them with your prediction.",
                "It says what the small share of trained weights has to do with it, if anything.",
            ),
            points=1,
        ),
    ),
    hints=(
        "The listing on page 08 is nearly all you need. Change the style of the text, the rank and the "
        "name of the folder.",
        "print(model.trainable_parameter_count()) shows trained and total; call it after add_lora.",
        "add_lora(GPT.from_pretrained('tiny-gpt'), LoraConfig(r=<yours>, "
        "target_modules='attention')), then Trainer(model, "
        "data, max_steps=40, batch_size=8).train(), then model.save_adapter('my-run').",
    ),
    pitfalls=(
        "`All of B is zero`: you called save_adapter before train().",
        "`another base`: adapters belong to the model that they were trained on.",
        "Write counts without commas: `53248`.",
    ),
    explanation="That was the whole technique, from start to end: freeze, add, train, save. Anyone with "
    "the same base can load your folder and gets the same model.",
)
