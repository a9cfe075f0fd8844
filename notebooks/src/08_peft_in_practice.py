# %% [markdown]
# # 08 · PEFT in practice
#
# **After this page you can** read a LoRA program line by line, read the loss curve that it draws, look into the file that it
# saves, and take that file to other tools. **Time:** 15 minutes, about one of them waiting.
#
# SmolLM2 is a real chat model with 135 million [weights](../docs/glossary.md#weight). We trained an adapter for it, for
# 30 steps, on 36 questions with a pirate's answers. Here is what it says to questions that were not among them, before and
# after:

# %%
from minilora.lesson import *

# %%
show_pirate(2)

# %% [markdown]
# The program that does this has a dozen lines. *PEFT*, parameter-efficient fine-tuning, is the name of this family of
# methods, and also of the library in which most people meet it. Our names are that library's, so what you learn here you
# can type there.
#
# ## The program
#
# First the data. We use the tiny model again, so that every step is quick: made-up legal documents to learn from, and
# some that are [held out](../docs/glossary.md#held-out-text).

# %%
tokenizer = GPT.from_pretrained("tiny-gpt").tokenizer
train_data = encode_text(style_corpus("legal", documents=120), tokenizer, sequence_length=64)
held_out = encode_text(style_corpus("legal", "validation", documents=12), tokenizer, sequence_length=64)
print("to learn from:", train_data)
print("held out:     ", held_out)

# %%
predict("attention-share")

# %% [markdown]
# And now the whole program, in the shape that you will find in most tutorials:

# %%
base_model = GPT.from_pretrained("tiny-gpt")
loss_before = evaluate(base_model, held_out)

lora_config = LoraConfig(
    r=8,
    target_modules=["attention"],
)
model = add_lora(base_model, lora_config)
print(model.trainable_parameter_count())
trainer = Trainer(model=model, train_data=train_data, epochs=3)
trainer.train()
model.save_adapter("my-style-adapter")

# %% tags=["claim:wrap-and-train"]
loss_after, count = evaluate(model, held_out), model.trainable_parameter_count()
print(f"held-out loss: {loss_before:.2f} before, {loss_after:.2f} after")
with model.disable_adapter():
    show_text({"before": write(model, "The old bear and")})
show_text({"after": write(model, "The old bear and")})
reveal("attention-share", 100 * count / count.total)

# %% [markdown]
# ## Line by line
#
# | line | what it does |
# |---|---|
# | `LoraConfig(r=8, …)` | only records your settings: the [rank](../docs/glossary.md#rank), which is the inner width of the adapter, and the layers that get one |
# | `target_modules=["attention"]` | stands for four layers in each block: `q_proj`, `k_proj`, `v_proj`, `o_proj`; you can also name single ones, or write `"all-linear"` |
# | `add_lora(base_model, …)` | [freezes](../docs/glossary.md#freeze) every weight, then puts two thin matrices, A and B, beside each of those layers |
# | `trainable_parameter_count()` | counts what training may change, and everything |
# | `Trainer(…, epochs=3)` | is an ordinary training loop that reads the data three times; it trains little because little is trainable |
# | `save_adapter(…)` | writes the thin matrices, and nothing else |
#
# The count is r · (inputs + outputs), summed over the layers (page 02):

# %%
layers = [layer.base_layer for layer in model.lora_layers().values()]
counted = sum(lora_config.r * (layer.in_features + layer.out_features) for layer in layers)
print(f"{len(layers)} layers, together {counted:,}")

# %% [markdown]
# ## Reading the loss curve
#
# The listing left every setting at its default. Here is a second run with more in sight: adapters on *all* linear layers, and
# the held-out text measured every ten steps.

# %%
predict("seen-or-held-out")

# %%
second = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules="all-linear"))
settings = {"max_steps": 60, "validation_data": held_out, "eval_steps": 10, "progress": False}
second_trainer = Trainer(second, train_data, **settings)
dashboard = training_dashboard(second_trainer, prompt="The old bear and")

# %%
shown = display(dashboard, display_id=True)
second_trainer.train()
shown.update(dashboard)

# %% [markdown]
# The dots often lie *below* the amber line. Does that mean that the held-out text is easier? No. The three are not measured
# in the same way:
#
# * The gray line is the loss of each step's own [batch](../docs/glossary.md#batch), taken *before* the step's update.
# * The amber line averages the gray one over the steps so far, with the latest counting most. While the loss falls, an
#   average of the past lies above the present.
# * A dot is measured with the model as it is now, on all held-out rows.
#
# To compare fairly, the finished model has to read both texts:

# %%
history = second_trainer.history
seen, unseen = evaluate(second, train_data), evaluate(second, held_out)
rows = [["average of the last 10 steps", f"{sum(history.losses[-10:]) / 10:.2f}"]]
rows += [["training text, read by the finished model", f"{seen:.2f}"], ["held-out text", f"{unseen:.2f}"]]
show_table(["", "loss"], rows)
reveal("seen-or-held-out", "on the training text" if seen < unseen else "on the held-out text")

# %% [markdown]
# If the dots turn *up* while the gray line still falls, the model has begun to [memorize](../docs/glossary.md#memorize):
# stop there. If the gray line jumps up and stays there, the learning rate is too high; try `learning_rate=5e-2`. You can
# stop the run with its button or with ■. The model keeps what it has learned; run that cell again, and it continues.
#
# ## What is in the file?

# %%
predict("adapter-file")

