# %% [markdown]
# # 03 · LoRA: a thin sheet laid over each layer
#
# **After this page you can** draw the two matrices that LoRA adds to a layer, write its forward pass in one line, say
# why one of the two starts at zero, and check, bit by bit, what training has changed. **Time:** 20 minutes.
#
# A printed piano score cannot be changed. A pianist who wants to play it differently lays a transparent sheet over
# each page and writes on the sheet. What you hear is print and sheet together; lift the sheet, and the score is as it
# was. LoRA (*low-rank adaptation*) lays such sheets over the layers of a model, and needs surprisingly little ink.

# %%
from minilora.lesson import *

# %% [markdown]
# Let us train a small adapter on contracts, so that we have one to look into. (What `fingerprints` is for comes
# later.)

# %%
torch.manual_seed(0)
base = GPT.from_pretrained("tiny-gpt")
train_data = encode_text(style_corpus("legal", documents=64), base.tokenizer, sequence_length=64)
model = add_lora(base, LoraConfig(r=8, lora_alpha=16, target_modules=["attention"]))
before = fingerprints(model)
trainer = Trainer(model, train_data, max_steps=20, batch_size=8, learning_rate=1e-2)
trainer.train()

# %% [markdown]
# Now the model reads four words, and we watch a single layer while it handles the last of them, *pay*.

# %%
layer = look_into(model, "model.layers.4.self_attn.q_proj", "The Buyer shall pay")
layer_flow(layer)

# %% [markdown]
# Nothing in this picture is made up. The layer belongs to the fifth block's
# [attention](../docs/glossary.md#attention). Most weights of a language model sit in such [linear
# layers](../docs/glossary.md#linear-layer): a table of numbers, **W**, turns a list **x** into another list. Each
# number out is a weighted sum of all the numbers in, with one row of W as the weights.
#
# LoRA leaves W alone and opens a second path below it. **A** squeezes x down to `r` numbers, and **B** spreads them
# out again. What comes out is multiplied by a fixed factor, the *scaling*, and added. The width of the bottleneck,
# `r`, is called the [rank](../docs/glossary.md#rank); here it is 8.

# %%
predict("two-thin-matrices")

# %% [markdown]
# ## Write the forward pass
#
# Your turn: the second path is the one line that makes a layer a LoRA layer. `x` holds one row per
# [token](../docs/glossary.md#token), and `x @ W.T` is the first path. The scaling is `alpha / r`. Stuck? Press the
# *Hint* button under your answer.


# %%
def lora_forward(x, W, A, B, alpha):
    r = A.shape[0]
    return x @ W.T + ...  # replace the dots: x through A, then through B, times alpha / r


check("lora-forward", lora_forward)

# %% [markdown]
# Does that line do what PyTorch did inside the model, for every word of the sentence?

# %% tags=["claim:two-small-matrices"]
forward = mine_or("lora-forward", lora_forward)
W, A, B = layer.W, layer.A, layer.B
y = forward(layer.x, W, A, B, layer.alpha)
difference = np.abs(y - layer.y).max()
print(f"largest difference from PyTorch's result: {difference:.0e}")
print(f"B·A is a table of {(B @ A).shape} again, but of rank {np.linalg.matrix_rank(B @ A)}")
reveal("two-thin-matrices", 100 * (A.size + B.size) / W.size)

# %% [markdown]
# (`1e-15` is a 1 in the fifteenth place after the decimal point: the two differ only in how they round.) Multiplying
# B by A gives a full-sized table, the update that the two thin ones stand for. LoRA never stores it.
#
# **Why the scaling?** `alpha` is a volume knob for the update. The division by `r` is there because a larger rank
# adds up more terms; with it, you can try another rank without tuning the volume again. So `r=8, lora_alpha=16` means
# a factor of 2.

# %%
for alpha in (8, 16, 32):
    size = np.abs(forward(layer.x, W, A, B, alpha) - layer.x @ W.T).mean()
    print(f"alpha {alpha}, factor {alpha / 8:g}: the update changes y by {size:.3f} on average")

# %% [markdown]
# ## Watch it learn

# %%
predict("first-mover")

# %% [markdown]
# Below is a layer so small that you can see every number. It has to learn the update on the left, by gradient descent
# on A and B. Move **Step** slowly, watch *learned* approach *update to learn*, and look at what has moved. Then try
# the other ranks: the update was made with rank 3. What is left with rank 1 and 2?

# %%
anatomy = lora_anatomy()
anatomy

# %% [markdown]
# And in the real model? We give it a fresh adapter, take one step, and ask which tensors are no longer what they
# were.

# %%
fresh = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules=["attention"]))
at_start = fingerprints(fresh)
Trainer(fresh, train_data, max_steps=1, batch_size=8, learning_rate=1e-2).train()
first = changed_tensors(at_start, fresh)
print(len(first), "tensors moved, such as", first[0])
reveal("first-mover", "only B" if all(".lora_B." in name for name in first) else "both")

