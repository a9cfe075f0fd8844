# %% [markdown]
# # 02 · The big idea: change only a little
#
# **After this page you can** count what a LoRA would train in any model, explain why the share shrinks as models grow, and
# judge from an experiment of your own how much of full fine-tuning's success a small share of the weights buys, and what
# it does *not* save. **Time:** 15 minutes, of which less than one is waiting.
#
# On page 01 plain fine-tuning moved every number in the model, and each by a little. The idea of this page is to hold nearly
# all of them still (*freeze* them) and to train a small rest. The family of methods that do so is called
# **parameter-efficient fine-tuning**, PEFT. Its best-known member is **LoRA**. How LoRA works inside is page 03; here
# we only ask how much it trains and how far that carries.

# %%
print("Loading PyTorch (some seconds) ...")
import torch

from minilora import GPT, GPTConfig, LoraConfig, Trainer, add_lora, encode_text, evaluate, style_corpus
from minilora.memory.catalog import MODELS
from minilora.figures.charts import family, loss_curves, share_by_width
from minilora.figures.passage import Passage
from minilora.figures.tables import Table
from minilora.memory import gigabytes, measure_memory, plan_memory
from minilora.widgets import parameter_explorer

print("Ready.")

# %% [markdown]
# ## How much is "a little"?
#
# LoRA has a knob, the *rank* `r`: how much room the change gets. And you choose the layers that may change at all.
#
# **Predict:** with rank 8 on the attention layers of our tiny model, what share of all weights is trained? And if you
# double the rank?

# %%
explorer = parameter_explorer()
explorer

# %% [markdown]
# The same moves by program:

# %%
explorer.model.value, explorer.targets.value = "tiny-gpt", "attention"
for rank in (8, 16, 32):
    explorer.rank.value = rank
    display(Passage(explorer.sentence))
explorer.model.value, explorer.rank.value = "SmolLM2-135M", 8
display(Passage(explorer.sentence))

# %% [markdown]
# Twice the rank, twice the trained numbers: a straight proportion. But look at the last line: the larger model gives a
# *smaller* share at the same rank.
#
# **Predict:** what will the share be for a model of eight billion weights? And for one of 405 billion? Textbooks say "often
# a fraction of a percent".

# %% tags=["claim:small-fraction"]
tiny = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules=["attention"]))
print("counted, tiny-gpt:    ", tiny.trainable_parameter_count())
with torch.device("meta"):  # shapes without memory, so that nothing need be downloaded
    smollm = GPT(GPTConfig.from_shape(MODELS["smollm2-135m"]))
    smollm = add_lora(smollm, LoraConfig(r=8, target_modules=["attention"]))
print("counted, SmolLM2-135M:", smollm.trainable_parameter_count())

names = ("tiny-gpt", "smollm2-135m", "smollm2-1.7b", "llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
points, rows = {}, []
for name in names:
    trained = plan_memory(name, "lora", r=8, target_modules="attention").trained
    weights = MODELS[name].parameter_count
    points[name] = (MODELS[name].hidden_size, trained / (weights + trained))
    rows.append([name, f"{trained:,}", f"{weights:,}", f"{points[name][1]:.3%}"])
display(Table(["planned", "trained", "beside frozen", "share"], rows))

assert plan_memory("tiny-gpt", "lora", r=8).trained == int(tiny.trainable_parameter_count())
assert plan_memory("smollm2-135m", "lora", r=8).trained == int(smollm.trainable_parameter_count())
assert points["tiny-gpt"][1] > 0.01
assert all(share < 0.01 for name, (_, share) in points.items() if name != "tiny-gpt")

share_by_width(points)

# %% [markdown]
# **What we saw.** A layer that is twice as wide holds four times as many weights, but its adapter only twice as many. So the
# share falls as models grow: from nearly two percent in our toy to a few hundredths of a percent.
#
# **Where we disagree with the textbook:** "a fraction of a percent" is not true of a model as small as ours. It is true from
# the second point of the curve on, and the models that people fine-tune are all to the right of it.
#
# ## What does it buy, and what does it cost?
#
# Now the experiment. The same model, the same text, the same number of steps: once with everything trainable, once with
# LoRA on all its linear layers. Each gets a learning rate that suits it; we looked for both beforehand.
#
# **Predict:** full fine-tuning makes the loss on unseen legal text fall by some amount; call that 100 %. How much of it will LoRA
# reach? And what share of the memory and of the time will it need?

# %%
tokenizer = tiny.tokenizer
train_data = encode_text(style_corpus("legal", documents=240), tokenizer, sequence_length=64)
validation_data = encode_text(style_corpus("legal", "validation", documents=12), tokenizer, sequence_length=64)
loss_base = evaluate(GPT.from_pretrained("tiny-gpt"), validation_data)
results, histories = {}, {}


def experiment(name, model, learning_rate):
    """Trains for 40 steps; notes the trained share, the loss on kept text, and the time of one step."""
    print(name)
    trainer = Trainer(model, train_data, max_steps=40, batch_size=8, learning_rate=learning_rate)
    histories[name] = trainer.train()
    trained = sum(weight.numel() for weight in trainer.parameters.values())
    results[name] = {
        "share": trained / sum(weight.numel() for weight in model.parameters()),
        "loss": evaluate(model, validation_data),
        "seconds": min(histories[name].seconds),  # of the fastest step: least disturbed by other programs
    }


def gain(name):
    """How far the loss fell, as a share of the fall with full fine-tuning."""
    return (loss_base - results[name]["loss"]) / (loss_base - results["full"]["loss"])


print(f"loss of the base model on unseen legal text: {loss_base:.2f}")

# %% tags=["claim:most-of-benefit", "nbval-ignore-output"]
experiment("full", GPT.from_pretrained("tiny-gpt"), learning_rate=1e-3)
torch.manual_seed(0)
lora = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules="all-linear"))
experiment("LoRA, all layers", lora, learning_rate=1e-2)
for name, model in (("full", GPT.from_pretrained("tiny-gpt")), ("LoRA, all layers", lora)):
    results[name]["memory"] = measure_memory(model, batch_size=1, sequence_length=64).peak
    results[name]["memory, 8 rows"] = measure_memory(model, batch_size=8, sequence_length=64).peak

