"""The command `minilora`: one small function a sub-command, each with an example in its --help.

Exit status 0 only on success; an error is one line on standard error that says what to do, without a traceback.

Not here: the work itself, which the engine's functions do.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minilora.memory import MemoryPlan

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Handler = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="minilora", description="LoRA, 4-bit quantization, adapters on small GPTs."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (add_doctor, add_fetch, add_finetune, add_generate, add_plan, add_grade, add_carry_over):
        add(commands)
    options = parser.parse_args(arguments)
    with contextlib.suppress(
        AttributeError
    ):  # characters that a Windows console cannot show must not stop the run
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        return int(options.handler(options))
    except (ValueError, TypeError, ArithmeticError, ImportError, OSError) as error:
        print(f"minilora: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def command(
    commands: Commands, name: str, summary: str, example: str, handler: Handler
) -> argparse.ArgumentParser:
    """The parser of one command, for its options; `handler` runs it and returns the exit status."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    return parser


# -- doctor ----------------------------------------------------------------------------------------------------


def add_doctor(commands: Commands) -> None:
    parser = command(commands, "doctor", "check this installation", "minilora doctor", doctor)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def doctor(options: argparse.Namespace) -> int:
    from minilora.doctor import run

    return run(as_json=options.format == "json")


# -- fetch -----------------------------------------------------------------------------------------------------


def add_fetch(commands: Commands) -> None:
    parser = command(
        commands, "fetch", "get a real small model once", "minilora fetch smollm2-135m-instruct", fetch
    )
    parser.add_argument("model", help="smollm2-135m-instruct")


def fetch(options: argparse.Namespace) -> int:
    from minilora.files.fetch import fetch as fetch_model

    print(f"{options.model} is in {fetch_model(options.model)}")
    return 0


# -- finetune --------------------------------------------------------------------------------------------------