# %% [markdown]
# **Why B goes first.** Training asks of each number: if you moved a little, would the
# [loss](../docs/glossary.md#loss) change? Whatever A does is multiplied by B. While B is zero, moving A changes
# nothing, so A gets no signal. B is multiplied by what comes out of A, which is not zero. So B moves, and from then
# on A can.
#
# <details><summary><b>For the curious: the whole backward pass, in five lines</b></summary>
#
# `grad_y` says how the loss reacts to each number in y. The line for `grad_A` contains `grad_low`, and that contains
# B.
#
# ```python
# low = x @ A.T  # (batch, r)
# grad_low = scaling * (grad_y @ B)  # (batch, r)
# grad_A = grad_low.T @ x  # (r, in)
# grad_B = scaling * (grad_y.T @ low)  # (out, r)
# grad_x = grad_y @ W + grad_low @ A  # (batch, in)
# ```
#
# Exercise `lora-gradients` is about these lines.
# </details>
#
# ## Why one of them starts at zero

# %%
predict("fresh-adapter")

# %% [markdown]
# We put adapters on every linear layer, train nothing, and compare all scores for the next token.

# %% tags=["claim:starts-identical"]
validation_data = encode_text(style_corpus("legal", "validation", documents=6), base.tokenizer, 64)
rows = validation_data.input_ids[:8]
with torch.no_grad():
    scores = GPT.from_pretrained("tiny-gpt")(rows)  # (rows, tokens, vocabulary)
    adapted = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules="all-linear"))
    difference = (adapted(rows) - scores).abs().max().item()
reveal("fresh-adapter", "different by rounding" if difference else "identical to the last bit")

# %% [markdown]
# B is zero, so the update is zero, and adding zero is exact. Training starts from the model as it is, not from a
# damaged one. Then why not set both to zero?

# %%
predict("both-zero")

# %%
stuck = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules=["attention"]))
for weight in stuck.trainable_parameters().values():
    torch.nn.init.zeros_(weight)
Trainer(stuck, train_data, max_steps=5, batch_size=8, learning_rate=1e-2).train()
largest = max(weight.abs().max().item() for weight in stuck.trainable_parameters().values())
print("largest number in any A or B after 5 steps:", largest)
reveal("both-zero", "more slowly" if largest else "not at all")

# %% [markdown]
# Each zero waits for the other, forever. One of the two has to be zero so that nothing changes at first, and one must
# not be, so that something can.
#
# ## What moved, and what did not
#
# Back to the adapter from the top of the page. A *fingerprint* is a checksum over every bit of a tensor, and we took
# one of each tensor before training.

# %%
predict("base-tensors")

# %% tags=["claim:adapters-few"]
trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
moved = changed_tensors(before, model)
remembered = sum(state["exp_avg"].numel() for state in trainer.optimizer.state.values())
print(model.trainable_parameter_count())
print(f"{len(trained)} tensors may change, {len(moved)} did, such as {moved[0]}")
print(f"numbers that the optimizer keeps its two averages for (page 01): {remembered:,}")

# %% tags=["claim:base-frozen"]
old = [name for name in before if ".lora_" not in name]
touched = [name for name in moved if name in old]
loss_after = evaluate(model, validation_data)
with model.disable_adapter():
    loss_before = evaluate(model, validation_data)
print(f"loss on held-out contracts: {loss_before:.2f} without the adapter, {loss_after:.2f} with it")
print(f"{len(old) - len(touched)} of {len(old)} original tensors are the same, bit for bit")
reveal("base-tensors", "only those beside an adapter" if touched else "none")

# %% [markdown]
# The model has learned, and not one bit of it has changed. All it learned is on the sheet.
#
# ## Two paths into one
#
# Two paths take more time than one. After training, B·A can be added into W once and for all; that is called
# *merging*.

# %%
with torch.no_grad():
    separate = model(rows)
    model.merge_adapter()
    print(f"merged, scores differ by at most {(model(rows) - separate).abs().max():.0e}")
    model.unmerge_adapter()
    print("the same bits after unmerging:", torch.equal(model(rows), separate))

# %% [markdown]
# Merged, the model has its old size and speed again. The scores are the same but for rounding: the sums are done in
# another order.
#
# **What we saw.** LoRA adds a second, thin path beside a frozen layer. Only A and B are trained, B starts at zero,
# and the old weights stay as they were, bit for bit.
#
# **Where this stops being true.** Programs that merge the update into W and keep no copy have lost the original. Ours
# keeps it. Other members of the family ([page 02](02_change_only_a_little.ipynb)) do change old weights: training
# only the norms, for example.
#
# Why can so thin an update be enough? That is [page 04](04_why_it_works.ipynb).
#
# ## Exercises
#
# [`exercises/03_lora.ipynb`](../exercises/03_lora.ipynb) builds this page from scratch: `what-lora-changes` (in your
# own words, 25 minutes), `init-adapter` (15), `lora-forward` (done, if you did it above), `freeze` (10),
# `lora-gradients` (40), `merge` (10) and `unmerge` (5).