full, small = results["full"], results["LoRA, all layers"]
print(f"loss {loss_base:.2f}; after full fine-tuning {full['loss']:.2f}, after LoRA {small['loss']:.2f}")
rows = [
    ["weights trained", f"{small['share']:.1%}"],
    ["fall of the loss", f"{gain('LoRA, all layers'):.1%}"],
    ["memory, 1 row at a time", f"{small['memory'] / full['memory']:.1%}"],
    ["memory, 8 rows at a time", f"{small['memory, 8 rows'] / full['memory, 8 rows']:.1%}"],
    ["time of a step", f"{small['seconds'] / full['seconds']:.1%}"],
]
display(Table(["LoRA against full fine-tuning", "share"], rows))

assert small["share"] < 0.05
assert gain("LoRA, all layers") > 0.6
assert small["memory"] < 0.6 * full["memory"]

# %% tags=["nbval-ignore-output"]
loss_curves({name: history.losses for name, history in histories.items()}, base=loss_base)

# %% [markdown]
# **What we saw.** Training one number in twenty got most of the way, with a good deal less memory.
#
# **Where we disagree with the textbook**, in two points:
#
# * "Most of the benefit" is not all of it. In so short a run full fine-tuning stays ahead on this task. With other layers,
#   ranks, and more steps the gap changes; page 04 varies the rank, page 09 the task.
# * "At a tiny fraction of the cost" is true of what is *trained* and of what is *saved*. It is not true of the time. Each
#   step still sends the text through the whole frozen model and the blame back through it; only the last third of
#   the work, the gradients of the frozen weights, falls away, and the adapters add some of their own. Our memory shrinks to a
#   part, not to a sliver, because the frozen model and the activations still lie there. (On a machine that is busy with
#   other things the row on time may even pass 100 %.)
#
# The memory gets better as models grow, for then the bookkeeping weighs more than the text. The planner, for full
# fine-tuning and LoRA in 16 bits, 512 tokens at a time:

# %%
rows = []
for name in ("smollm2-135m", "llama-3.1-8b", "llama-3.1-70b"):
    whole, little = (
        plan_memory(name, method, r=8, target_modules="all-linear").total for method in ("full", "lora")
    )
    rows.append([name, gigabytes(whole), gigabytes(little), f"{little / whole:.0%}"])
Table(["", "full", "LoRA", "share"], rows)

# %% [markdown]
# What remains is the frozen model itself. Page 05 (QLoRA) goes at that.
#
# ## One family, several members
#
# Whoever wants to train only a little may choose the little in other ways. Three more members, on the same task:
#
# * **norms only**: each block has small scaling tables that set how loud its inputs are. Train those. (In models with
#   *biases* people train these; ours has none.)
# * **last block only**: freeze everything below, and train the top floor.
# * **LoRA on attention only**: fewer adapters than above.
#
# **Predict:** put the four in order, from the smallest gain to the largest. Which one will take the shortest steps?


# %% tags=["claim:peft-family", "nbval-ignore-output"]
def train_only(part):
    """The tiny GPT with everything frozen but the tables whose name holds `part`."""
    model = GPT.from_pretrained("tiny-gpt")
    for name, weight in model.named_parameters():
        weight.requires_grad_(part in name)
    return model


experiment("norms only", train_only("norm"), learning_rate=1e-1)
experiment("last block only", train_only("layers.7."), learning_rate=3e-3)
torch.manual_seed(0)
attention = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules=["attention"]))
experiment("LoRA, attention", attention, learning_rate=1e-2)

rows = [
    [name, f"{result['share']:.2%}", f"{gain(name):.0%}", f"{1000 * result['seconds']:.0f}"]
    for name, result in results.items()
]
display(Table(["", "trained", "gain", "ms per step"], rows))

members = [name for name in results if name != "full"]
assert all(gain(name) > 0.1 for name in members)
assert all(results[name]["share"] < 0.15 for name in members)
assert gain("norms only") < gain("LoRA, attention") < gain("LoRA, all layers")

family(
    {name: (results[name]["share"], gain(name)) for name in results},
    title=f"Every member learns: {gain('norms only'):.0%} of the gain with "
    f"{results['norms only']['share']:.2%} of the weights",
)

# %% [markdown]
# **What we saw.** All of them learn something, even the one that trains fewer than one weight in a thousand. PEFT is a
# family, and freezing is what its members share. **And a surprise for the fan of LoRA:** training the last block alone does about
# as well here as LoRA on all layers, in less time, because the way back ends after one block. It pays with more than
# twice the trained numbers, so its file is larger.
#
# **When it would be otherwise.** A task that needs new behaviour in the lower layers is out of reach for the last block. And
# all our figures come from one short run of a very small model with one seed; read them as an order, not as constants. The
# learning rate matters as much as the method: try `learning_rate=3e-2` for a LoRA, and see it fail.
#
# Why did LoRA become the popular one? It can sit in every layer, its size is a knob, it can be taken out again without a
# trace, and after training it costs nothing extra. [Page 03](03_lora.ipynb) opens it up.
#
# ## Exercises
#
# In [`exercises/02_change_only_a_little.ipynb`](../exercises/02_change_only_a_little.ipynb):
#
# * `count-trainable`: count what LoRA trains, from the shapes of the layers (10 minutes).
