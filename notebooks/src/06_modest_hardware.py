# %% [markdown]
# # 06 · The payoff: fine-tuning on modest hardware
#
# **After this page you can** say which models you can fine-tune on which GPU and by which means, work the memory out by
# hand, and turn the four knobs that decide it. **Time:** 15 minutes; no cell takes longer than half a minute.
#
# A model of 8 billion weights was fine-tuned on a GPU that was allowed to use 24 GB, as much as a good gaming PC has. It
# used less than a third of that. Full fine-tuning of the same model ran out of memory with 80 GB.
#
# Did anyone have to try? `plan_memory` adds up bytes from the shape of a model alone. Before we trust it, we hold it against
# runs that were recorded on a real GPU (an H200).

# %%
from minilora.lesson import *

# %%
predict("plan-error")

# %%
errors = show_recorded(run for run in RECORDED if run.source == "ours")
reveal("plan-error", 100 * max(map(abs, errors)))

# %% [markdown]
# You can decide by such a plan. **Where it goes wrong:** other programs keep other things (copies, caches, logs), the
# driver takes about half a gigabyte for itself, and fragmentation leaves some memory unusable. Leave a gigabyte or two
# free.
#
# ## Once by hand
#
# Most of a plan fits on the back of an envelope. In full fine-tuning, nothing is frozen. Each trained weight takes 4 bytes,
# its [gradient](../docs/glossary.md#gradient) 4 more, and [Adam](../docs/glossary.md#adam) keeps two numbers of 4 bytes. A
# frozen weight takes its bits, and 8 bits are a byte. One line is missing. Stuck? Run `hint("training-memory")`.


# %%
def training_memory(frozen, trained, frozen_bits):
    weights = frozen * frozen_bits / 8 + trained * 4
    gradients = trained * 4
    optimizer = ...  # bytes for all trained weights
    total = weights + gradients + optimizer
    return {"weights": weights, "gradients": gradients, "optimizer": optimizer, "total": total}


check("training-memory", training_memory)

# %%
by_hand = mine_or("training-memory", training_memory)
weights = MODELS["llama-3.1-8b"].parameter_count
adapters = plan_memory("llama-3.1-8b", "lora", target_modules="all-linear").trained
for name, numbers in {"full": (0, weights, 32), "QLoRA": (weights, adapters, 4.127)}.items():
    print(f"{name}: {gigabytes(by_hand(*numbers)['total'])}")

# %% [markdown]
# What the envelope leaves out: the [activations](../docs/glossary.md#activations), and with QLoRA the embeddings and the
# output layer, which stay in 16 bits.
#
# **16 bytes for each trained weight** is this course's convention for full fine-tuning. You get it in two ways: everything
# in 32 bits, as on page 01, or [mixed precision](../docs/glossary.md#mixed-precision), with weights and gradients in 16 bits
# and a 32-bit copy in the optimizer. The recorded run that stored *everything* in 16 bits took half of it, but small updates
# get lost that way.
#
# ## The ladder
#
# Five models, from a small one to a very large one, on GPUs with 24 GB. Full fine-tuning is in mixed precision. Each step
# reads one row of 512 tokens.

# %%
predict("gpus-for-8b")

# %% tags=["claim:payoff-ladder"]
names = ("llama-3.2-1b", "llama-3.1-8b", "llama-2-13b", "llama-33b", "llama-3.1-70b")
how = {"target_modules": "all-linear", "gradient_checkpointing": True, "double_quant": True}
how["optimizer"] = "adamw-master"  # mixed precision; adapters and their optimizer are in 32 bits anyway
methods = ("full", "lora", "qlora")
gpus = {}
for name in names:
    gpus[name] = {method: plan_memory(name, method, **how).cards(24) for method in methods}
display(gpu_ladder(gpus, 24))
reveal("gpus-for-8b", gpus["llama-3.1-8b"]["full"])

# %% [markdown]
# LoRA removes most of the GPUs, and QLoRA most of the rest.
#
# ## What fits on one GPU?

# %%
predict("largest-with-qlora")

# %% tags=["claim:single-gpu"]
by_size = sorted(MODELS.values(), key=lambda shape: shape.parameter_count)
largest = {}
for method in methods:
    largest[method] = [s for s in by_size if plan_memory(s, method, **how).headroom(24) >= 0][-1]
rows = [[method, shape.name, f"{shape.parameter_count:,}"] for method, shape in largest.items()]
show_table(["", "largest that fits in 24 GB", "weights"], rows)
others = show_recorded(run for run in RECORDED if run.source == "torchtune")
reveal("largest-with-qlora", largest["qlora"].parameter_count / 1e9)

