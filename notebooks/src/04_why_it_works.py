# %% [markdown]
# # 04 · Why it works
#
# **After this page you can** say what "low rank" means, look for it in a real weight change, choose a rank by
# measuring, and name three things that LoRA saves. **Time:** 20 minutes, one or two of them waiting.
#
# Here is a table that you have known since elementary school:

# %%
from minilora.lesson import *

row, column = np.arange(1, 11), np.arange(1, 11)
print(np.outer(column, row))

# %%
predict("times-table")

# %%
rank = np.linalg.matrix_rank(np.outer(column, row))  # how many rows it takes
reveal("times-table", "one" if rank == 1 else "all ten")

# %% [markdown]
# A hundred numbers, but ten for the row and ten for the column say it all. A table made of *one* stretched row has
# [rank](../docs/glossary.md#rank) 1. Add a second row, stretched in its own way, and the rank is 2:

# %%
second = np.outer(column % 3, row**2)
print("two rows, stretched and added: rank", np.linalg.matrix_rank(np.outer(column, row) + second))

# %% [markdown]
# However large the table, r rows and r columns are enough for rank r. They are LoRA's A (the rows) and B (the columns),
# and the sum is their product B·A.
#
# ## What fine-tuning really changes
#
# The hope behind LoRA is that fine-tuning changes the weights by something of low rank. We can check. So we fine-tune
# *fully*, with every weight free to move, and subtract the old weights from the new ones.

# %%
base, full = GPT.from_pretrained("tiny-gpt"), GPT.from_pretrained("tiny-gpt")
train_data = encode_text(style_corpus("legal", documents=240), base.tokenizer, sequence_length=64)
held_out = encode_text(style_corpus("legal", "validation", documents=8), base.tokenizer, 64)
training = {"max_steps": 32, "batch_size": 8, "validation_data": held_out}
history = Trainer(full, train_data, learning_rate=1e-3, **training).train()
changes = weight_changes(base, full)
losses = {"base": history.validation_losses[0], "full": history.validation_losses[-1]}

# %%
predict("eight-patterns")

# %% [markdown]
# Here is one layer's real change. On the right you see the 24 rows and columns that changed most. **Move the
# slider**: each step adds one more row, stretched over the table by a column of its own.

# %%
change = changes["model.layers.4.self_attn.q_proj.weight"]
pattern_builder(change)

# %% [markdown]
# "How much" is measured by *energy*, the sum of all squared numbers. (The routine that finds the patterns, strongest
# first, is called singular value decomposition.) Even a table of random numbers has some patterns that are a little
# stronger than others, so we compare with random tables of the same shapes, layer by layer.

# %% tags=["claim:update-low-rank"]
print("taking", 2 * len(changes), "tables apart ...")
held = {name: share_held(table, 8) for name, table in changes.items()}
chance = {name: share_held(random_like(table), 8) for name, table in changes.items()}
ahead = sum(held[name] > chance[name] for name in changes)
ratios = sorted(held[name] / chance[name] for name in changes)
print(f"{ahead} of {len(changes)} layers are ahead of chance,", end=" ")
print(f"{ratios[0]:.1f} to {ratios[-1]:.1f} times its share")
reveal("eight-patterns", 100 * share_held(change, 8))

# %% [markdown]
# **More than chance, but far from all.** Textbooks often say that the change simply *is* of low rank. In our model it
# is not: it leans on a few strong patterns and has a long, weak tail.
#
# ## Does the tail matter?
#
# Energy counts numbers. What we care about is what the model does. So we cut every layer's change: we keep the
# strongest patterns, throw the rest away, add what we *kept* to the old weights, and measure the
# [loss](../docs/glossary.md#loss). For comparison, we also keep equally many random patterns.

# %%
predict("cut-to-16")

# %%
kept = keep_strongest(base, full, held_out, ranks=[4, 16, 64])
rows = [[r, f"{k.energy:.0%}", f"{k.gain:.0%}", f"{k.by_chance:.0%}"] for r, k in kept.items()]
show_table(["rank", "energy kept", "gain kept", "with random patterns"], rows)
reveal("cut-to-16", 100 * kept[16].gain)

# %% [markdown]
# This is the good news. The strong patterns are the useful ones: they keep more of the gain than of
# the energy, and more than as many random patterns do. The tail is not pure noise either: the last part of the gain
# is there.
#
# ## How many patterns are enough?
#
# LoRA does not cut afterwards. It allows only r patterns *from the start*, and training makes the best of them.

# %%
predict("rank-four")

# %%
adapted = {}
for r in (1, 4, 16):
    torch.manual_seed(0)
    config = LoraConfig(r=r, lora_alpha=r, target_modules="all-linear")
    adapted[r] = add_lora(GPT.from_pretrained("tiny-gpt"), config)
    print("rank", r)
    history = Trainer(adapted[r], train_data, learning_rate=1e-2, **training).train()
    losses[r] = history.validation_losses[-1]

