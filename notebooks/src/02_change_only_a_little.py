# %% [markdown]
# # 02 · The big idea: change only a little
#
# **After this page you can** count what LoRA trains in any model, explain why its share shrinks as models grow, and say what
# LoRA saves and what it does not. **Time:** 15 minutes, including one or two of waiting.
#
# Full fine-tuning moves every weight, and moves each only a little. So let us [freeze](../docs/glossary.md#freeze) them all,
# which means to use them without training them, and *add* a few new numbers that are trained instead. Methods that train
# only a little are called **parameter-efficient fine-tuning**, or PEFT; the best known of them is **LoRA**.

# %%
from minilora.lesson import *

# %% [markdown]
# ## Nothing selected, something added
#
# Most weights of a language model are in [linear layers](../docs/glossary.md#linear-layer): a matrix W that turns a list of
# `in` numbers into a list of `out` numbers. LoRA leaves W alone and adds two thin matrices. This is a real layer of our
# model and its two additions, drawn to scale:

# %%
base_model = GPT.from_pretrained("tiny-gpt")
layer_and_additions("q_proj", base_model.model.layers[0].self_attn.q_proj, r=8)

# %% [markdown]
# **A** takes the `in` numbers down to only `r`, and **B** brings those back up to `out`. The number `r` is the
# [rank](../docs/glossary.md#rank), which you choose. So A is as wide as the input and only `r` high, and B is as high as
# the output and only `r` wide. How they work together is the subject of page 03; here we only count.
#
# ## Write the rule
#
# Complete the marked line: how many numbers are in A and B together? The rest goes through a model's weights and picks the
# layers whose names are in `targets`.


# %%
def count_trainable(shapes, targets, r):
    trainable = frozen = 0
    for path, shape in shapes.items():
        frozen += int(np.prod(shape))
        if path.split(".")[-1] in targets:
            out_features, in_features = shape
            trainable += ...  # A is (r, in_features), B is (out_features, r): how many numbers in both?
    return trainable, frozen + trainable


check("count-trainable", count_trainable)

# %% [markdown]
# If you are stuck, press the *Hint* button under your answer. Now your rule counts our model, with rank 8 on the four
# linear layers of [attention](../docs/glossary.md#attention), and beside it LoRA itself counts what it has added:

# %%
count = mine_or("count-trainable", count_trainable)
shapes = {path.removesuffix(".weight"): w.shape for path, w in base_model.named_parameters()}
trainable, total = count(shapes, ["q_proj", "k_proj", "v_proj", "o_proj"], r=8)
print(f"your rule:   {trainable:,} trainable of {total:,}")

tiny = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules=["attention"]))
print("LoRA itself:", tiny.trainable_parameter_count())

# %% [markdown]
# ## Larger models
#
# That is more than one percent. The textbook says "often a fraction of a percent", about larger models.

# %%
predict("share-of-8b")

# %% [markdown]
# Explore it first, if you like. What happens to the share when you double the rank? When you switch to the smaller model?

# %%
parameter_explorer("SmolLM2-135M")

# %% tags=["claim:small-fraction"]
shares, rows = {}, []
names = ["tiny-gpt", "smollm2-135m", "smollm2-1.7b", "llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"]
for name in names:
    added, frozen = plan_memory(name, "lora", r=8).trained, MODELS[name].parameter_count
    shares[name] = added / (frozen + added)
    rows.append([name, f"{frozen:,}", f"{added:,}", f"{shares[name]:.3%}"])
show_table(["model", "frozen", "added and trained", "share"], rows)
reveal("share-of-8b", 100 * shares["llama-3.1-8b"])

# %% [markdown]
# The rule explains it. W has `in · out` numbers, and its additions have `r · (in + out)`. Make a layer twice as wide, and W
# grows to four times its size, but A and B only to twice theirs. **Where we differ from the textbook:** a model as small as
# ours stays above one percent.
#
# ## What does it buy, and what does it save?
#
# The same model, text, and number of steps: once with every weight trained, once with LoRA on all linear layers. Each has
# the [learning rate](../docs/glossary.md#learning-rate) that is usual for it.

# %%
predict("share-of-gain")

# %%
predict("share-of-time")

# %%
predict("share-of-memory")

# %%
train_data = encode_text(style_corpus("legal", documents=160), base_model.tokenizer, sequence_length=64)
held_out = encode_text(style_corpus("legal", "validation", documents=8), base_model.tokenizer, 64)
loss_base = evaluate(base_model, held_out)
results = {}


