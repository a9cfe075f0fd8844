# %% [markdown]
# # 03 · LoRA: a thin sheet laid over each layer
#
# **After this page you can** draw the two matrices that LoRA adds to a layer, compute what they do and how they learn with
# nothing but NumPy, and prove on a real model that training them leaves every old weight alone. **Time:** 20 minutes; no
# cell takes longer than some seconds.
#
# Picture a piano score that has been printed and cannot be changed. A pianist who wants to play it differently lays a
# transparent sheet over each page and writes on that: softer here, slower there. What is heard is print and sheet
# together. Take the sheet off, and the score is as it was. LoRA (*low-rank adaptation*) lays such sheets on the layers of
# a model, and has an economical way to write them.

# %%
print("Loading PyTorch (some seconds) ...")
import hashlib

import numpy as np
import torch

from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, evaluate, style_corpus
from minilora.figures.charts import weight_images
from minilora.figures.passage import Passage
from minilora.figures.tables import Table
from minilora.reference import lora as by_hand
from minilora.widgets import lora_anatomy

tokenizer = GPT.from_pretrained("tiny-gpt").tokenizer
train_data = encode_text(style_corpus("legal", documents=64), tokenizer, sequence_length=64)
validation_data = encode_text(style_corpus("legal", "validation", documents=6), tokenizer, sequence_length=64)
print("text to learn from:", train_data)

# %% [markdown]
# ## One layer, with its numbers
#
# Most weights of a language model sit in *linear layers*. Such a layer is a table of numbers, the matrix **W**. It takes a
# list of numbers in and gives a list out: each number out is a weighted sum of all numbers in, and a row of W has the weights.
#
# LoRA leaves W alone and adds an update of the same shape, but does not store it as a table of that shape. It stores two
# thin ones: **A**, which squeezes the inputs down to `r` numbers, and **B**, which spreads these `r` numbers out again. The
# update is their product, `B·A`, times a fixed `scaling`.
#
# **Predict**, before you move anything below: at step 0, what is in B? After the first step, which of the three tables will
# have moved: W, A, B? (The layer in the picture has to learn an update that really needs rank 3. What will happen with ranks
# below 3?)

# %%
anatomy = lora_anatomy()
anatomy

# %% [markdown]
# The same by program, so that the answers stand here:

# %%
anatomy.rank.value = 2
for step in (0, 1, 2, 100):
    anatomy.step.value = step
    display(Passage(anatomy.sentence))
for rank in (1, 2, 3, 8):
    anatomy.rank.value = rank
    print(f"rank {rank} after 100 steps:", anatomy.sentence.split(". ")[-1])

# %% [markdown]
# **What we saw.** W never moves. B starts at zero, and in the first step *only B moves*; A begins one step later. Below rank 3
# a part of the loss remains, from 3 on it all but vanishes, and more does not help any further. Why B goes first, we shall see in a
# moment.
#
# ## Two thin matrices, by hand
#
# Now a real layer: the query projection in the fifth block of the tiny GPT, with an adapter that has learned something.
#
# **Predict:** W has 256 rows and 256 columns. With r = 8, how many numbers do A and B hold together? A tenth, a hundredth
# of W's?

# %% tags=["claim:two-small-matrices", "nbval-ignore-output"]
torch.manual_seed(0)
model = add_lora(
    GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, lora_alpha=16, target_modules=["attention"])
)
Trainer(model, train_data, max_steps=10, batch_size=8, learning_rate=1e-2).train()

layer = model.lora_layers()["model.layers.4.self_attn.q_proj"]
scaling = layer.configs["default"].scaling
W = layer.base_layer.weight.detach().double().numpy()  # (out, in)
A = layer.lora_A["default"].detach().double().numpy()  # (r, in)
B = layer.lora_B["default"].detach().double().numpy()  # (out, r)
print(f"W {W.shape}: {W.size:,} numbers, frozen")
print(
    f"A {A.shape} and B {B.shape}: {A.size + B.size:,} numbers, {(A.size + B.size) / W.size:.1%} of W's"
)
print(f"B·A {(B @ A).shape}, a full table again, of rank {np.linalg.matrix_rank(B @ A)}")
assert A.size + B.size < W.size / 10
assert (B @ A).shape == W.shape
assert np.linalg.matrix_rank(B @ A) == 8

x = np.random.default_rng(0).normal(size=(5, 256))  # five tokens
grad_y = np.random.default_rng(1).normal(size=(5, 256))  # how the loss depends on what comes out
y = x @ W.T + scaling * (x @ A.T) @ B.T  # forward, in one line
grad_A, grad_B, grad_x = by_hand.backward(grad_y, x, W, A, B, scaling)  # five lines, see below

