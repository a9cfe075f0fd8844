# %% [markdown]
# # 01 · The problem: full fine-tuning is expensive
#
# **After this page you can** say what a computer must hold in memory while it trains a model, work that out for any model
# on the back of an envelope, and see why changing *everything* in a large model is out of reach for one person.
# **Time:** 10 minutes; no cell takes longer than a few seconds.
#
# A trained model is a long list of numbers, its *weights*. *Fine-tuning* means to go on training it, on text of your own.
# The straightforward way lets the training move every number in the list. This page does that to a tiny model and keeps
# accounts: what moves, and what has to lie in memory meanwhile.

# %%
print("Loading PyTorch (some seconds) ...")
import torch

from minilora import GPT, Trainer, encode_text, evaluate, style_corpus
from minilora.memory.catalog import MODELS
from minilora.figures.charts import payoff_ladder
from minilora.figures.tables import Table
from minilora.memory import gigabytes, measure_memory, plan_memory
from minilora.widgets import memory_explorer

tokenizer = GPT.from_pretrained("tiny-gpt").tokenizer
train_data = encode_text(style_corpus("legal", documents=64), tokenizer, sequence_length=64)
validation_data = encode_text(style_corpus("legal", "validation", documents=6), tokenizer, sequence_length=64)
print("text to learn from:", train_data)

# %% [markdown]
# ## What does training touch?
#
# **Predict:** the tiny model keeps its weights in several dozen tables (*tensors*). We train it the plain way for only ten
# steps, on a few pages of legal prose. How many of the tables will have changed? And of the millions of single numbers in
# them: one in ten, half, all?

# %% tags=["claim:full-updates-all", "nbval-ignore-output"]
model = GPT.from_pretrained("tiny-gpt")
before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
loss_before = evaluate(model, validation_data)

Trainer(model, train_data, max_steps=10, batch_size=8, learning_rate=1e-3).train()

loss_after = evaluate(model, validation_data)
changed_tensors = changed_numbers = 0
moved = size = 0.0
for name, weight in model.named_parameters():
    different = int((weight != before[name]).sum())
    changed_tensors += different > 0
    changed_numbers += different
    moved += float((weight.detach() - before[name]).square().sum())
    size += float(before[name].square().sum())
total = sum(weight.numel() for weight in before.values())

print(f"loss on text that was kept back: {loss_before:.2f} before, {loss_after:.2f} after")
print(f"tables that changed:  {changed_tensors} of {len(before)}")
print(f"numbers that changed: {changed_numbers:,} of {total:,}; {total - changed_numbers:,} stayed")
print(f"but the whole change is {(moved / size) ** 0.5:.1%} as large as the weights themselves")
assert loss_after < loss_before
assert changed_tensors == len(before)
assert changed_numbers / total > 0.999

# %% [markdown]
# **What we saw.** Ten steps were enough to move every table and practically every number. The last line is worth keeping
# in mind: each number moved, but only by a little. All that traffic makes a small change.
#
# **When it would be otherwise.** A number stays where it is if its gradient is exactly zero, or if its step is too small
# for the digits that the computer keeps. Our model uses one table both to read words and to choose them, so even words that
# never occur in the text get a gradient. In a model with two separate tables, the reading table would change only for the
# words that occur.
#
# ## What must lie in memory?
#
# To move a number the computer needs more than the number. Training goes round like this:
#
# 1. *forward*: the text goes through the model, and a **loss** comes out, a measure of surprise;
# 2. *backward*: for each weight the computer works out in which direction, and how strongly, it acts on the loss. That is
#    its **gradient**, one number per weight;
# 3. *update*: an **optimizer** moves each weight a little. The usual one, Adam, does not trust a single gradient. It keeps
#    two running averages for each weight, of its gradient and of the gradient's square.
#
# **Predict:** one weight takes 4 bytes. How many bytes per weight are in use during training? The next cell takes one step
# by hand, without any helper, and counts every byte.

# %% tags=["claim:full-holds-state"]
model = GPT.from_pretrained("tiny-gpt")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
rows, targets = train_data.input_ids[:8], train_data.targets[:8]

loss = torch.nn.functional.cross_entropy(model(rows).flatten(0, 1), targets.flatten())  # forward
loss.backward()  # backward: every weight gets a .grad
optimizer.step()  # update: the optimizer now remembers something about every weight

weight_bytes = sum(weight.nbytes for weight in model.parameters())
gradient_bytes = sum(weight.grad.nbytes for weight in model.parameters())
adam_bytes = sum(
    state[average].nbytes for state in optimizer.state.values() for average in ("exp_avg", "exp_avg_sq")
)
held = weight_bytes + gradient_bytes + adam_bytes
plan = plan_memory("tiny-gpt", "full", dtype="fp32", batch_size=8, sequence_length=64)

rows = []
for name, measured, planned in (
    ("weights", weight_bytes, plan.parts["weights"].largest),
    ("gradients", gradient_bytes, plan.parts["gradients"].largest),
    ("Adam's two averages", adam_bytes, plan.parts["optimizer"].largest),
):
    rows.append([name, gigabytes(measured), gigabytes(planned), f"{measured / total:.0f}"])
    assert measured == planned
