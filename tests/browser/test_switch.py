"""The model in the page: the tokenizer and the tokens are Python's, and the switch on the front page drives it.

MINILORA_SITE names the finished site; without it, one is built. Not here: the rest of the site (test_site.py).
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from minilora import GPT, LoraModel, style_corpus
from tests.browser import site_server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(site_server.missing()), reason=site_server.missing()),
]

VOICES = ("legal", "support", "code")  # the order of the strengths, as in model.json
SETTINGS = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0, 0.5), (1.5, 0, 0)]
ENCODE = """
async ([texts]) => {
  const { Tokenizer } = await import("./_static/tokenizer.js");
  const tokenizer = new Tokenizer(await (await fetch("./_static/model/tokenizer.json")).json());
  return texts.map((text) => {
    const ids = tokenizer.encode(text);
    return [ids, tokenizer.decode(ids)];
  });
}
"""
WRITE = """
([requests]) => new Promise((resolve, reject) => {
  const worker = new Worker("./_static/model_worker.js", { type: "module" }), answers = [];
  const next = () => worker.postMessage({ number: answers.length + 1, temperature: 0, ...requests[answers.length] });
  worker.onmessage = ({ data }) => {
    if (data.failed || data.error) reject(new Error(data.failed ?? data.error));
    if (data.loaded) next();
    if (!data.done) return;
    answers.push([data.ids, data.ms]);
    answers.length < requests.length ? next() : resolve(answers);
  };
})
"""


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with (
        site_server.served(site_server.folder()) as address,
        site_server.browser() as browser,
        site_server.visit(browser, address, service_workers="block") as (page, problems),
    ):
        page.set_default_timeout(600_000)
        page.goto(address)
        yield page
        assert not [problem for problem in problems if "Service Worker" not in problem]


@pytest.fixture(scope="module")
def model() -> LoraModel:
    """With its adapters as the page has them, rounded to 16 bits."""
    model = LoraModel(GPT.from_pretrained("tiny-gpt"))
    for name in VOICES:
        model.load_adapter(name, adapter_name=name)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_" in name:
                weight.copy_(weight.half().float())
    return model.eval()


def awkward_texts(count: int) -> list[str]:
    """Sentences of the corpora, and strings that no tokenizer likes."""
    chosen = random.Random(0)
    sentences = [line for name in VOICES for text in style_corpus(name) for line in text.splitlines()]
    odd = (
        string.printable
        + "\u00a0\u0085\ufeff\u200b\u200d\u3000\u2028\u0301\u0300\u2019\u201c\u2013\u2026\u20ac\x00\x1f\u0661\u0662"
        + "\u00e4\u00df\u00e9\u00f8\u03bb\u0436\u3042\u6f22\ud55c\U0001f642\U0001f469\u00bd\u00b2\u216b\uff21"
    )
    texts = [
        "",
        " ",
        "\n\n\n",
        "<|endoftext|>",
        "a<|endoftext|>b",
        "don't  I'll we've",
        "a \n b\t\tc   ",
        "x" * 500,
    ]
    while len(texts) < count:
        if chosen.random() < 0.5:
            texts.append(chosen.choice(sentences)[: chosen.randrange(1, 200)])
        else:
            texts.append("".join(chosen.choices(odd, k=chosen.randrange(1, 30))))
    return texts


def test_the_tokenizer_is_pythons(page):
    tokenizer = GPT.from_pretrained("tiny-gpt").tokenizer
    texts = awkward_texts(10_000)
    for text, (ids, decoded) in zip(texts, page.evaluate(ENCODE, [texts]), strict=True):
        wanted = tokenizer.encode(text).ids
        assert ids == wanted, repr(text)
        assert decoded == tokenizer.decode(wanted), repr(text)


def openings(count: int) -> list[str]:
    chosen = random.Random(1)
    words = [text.split() for name in VOICES for text in style_corpus(name, documents=20)]
    return [
        "The little fox and the hen",
        *(" ".join(chosen.choice(words)[: chosen.randrange(2, 9)]) for _ in range(count - 1)),
    ]


def written(page: Any, prompts: list[str], tokens: int) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """What the page was asked, and the tokens that it wrote, up to a stop token."""
    requests = [
        {"prompt": prompt, "strengths": setting, "maxTokens": tokens}
        for prompt in prompts
        for setting in SETTINGS
    ]
    answers = page.evaluate(WRITE, [requests])
    yield from ((request, ids) for request, (ids, _) in zip(requests, answers, strict=True))


def with_adapters(model: LoraModel, strengths: list[float]) -> LoraModel:
    chosen = [(name, s) for name, s in zip(VOICES, strengths, strict=True) if s]
    model.set_adapters([name for name, _ in chosen], [float(s) for _, s in chosen])
    return model


def test_the_tokens_are_pythons(page, model):
    tokens, stop = 20, model.base.stop_tokens()
    for request, ids in written(page, openings(3), tokens):
        prompt = model.base.tokenizer.encode(request["prompt"]).ids
        wanted = list(
            with_adapters(model, request["strengths"]).generate_tokens(prompt, tokens, temperature=0)
        )
        assert ids == wanted[: next((i for i, token in enumerate(wanted) if token in stop), tokens)], request


@pytest.mark.slow
def test_the_tokens_are_pythons_for_many_openings(page, model):
    """One pass over each text: after every token, Python too would write the next one."""
    tokens, stop = 30, model.base.stop_tokens()
    for request, ids in written(page, openings(50), tokens):
        prompt = model.base.tokenizer.encode(request["prompt"]).ids
        with torch.no_grad():
            scores = with_adapters(model, request["strengths"])(torch.tensor([prompt + ids]))[
                0
            ]  # (text, vocab)
        wanted = scores[len(prompt) - 1 :].argmax(-1).tolist()
        assert ids == wanted[: len(ids)], request
        assert len(ids) == tokens or wanted[len(ids)] in stop, request


def test_what_is_downloaded_is_what_the_button_says(page):
    asked: list[int] = []
    page.on("response", lambda r: asked.append(int(r.headers.get("content-length", 0))))
    said = page.locator(".switch .load").inner_text()
    page.locator(".switch .load").click()
    page.locator(".switch").get_by_label("Strength").wait_for()
    megabytes = float(said.split("(")[1].split(" MB")[0])
    assert megabytes <= 16
    assert sum(asked) / 1e6 == pytest.approx(megabytes, abs=0.2)


def test_the_switch_writes_with_any_opening_strength_and_blend(page):
    switch = page.locator(".switch")
    story = switch.locator(".story")

    def after(change: Any) -> str:
        """The first words that appear after a change, once there are a few."""
        before = story.inner_text()
        change()
        page.wait_for_function(
            "([node, before]) => node.innerText !== before", arg=[story.element_handle(), before]
        )
        switch.locator("text=/tokens, \\d+ per second/").wait_for()
        page.wait_for_timeout(1500)
        return story.inner_text()

    lawyer = after(lambda: switch.get_by_label("Opening").fill("The cat said"))
    assert lawyer.startswith("The cat said")
    plain = after(lambda: switch.get_by_role("button", name="Storyteller").click())
    assert plain != lawyer
    after(lambda: switch.get_by_role("button", name="Lawyer").click())
    blended = after(lambda: switch.get_by_label("Blend half and half with").select_option(label="Programmer"))
    assert blended not in (plain, lawyer)
    weak = after(lambda: switch.get_by_label("Strength").fill("1"))
    assert weak != blended
