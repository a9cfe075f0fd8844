"""Talks with a model: type a question, or one of the commands that /help lists."""

from __future__ import annotations

import dataclasses
from typing import Any

from minilora.commands.generate import SamplingSettings
from minilora.options import nearest, option

EXAMPLES = (
    "minilora chat --base smollm2-135m-instruct",
    "minilora chat --adapter pirate --temperature 0",
)
HELP = """\
/adapter NAME   use this adapter (a folder, or legal, code, support); /adapter off is the base alone
/strength X     how strongly it acts: 0 is the base, 1 the adapter as trained
/reset          forget the conversation
/quit           end (Ctrl-D does it too); Ctrl-C stops an answer"""


@dataclasses.dataclass(kw_only=True)
class Settings(SamplingSettings):
    system: str | None = option(None, "text", "an instruction that precedes the conversation", metavar="TEXT")


def run(settings: Settings) -> int:
    """Reads lines until the input ends."""
    from minilora.finetune.models import load_model

    talk = Talk(load_model(settings), settings)
    if talk.model.chat_template is None:
        print("This base was not trained on conversations, so expect little without an adapter that was.")
    print("Type a question. /help lists the commands.")
    while True:
        try:
            line = input("\n> ").strip()
        except EOFError:
            print()
            return 0
        if line == "/quit":
            return 0
        if line.startswith("/"):
            try:
                print(talk.command(*line[1:].split(None, 1)))
            except (ValueError, OSError) as error:
                print(error)
        elif line:
            try:
                talk.answer(line)
            except ValueError as error:
                print(error)


class Talk:
    """A conversation with a model whose adapter can change in between."""

    def __init__(self, model: Any, settings: Settings):
        self.model, self.settings = model, settings
        self.turns: list[dict[str, str]] = []
        self.adapters: dict[str, str] = {}  # what the user calls it -> its name in the model
        self.active: str | None = None  # its name in the model
        if settings.adapter:
            from minilora.finetune.models import ADAPTER

            self.adapters[settings.adapter], self.active = ADAPTER, ADAPTER

    def answer(self, question: str) -> None:
        """Prints the answer as it is generated; Ctrl-C ends it early."""
        settings, said = self.settings, ""
        self.turns.append({"role": "user", "content": question})
        pieces = self.model.stream(
            self._prompt(),
            settings.max_new_tokens,
            settings.temperature,
            settings.top_k or None,
            settings.seed,
        )
        try:
            for piece in pieces:
                print(piece, end="", flush=True)
                said += piece
        except KeyboardInterrupt:
            print(" [stopped]", end="")
        print()
        self.turns.append({"role": "assistant", "content": said})

    def _prompt(self) -> str:
        """The conversation as text, without its oldest turns if it is longer than the model can read."""
        from minilora.finetune.models import context_of
        from minilora.training.chat import default_template, render_chat

        template = self.model.chat_template or default_template(self.model.tokenizer)
        system = self.settings.system
        before = [{"role": "system", "content": system}] if system else []
        while True:
            prompt = render_chat(before + self.turns, template)
            room = context_of(self.model) - self.settings.max_new_tokens
            if len(self.turns) < 3 or len(self.model.tokenizer.encode(prompt).ids) <= room:
                return prompt
            del self.turns[:2]

    def command(self, name: str = "", value: str = "") -> str:
        """Carries out one of the commands; returns what to say."""
        actions = {"adapter": self.use, "strength": self.weigh, "reset": self.reset, "help": lambda _: HELP}
        if name not in actions:
            return f"there is no /{name}{nearest(name, actions)}\n{HELP}"
        return actions[name](value.strip())

    def use(self, adapter: str) -> str:
        """Makes an adapter the active one, and loads it first if it is new."""
        from minilora.lora import LoraModel

        if adapter in ("", "off"):
            if self.active:
                self.model.set_adapters([])
            self.active = None
            return "the base alone"
        if adapter not in self.adapters:
            name, any_base = f"chat-{len(self.adapters)}", self.settings.any_base
            if isinstance(self.model, LoraModel):
                self.model.load_adapter(adapter, name, any_base=any_base)
            else:
                self.model = LoraModel.from_pretrained(self.model, adapter, name, any_base=any_base)
            self.adapters[adapter] = name
        self.active = self.adapters[adapter]
        self.model.set_adapter(self.active)
        return f"adapter {adapter}"

    def weigh(self, text: str) -> str:
        """Changes the factor of the active adapter."""
        if self.active is None:
            return "no adapter is active; /adapter NAME comes first"
        try:
            strength = float(text)
        except ValueError:
            return f"'{text}' is not a number; try, for example, /strength 0.5"
        self.model.set_scale(self.active, strength)
        return f"strength {strength:g}"

    def reset(self, _: str) -> str:
        """Forgets the conversation."""
        self.turns.clear()
        return "a new conversation"
