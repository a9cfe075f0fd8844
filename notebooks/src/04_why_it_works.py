# %% [markdown]
# # 04 · Why it works
#
# **After this page you can** say what "low rank" means, look for it in a real weight change, choose a rank by measuring,
# and name the three things that LoRA saves, each with its number. **Time:** 15 minutes, of which one is waiting.
#
# Somebody who speaks well does not learn to speak again for a new job. They pick up some phrases, a tone, a few habits. The
# hope behind LoRA is that a model is like that: the change that a task needs is much simpler than the model. That is a
# claim about numbers, so we can look.

# %%
print("Loading PyTorch (some seconds) ...")
import tempfile
import time
from pathlib import Path

import torch

from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, evaluate, style_corpus
from minilora.figures.charts import energy_curves, loss_by_rank
from minilora.figures.ranks import captured_energy
from minilora.figures.passage import Passage
from minilora.figures.svg import percent
from minilora.figures.tables import Table
from minilora.memory import gigabytes, measure_memory, plan_memory
from minilora.widgets import rank_explorer

folder = Path(tempfile.mkdtemp())  # for what this page saves
base = GPT.from_pretrained("tiny-gpt")
before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
train_data = encode_text(style_corpus("legal", documents=240), base.tokenizer, sequence_length=64)
validation_data = encode_text(
    style_corpus("legal", "validation", documents=8), base.tokenizer, sequence_length=64
)
print("to learn from:", train_data)
print("kept back:    ", validation_data)

# %% [markdown]
# ## What a rank is
#
# A weight matrix turns a list of numbers into another list. Such a turning can be taken apart into *directions*: look for
# this pattern in the input, add that pattern to the output, so strongly. A matrix of 256 by 256 has 256 of them. How many
# are not zero is its **rank**.
#
# Here is a matrix of 6 by 6 that looks full, although it was made from two directions only. The *singular values* are the
# strengths of the directions, and a standard routine finds them:

# %%
generator = torch.Generator().manual_seed(0)
looks_full = torch.randn(6, 2, generator=generator) @ torch.randn(2, 6, generator=generator)
print(looks_full.numpy().round(1), "\n")
strengths = torch.linalg.svdvals(looks_full)
print("strengths of its six directions:", [round(s, 2) for s in strengths.tolist()])
assert strengths[1] > 1
assert strengths[2] < 1e-5

# %% [markdown]
# Two directions and four zeros: 36 numbers, and all that they say fits into two thin matrices of 12 numbers each. That is
# the shape of LoRA's update `B·A`. With rank 2 it could hold this matrix without loss.
#
# ## First, change everything
#
# To see what a task needs, we must not tie the model's hands. So we fine-tune **fully**: every weight may move. Afterwards
# we subtract the old weights from the new ones.

# %% tags=["nbval-ignore-output"]
full = GPT.from_pretrained("tiny-gpt")
training = {"max_steps": 32, "batch_size": 8, "validation_data": validation_data}
full_history = Trainer(full, train_data, learning_rate=1e-3, **training).train()

losses = {"base": full_history.validation_losses[0], "full": full_history.validation_losses[-1]}
after = {name: tensor.clone() for name, tensor in full.state_dict().items()}
print(f"loss on the text that was kept back: {losses['base']:.2f} before, {losses['full']:.2f} after")
assert losses["full"] < losses["base"] - 0.5

# %% [markdown]
# **Predict:** we take one layer's change, 256 by 256 numbers, and keep its 8 strongest directions out of 256. How much of
# the change's size do they hold? 3 %, as an even share would be? A third? Nearly all?
#
# ("Size" here is the sum of the squared strengths, which is called *energy*. A matrix of pure chance stands beside it, for
# chance has a few stronger directions too.)

# %% tags=["claim:update-low-rank", "nbval-ignore-output"]
linear = [name for name, tensor in before.items() if tensor.ndim == 2 and "layers" in name]
changes = {name: after[name] - before[name] for name in linear}
print("taking the changes of", len(linear), "layers apart ...")
parts = {name: torch.linalg.svd(change, full_matrices=False) for name, change in changes.items()}