# %% [markdown]
# In memory an adapter's matrices have names such as `….q_proj.lora_A.default`, where `default` is the name of the adapter.
# Which tensors belong in the file? Write the condition. (PEFT puts `base_model.model.` in front of every name, and so do
# we.) Stuck? Run `hint("save-adapter")` in a cell of its own.


# %%
def adapter_to_save(state, adapter):
    tensors = {}
    for name, value in state.items():
        path, _, last = name.rpartition(".")
        if ...:  # last is the adapter's name, and path ends in .lora_A or .lora_B
            tensors[f"base_model.model.{path}.weight"] = value
    return tensors


check("save-adapter", adapter_to_save)

# %% tags=["claim:saves-only-adapter"]
saved = saved_tensors("my-style-adapter")  # name -> how many numbers
saved_names, saved_numbers = list(saved), sum(saved.values())
mine = mine_or("save-adapter", adapter_to_save)(dict(model.base.named_parameters()), "default")
print(f"{len(saved_names)} tensors with {saved_numbers:,} numbers, such as {saved_names[0]}")
print("Are they those that you picked?", set(mine) == set(saved_names))
show_files("my-style-adapter")
reveal("adapter-file", 4 * saved_numbers / 1000)

# %% [markdown]
# Exactly the numbers that were trained, at four bytes each. Beside them stands a small text file with the settings: without
# the scaling they were trained with, the matrices mean nothing.
#
# ## Back into a fresh model, and into PEFT
#
# A file is worth what comes back from it. We load the base once more, attach the saved adapter, and compare all scores.

# %%
fresh = LoraModel.from_pretrained(GPT.from_pretrained("tiny-gpt"), "my-style-adapter")
with torch.no_grad():
    ours = model(held_out.input_ids[:4])
    print("Equal to the last bit?", fresh(held_out.input_ids[:4]).equal(ours))

# %% [markdown]
# Our formats are those of `transformers` and `peft`, so these libraries open both the model and the adapter:
#
# ```python
# base = AutoModelForCausalLM.from_pretrained("my-base")  # after base_model.save_pretrained("my-base")
# theirs = PeftModel.from_pretrained(base, "my-style-adapter")
# ```

# %%
theirs = scores_in_peft("my-style-adapter", held_out.input_ids[:4])
if theirs is not None:
    print(f"scores up to {ours.abs().max():.0f}, largest difference {(theirs - ours).abs().max():.0e}")

# %% [markdown]
# Other people wrote that library, and it computes the same, up to rounding. What you have typed in this course you can
# type there:
#
# | here | in PEFT |
# |---|---|
# | `LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj"])` | `LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj"])` |
# | `add_lora(model, config)` | `get_peft_model(model, config)` |
# | `model.trainable_parameter_count()` | `model.print_trainable_parameters()` |
# | `model.add_adapter("poet", config)` | `model.add_adapter("poet", config)` |
# | `model.set_adapter("poet")` | `model.set_adapter("poet")` |
# | `model.delete_adapter("poet")` | `model.delete_adapter("poet")` |
# | `model(ids, adapter_names=["poet", "__base__"])` | `model(ids, adapter_names=["poet", "__base__"])` |
# | `model.add_weighted_adapter(["a", "b"], [0.7, 0.3], "both", "cat")` | `model.add_weighted_adapter(["a", "b"], [0.7, 0.3], "both", "cat")` |
# | `model.merge_and_unload()` | `model.merge_and_unload()` |
# | `LoraModel.from_pretrained(base, "folder")` | `PeftModel.from_pretrained(base, "folder")` |
#
# [docs/peft.md](../docs/peft.md) says where minilora is stricter and what exists only here, and
# [docs/take_your_adapter.md](../docs/take_your_adapter.md) shows the way to llama.cpp and vLLM.
#
# ## The same listing on a real model
#
# Our model is so small that even a thin adapter is a visible share of it. To *count* what SmolLM2's adapter would train, the
# shape of that model is enough.

# %%
predict("share-of-smollm")

# %% tags=["claim:under-one-percent"]
with torch.device("meta"):  # tensors that have a shape but take no memory
    smollm = GPT(GPTConfig.from_shape(MODELS["smollm2-135m"]))
    count = add_lora(smollm, LoraConfig(r=8, target_modules=["attention"])).trainable_parameter_count()
share = count / count.total
print("SmolLM2-135M, r=8 on attention:", count)
reveal("share-of-smollm", 100 * share)

# %% [markdown]
# And now the pirate. `minilora fetch smollm2-135m-instruct` in a terminal gets the model (93 MB to download). If you have
# it, the next cell trains the adapter before your eyes, in a process of its own: a few minutes, and about 1.5 GB of memory.
# If you don't, it shows what we recorded. The same from the command line, for this or your own data:
#
# ```sh
# minilora finetune --base smollm2-135m-instruct --data pirate --out pirate --max-steps 30 --target-modules all-linear
# ```

# %%
turn_pirate()

# %% [markdown]
# Listen to the voice, then check the facts. Is each of these answers still true?
#
# **What we saw.** The program is short because the idea is: freeze, add, train, save. The file holds the adapter alone, comes
# back bit for bit, and opens in PEFT. In a model of a useful size, the share that trains is below one percent.
#
# **Where this stops being true.** With a high rank on all layers of a small model the share can pass ten percent. And a
# style is not knowledge: 36 examples teach a model how to talk, and can damage what it knew. Keep some questions whose
# answers you know, and ask them before and after.
#
# ## Exercises
#
# In [`exercises/08_peft_in_practice.ipynb`](../exercises/08_peft_in_practice.ipynb): `run-a-finetune` (30 minutes).
# Fine-tune on your own and report the numbers; they are checked against the adapter that you saved.
