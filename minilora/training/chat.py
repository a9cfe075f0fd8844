"""Conversations into the text that a chat model was trained to read, by the Jinja template that came with the model.

`render_chat` makes the prompt for generation, `chat_pieces` the same text cut where the assistant's own words begin and
end, so that training learns those alone (datasets.py). A folder of a chat model has its template in
tokenizer_config.json; CHATML and PLAIN are for models without one.

Not here: tools, documents, dates, begin-of-text tokens and the other extras that some templates ask for.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

CHATML = (
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN = (
    "{% for turn in messages %}{{ turn.role }}:\n{{ turn.content }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)
ROLES = ("system", "user", "assistant")


def default_template(tokenizer: Tokenizer) -> str:
    """For a model that came without a template: CHATML if its tokenizer knows those marks, else PLAIN."""
    return PLAIN if tokenizer.token_to_id("<|im_start|>") is None else CHATML


def render_chat(
    messages: list[dict[str, str]], chat_template: str = CHATML, add_generation_prompt: bool = True
) -> str:
    """The text of a conversation; with `add_generation_prompt` it ends where the assistant is to speak.

    ValueError if the template is not Jinja or refuses the conversation.

    >>> render_chat([{"role": "user", "content": "Where is my boat?"}])
    '<|im_start|>user\\nWhere is my boat?<|im_end|>\\n<|im_start|>assistant\\n'
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:  # what templates call when they do not like a conversation
        raise TemplateError(message)

    # A template is code from somebody's file, so it runs in a sandbox. Whitespace is trimmed as `transformers` does.
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = raise_exception
    try:
        template = environment.from_string(chat_template)
        return template.render(messages=messages, add_generation_prompt=add_generation_prompt)
    except TemplateError as error:
        raise ValueError(f"the chat template does not take this conversation: {error}") from error


def chat_pieces(messages: list[dict[str, str]], chat_template: str = CHATML) -> list[tuple[str, bool]]:
    """The whole text in pieces (text, whether the assistant says it); the mark that ends its turn is its own.

    >>> chat_pieces([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}])
    [('<|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\n', False), ('Hello!<|im_end|>\\n', True)]
    """
    pieces: list[tuple[str, bool]] = []
    done = ""
    for n, turn in enumerate(messages):
        if turn["role"] == "assistant":
            prompt = render_chat(messages[:n], chat_template)
            answered = render_chat(messages[: n + 1], chat_template, add_generation_prompt=False)
            # subtle: some templates rewrite earlier turns once later ones exist; then no piece can be told apart
            if not (prompt.startswith(done) and answered.startswith(prompt)):
                raise ValueError(
                    "the chat template changes earlier turns, so the assistant's words cannot be told apart"
                )
            pieces += [(prompt[len(done) :], False), (answered[len(prompt) :], True)]
            done = answered
    return pieces


def as_messages(example: Any) -> list[dict[str, str]]:
    """The turns of {"messages": [...]} or {"prompt": ..., "completion": ...}, checked; ValueError says what is wrong.

    >>> as_messages({"prompt": "Hi", "completion": "Hello!"})
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello!'}]
    """
    given = example if isinstance(example, dict) else {}
    messages = given.get("messages")
    if "messages" not in given and {"prompt", "completion"} <= given.keys():
        messages = [
            {"role": "user", "content": given["prompt"]},
            {"role": "assistant", "content": given["completion"]},
        ]
    if not isinstance(messages, list):
        raise ValueError('it needs {"messages": [...]} or {"prompt": "...", "completion": "..."}')
    for turn in messages:
        if (
            not isinstance(turn, dict)
            or turn.get("role") not in ROLES
            or not isinstance(turn.get("content"), str)
        ):
            raise ValueError(
                f'a turn needs "role" ({", ".join(ROLES)}) and "content" (text), and this is {turn!r}'
            )
    if not any(turn["role"] == "assistant" for turn in messages):
        raise ValueError('no turn is the "assistant"\'s, so there is nothing to learn from it')
    return messages
