# %% [markdown]
# # 06 · The payoff: fine-tuning on modest hardware
#
# **After this page you can** say which models you can fine-tune on which card, and by which means; turn the four screws that
# decide it, in the right order; and trust a plan because you have held it against a measurement. **Time:** 15 minutes;
# no cell takes longer than half a minute.
#
# The pages before took memory away piece by piece: page 03 the bookkeeping, page 05 most of the frozen model. Here we draw up
# the balance.

# %%
print("Loading PyTorch (some seconds) ...")
import time

import torch

from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, quantize_model, style_corpus
from minilora.memory.catalog import DEVICES, MODELS
from minilora.figures.charts import payoff_ladder
from minilora.figures.passage import Passage
from minilora.figures.tables import Table
from minilora.memory import gigabytes, measure_memory, plan_memory
from minilora.widgets import memory_explorer

print("Ready.")

# %% [markdown]
# ## Can we believe a plan?
#
# Nobody can measure a training on hardware that they do not have. So this page asks a planner, `plan_memory`, which adds up
# bytes from the shape of a model. First we hold it against reality, where we have one: the tiny model on this very machine.
#
# **Predict:** by how much will plan and measurement differ? By half, by a tenth, by a hundredth?


# %% tags=["nbval-ignore-output"]
def tiny(method):
    """The tiny model, made ready for a method."""
    model = GPT.from_pretrained("tiny-gpt")
    if method == "qlora":
        model, _ = quantize_model(model, double_quant=True)
    return model if method == "full" else add_lora(model, LoraConfig(r=8, target_modules="all-linear"))


print("taking two real steps with each method, 8 rows of 64 tokens; counting all tensors ...")
settings = {"target_modules": "all-linear", "double_quant": True, "dtype": "fp32"}
rows = []
for method in ("full", "lora", "qlora"):
    measured = measure_memory(tiny(method), batch_size=8, sequence_length=64)
    plan = plan_memory("tiny-gpt", method, batch_size=8, sequence_length=64, **settings)
    on_cpu = plan.total - plan.parts["workspace"].bytes  # room that only a GPU's library sets aside
    apart = on_cpu / measured.peak - 1
    rows.append([method, gigabytes(on_cpu), gigabytes(measured.peak), f"{apart:+.1%}"])
    assert abs(apart) < 0.25
Table(["", "planned", "measured", "apart"], rows)

# %% [markdown]
# Near enough to decide by. The plan is made for a GPU, and on a processor the attention keeps a little less than planned. **Where a plan goes wrong:** other programs keep other things (copies, caches, logs of the attention), the
# driver of a card takes about half a gigabyte for itself, and memory in many small pieces cannot be filled to the brim. Leave
# a gigabyte or two free.
#
# ## The ladder
#
# Now the question of the chapter. Four well-known models, from a small one to a very large one; cards of 24 GB, of
# which a good gaming computer holds one. Full fine-tuning is done the usual way, "mixed precision": weights and gradients in
# 16 bits, and beside them the optimizer's averages and a finer copy of the weights. The text is one row of 512 tokens.
#
# **Predict:** how many cards for 8 billion weights, with each method? And for 70 billion?

# %% tags=["claim:payoff-ladder"]
names = ("llama-3.2-1b", "llama-3.1-8b", "llama-2-13b", "llama-3.1-70b")
how = {"target_modules": "all-linear", "gradient_checkpointing": True, "double_quant": True}
methods = {
    "full": {"method": "full", "optimizer": "adamw-master"},
    "LoRA": {"method": "lora"},
    "QLoRA": {"method": "qlora"},
}
cards, rows = {}, []
for name in names:
    plans = {method: plan_memory(name, **choice, **how) for method, choice in methods.items()}
    cards[name] = {method: plan.cards(24) for method, plan in plans.items()}
    rows.append([name, *(f"{gigabytes(plan.total)} on {plan.cards(24)}" for plan in plans.values())])
display(Table(["memory, and cards of 24 GB", *methods], rows))

for name in names:
    assert cards[name]["full"] >= cards[name]["LoRA"] >= cards[name]["QLoRA"]
assert cards["llama-3.1-8b"]["QLoRA"] == 1
assert cards["llama-3.1-8b"]["full"] >= 4
assert cards["llama-2-13b"]["full"] > cards["llama-2-13b"]["LoRA"] > cards["llama-2-13b"]["QLoRA"] == 1
assert cards["llama-3.1-70b"]["full"] > 5 * cards["llama-3.1-70b"]["LoRA"]