# %%
def experiment(name, model, learning_rate=None):
    print(name)
    trainer = Trainer(model, train_data, max_steps=40, learning_rate=learning_rate)
    seconds = min(trainer.train().seconds)  # of the fastest step, which other programs disturbed least
    trained = sum(weight.numel() for weight in trainer.parameters.values())
    share = trained / sum(weight.numel() for weight in model.parameters())
    memory = measure_memory(model, batch_size=1, sequence_length=64).peak
    loss = evaluate(model, held_out)
    results[name] = {"share": share, "loss": loss, "seconds": seconds, "memory": memory}


def with_lora(target_modules):
    torch.manual_seed(0)  # A starts at random
    return add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules=target_modules))


# %% tags=["claim:most-of-benefit"]
experiment("full", GPT.from_pretrained("tiny-gpt"))
experiment("LoRA, all layers", with_lora("all-linear"))
full, small = results["full"], results["LoRA, all layers"]


def gain(name):
    """How far the loss fell, as a share of its fall with full fine-tuning."""
    return (loss_base - results[name]["loss"]) / (loss_base - full["loss"])


# %%
after = {name: round(result["loss"], 2) for name, result in results.items()}
print(f"loss on held-out text in nats per token: {loss_base:.2f} before, then", after)
reveal("share-of-gain", 100 * gain("LoRA, all layers"))

# %% [markdown]
# A [nat](../docs/glossary.md#nats) is the unit of the loss.

# %%
reveal("share-of-time", 100 * small["seconds"] / full["seconds"])

# %%
print(f"peak: full {gigabytes(full['memory'])}, LoRA {gigabytes(small['memory'])}")
reveal("share-of-memory", 100 * small["memory"] / full["memory"])

# %% [markdown]
# **Time is not what LoRA saves.** Each step still runs the text through the whole frozen model and sends gradients back
# through it. Only the gradients of the frozen weights themselves fall away, and the additions cost some work of their own.
# (On a busy computer this measurement is rough.)
#
# **Memory is saved.** Frozen weights need no gradient and no averages: of the four numbers per weight, one is left. But
# memory does not drop to a sliver, because the frozen model and the activations are still there.
#
# For larger models, with 512 tokens per step in [mixed precision](../docs/glossary.md#mixed-precision): weights in 16 bits,
# and in full fine-tuning a 32-bit copy of each.

# %%
rows = []
for name in ("smollm2-135m", "llama-3.1-8b", "llama-3.1-70b"):
    settings = {"r": 8, "target_modules": "all-linear", "optimizer": "adamw-master"}
    plans = [plan_memory(name, method, **settings).total for method in ("full", "lora")]
    rows.append([name, *map(gigabytes, plans), f"{plans[1] / plans[0]:.0%}"])
show_table(["model", "full", "LoRA", "share"], rows)

# %% [markdown]
# What remains is mostly the frozen model. Page 05 (QLoRA) tackles that.
#
# ## A family of methods
#
# LoRA is not the only way to train only a little. Three relatives, on the same task: train only the small *norm* weights
# that scale the inputs of each block; train only the last block; use LoRA, but only in attention.


# %%
def train_only(part):
    model = GPT.from_pretrained("tiny-gpt")
    for name, weight in model.named_parameters():
        weight.requires_grad_(part in name)
    return model


# %% tags=["claim:peft-family"]
experiment("norms only", train_only("norm"), learning_rate=1e-1)
experiment("last block only", train_only("layers.7."), learning_rate=3e-3)
experiment("LoRA, attention", with_lora("attention"))
charts.family({name: (result["share"], gain(name)) for name, result in results.items()})

# %% [markdown]
# **What we saw.** LoRA selects none of the model's weights; it adds `r · (in + out)` new ones per layer and trains those. They
# buy much of the benefit, and the memory for gradients and averages of the frozen weights is saved. Each relative learns
# something too, even the one that trains fewer than one weight in a thousand.
#
# **Where this stops being true.** "Most of the benefit" is not all of it: in so short a run, full fine-tuning may stay ahead.
# These are single short runs of a very small model, so read the picture as an order, not as constants. The learning rate
# matters as much as the method: try `learning_rate=1e-1` with LoRA.
#
# Why did LoRA become the popular one? It fits into every layer, you choose its size, and it can be taken out again without
# a trace. [Page 03](03_lora.ipynb) opens it up.
#
# ## Exercises
#
# In [`exercises/02_change_only_a_little.ipynb`](../exercises/02_change_only_a_little.ipynb):
#
# * `count-trainable`: the whole function, to hand in (15 minutes).