rows.append(["together", gigabytes(held), "", f"{held / total:.0f}"])
display(Table(["", "measured", "planned", "bytes per weight"], rows))
assert held == 16 * total

# %% [markdown]
# **What we saw.** Sixteen bytes for each weight, four times the model itself: once for the weight, once for its gradient,
# twice for Adam's memory. The middle column comes from `plan_memory`, which computes instead of measuring, and here it
# agrees to the byte. So we may ask it about models that do not fit on this machine.
#
# This is the bookkeeping that does not depend on your text. The forward pass also leaves notes for the backward pass, the
# *activations*, and they grow with the amount of text per step. `measure_memory` takes a real step and weighs all of it:

# %% tags=["nbval-ignore-output"]
rows = []
for batch_size in (1, 8):
    measured = measure_memory(GPT.from_pretrained("tiny-gpt"), batch_size=batch_size, sequence_length=64)
    rows.append([f"{batch_size} × 64", gigabytes(measured.kept_by_forward), gigabytes(measured.peak)])
Table(["tokens at a time", "activations", "peak"], rows)

# %% [markdown]
# With little text the bookkeeping decides the peak; with much text the activations have their say. Page 06 returns to them.
#
# ## Now a model that people use
#
# The explorer below asks the planner about real models, from their published shapes. On this page, look at the first bar,
# **Full**; the other two are what the next pages are about.
#
# **Predict:** a model of eight billion weights, and a card with 24 GB, which is the largest that a gamer would buy. Does full
# fine-tuning fit? What is the largest model in the list for which it does?

# %%
explorer = memory_explorer("llama-3.1-8b")
explorer

# %% [markdown]
# The same explorer, moved by program. It takes the models by size and says which is the last that fits:

# %%
fits, rows = {}, []
for name in ("gpt2", "qwen2.5-0.5b", "llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b"):
    explorer.model.value = name
    plan = explorer.plans()["full"]
    fits[name] = plan.headroom(explorer.card.value) >= 0
    rows.append([name, gigabytes(plan.total), "fits" if fits[name] else "too much"])
assert fits["gpt2"]
assert not fits["llama-3.1-8b"]
Table(["", "full fine-tuning takes", "in 24 GB"], rows)

# %% [markdown]
# ## How many cards does it take?
#
# Cards for data centres have 80 GB, and one of them costs as much as a car. Suppose the training could be divided evenly
# among several.
#
# **Predict:** how many would full fine-tuning need for 7, 13, 70 and 175 billion weights, at the 16 bytes per weight that
# we have just measured?

# %% tags=["claim:full-needs-fleet"]
sizes = {"llama-2-7b": "7B", "llama-2-13b": "13B", "llama-2-70b": "70B", "gpt3-175b": "175B"}
cards, thrifty, rows = {}, {}, []
for name, size in sizes.items():
    plan = plan_memory(name, "full", dtype="fp32")  # 512 tokens at a time
    cards[size] = plan.cards(80)
    thrifty[size] = plan_memory(name, "full", dtype="bf16").cards(80)
    count = MODELS[name].parameter_count
    rows.append([name, f"{count:,}", gigabytes(plan.total), cards[size], thrifty[size]])
display(Table(["", "weights", "memory", "cards of 80 GB", "all in 16 bits"], rows))
assert all(number > 1 for number in cards.values())
assert cards["70B"] >= 10
assert thrifty["70B"] >= 5

payoff_ladder(
    {size: {"full": number} for size, number in cards.items()},
    "80 GB each",
    title=f"Full fine-tuning: {cards['7B']} cards for 7 billion weights, {cards['175B']} for 175 billion",
)

# %% [markdown]
# **What we saw.** Two of those cards for the smallest, a whole rack for the largest. And these are lower bounds: nothing
# divides quite evenly, and longer texts need more. Every finished copy is also as large as the model itself.
#
# **When it would be otherwise.** The last column of the table stores everything in 16 bits instead of 32: weights, gradients
# *and* Adam's averages. That halves the bill, and here **our figures are milder than the textbook's sentence about many big
# cards: stored so, the model of the first row fits on a single card of 80 GB.** It has a price: small updates get lost in rounding. The usual compromise
# keeps a 32-bit copy of the weights and of both averages, and comes back to 16 bytes per weight. Other optimizers
# remember less than Adam (plain gradient descent remembers nothing). Still, for the large models several cards remain several.
#
# Remember the first experiment, though: every number moved, and all of it was a small change. Need we pay for the freedom
# to move them all? That is [page 02](02_change_only_a_little.ipynb).
#
# ## Exercises
#
# In [`exercises/06_modest_hardware.ipynb`](../exercises/06_modest_hardware.ipynb):
#
# * `training-memory`: write the sum of this page as a function (10 minutes). Its frozen weights come on page 03; for full
#   fine-tuning their number is zero.
# * `full-against-lora`: the comparison for a large model, in numbers that are drawn for you (20 minutes; read page 02 first).
