# %% [markdown]
# # 01 · The problem: full fine-tuning is expensive
#
# **After this page you can** say what a computer must hold in memory while it trains a model, work that out for any model on
# the back of an envelope, and explain why one person can rarely afford to change *every* number in a large model.
# **Time:** 10 minutes; no cell takes longer than a few seconds.
#
# A trained model is a long list of numbers, its [weights](../docs/glossary.md#weight). *Fine-tuning* means continuing its
# training on your own text. The straightforward way, *full* fine-tuning, lets training change every weight. We do that to a
# tiny model, and keep track of what changes and of what must be held in memory.

# %%
from minilora.lesson import *

# %%
tokenizer = GPT.from_pretrained("tiny-gpt").tokenizer
train_data = encode_text(style_corpus("legal", documents=64), tokenizer, sequence_length=64)
held_out = encode_text(style_corpus("legal", "validation", documents=6), tokenizer, sequence_length=64)
print("to learn from:", train_data)
print("held out:     ", held_out)

# %% [markdown]
# [Tokens](../docs/glossary.md#token) are the pieces of text that a model reads. The second set is
# [held out](../docs/glossary.md#held-out-text): the model never trains on it, so it shows what has really been learned.
#
# ## What does training change?
#
# The weights are stored in several dozen tables, called *tensors*. We train for only ten steps, on a few rows of text each.

# %%
predict("updates-everything")

# %% tags=["claim:full-updates-all"]
model = GPT.from_pretrained("tiny-gpt")
before, loss_before = Snapshot(model), evaluate(model, held_out)
Trainer(model, train_data, max_steps=10, learning_rate=1e-3).train()
loss_after, changes = evaluate(model, held_out), before.changes()
print(f"loss on held-out text: {loss_before:.2f} before, {loss_after:.2f} after")
print(f"tensors that changed: {changes.tensors} of {changes.all_tensors}")
print(f"numbers that changed: {changes.numbers:,} of {changes.all_numbers:,}")
print(f"size of the whole change: {changes.size:.1%} of the size of the weights")
reveal("updates-everything", 100 * changes.numbers / changes.all_numbers)

# %% [markdown]
# Ten steps moved practically everything. Keep the last printed line in mind, though: every number moved, but the whole
# change is small. Page 04 comes back to that.
#
# ## What does one weight need?
#
# To update a weight, the computer needs more than the weight itself. Each training step has three parts:
#
# 1. **Forward:** the text goes through the model, and out comes the [loss](../docs/glossary.md#loss), a measure of how much
#    the text surprised it.
# 2. **Backward:** each weight gets its [gradient](../docs/glossary.md#gradient), one number that says how the loss would
#    change if the weight grew a little.
# 3. **Update:** an [optimizer](../docs/glossary.md#optimizer) moves each weight. The usual one,
#    [Adam](../docs/glossary.md#adam), keeps two running averages for each weight: of its gradient, and of the gradient's
#    square.

# %%
predict("bytes-per-weight")

# %% [markdown]
# Here is one training step, written out:

# %%
model = GPT.from_pretrained("tiny-gpt")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
inputs, targets = train_data.input_ids[:4], train_data.targets[:4]

logits = model(inputs)
loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())  # forward
loss.backward()  # backward: every weight gets a .grad
optimizer.step()  # update: the optimizer now remembers something about every weight

# %% [markdown]
# And here is the first weight of the model's first query layer, with everything that is now kept for it:

# %%
one_weight(model.model.layers[0].self_attn.q_proj.weight, optimizer)

# %% [markdown]
# Is it the same for every weight? We count the bytes of the whole model:

# %% tags=["claim:full-holds-state"]
weights = list(model.parameters())
averages = [optimizer.state[weight][name] for weight in weights for name in ("exp_avg", "exp_avg_sq")]
weight_bytes = sum(weight.nbytes for weight in weights)
gradient_bytes = sum(weight.grad.nbytes for weight in weights)
adam_bytes = sum(average.nbytes for average in averages)
held, total = weight_bytes + gradient_bytes + adam_bytes, sum(weight.numel() for weight in weights)
print(gigabytes(weight_bytes), "+", gigabytes(gradient_bytes), "+", gigabytes(adam_bytes))
print(f"for {total:,} weights")
reveal("bytes-per-weight", held / total)

