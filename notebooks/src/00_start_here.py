# %% [markdown]
# # Start here: give a language model a new voice
#
# **In this page you will** load a small language model, train it to write like a lawyer, and save what it learned in
# a file smaller than a photograph. **Time:** five minutes, of which half a minute is waiting.
#
# A page like this one mixes text with *cells* of program. Click into a cell and press **Shift + Enter**: it runs, shows
# its result below, and the next cell is ready. Go from top to bottom. You cannot break anything; if you get lost, choose
# *Kernel → Restart Kernel and Run All Cells…* in the menu.

# %%
print("Loading PyTorch (some seconds) ...")
import torch

from minilora import GPT, LoraConfig, Trainer, add_lora, encode_text, style_corpus
from minilora.figures.passage import Passage

print("Ready.")

# %% [markdown]
# ## A model that knows stories
#
# The model that comes with these pages is tiny as language models go. It has read old children's books and nothing else.
# Give it a beginning, and it goes on:

# %%
base_model = GPT.from_pretrained("tiny-gpt")
prompt = "The little dog said that"
before = base_model.generate(prompt, max_new_tokens=60, seed=1)
print(f"{sum(p.numel() for p in base_model.parameters()):,} weights write:")
Passage(prompt + before)

# %% [markdown]
# ## Some text in the voice we want
#
# To teach it a new voice we need examples. A small program in this package writes mock legal prose, a little like a fable
# that went to court. This is the beginning of one document:

# %%
documents = style_corpus("legal", documents=160)
train_data = encode_text(documents, base_model.tokenizer, sequence_length=64)
print(train_data)
Passage(documents[0][:240] + " ...")

# %% [markdown]
# **Guess before you run the next cell:** every one of those millions of weights *could* be changed. How many of them
# need to be trained until the model sounds like a lawyer? All? Half? One in ten? Write your guess down.
#
# ## Wrap it, train it, save it
#
# The next cell holds the whole method. It leaves the model as it is, puts a small trainable *adapter* beside it, trains
# that adapter, and saves it.

# %% tags=["nbval-ignore-output"]
base_model = GPT.from_pretrained("tiny-gpt")  # a fresh copy, so that you can run this cell again
torch.manual_seed(0)  # the same beginning each time

lora_config = LoraConfig(
    r=8,
    target_modules=["attention"],
)
model = add_lora(base_model, lora_config)
print(model.trainable_parameter_count())

trainer = Trainer(model=model, train_data=train_data, epochs=3)
trainer.train()

model.save_adapter("my-style-adapter")

# %% [markdown]
# The line it printed is the answer to the question above: the weights that were trained, out of all. Fewer than two in a
# hundred. In a larger model it is far fewer still, as page 02 shows.
#
# ## What has changed?
#
# The same beginning, the same roll of the dice (`seed=1`). Only the adapter is new.

# %% tags=["nbval-ignore-output"]
after = model.generate(prompt, max_new_tokens=60, seed=1)
display(Passage(prompt + before, label="before"))
display(Passage(prompt + after, label="after"))

losses = trainer.history.losses
print(f"Its surprise at legal text (the loss) fell from {losses[0]:.2f} to {losses[-1]:.2f}.")
assert losses[-1] < losses[0] - 0.5

# %% [markdown]
# It still dreams of ponies, for it is a very small model after half a minute of school. But listen to the voice: it lays
# down what a pony *shall* do.
#
# ## And the old model?
#
# It is still there, complete. Switch the adapter off, and the old story comes back letter by letter:

# %%
with model.disable_adapter():
    again = model.generate(prompt, max_new_tokens=60, seed=1)
assert again == before
Passage(prompt + again)

# %% [markdown]
# ## A file to take away
#
# Beside this page there is now a folder `my-style-adapter`. It holds the adapter and nothing of the model:

# %%
from pathlib import Path

for file in sorted(Path("my-style-adapter").iterdir()):
    print(f"{file.name:28} {file.stat().st_size / 1000:7.1f} kB")

# %% [markdown]
# **What we saw.** A model that was trained at length, once, takes on a new voice in half a minute, since fewer than two of a
# hundred weights had to move; what it learned fits into a small file, and without that file it is the old model.
#
# **When it would be otherwise.** A voice is a small change. A new *language* would not fit into so thin an adapter, and no
# training of this kind makes a tiny model clever. Page 09 looks for that wall.
#
# ## Your turn
#
# * Change `"legal"` to `"code"` or `"support"` in the cell with the documents, then run the cells below it again.
# * Change the prompt.
# * Your own text does too: put a file `mine.txt` beside this page and write
#   `from minilora import load_text` and `train_data = load_text("mine.txt", base_model.tokenizer, sequence_length=64)`.
#
# ## Where to go next
#
# * Why is this a trick worth knowing? [01 The problem](01_the_problem.ipynb) and
#   [02 Change only a little](02_change_only_a_little.ipynb).
# * What is an adapter, and why can it be so thin? [03 LoRA](03_lora.ipynb) and [04 Why it works](04_why_it_works.ipynb).
# * How does it fit on a small machine? [05 QLoRA](05_qlora.ipynb) and [06 Modest hardware](06_modest_hardware.ipynb).
# * What can you do with many of them? [07 Swappable adapters](07_swappable_adapters.ipynb).
# * The program above, line by line: [08 PEFT in practice](08_peft_in_practice.ipynb). And when to use which method:
#   [09 When to use what](09_when_to_use_what.ipynb).
#
# From page 02 on, each page has exercises that check themselves, in the folder [`exercises`](../exercises).
#
# Every statement in the pages is measured on *your* machine, in a cell that you can read, doubt and change.
