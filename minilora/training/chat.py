"""Turns conversations into the text that a chat model was trained to read, with the Jinja template of the model.

`render_chat` makes the prompt for generation. `chat_pieces` gives the same text, cut where the assistant's turns begin
and end, so that training learns those alone (datasets.py). A chat model has its template in tokenizer_config.json;
CHATML and the plain texts are for models without one.

Not here: tools, documents, dates, begin-of-text tokens and the other extras that some templates ask for.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

CHATML = (
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN_TEXT = (
    "{% for turn in messages %}{{ turn.role }}:\n{{ turn.content }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)
END = "<|endoftext|>"
# For tokenizers with that token: it ends an answer, so that a model learns where to stop.
PLAIN_TEXT_WITH_END = PLAIN_TEXT.replace(
    "{{ turn.content }}", "{{ turn.content }}{% if turn.role == 'assistant' %}" + END + "{% endif %}"
)
ROLES = ("system", "user", "assistant")


def default_template(tokenizer: Tokenizer) -> str:
    """Returns a template for a model without one: CHATML if its tokenizer has those tokens, otherwise plain text."""
    if tokenizer.token_to_id("<|im_start|>") is not None:
        return CHATML
    return PLAIN_TEXT if tokenizer.token_to_id(END) is None else PLAIN_TEXT_WITH_END


def render_chat(
    messages: list[dict[str, str]], chat_template: str = CHATML, add_generation_prompt: bool = True
) -> str:
    """Renders a conversation as text.

    Args:
        messages: The turns, each with "role" and "content".
        chat_template: Jinja.
        add_generation_prompt: End where the assistant's answer begins.

    Returns:
        The text.

    Raises:
        ValueError: If the template is not Jinja, or refuses the conversation.

    >>> render_chat([{"role": "user", "content": "Where is my boat?"}])
    '<|im_start|>user\\nWhere is my boat?<|im_end|>\\n<|im_start|>assistant\\n'
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:  # what templates call to refuse a conversation
        raise TemplateError(message)

    # A template is code from someone else's file, so it runs in a sandbox; whitespace is trimmed as in `transformers`.
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = raise_exception
    try:
        template = environment.from_string(chat_template)
        return template.render(messages=messages, add_generation_prompt=add_generation_prompt)
    except TemplateError as error:
        raise ValueError(f"the chat template refuses this conversation: {error}") from error


def chat_pieces(messages: list[dict[str, str]], chat_template: str = CHATML) -> list[tuple[str, bool]]:
    """Cuts a conversation's text into pieces: (text, whether it belongs to the assistant).

    The token that ends an assistant's turn belongs to the assistant.

    Args:
        messages: The turns, each with "role" and "content".
        chat_template: Jinja.

    Returns:
        The pieces; joined, they are the whole text.

    Raises:
        ValueError: If the template refuses the conversation, or changes earlier turns when later ones exist.

    >>> chat_pieces([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}])
    [('<|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\n', False), ('Hello!<|im_end|>\\n', True)]
    """
    pieces: list[tuple[str, bool]] = []
    done = ""
    for n, turn in enumerate(messages):
        if turn["role"] == "assistant":
            prompt = render_chat(messages[:n], chat_template)
            answered = render_chat(messages[: n + 1], chat_template, add_generation_prompt=False)
            # subtle: some templates rewrite earlier turns once later ones exist; then the text cannot be cut
            if not (prompt.startswith(done) and answered.startswith(prompt)):
                raise ValueError(
                    "the chat template changes earlier turns, so the assistant's turns cannot be told apart"
                )
            pieces += [(prompt[len(done) :], False), (answered[len(prompt) :], True)]
            done = answered
    return pieces


def as_messages(example: Any) -> list[dict[str, str]]:
    """Returns the checked turns of {"messages": [...]}, {"prompt": ..., "completion": ...}, or Alpaca's form.

    Alpaca's form is {"instruction": ..., "input": ..., "output": ...}; the input, which may be missing, is added to the
    instruction after a blank line.

    Raises:
        ValueError: If the example is malformed; the message says how.

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
    if "messages" not in given and {"instruction", "output"} <= given.keys():
        asked = [text for text in (given["instruction"], given.get("input")) if text]
        question = "\n\n".join(asked) if all(isinstance(text, str) for text in asked) else asked
        messages = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": given["output"]},
        ]
    if not isinstance(messages, list):
        raise ValueError(
            'an example must be {"messages": [...]}, {"prompt": "...", "completion": "..."} or '
            '{"instruction": "...", "output": "..."}'
        )
    for turn in messages:
        if (
            not isinstance(turn, dict)
            or turn.get("role") not in ROLES
            or not isinstance(turn.get("content"), str)
        ):
            raise ValueError(
                f'a turn needs "role" ({", ".join(ROLES)}) and "content" (text), but this one is {turn!r}'
            )
    if not any(turn["role"] == "assistant" for turn in messages):
        raise ValueError('there is no "assistant" turn, so there is nothing to learn')
    return messages