layer = "model.layers.4.self_attn.q_proj.weight"
chance = torch.randn(changes[layer].shape, generator=generator)
spectra = {
    "the change": parts[layer].S.tolist(),
    "a random matrix": torch.linalg.svdvals(chance).tolist(),
}
of_change, of_chance = (captured_energy(values, 8) for values in spectra.values())
print(f"in {layer} 8 of 256 directions hold")
print(f"{of_change:.0%} of the change, and {of_chance:.0%} of a random matrix")

ratios = []
for name in linear:
    random = torch.linalg.svdvals(torch.randn(changes[name].shape, generator=generator)).tolist()
    ratios.append(captured_energy(parts[name].S.tolist(), 8) / captured_energy(random, 8))
ahead = sum(ratio > 1 for ratio in ratios)
print(f"in all {len(linear)} layers {min(ratios):.1f} to {max(ratios):.1f} times as much as of chance")
assert of_change > 2 * of_chance
assert ahead == len(linear)

# %% [markdown]
# Move the rank and watch three things: the amber bars (what is kept), the share of the energy, and how far the dashed line of
# the random matrix lies below.

# %% tags=["nbval-ignore-output"]
explorer = rank_explorer(spectra)
explorer

# %% tags=["nbval-ignore-output"]
explorer.rank.value = 32  # as if moved by hand
display(Passage(explorer.sentence))
assert percent(captured_energy(spectra["the change"], 32)) in explorer.sentence
energy_curves(spectra, title="The change leans on few directions; chance does not")

# %% [markdown]
# **What we saw, and where a textbook would promise more.** In every layer the change is far from chance: it leans on few
# directions. But it is *not* a matrix of rank 8, nor of 32. Part of its energy lies in a long, weak tail. Often one reads
# that the change simply *is* low rank; in our small model it is not.
#
# So is the tail needed? Energy counts numbers. What matters is what the model *does*. Let us cut the tail off.
#
# ## Cut the change, and ask the model
#
# We keep the `r` strongest directions of each layer's change, throw the others away, add the rest to the old weights, and
# measure the loss. As a control, we keep the part of the same change that lies in `r` directions drawn by chance.
# (Embeddings and norms have their change whole in every row, so the rows differ in the linear layers alone.)
#
# **Predict:** at rank 16 of 256, what share of the gain is left?


# %% tags=["nbval-ignore-output"]
def loss_with(cut):
    """The loss of the fully tuned model with each linear layer's change replaced by cut(name)."""
    full.load_state_dict(after | {name: before[name] + cut(name) for name in linear})
    return evaluate(full, validation_data)


def strongest(name, r):
    u, s, v = parts[name]
    return u[:, :r] * s[:r] @ v[:r]


def by_chance(name, r):
    directions = torch.linalg.qr(torch.randn(changes[name].shape[1], r, generator=generator)).Q  # (in, r)
    return changes[name] @ directions @ directions.T


none, whole = loss_with(lambda name: torch.zeros(())), loss_with(lambda name: changes[name])
energy = sum(change.square().sum() for change in changes.values())
gains, energies, rows = {}, {}, []
for r in (1, 4, 16, 64):
    kept = sum(parts[name].S[:r].square().sum() for name in linear) / energy
    losses_cut = [loss_with(lambda name, cut=cut, r=r: cut(name, r)) for cut in (strongest, by_chance)]
    energies[r] = kept
    gains[r] = [(none - loss) / (none - whole) for loss in losses_cut]
    print(f"rank {r} measured;", end=" ", flush=True)
    rows.append([r, f"{kept:.0%}", *(f"{gain:.0%}" for gain in gains[r])])
full.load_state_dict(after)
display(Table(["rank", "energy kept", "gain kept: strongest", "gain kept: by chance"], rows))
assert gains[16][0] > 2 * gains[16][1]
assert gains[16][0] > 0.5 > energies[16]