# %%
of_8b, of_70b = cards["llama-3.1-8b"], cards["llama-3.1-70b"]
payoff_ladder(
    cards,
    "24 GB each",
    title=f"8 billion weights: from {of_8b['full']} cards to {of_8b['QLoRA']}; 70 billion: from "
    f"{of_70b['full']} to {of_70b['QLoRA']}",
)

# %% [markdown]
# **What we saw.** Full fine-tuning of the larger models asks for a machine room. LoRA takes most of the cards away, QLoRA most
# of the rest. Up to 13 billion weights, one gaming card is enough.
#
# **Where the textbook's short version does not hold.** "QLoRA needs one affordable card" is a sentence about models of a
# certain size. The largest row needs more than one card of this kind even in four bits, for four bits are still half a
# byte, times 70 billion. And at the small end the ladder is flat: where LoRA fits already, QLoRA saves no card and costs
# time. The next cell says what the largest one would need instead.

# %%
needed = plan_memory("llama-3.1-70b", "qlora", **how)
rooms = {device.name: needed.headroom(device.gigabytes) for device in DEVICES.values() if device.has_gpu}
rows = [[name, f"{abs(room):.1f} GB {'free' if room > 0 else 'missing'}"] for name, room in rooms.items()]
assert needed.cards(24) > 1
assert needed.cards(48) == 1
Table(["card", "room"], rows)

# %% [markdown]
# A single card with 48 GB will do: not a gamer's, but one that a small team can rent by the hour.
#
# ## The screws, by hand
#
# Find with the explorable: **how many rows at a time** can you train on 24 GB with QLoRA at 512 tokens each, without
# checkpointing? And with? (Model `llama-3.1-8b`. Guess first.)

# %%
explorer = memory_explorer("llama-3.1-8b")
explorer

# %%
largest = {}
for checkpointing in (False, True):
    explorer.gradient_checkpointing.value = checkpointing
    fitting = []
    for rows in (1, 2, 4, 8, 16, 32, 64):
        explorer.batch_size.value = rows  # as if moved by hand
        if explorer.plans()["qlora"].headroom(24) > 1:
            fitting.append(rows)
    largest[checkpointing] = fitting[-1]
    print(f"checkpointing {'on: ' if checkpointing else 'off:'} up to {fitting[-1]} rows at a time")
display(Passage(explorer.sentence))
assert largest[True] > largest[False]

# %% [markdown]
# So the method alone does not decide. Four screws do:
#
# 1. **what trains** and how the rest is stored: full, LoRA, QLoRA;
# 2. **rows at a time**: the notes of the forward pass grow with each row;
# 3. **length of a row**: likewise;
# 4. **checkpointing**: keep only a few of the notes, and compute the others again when they are needed.
#
# ## Rows at a time, without changing the training
#
# Does a smaller batch make another training? It need not. A step may take its rows in parts, add up the gradients, and move
# the weights once. Only memory sees the parts.
#
# **Predict:** 16 rows at once, or four times 4 rows with one update: will the losses be alike, or equal to the fourth
# decimal? And what happens to the memory of the forward pass?