def add_finetune(commands: Commands) -> None:
    parser = command(
        commands,
        "finetune",
        "fine-tune a model on a .txt or .jsonl file",
        "minilora finetune --base tiny-gpt --data letters.txt --out my-style-adapter",
        finetune,
    )
    parser.add_argument(
        "--base", default="tiny-gpt", help="tiny-gpt, smollm2-135m-instruct, or a checkpoint folder"
    )
    parser.add_argument(
        "--data", required=True, help="a .txt file, or a .jsonl file with one conversation per line"
    )
    parser.add_argument(
        "--out", required=True, help="folder for the adapter (with --method full, a checkpoint)"
    )
    parser.add_argument("--method", choices=("lora", "qlora", "full"), default="lora")
    parser.add_argument("--r", type=int, default=8, help="rank of the adapter (default 8)")
    parser.add_argument("--lora-alpha", type=float, help="default: twice the rank")
    parser.add_argument(
        "--target-modules",
        nargs="+",
        default=["attention"],
        help="attention, mlp, all-linear, or names of layers",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, help="default 3")
    length.add_argument("--max-steps", type=int)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument(
        "--gradient-accumulation-steps", type=int, default=1, help="parts of a batch, to need less memory"
    )
    parser.add_argument(
        "--sequence-length", type=int, default=128, help="tokens per row of data (default 128)"
    )
    parser.add_argument("--learning-rate", type=float, help="default: 5e-3 for LoRA, 5e-4 for full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="continue the interrupted run in --out")
    parser.add_argument("--no-samples", action="store_true", help="print no text while training")


def finetune(options: argparse.Namespace) -> int:
    from minilora.finetune import finetune as run

    targets = options.target_modules
    report = run(
        options.base,
        options.data,
        options.out,
        method=options.method,
        r=options.r,
        lora_alpha=options.lora_alpha,
        target_modules=targets[0] if len(targets) == 1 else targets,
        epochs=options.epochs,
        max_steps=options.max_steps,
        batch_size=options.batch_size,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        sequence_length=options.sequence_length,
        learning_rate=options.learning_rate,
        seed=options.seed,
        resume=options.resume,
        sample=not options.no_samples,
    )
    if int(os.environ.get("RANK", 0)) == 0:  # under torchrun, only one process prints
        print(report)
    return 0


# -- generate --------------------------------------------------------------------------------------------------


def add_generate(commands: Commands) -> None:
    parser = command(
        commands,
        "generate",
        "continue a prompt, with or without an adapter",
        'minilora generate --adapter my-style-adapter --prompt "The little dog" --seed 1',
        generate,
    )
    parser.add_argument(
        "--base", default="tiny-gpt", help="tiny-gpt, smollm2-135m-instruct, or a checkpoint folder"
    )
    parser.add_argument("--adapter", help="folder of an adapter, ours or PEFT's")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--chat", action="store_true", help="put the prompt as a question to an assistant")
    parser.add_argument("--max-new-tokens", type=int, default=100)
    parser.add_argument("--temperature", type=float, default=0.7, help="0 always takes the most likely token")
    parser.add_argument("--top-k", type=int, default=50)
    parser.add_argument("--seed", type=int)


def generate(options: argparse.Namespace) -> int:
    from minilora.finetune import generate as run

    pieces = run(
        options.base,
        options.prompt,
        options.adapter,
        chat=options.chat,
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        seed=options.seed,
    )
    for piece in pieces:
        print(piece, end="", flush=True)
    print()
    return 0


# -- plan ------------------------------------------------------------------------------------------------------


def add_plan(commands: Commands) -> None:
    parser = command(
        commands,
        "plan",
        "how much memory training takes, with each method",
        "minilora plan --model llama-3.1-8b --gpu 24",
        plan,
    )
    parser.add_argument(
        "--model", default="llama-3.1-8b", help="a name from the catalog; a wrong one lists all"
    )
    parser.add_argument("--gpu", type=float, default=24, help="memory of your GPU in GB (default 24)")
    parser.add_argument("--r", type=int, default=8, help="rank of the adapter (default 8)")
    parser.add_argument(
        "--target-modules",
        nargs="+",
        default=["attention"],
        help="attention, mlp, all-linear, or names of layers",
    )
    parser.add_argument("--batch-size", type=int, default=1, help="rows per step (default 1)")
    parser.add_argument(
        "--sequence-length", type=int, default=512, help="tokens per row of data (default 512)"
    )
    parser.add_argument("--dtype", default="bf16", help="of the base model: bf16 (default), fp16, fp32")
    parser.add_argument("--optimizer", default="adamw", help="adamw (default), adamw-8bit, sgd ...")
    parser.add_argument(
        "--gradient-checkpointing", action="store_true", help="recompute activations instead of keeping them"
    )
    parser.add_argument("--double-quant", action="store_true", help="QLoRA's constants in 8 bits too")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def plan(options: argparse.Namespace) -> int:
    from minilora.memory import METHODS, plan_memory

    if not 0 < options.gpu < float("inf"):
        raise ValueError(f"--gpu is {options.gpu:g}; give the GPU's memory in GB, for example 24")
    plans = {
        method: plan_memory(
            options.model,
            method,
            r=options.r,
            target_modules=options.target_modules,
            dtype=options.dtype,
            optimizer=options.optimizer,
            batch_size=options.batch_size,
            sequence_length=options.sequence_length,
            gradient_checkpointing=options.gradient_checkpointing,
            double_quant=options.double_quant,
        )
        for method in METHODS
    }
    print(
        _plans_as_json(plans, options.gpu)
        if options.format == "json"
        else _plans_as_table(plans, options.gpu)
    )
    return 0


def _plans_as_table(plans: dict[str, MemoryPlan], gpu: float) -> str:
    from minilora.figures.memory import NAMES, verdict
    from minilora.memory import gigabytes

    def row(name: str, cells: Iterable[str]) -> str:
        return f"{name:<26}" + "".join(f"{cell:>14}" for cell in cells)

    each = list(plans.values())
    lines = [
        f"{each[0].shape.name} on a GPU of {gpu:g} GB",
        "",
        row("", (NAMES[method] for method in plans)),
    ]
    for part in each[0].parts:
        sizes = [plan.parts[part].bytes for plan in each]
        if any(sizes):
            lines.append(row(part, (gigabytes(size) if size else "-" for size in sizes)))
    lines.append(row("at the peak", (gigabytes(plan.total) for plan in each)))
    lines.append(row("file with what is learned", (gigabytes(plan.file_bytes) for plan in each)))
    lines.append("")
    lines += [
        f"{NAMES[method]:<6} {verdict(plan, gpu)}; the peak is {plan.peak_moment}"
        for method, plan in plans.items()
    ]
    lines += ["", "A GPU's driver takes about half a GB more."]
    return "\n".join(lines)


def _plans_as_json(plans: dict[str, MemoryPlan], gpu: float) -> str:
    """In bytes, except headroom in GB, which is negative if the plan does not fit."""
    return json.dumps(
        {
            method: {
                "parts": {
                    name: {"bytes": part.bytes, "formula": part.formula} for name, part in plan.parts.items()
                },
                "total": plan.total,
                "fits": plan.headroom(gpu) >= 0,
                "headroom_gb": plan.headroom(gpu),
                "cards": plan.cards(gpu),
                "trained": plan.trained,
                "file_bytes": plan.file_bytes,
            }
            for method, plan in plans.items()
        },
        indent=2,
    )


# -- grade -----------------------------------------------------------------------------------------------------


def add_grade(commands: Commands) -> None:
    parser = command(
        commands,
        "grade",
        "grade a submission, or a class, in a sandbox",
        "minilora grade class/ --results marks/ --exercises exercises/03_lora.ipynb",
        grade,
    )
    from minilora.grading.options import add_options

    add_options(parser)


def grade(options: argparse.Namespace) -> int:
    from minilora.grading.command import Request, run

    return run(Request.of(options))


# -- carry-over ------------------------------------------------------------------------------------------------


def add_carry_over(commands: Commands) -> None:
    parser = command(
        commands,
        "carry-over",
        "take your answers over into a corrected notebook",
        "minilora carry-over 03_lora.ipynb 03_lora.new.ipynb",
        carry_over,
    )
    parser.add_argument("old", help="the notebook with your answers; it stays as it is")
    parser.add_argument("new", help="the corrected notebook")
    parser.add_argument("--output", help="default: beside the new one, as NEW-with-my-answers.ipynb")


def carry_over(options: argparse.Namespace) -> int:
    from pathlib import Path

    from minilora.grading.carry import carry_over as carry

    output = Path(options.output) if options.output else None
    print("\n".join(carry(Path(options.old), Path(options.new), output)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