layer.double()  # as many digits as NumPy has
inputs = torch.tensor(x, requires_grad=True)
outputs = layer(inputs)
layer.zero_grad()
outputs.backward(torch.tensor(grad_y))
theirs = {
    "y": (y, outputs),
    "gradient of A": (grad_A, layer.lora_A["default"].grad),
    "gradient of B": (grad_B, layer.lora_B["default"].grad),
    "gradient of x": (grad_x, inputs.grad),
}
rows = []
for name, (ours, torchs) in theirs.items():
    difference = np.abs(ours - torchs.detach().numpy()).max()
    rows.append([name, ours.shape, f"{difference:.0e}"])
    assert difference < 1e-9
display(Table(["by hand, against PyTorch", "shape", "largest difference"], rows))
layer.float()

# numbers of one layer, squeezed to every fourth row and column so that they can be seen
weight_images({"W, frozen": W[::4, ::4], "B": B[::4], "A": A[:, ::4], "B·A": (B @ A)[::4, ::4]})

# %% [markdown]
# (In the picture every fourth row and column is drawn. The stripes in `B·A` are what *low rank* looks like: each row is a
# mixture of the same eight rows.)
#
# The forward pass is one line of arithmetic. The backward pass, the part that usually hides behind the word *autograd*, is
# five. This is the whole of it:

# %%
import inspect

source = inspect.getsource(by_hand.backward)
print(source[source.rindex('"""') + 4 :])

# %% [markdown]
# Read the line for `grad_A`: it contains `grad_low`, and that contains **B**. While B is zero, A gets no gradient. The line
# for `grad_B` contains A, which is random and not zero. That is why B takes the first step. And if *both* were zero?
#
# **Predict:** we set A to zero as well and train. Will it learn more slowly, or not at all?

# %% tags=["nbval-ignore-output"]
stuck = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules=["attention"]))
with torch.no_grad():
    for some_layer in stuck.lora_layers().values():
        some_layer.lora_A["default"].zero_()
history = Trainer(stuck, train_data, max_steps=5, batch_size=8, learning_rate=1e-2).train()
largest = max(float(p.detach().abs().max()) for p in stuck.trainable_parameters().values())
print(f"largest number in any A or B after {len(history.losses)} steps: {largest}")
assert largest == 0

# %% [markdown]
# Not at all: two zeros wait for each other for ever. One of the two must be zero, so that nothing changes at first; and one
# must not, so that something can.
#
# ## A fresh adapter changes nothing
#
# **Predict:** we put adapters on every linear layer of the tiny model, and do not train. By how much will its scores for the next
# word differ from the base's? By a rounding error, or by exactly nothing?

# %% tags=["claim:starts-identical"]
base = GPT.from_pretrained("tiny-gpt")
rows = validation_data.input_ids[:8]
with torch.no_grad():
    base_scores = base(rows)  # (rows, tokens, words)
    torch.manual_seed(0)
    model = add_lora(base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    difference = (model(rows) - base_scores).abs().max().item()
print(f"adapted layers: {len(model.lora_layers())}")
print(f"largest difference between {base_scores.numel():,} scores: {difference}")
assert len(model.lora_layers()) == 56
assert difference == 0

# %% [markdown]
# Exactly nothing, for adding zero is exact. Training starts from what the model can do, not from a model that was knocked
# off its feet.
#
# **When it would be otherwise:** if B started at random, the model would be damaged before its first lesson. Let us damage it.
#
# **Predict:** a small random B in each layer. Does the loss rise by a hundredth, by one, or by several? And with the adapter
# switched off?

# %%
with torch.no_grad():
    for some_layer in model.lora_layers().values():
        some_layer.lora_B["default"].normal_(std=0.1)
    damaged = evaluate(model, validation_data)
    with model.disable_adapter():
        undamaged = evaluate(model, validation_data)
print(f"loss with a random B: {damaged:.2f}; with the adapter switched off: {undamaged:.2f}")
assert damaged > undamaged

# %% [markdown]
# ## What is trained, and only that
#
# **Predict:** of the tables in the adapted model, which ones will the training be allowed to change? And for how many numbers
# will the optimizer keep its two averages (page 01)?

# %% tags=["claim:adapters-few", "nbval-ignore-output"]
torch.manual_seed(0)
model = add_lora(
    GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, lora_alpha=16, target_modules=["attention"])
)


