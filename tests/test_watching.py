"""What a page watches: whole sentences, samples while training goes on, and the numbers that changed."""

from types import SimpleNamespace

import torch
from torch import nn

from minilora import LoraConfig, add_lora
from minilora.figures import one_weight, thin_additions
from minilora.lesson import pictures, watching


class Writer:
    def __init__(self):
        self.asked = []

    def generate(self, opening, max_new_tokens, seed):
        self.asked.append((opening, max_new_tokens, seed))
        return f' ran. "Well!" Text {len(self.asked)} breaks'


def test_a_text_ends_at_its_last_whole_sentence():
    assert watching.write(Writer(), "The fox") == 'The fox ran. "Well!"'
    assert watching.whole_sentences("It cost 3.50 and then") == "It cost 3.50 and then…"


def test_a_sample_is_taken_before_training_and_every_few_steps():
    trainer = SimpleNamespace(step=0, model=Writer(), on_step=None)
    watching.watch(trainer, "The fox", every=5)
    for trainer.step in range(1, 11):
        trainer.on_step(trainer)
    assert len(trainer.model.asked) == 3, "steps 0, 5 and 10"
    assert len(set(trainer.model.asked)) == 1, "the same opening and seed each time"


def test_samples_are_shown_as_text_and_not_as_html():
    samples = watching.Samples()
    samples.add(0, "a <b> & c")
    assert "a &lt;b&gt; &amp; c" in samples._repr_html_()
    assert repr(samples) == "step 0: a <b> & c"


def test_a_snapshot_finds_the_old_numbers_after_add_lora():
    base = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    snapshot = watching.Snapshot(base)
    model = add_lora(base, LoraConfig(r=1, target_modules=["0"]))
    for weight in model.trainable_parameters().values():
        weight.data.add_(1)
    changes = snapshot.changes()
    assert (changes.numbers, changes.all_numbers, changes.all_tensors) == (0, 4 * 3 + 3 + 3 * 2 + 2, 4)
    base[1].weight.data[0, 0] += 1
    assert (snapshot.changes().tensors, snapshot.changes().numbers) == (1, 1)
    assert snapshot.changes().size > 0


def test_one_weight_shows_the_optimizer_s_own_numbers():
    layer = nn.Linear(2, 2, bias=False)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.0)
    layer.weight.grad = torch.full((2, 2), 0.5)
    optimizer.step()
    drawn = pictures.one_weight(layer.weight, optimizer).svg
    for number in (layer.weight[0, 0].item(), 0.5, 0.05, 0.00025):  # Adam's betas are 0.9 and 0.999
        assert f">{number:.3g}<" in drawn
    assert "16 bytes" in one_weight.draw([1.0] * 4, [4] * 4)[1]


def test_the_additions_are_drawn_to_scale():
    picture, sentence = thin_additions.draw("up_proj", 640, 256, 8)
    assert "8 · (256 + 640) = 7,168" in sentence
    sizes = [part.split('height="')[1].split('"')[0] for part in picture.split("<rect")[1:4]]
    a, w, b = map(float, sizes)
    assert b == w
    assert abs(w / a - 640 / 8) < 0.02 * 640 / 8 + 2
