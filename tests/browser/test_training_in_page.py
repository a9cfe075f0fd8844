"""Training in the page: its losses are PyTorch's, its file opens in minilora and peft, and the form works by keyboard.

MINILORA_SITE names the finished site; without it, one is built. Not here: the switch (test_switch.py), and the rest of
the site (test_site.py).
"""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import minilora
from minilora import GPT, LoraModel
from minilora.files import ASSETS
from tests.browser import site_server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(site_server.missing()), reason=site_server.missing()),
]

STEPS = 20
SAME_LOSSES = (
    1e-4  # the page promises 1e-3; both sides compute in float32, with sums in another order: some 1e-6
)
SAME_WEIGHTS = 1e-3
# Of scores up to 20 in float32: rounding in 8 layers makes some 1e-5. A position in 16 bits would make 1e-3.
SAME_SCORES = 1e-4
PROMPTS = ["The little fox and the hen", "Ahoy", "My grandmother has a clock"]
# A run in a worker, as trainer.js asks for it; then the same worker writes, and hands over the file.
TRAIN = """
async ([steps, prompts]) => {
  const load = async (name) => (await fetch(`./_static/${name}`)).json();
  const facts = await load("training/training.json");
  const { Tokenizer } = await import("./_static/tokenizer.js"), { rowsOf } = await import("./_static/rows.js");
  const rows = rowsOf(new Tokenizer(await load("model/tokenizer.json")).encode(facts.example), facts);
  const worker = new Worker("./_static/model_worker.js", { type: "module" }), losses = [], texts = [];
  const sample = { prompt: "Ahoy", maxTokens: 3, temperature: 0 };
  const write = () => worker.postMessage({ number: texts.length, prompt: prompts[texts.length], maxTokens: 20,
    strengths: [0, 0, 0, 1], temperature: 0 });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (data.failed || data.error || data.training?.error) reject(new Error(JSON.stringify(data)));
      if (data.training?.loss !== undefined) losses.push(data.training.loss);
      if (data.training?.done) write();
      if (data.done) {
        texts.push(data.ids);
        texts.length < prompts.length ? write() : worker.postMessage({ folder: "mine" });
      }
      if (data.folder) resolve({ text: facts.example, losses, texts, folder: btoa(
        Array.from(data.folder, (byte) => String.fromCharCode(byte)).join("")) });
    };
    worker.postMessage({ train: { rows, steps, every: 10, sample } });
  });
}
"""
# The scores after each prompt, with the numbers of an adapter's file.
SCORES = """
async ([prompts, file]) => {
  const { loadModel, stepper } = await import("./_static/model.js");
  const model = await loadModel(() => {}), bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
  const own = new Float32Array(bytes.buffer), all = [];
  for (const prompt of prompts) {
    const step = stepper(model, [0, 0, 0, 1], own);
    let scores;
    for (const id of model.tokenizer.encode(prompt)) scores = await step(id);
    all.push([...scores]);
  }
  return all;
}
"""


@pytest.fixture
def page(address: str, browser: Any) -> Iterator[Any]:
    with site_server.visit(browser, address, service_workers="block", bypass_csp=False) as (page, problems):
        page.set_default_timeout(300_000)
        page.goto(address)
        page.locator(".trainer textarea").wait_for()
        yield page
        assert not [problem for problem in problems if "Service Worker" not in problem]


@pytest.fixture(scope="module")
def run(address: str, browser: Any) -> dict[str, Any]:
    """One run in the page, and the folder that it made."""
    with site_server.visit(browser, address, service_workers="block") as (page, _):
        page.set_default_timeout(1_200_000)
        page.goto(address)
        return page.evaluate(TRAIN, [STEPS, PROMPTS])


@pytest.fixture(scope="module")
def folder(run: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("page")
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(run["folder"]))) as archive:
        assert archive.testzip() is None
        archive.extractall(target)
    return target / "mine"


@pytest.fixture(scope="module")
def scores(folder: Path, address: str, browser: Any) -> torch.Tensor:
    """The page's scores of the next token, for each prompt, (prompts, vocab)."""
    data = (folder / "adapter_model.safetensors").read_bytes()
    numbers = data[8 + int.from_bytes(data[:8], "little") :]
    with site_server.visit(browser, address, service_workers="block") as (page, _):
        page.goto(address)
        return torch.tensor(page.evaluate(SCORES, [PROMPTS, base64.b64encode(numbers).decode()]))


def lines_on_the_page(text: str) -> dict[str, Any]:
    """Runs the lines that the front page shows, up to where it saves, for fewer steps."""
    page = (site_server.ROOT / "site" / "index.md").read_text(encoding="utf-8")
    lines = page.split("```python\n")[1].split("```")[0].split("model.save_adapter")[0]
    names: dict[str, Any] = {
        name: getattr(minilora, name) for name in ("GPT", "LoraConfig", "Trainer", "add_lora", "encode_text")
    }
    names["torch"] = torch
    exec(lines.replace("max_steps=60", f"max_steps={STEPS}, progress=False"), names | {"text": text}, names)
    return names