def fingerprints(model):
    """A checksum (SHA-256) of every bit of each table that the base brought along."""
    return {
        name: hashlib.sha256(weight.detach().numpy().tobytes()).hexdigest()
        for name, weight in model.named_parameters()
        if ".lora_" not in name
    }


prints_before = fingerprints(model)
loss_before = evaluate(model, validation_data)
adapters_before = {name: p.detach().clone() for name, p in model.trainable_parameters().items()}
trainer = Trainer(model, train_data, max_steps=20, batch_size=8, learning_rate=1e-2)
trainer.train()

trainable = [name for name, p in model.named_parameters() if p.requires_grad]
frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
for name in trainable[:4]:
    print("may change:", name)
print(f"... {len(trainable)} tables in all may change, {len(frozen)} may not")
print(model.trainable_parameter_count())

remembered = sum(state["exp_avg"].numel() for state in trainer.optimizer.state.values())
print(f"numbers for which the optimizer keeps averages: {remembered:,}")
moved = sum(bool((p != adapters_before[name]).any()) for name, p in model.trainable_parameters().items())
print(f"tables of adapters that moved: {moved} of {len(adapters_before)}")
assert all(".lora_A." in name or ".lora_B." in name for name in trainable)
assert remembered == int(model.trainable_parameter_count())
assert moved == len(trainable)

# %% [markdown]
# ## And the base? Untouched, to the last bit
#
# Before that training we took a fingerprint of every table of the base. **Predict:** after twenty steps, how many of the
# fingerprints still agree?

# %% tags=["claim:base-frozen", "nbval-ignore-output"]
loss_after = evaluate(model, validation_data)
prints_after = fingerprints(model)
same = sum(prints_after[name] == prints_before[name] for name in prints_before)
print(f"loss on text that was kept back: {loss_before:.2f} before, {loss_after:.2f} after")
print(f"tables of the base with the same fingerprint: {same} of {len(prints_before)}")
assert loss_after < loss_before - 0.1
assert prints_after == prints_before
with model.disable_adapter():
    print(f"loss with the adapter switched off: {evaluate(model, validation_data):.2f}")

# one number, moved by the smallest step there is, to see that a fingerprint would notice
with torch.no_grad():
    weight = model.get_parameter("base.model.norm.weight")
    kept = weight[0].clone()
    weight[0] = torch.nextafter(kept, kept + 1)
    noticed = fingerprints(model) != prints_before
    weight[0] = kept
print("would one changed bit have been noticed?", "yes" if noticed else "no")
assert noticed

# %% [markdown]
# **What we saw.** The model has learned: its loss fell. And not one bit of it has changed. Everything that it learned is in
# the sheet laid over it.
#
# **When it would be otherwise.** Some programs *merge* the adapter after training: they write `W + scaling · B·A` into W, and
# then the base is gone unless a copy was kept. Ours never writes into W; it computes the merged tables beside it. And other
# methods of the family (page 02) do change old weights: "norms only" changes the norms.
#
# ## What it costs to use, and how to pay nothing
#
# Two paths through each layer take more time than one. After training the two can become one table, because adding is all
# that happens to them.
#
# **Predict:** will the merged model give the very same scores, or only nearly?

# %%
with torch.no_grad():
    separate = model(rows)
    model.merge_adapter()
    merged = model(rows)
    model.unmerge_adapter()
    again = model(rows)
print(
    f"scores up to {separate.abs().max():.0f} in size; merged, they differ by less than 0.001:", end=" "
)
print(bool((merged - separate).abs().max() < 1e-3))
print("after unmerging they are the same bit for bit:", torch.equal(again, separate))
assert (merged - separate).abs().max() < 1e-3
assert torch.equal(again, separate)

# %% [markdown]
# Only nearly: `W·x + B·(A·x)` and `(W + B·A)·x` are the same mathematics in another order, and a computer rounds at other
# places. Apart from that the merged model is an ordinary one of the old size and speed.
#
# Why can so thin an update be enough? That is [page 04](04_why_it_works.ipynb).
#
# ## Exercises
#
# In [`exercises/03_lora.ipynb`](../exercises/03_lora.ipynb) you build this page yourself:
#
# * `what-lora-changes`: in your own words, with a comparison of your own (20 minutes);
# * `init-adapter`: start A and B (10 minutes);
# * `lora-forward`: the forward pass (10 minutes);
# * `freeze`: switch the base off for training (5 minutes);
# * `lora-gradients`: the backward pass, by hand (20 minutes);
# * `merge` and `unmerge` (5 minutes each).