# %% [markdown]
# This is the better half of the answer. At rank 16 the cut change holds the smaller part of the energy, yet does the larger
# part of the work. The strong directions are the useful ones, and the same number of random directions is worth little. The
# tail is not pure noise either: the last part of the gain does live there.
#
# ## How many directions are enough?
#
# Cutting afterwards is one thing. LoRA goes another way: it allows only `r` directions *from the start*, and training makes
# the best of them.
#
# **Predict:** ranks 1, 4 and 16, the same data, the same number of steps. Rank 1 trains a single direction for each layer.
# Does it learn anything? And is 16 four times as good as 4?

# %% tags=["claim:rank-enough", "nbval-ignore-output"]
adapted, trained = {}, {"full": sum(p.numel() for p in full.parameters())}
for r in (1, 4, 16):
    torch.manual_seed(0)
    adapted[r] = add_lora(
        GPT.from_pretrained("tiny-gpt"), LoraConfig(r=r, lora_alpha=r, target_modules="all-linear")
    )
    trained[r] = int(adapted[r].trainable_parameter_count())
    losses[r] = (
        Trainer(adapted[r], train_data, learning_rate=1e-2, **training).train().validation_losses[-1]
    )

reached = {key: (losses["base"] - losses[key]) / (losses["base"] - losses["full"]) for key in (1, 4, 16)}
rows = [
    [r, f"{losses[r]:.2f}", f"{share:.0%}", f"{trained[r] / trained['full']:.1%}"]
    for r, share in reached.items()
]
display(Table(["rank", "loss", "of full's gain", "of its weights"], rows))
first_step, second_step = reached[4] - reached[1], reached[16] - reached[4]
print(f"from rank 1 to 4: {first_step:+.0%}; from 4 to 16, four times the weights: {second_step:+.0%}")
assert reached[4] > 0.5
assert second_step < first_step

# %% tags=["nbval-ignore-output"]
loss_by_rank(losses, title="A few directions get most of the gain; more of them help less and less")

# %% [markdown]
# The explorable again, now with the losses that you have just measured.

# %% tags=["nbval-ignore-output"]
measured = rank_explorer(spectra, losses)
measured

# %% tags=["nbval-ignore-output"]
measured.rank.value = 4  # as if moved by hand
assert f"{losses[4]:.3f}" in measured.sentence
Passage(measured.sentence)

# %% [markdown]
# **What we saw.** One direction per layer already gets a good part of the way, four get most of it, and then each further
# step costs more and brings less. Full fine-tuning stays ahead here, at the end of the same steps.
# **When it would be otherwise:**
#
# * *Size.* Our model has read nothing but children's books, so legal prose is a big change for it. A large model has met many
#   lawyers, and needs less. (And full fine-tuning moves the word embeddings too, which our adapter leaves alone.)
# * *Task.* Facts to learn by heart have no few directions. Page 09 looks for that wall.
# * *Recipe.* Ranks differ in the learning rate that suits them. Our `1e-2` is bold; with rank 64 and the same rate the
#   training can break. Try it.
#
# ## Three savings that follow
#
# **First: training takes less memory.** Whoever trains a weight must keep three more numbers for it: its gradient, and the two
# running averages of the optimizer. What is frozen needs none of them.
#
# **Predict:** LoRA trains some two percent of the weights. Does its training take two percent of the memory?