def test_the_losses_are_those_of_the_lines_on_the_page(run, folder):
    names = lines_on_the_page(run["text"])
    wanted = names["trainer"].history.losses
    assert len(wanted) == STEPS
    assert run["losses"] == pytest.approx(wanted, abs=SAME_LOSSES)
    assert wanted[0] - wanted[-1] > 1, "it has learned something"
    print("largest difference:", max(abs(a - b) for a, b in zip(run["losses"], wanted, strict=True)))
    trained = load_file(folder / "adapter_model.safetensors")
    for name, matrix in names["model"].trainable_parameters().items():
        path = "base_model.model." + name.removeprefix("base.").replace(".default", ".weight")
        assert torch.allclose(trained.pop(path), matrix, atol=SAME_WEIGHTS), name
    assert not trained


def test_minilora_opens_the_file_and_writes_what_the_page_writes(run, folder, scores):
    model = LoraModel.from_pretrained(GPT.from_pretrained("tiny-gpt"), folder).eval()
    encode = model.base.tokenizer.encode
    for prompt, ids, shown in zip(PROMPTS, run["texts"], scores, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([encode(prompt).ids]))[0, -1]
        assert torch.allclose(logits, shown, atol=SAME_SCORES), prompt
        wanted = list(model.generate_tokens(encode(prompt).ids, 20, temperature=0))
        stop = next((i for i, token in enumerate(wanted) if token in model.base.stop_tokens()), 20)
        assert ids == wanted[:stop], prompt


def test_peft_opens_the_file(folder, scores):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(ASSETS / "tiny-gpt", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, folder).eval()
    encode = GPT.from_pretrained("tiny-gpt").tokenizer.encode
    for prompt, shown in zip(PROMPTS, scores, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([encode(prompt).ids])).logits[0, -1]
        assert torch.allclose(logits, shown, atol=SAME_SCORES), prompt


def test_a_short_text_is_refused_before_anything_large_is_loaded(page):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    trainer = page.locator(".trainer")
    for text in ("", "Ahoy, me hearty! " * 12):
        trainer.get_by_label("Your text").fill(text)
        trainer.get_by_role("button", name=re.compile("^Train")).click()
        given = len(GPT.from_pretrained("tiny-gpt").tokenizer.encode(text).ids)
        trainer.get_by_role("status").get_by_text(f"has {given} tokens").wait_for()
        assert "at least 257" in trainer.get_by_role("status").inner_text()
    assert not [url for url in asked if url.endswith(".gzip")]


def test_the_keyboard_trains_stops_downloads_and_writes(page, tmp_path):
    trainer = page.locator(".trainer")
    status, button = (
        trainer.get_by_role("status"),
        lambda name: trainer.get_by_role("button", name=re.compile(name)),
    )

    def press(name: str) -> None:
        """Goes to a button by Tab, forward from where the keyboard is, and presses it."""
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("() => document.activeElement.textContent").startswith(name):
                return page.keyboard.press("Enter")
        pytest.fail(f"Tab does not reach {name}")

    trainer.get_by_label("Your text").focus()
    press("Use our example")
    page.wait_for_function("() => document.querySelector('.trainer textarea').value.length > 5000")
    press("Train")
    trainer.locator("svg[role=img]").wait_for()
    assert page.evaluate("() => document.activeElement.textContent") == "Stop"
    page.keyboard.press("Enter")
    status.get_by_text(re.compile(r"^Stopped after step \d+ of 60")).wait_for()
    done = int(status.inner_text().split("step ")[1].split()[0])
    assert done < 60
    assert trainer.locator("dt").all_inner_texts() == ["before", f"after {done} steps"]
    assert page.evaluate("() => document.activeElement.textContent") == "Train"
    with page.expect_download() as download:
        press("Download")
    download.value.save_as(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path)
    settings = json.loads((tmp_path / "my-style-adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["r"] == 8
    assert LoraModel.from_pretrained(GPT.from_pretrained("tiny-gpt"), tmp_path / "my-style-adapter")
    switch = page.locator(".switch")
    assert switch.get_by_role("button", name="Yours").get_attribute("aria-pressed") == "true"
    switch.locator("text=/tokens, \\d+ per second/").wait_for()
    story = switch.locator(".story").inner_text()
    switch.get_by_label("Temperature").fill("0")
    page.wait_for_function(
        "(before) => document.querySelector('.switch .story').innerText !== before", arg=story
    )
    assert button("^Train$").is_visible(), "the model is there: nothing is to be loaded"


def test_a_tab_that_is_closed_in_the_middle_takes_nothing_with_it(page):
    page.evaluate("() => localStorage.setItem('minilora-test', 'kept')")
    before = page.evaluate("() => JSON.stringify(localStorage)")
    second = page.context.new_page()
    second.goto(page.url)
    second.locator(".trainer").get_by_role("button", name="Use our example").click()
    second.wait_for_function("() => document.querySelector('.trainer textarea').value")
    second.locator(".trainer").get_by_role("button", name=re.compile("^Train")).click()
    second.locator(".trainer svg[role=img]").wait_for(timeout=300_000)
    second.close()
    page.reload()
    page.locator(".trainer textarea").wait_for()
    assert page.evaluate("() => JSON.stringify(localStorage)") == before
    assert page.locator(".switch .story").is_visible()