# %% [markdown]
# **The rule:** training keeps four numbers for every weight it trains. At 4 bytes each, that is four times the model.
#
# ## What the text needs
#
# The forward pass also keeps intermediate results for the backward pass, the
# [activations](../docs/glossary.md#activations). They depend on the amount of text in a step. `measure_memory` takes a real
# step and measures the largest amount in use at any moment, the *peak*:

# %%
rows = []
for batch_size in (1, 4, 16):
    measured = measure_memory(GPT.from_pretrained("tiny-gpt"), batch_size=batch_size, sequence_length=64)
    rows.append([f"{batch_size} × 64", gigabytes(measured.kept_by_forward), gigabytes(measured.peak)])
show_table(["tokens per step", "activations", "peak"], rows)

# %% [markdown]
# With little text, the four numbers per weight set the peak. With more text, the activations do. The two do not simply add
# up: activations are freed while gradients are being made, so not everything exists at the same moment.
#
# ## A model that people use
#
# A consumer GPU (a graphics processor, with its own memory) often has 24 GB.

# %%
predict("largest-that-fits")

# %% [markdown]
# `plan_memory` computes what `measure_memory` measures, so we can ask it about models that this computer could never hold.
# Choose a model and a GPU. For now, look at the first bar, **Full**; the other two are the subject of later pages. The black
# mark in each bar is the peak.

# %%
memory_explorer("gpt2", "AdamW, all in 32 bits")

# %% [markdown]
# And all models of the list, from the smallest to the largest, with one row of 512 tokens per step:

# %%
shapes = sorted(MODELS.values(), key=lambda shape: shape.parameter_count)
full = {shape: plan_memory(shape, "full", dtype="fp32") for shape in shapes}
rows = [
    [s.name, f"{s.parameter_count:,}", gigabytes(p.total), p.headroom(24) >= 0] for s, p in full.items()
]
show_table(["model", "weights", "peak", "fits in 24 GB"], rows)
reveal("largest-that-fits", max(s.parameter_count for s in full if full[s].headroom(24) >= 0) / 1e9)

# %% [markdown]
# ## How many GPUs?
#
# GPUs for data centers have 80 GB and more, and one costs about as much as a car. Suppose that the work could be divided
# evenly among several.

# %%
predict("gpus-for-70b")

# %% tags=["claim:full-needs-fleet"]
names = {"llama-2-7b": "7B", "llama-2-13b": "13B", "llama-2-70b": "70B", "gpt3-175b": "175B"}
gpus = {size: plan_memory(name, "full", dtype="fp32").cards(80) for name, size in names.items()}
in_16_bits = {size: plan_memory(name, "full", dtype="bf16").cards(80) for name, size in names.items()}
rows = [[size, gpus[size], in_16_bits[size]] for size in gpus]
show_table(["", "GPUs with 80 GB", "all in 16 bits"], rows)
reveal("gpus-for-70b", gpus["70B"])

# %% [markdown]
# **What we saw.** Full fine-tuning changes every weight and keeps 16 bytes for each. For large models that takes several big
# GPUs, and these counts are lower bounds: nothing divides quite evenly, and longer texts need more.
#
# **Where this stops being true.** The last column stores all four numbers in 16 bits instead of 32. That halves the memory,
# and **the result is less alarming than the textbook's "many high-end GPUs"**: stored this way, the smallest of these models
# fits on one. The price is that small updates get lost in rounding. The usual compromise keeps 32-bit copies of the weights
# and averages, and so comes back to 16 bytes. Other optimizers remember less than Adam. Even so, the larger models still
# need several GPUs.
#
# Every number moved, and yet the change was small. Do we really need the freedom to change all of them? That is the subject
# of [page 02](02_change_only_a_little.ipynb).
#
# ## Exercises
#
# In [`exercises/06_modest_hardware.ipynb`](../exercises/06_modest_hardware.ipynb):
#
# * `training-memory`: write this page's sum as a function (10 minutes). Frozen weights come on page 03; in full fine-tuning
#   there are none.
# * `full-against-lora`: the comparison for a large model, with numbers generated for you (20 minutes; read page 02 first).