# %% tags=["claim:rank-enough"]
reached = {r: (losses["base"] - losses[r]) / (losses["base"] - losses["full"]) for r in adapted}
rows = [[r, f"{losses[r]:.2f}", f"{share:.0%}"] for r, share in reached.items()]
show_table(["rank", "held-out loss", "share of full fine-tuning's gain"], rows)
reveal("rank-four", 100 * reached[4])

# %% [markdown]
# Now all of it in one picture. The bars are the strengths of the patterns (their *singular values*); the dashed line
# is a random table with the same energy. It starts below the bars and ends above them: random numbers spread their
# energy evenly.

# %%
tables = {"the change": change, "a random matrix": random_like(change)}
spectra = {name: torch.linalg.svdvals(table).tolist() for name, table in tables.items()}
rank_explorer(spectra, losses)

# %% [markdown]
# **Choose a rank by measuring.** Write the function that finds the smallest rank that holds a wanted share of the
# energy.


# %%
def choose_rank(singular_values, share):
    energy = np.cumsum(singular_values**2)  # of the first pattern, of the first two, ...
    return ...  # the smallest rank whose energy is at least share * energy[-1]


check("choose-rank", choose_rank)

# %%
smallest = mine_or("choose-rank", choose_rank)
for share in (0.25, 0.5, 0.9):
    print(f"{share:.0%} of the energy needs rank", smallest(np.array(spectra["the change"]), share))

# %% [markdown]
# **Where this stops being true.** A bigger leap (another language, facts to memorize) needs more patterns; [page
# 09](09_when_to_use_what.ipynb) looks for that wall. Each rank also has a [learning
# rate](../docs/glossary.md#learning-rate) that suits it, and ours is high: in such a short run, rank 16 can end behind
# rank 4. Try `learning_rate=5e-3`.
#
# ## Three savings that follow
#
# **First, memory while training.** A trained weight needs its gradient and two averages in the optimizer (page 01). A
# frozen one does not.

# %%
predict("memory-of-lora")

# %% tags=["claim:tiny-to-train"]
lora = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=4, target_modules="all-linear"))
models = {"full": GPT.from_pretrained("tiny-gpt"), "LoRA": lora}
needs = {name: measure_memory(each, batch_size=1, sequence_length=64) for name, each in models.items()}
weights = needs["full"].parts["weights"]
on_top = {name: need.peak - weights for name, need in needs.items()}
rows = [[name, *map(gigabytes, (weights, on_top[name], need.peak))] for name, need in needs.items()]
show_table(["", "the model", "on top of it", "peak"], rows)
print(f"what lies on top of the model shrank to {on_top['LoRA'] / on_top['full']:.0%}")
reveal("memory-of-lora", 100 * needs["LoRA"].peak / needs["full"].peak)

# %% [markdown]
# The frozen model still has to be there, and so do the activations that the forward pass keeps. With long texts those
# outgrow everything else, for LoRA too. [Page 05](05_qlora.ipynb) shrinks the frozen model, page 06 the activations.
#
# **Second, disk space.** We save both, and plan the same for a Llama of 8 billion weights.

# %% tags=["claim:tiny-to-store"]
sizes = saved_sizes(adapted[4], full)
planned = {method: plan_memory("llama-3.1-8b", method).file_bytes for method in ("lora", "full")}
times = sizes["full"] / sizes["lora"]
rows = [[f"tiny-gpt, 1 to {times:.0f}", *map(gigabytes, sizes.values())]]
rows += [[f"Llama, 1 to {planned['full'] / planned['lora']:.0f}", *map(gigabytes, planned.values())]]
show_table(["", "adapter", "whole model"], rows)

# %% [markdown]
# **Third, the original is still there.**

# %%
predict("fall-back")

# %% tags=["claim:base-preserved"]
ids = held_out.input_ids[:4]
with torch.no_grad():
    untouched, with_adapter = base(ids), adapted[4](ids)
    with adapted[4].disable_adapter():
        without = adapted[4](ids)
print(f"the adapter moves scores by up to {(with_adapter - untouched).abs().max():.0f}")
reveal("fall-back", "the same to the last bit" if without.equal(untouched) else "to about six digits")

# %% [markdown]
# **What we saw.** Fine-tuning's change leans on few patterns, and these do most of the work. So two thin matrices are
# enough for most of the gain; they save memory and disk space, and nothing is lost.
#
# ## Your turn
#
# * Replace `"legal"` with `"code"` or `"support"` above, and run all cells. Is that change of lower rank?
# * Look at another layer, such as `model.layers.0.mlp.down_proj.weight`. Which kind leans most on few patterns?
# * Hand in `choose-rank` (20 minutes) in [`exercises/04_why_it_works.ipynb`](../exercises/04_why_it_works.ipynb).
#
# Next: [05 QLoRA](05_qlora.ipynb), where the frozen model goes on a diet.