# %% [markdown]
# A model of this size on a single gaming GPU is one of the results that made QLoRA famous. (The second table compares our plans
# with peaks that the authors of torchtune published. They do not state how much text a step read, so the plans are off by
# more here.)
#
# **Where the short version does not hold.** "QLoRA needs one affordable GPU" is true up to a certain size. The 70-billion
# model needs more than one of these even in four bits, because four bits are still half a byte. It would fit on one GPU with
# 48 GB, which a small team can rent by the hour. And at the small end the ladder is flat: where LoRA fits already, QLoRA
# saves no GPU and costs time.
#
# ## The four knobs

# %%
predict("batch-on-24")

# %% [markdown]
# Find it in the explorable: move **Batch size** until QLoRA no longer fits. Then turn **Gradient checkpointing** on. The
# black mark in each bar is the peak.

# %%
memory_explorer("llama-3.1-8b")

# %%
fitting, sizes = {}, (1, 2, 4, 8, 16, 32, 64)
for checkpointing in (False, True):
    setting = how | {"gradient_checkpointing": checkpointing}
    plans = {n: plan_memory("llama-3.1-8b", "qlora", batch_size=n, **setting) for n in sizes}
    fitting[checkpointing] = max(n for n, plan in plans.items() if plan.headroom(24) >= 0)
print("with checkpointing:", fitting[True])
reveal("batch-on-24", fitting[False])

# %% [markdown]
# So the method alone does not decide. Four knobs do:
#
# 1. **what trains, and how the rest is stored:** full, LoRA, QLoRA;
# 2. **the [batch size](../docs/glossary.md#batch):** activations grow with every row;
# 3. **the sequence length:** likewise;
# 4. **[gradient checkpointing](../docs/glossary.md#gradient-checkpointing):** keep only a few of the activations, and compute
#    the others a second time when they are needed.
#
# ## Smaller parts, the same training
#
# Does a smaller batch change the training? Not necessarily. [Gradient
# accumulation](../docs/glossary.md#gradient-accumulation) computes a batch in parts, adds up the gradients, and updates once.

# %%
predict("in-parts")

# %%
tokenizer = GPT.from_pretrained("tiny-gpt").tokenizer
train_data = encode_text(style_corpus("legal", documents=60), tokenizer, sequence_length=64)
losses, training = {}, {"max_steps": 4, "batch_size": 16}
for parts in (1, 4):
    torch.manual_seed(0)
    model = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules="all-linear"))
    trainer = Trainer(model, train_data, gradient_accumulation_steps=parts, **training)
    losses[parts] = trainer.train().losses
difference = max(abs(a - b) for a, b in zip(losses[1], losses[4], strict=True))
print(f"largest difference of the losses: {difference:.0e}")
reveal("in-parts", "equal but for rounding" if difference < 1e-3 else "clearly different")

# %% [markdown]
# The training is the same, and only a quarter of the activations exist at any time. On a large GPU, small parts leave some
# of its speed unused.
#
# ## Computing twice instead of keeping

# %%
predict("checkpointing-saves")

# %%
saved, slower = with_and_without_checkpointing(model, train_data, batch_size=8, sequence_length=64)
print(f"a step takes {slower:.2f} times as long")
reveal("checkpointing-saves", 100 * saved)

# %% [markdown]
# A LoRA step goes through the model about twice, forward and back, and checkpointing adds one more forward pass, so a
# step can take up to 1.5 times as long. What it saves depends on the model. A small model with a very large vocabulary gains less,
# because the scores for the next token are not part of any block.
#
# ## A way to fit
#
# All of this in one small program. It tries the options from fastest to slowest and stops at the first that fits.


# %%
def way_to_fit(model, gpu):
    for method in methods:
        for batch_size, checkpointing in ((8, False), (8, True), (1, True)):
            setting = how | {"gradient_checkpointing": checkpointing, "batch_size": batch_size}
            if plan_memory(model, method, **setting).headroom(gpu) >= 0:
                return f"{method}, batch {batch_size}{', checkpointing' * checkpointing}"
    return "no way on one GPU"


rows = [[n, *(way_to_fit(n, gpu) for gpu in (8, 24, 80))] for n in names]
show_table(["", "8 GB", "24 GB", "80 GB"], rows)

# %% [markdown]
# **What we saw.** Between the models that need none of this and those that are out of reach lies what most people use, and
# there LoRA and QLoRA turn a "no" into a "yes, tonight".
#
# **Where this stops being true.** All plans are for our program. Optimizers that store less move full fine-tuning down the
# ladder by a step or two: try *8-bit AdamW* in the explorable. Dividing one model among several GPUs costs extra memory on
# each. And memory says nothing about *time*: a model that fits may still need days.
#
# ## Your turn
#
# * Add `"sequence_length": 2048` to `setting` in `way_to_fit`. Which answers change?
# * In a terminal, `minilora plan --help` shows the same planner.
# * In [`exercises/06_modest_hardware.ipynb`](../exercises/06_modest_hardware.ipynb): `training-memory` (done, if you did it
#   above) and `full-against-lora` (30 minutes), the comparison for a large model with numbers of your own.
#
# Next: [07 Swappable adapters](07_swappable_adapters.ipynb).
