"""The chapter's listing as the README prints it, on the embedded model; few steps are enough to see that it learns."""

import re
from pathlib import Path

from minilora import GPT, LoraModel

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_listing_runs_as_printed(tmp_path, monkeypatch, capsys):
    """With four documents: as printed it takes most of a minute."""
    monkeypatch.chdir(tmp_path)
    [listing] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "documents=160" in listing
    space: dict = {}
    exec(listing.replace("documents=160", "documents=4"), space)
    model, losses = space["model"], space["trainer"].history.losses

    count = model.trainable_parameter_count()
    assert str(count).endswith("%)")
    assert str(count) in capsys.readouterr().out
    assert count / count.total < 0.02
    assert losses[-1] < losses[0]
    again = LoraModel.from_pretrained(GPT.from_pretrained("tiny-gpt"), "my-style-adapter")
    prompt = "The little dog ran to the garden and"
    assert again.generate(prompt, 20, seed=1) == model.generate(prompt, 20, seed=1)
