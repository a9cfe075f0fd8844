"""A model of 135 million weights learns to talk like a pirate: recorded, or live where the model is at hand.

Live it runs in a process of its own, so that the page's stays small, and takes the steps of `main` below, which are
those of the chapter's listing. Not here: the data (assets/pirate.jsonl), and other settings (`minilora finetune`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import torch
from IPython.display import display

from minilora.figures.passage import Passage
from minilora.files import ASSETS
from minilora.files.checkpoints import cache_folder
from minilora.lesson.showing import show_text
from minilora.widgets.voices import whole_sentences

MODEL = "smollm2-135m-instruct"
RECORDED = ASSETS / "pirate_answers.json"  # made by benchmarks/smollm2_pirate.py
STEPS = 30
LIVE_QUESTIONS = 3
COMMAND = [sys.executable, "-u", "-c", "from minilora.lesson.pirate import main; main()"]


def show_pirate(questions: int = 2) -> None:
    """Shows what the model answered before and after training, as recorded."""
    _show(recorded()["answers"][:questions])


def turn_pirate() -> None:
    """Trains the model now if it is on this computer; if not, shows more of what was recorded, and says so."""
    if not (cache_folder() / MODEL / "model.safetensors").exists():
        record = recorded()
        print(f"{MODEL} is not on this computer, so these are recorded answers.")
        print(f"On two CPU cores, the {record['steps']} steps took {record['seconds']:.0f} s.")
        _show(record["answers"][-LIVE_QUESTIONS:])
        return
    shown = display(Passage("Loading the model ..."), display_id=True)
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        try:
            assert child.stdout is not None
            said = ""
            for said in child.stdout:
                if shown is not None and not said.startswith("["):
                    shown.update(Passage(said))
        except KeyboardInterrupt:
            child.terminate()
            print("Stopped. Nothing of this run was kept; run the cell again to start over.")
            return
    if child.returncode:
        print("The run failed; the messages above say why.")
        return
    _show(json.loads(said))


def recorded() -> dict[str, Any]:
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def _show(answers: list[dict[str, str]]) -> None:
    for answer in answers:
        after = whole_sentences(answer["after"])
        show_text({"you": answer["question"], "before": whole_sentences(answer["before"]), "after": after})


def main() -> None:
    """Says how far it is, line by line, and in the last line prints the answers as JSON."""
    from minilora import GPT, LoraConfig, Trainer, add_lora
    from minilora.finetune.data import read_texts

    base_model = GPT.from_pretrained(MODEL)
    train_data = read_texts("pirate", base_model, context=192).rows
    torch.manual_seed(0)
    model = add_lora(base_model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    # the batch is computed row by row: the same gradient in half the memory
    trainer = Trainer(model, train_data, max_steps=STEPS, gradient_accumulation_steps=4, progress=False)
    trainer.on_step = lambda t: print(f"step {t.step} of {STEPS}, loss {t.history.losses[-1]:.2f}")
    trainer.train()
    answers = []
    for question in [answer["question"] for answer in recorded()["answers"][-LIVE_QUESTIONS:]]:
        print("asking:", question)
        after = reply(model, question)
        with model.disable_adapter():
            answers.append({"question": question, "before": reply(model, question), "after": after})
    print(json.dumps(answers))


def reply(model: Any, question: str) -> str:
    """The likeliest answer of a chat model, cut after 70 tokens."""
    from minilora.training.chat import default_template, render_chat

    template = model.chat_template or default_template(model.tokenizer)
    prompt = render_chat([{"role": "user", "content": question}], template)
    return model.generate(prompt, max_new_tokens=70, temperature=0).split("<|im_end|>")[0].strip()