# %% tags=["nbval-ignore-output"]
train_data = encode_text(
    style_corpus("legal", documents=60), GPT.from_pretrained("tiny-gpt").tokenizer, sequence_length=64
)
losses, kept = {}, {}
for parts in (1, 4):
    torch.manual_seed(0)
    model = tiny("lora")
    trainer = Trainer(model, train_data, max_steps=8, batch_size=16, gradient_accumulation_steps=parts)
    losses[parts] = trainer.train().losses
    kept[parts] = measure_memory(model, batch_size=16 // parts, sequence_length=64).kept_by_forward
    print(
        f"16 rows in {parts} part(s): last loss {losses[parts][-1]:.5f}, kept by forward "
        f"{gigabytes(kept[parts])}"
    )
largest_difference = max(abs(a - b) for a, b in zip(losses[1], losses[4], strict=True))
print(f"largest difference of a loss in all 8 steps: {largest_difference:.6f}")
assert largest_difference < 1e-3
assert kept[4] < 0.3 * kept[1]

# %% [markdown]
# The same training, up to rounding, with a quarter of the notes. This screw costs next to nothing on a CPU; on a large GPU
# small parts leave some of its power unused.
#
# ## Computing again instead of keeping
#
# **Predict:** checkpointing keeps only what enters each block. The rest is computed a second time on the way back. How much
# memory does that save here, and how much time does it cost: a tenth, a third, or as much again?

# %% tags=["nbval-ignore-output"]
kept, seconds = {}, {False: [], True: []}
print("8 rows of 64 tokens; steps with and without, in turn ...")
model = tiny("lora")
for checkpointing in (False, True):
    kept[checkpointing] = measure_memory(model, 8, 64, checkpointing).kept_by_forward
for _ in range(6):  # in turn, so that whatever else this machine does disturbs both alike
    for checkpointing, times in seconds.items():
        trainer = Trainer(
            model, train_data, max_steps=1, batch_size=8, progress=False,
            gradient_checkpointing=checkpointing,
        )
        # time that this process works; what other programs take does not count
        start = time.process_time()
        trainer.train()
        times.append(time.process_time() - start)
saved = 1 - kept[True] / kept[False]
slower = min(seconds[True]) / min(seconds[False])
print(
    f"kept by the forward pass: {gigabytes(kept[False])} without, {gigabytes(kept[True])} with: "
    f"{saved:.0%} less"
)
print(f"processor time of a step, the best of 6: {slower:.2f} times")
assert saved > 0.5

# %% [markdown]
# Arithmetic says: LoRA's training goes through the model about twice, once forward and once back, and checkpointing adds one
# more forward pass. So expect up to half as much time again. What it buys depends on the model. In ours nearly all notes lie in
# the blocks, so nearly all of them go; the scores for the next word, which checkpointing does not touch, are few. A small
# model with a very large vocabulary gains less.
#
# ## A way through, for any model and any card
#
# All this as a little program. It tries the means from the cheapest for your patience to the dearest, and stops at the first
# that fits with a gigabyte to spare.
#
# **Predict:** by which means does a model of 8 billion weights fit on 24 GB? And is there one of the four that no means bring
# onto a card of 8 GB?


# %%
def way_to_fit(model, gigabytes_of_card):
    """The first combination that fits, in words, or None; 8 rows of 512 tokens make one update."""
    for method in ("full", "lora", "qlora"):
        for rows, checkpointing in ((8, False), (8, True), (1, True)):
            optimizer = "adamw-master" if method == "full" else "adamw"
            # fmt: skip
            plan = plan_memory(
                model, method, target_modules="all-linear", batch_size=rows, optimizer=optimizer,
                gradient_checkpointing=checkpointing, double_quant=True,
            )
            if plan.headroom(gigabytes_of_card) > 1:
                extras = [f"{rows} row(s) at a time"] + ["checkpointing"] * checkpointing
                return f"{method}, {', '.join(extras)} ({gigabytes(plan.total)})"
    return None


found, rows = {}, []
for card in (8, 24, 80):
    for name in ("smollm2-135m", "llama-3.2-1b", "llama-3.1-8b", "llama-3.1-70b"):
        found[name, card] = way_to_fit(name, card)
        rows.append([f"{card} GB", name, found[name, card] or "no way on one such card"])
display(Table(["card", "model", "first way that fits"], rows, names=3))
assert found["smollm2-135m", 8].startswith("full")
assert found["llama-3.1-8b", 24].startswith(("lora", "qlora"))
assert found["llama-3.1-70b", 24] is None
assert found["llama-3.1-70b", 80].startswith("qlora")

# %% [markdown]
# **What we saw.** The small model needs none of this. The large one is out of reach on the small cards, and QLoRA brings it onto a
# single large one. In between lies what most people use, and there LoRA and QLoRA make the difference between "no" and
# "yes, tonight".
#
# **When it would be otherwise.** All figures are for training on one row length, in our program. Thrifty optimizers (8-bit
# averages, or none at all) move full fine-tuning down the ladder by a step or two; sharing one model among several cards
# costs extra memory on each of them; and memory says nothing about *time*: a model that fits may still need days.
#
# ## Your turn
#
# * Change `way_to_fit` to rows of 4096 tokens (`sequence_length=4096`). Which answers change?
# * In a terminal, `minilora plan --help` shows the same planner for a script.
# * In [`exercises/06_modest_hardware.ipynb`](../exercises/06_modest_hardware.ipynb): `training-memory` (10 minutes), where you
#   write the sum that the planner makes, and `full-against-lora`, the comparison for a large model in your own numbers.
#
# Next: [07 Swappable adapters](07_swappable_adapters.ipynb).