# %% tags=["claim:tiny-to-train", "nbval-ignore-output"]
print("one row of 64 tokens, one real step each; counting ...")
lora_model = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=4, target_modules="all-linear"))
needs = {
    "full": measure_memory(GPT.from_pretrained("tiny-gpt"), batch_size=1, sequence_length=64),
    "LoRA": measure_memory(lora_model, batch_size=1, sequence_length=64),
}
rows = [
    [part, *(gigabytes(need.parts[part]) for need in needs.values())]
    for part in ("weights", "adapters", "gradients", "optimizer")
]
rows.append(["kept by forward", *(gigabytes(need.kept_by_forward) for need in needs.values())])
rows.append(["peak", *(gigabytes(need.peak) for need in needs.values())])
display(Table(["", *needs], rows))
share_of_memory = needs["LoRA"].peak / needs["full"].peak
bookkeeping = {
    name: need.parts["gradients"] + need.parts["optimizer"] + need.parts["adapters"]
    for name, need in needs.items()
}
print(f"LoRA's peak is {share_of_memory:.0%} of full fine-tuning's;", end=" ")
print(f"what comes on top of the model shrank to {bookkeeping['LoRA'] / bookkeeping['full']:.1%}")
assert share_of_memory < 0.6
assert bookkeeping["LoRA"] < 0.05 * bookkeeping["full"]

# %% [markdown]
# Not two percent: the frozen model itself must still be there, and so must the notes that the forward pass leaves for the
# backward pass. The bookkeeping has all but gone. **When it would be otherwise:** give it long texts or many rows, and those
# notes outgrow everything else; they are nearly as large for LoRA as for full fine-tuning. Page 05 goes after the frozen
# model, page 06 after the notes.
#
# **Second: the result takes less room.** *Predict the size of both folders.*

# %% tags=["claim:tiny-to-store"]
adapted[4].save_adapter(folder / "adapter")
full.save_pretrained(folder / "full")
sizes = {
    name: sum(file.stat().st_size for file in (folder / name).iterdir() if file.suffix == ".safetensors")
    for name in ("adapter", "full")
}
times = sizes["full"] / sizes["adapter"]
# Llama from its published shape: rank 8 on attention
planned = {method: plan_memory("llama-3.1-8b", method).file_bytes for method in ("lora", "full")}
assert times > 20
assert planned["lora"] < 1e9 < planned["full"]

rows = [
    ["tiny-gpt, saved here", *map(gigabytes, sizes.values()), f"1 to {times:.0f}"],
    ["Llama-3.1-8B", *map(gigabytes, planned.values()), f"1 to {planned['full'] / planned['lora']:.0f}"],
]
Table(["", "adapter", "model", ""], rows)

# %% [markdown]
# Megabytes instead of gigabytes, as soon as the model is of a size that people use.
#
# **Third: the original is still there.** We trained an adapter, saved it, measured with it. *Predict: with the adapter off,
# will the scores be like those of the untouched model to six digits, or to the last bit?*

# %% tags=["claim:base-preserved", "nbval-ignore-output"]
rows = validation_data.input_ids[:4]
with torch.no_grad():
    with_adapter = adapted[4](rows)
    with adapted[4].disable_adapter():
        without = adapted[4](rows)
    untouched = GPT.from_pretrained("tiny-gpt")(rows)
fell_back = torch.equal(without, untouched)
print(f"adapter on:  scores move by up to {(with_adapter - untouched).abs().max():.0f}")
print(
    f"adapter off: equal to the untouched model, all {untouched.numel():,} scores, bit for bit: "
    f"{fell_back}"
)
assert fell_back
assert not torch.equal(with_adapter, untouched)

# %% [markdown]
# To the last bit, since nothing was ever written into the base. After *full* fine-tuning there is no way back, unless you
# kept a second copy of everything.
#
# ## Your turn
#
# * Put `"code"` or `"support"` for `"legal"` at the top of the page, and run all cells. Is its change of lower rank?
# * Look at another layer: `model.layers.0.mlp.down_proj.weight`, for instance. Which kind of layer leans most on few
#   directions?
# * Exercise `choose-rank` (10 minutes): write the function that finds the smallest rank for a wanted share of the energy. It
#   waits in [`exercises/04_why_it_works.ipynb`](../exercises/04_why_it_works.ipynb).
#
# Next: [05 QLoRA](05_qlora.ipynb), where the frozen model goes on a diet.
