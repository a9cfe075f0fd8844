# %% [markdown]
# # Start here: give a language model a new voice
#
# **On this page you will** watch a small language model turn from a storyteller into a lawyer, train that change yourself,
# and switch it off again. **Time:** five minutes, including about a minute of waiting.
#
# A notebook like this one mixes text with *code cells*. Click a cell and press **Shift + Enter**: the cell runs, its result
# appears below it, and the next cell is ready. Work from top to bottom. You cannot break anything. If you get lost, choose
# *Kernel → Restart Kernel and Run All Cells…* from the menu.

# %%
from minilora.lesson import *

# %% [markdown]
# ## A model that tells stories
#
# This language model is tiny, and most of what it has read is old children's books. Give it an opening, and it continues
# the story:

# %%
base_model = GPT.from_pretrained("tiny-gpt")
opening = "The little fox and the hen"
story = write(base_model, opening)
show_text(story)

# %% [markdown]
# ## Flip a switch
#
# Now we put a ready-made *adapter* beside the same model: a small file of extra numbers, trained on legal writing. The
# opening is the same, and so is the random seed.

# %%
lawyer = LoraModel.from_pretrained(GPT.from_pretrained("tiny-gpt"), "legal")
show_text({"adapter on": write(lawyer, opening)})
with lawyer.disable_adapter():
    show_text({"adapter off": write(lawyer, opening)})

# %% [markdown]
# One model, two voices, and a switch between them. The rest of this page makes such an adapter from scratch.
#
# ## Text in the voice we want
#
# Training needs examples. This package comes with a few hundred made-up legal documents. Here is one of them:

# %%
documents = style_corpus("legal", documents=320)
train_data = encode_text(documents, base_model.tokenizer, sequence_length=64)
show_text(documents[0])
print(train_data)

# %% [markdown]
# The model reads text in pieces called [tokens](../docs/glossary.md#token): short words, or parts of longer ones. The last
# line says how many tokens there are to learn from.
#
# ## Predict, then train
#
# The model is a long list of numbers, and we are about to teach it something new.

# %%
predict("old-numbers-changed")

# %% [markdown]
# Now watch. Before training starts, and again every ten steps, the model continues the same opening. You can stop early
# with the ■ button at the top; the model keeps what it has learned so far.

# %%
base_model = GPT.from_pretrained("tiny-gpt")  # a fresh copy, so that you can run this cell again
old_numbers = Snapshot(base_model)
torch.manual_seed(0)  # the same start every time
model = add_lora(base_model, LoraConfig(r=8, target_modules="all-linear"))

trainer = Trainer(model, train_data, max_steps=60)
watch(trainer, opening, every=10)
trainer.train()
print(
    f"loss: {trainer.history.losses[0]:.2f} at the first step,",
    f"{trainer.history.losses[-1]:.2f} at the last",
)

# %% [markdown]
# The [loss](../docs/glossary.md#loss) measures how much the text surprises the model. It falls as the model learns what a
# legal document looks like.
#
# ## What changed?

# %%
changes = old_numbers.changes()
print(f"old numbers that changed: {changes.numbers:,} of {changes.all_numbers:,}")
print(f"new numbers beside them:  {model.trainable_parameter_count():,}")
reveal("old-numbers-changed", 100 * changes.numbers / changes.all_numbers)

# %% [markdown]
# This is the idea of **LoRA**, the method that this course is about. It does not pick out a few of the model's numbers and
# train those. It *adds* a small set of new numbers, the adapter, and trains only them. The old numbers are *frozen*: they
# are used at every step, and never changed.
#
# ## The same opening, as a lawyer

# %%
show_text({"before": story, "after": write(model, opening)})

# %% [markdown]
# It is still a very small model, after very little training, so do not look for much sense. Listen to the voice.
#
# ## Switch it back
#
# If no old number has changed, the old model must still be there. Turn the adapter off:

# %%
with model.disable_adapter():
    again = write(model, opening)
show_text({"adapter off": again})
print("Is it the first story, letter for letter?", again == story)

# %% [markdown]
# ## A file to take away

# %%
model.save_adapter("my-style-adapter")
show_files("my-style-adapter")

# %% [markdown]
# That folder holds the adapter and nothing of the model. Anyone who has the model can load it and get your lawyer.
#
# **What we saw.** A model that took a long time to train picks up a new voice from a small add-on. The model itself stays as
# it was, so the add-on can be switched off, saved, and shared on its own.
#
# **Where this stops being true.** A voice is a small change. A new language would need a much larger one, and no adapter
# makes a tiny model clever. Page 09 looks for the limit.
#
# ## Your turn
#
# * Replace `"legal"` with `"code"` or `"support"` in the cell with the documents, then run the cells below it again.
# * Change the opening.
# * Use your own text: save it as `mine.txt` next to this notebook, and write
#   `train_data = load_text("mine.txt", base_model.tokenizer, sequence_length=64)`.
#
# ## Where to go next
#
# * Why does anyone need this? [01 The problem](01_the_problem.ipynb) and
#   [02 Change only a little](02_change_only_a_little.ipynb)
# * What is an adapter, and why can it be so small? [03 LoRA](03_lora.ipynb) and [04 Why it works](04_why_it_works.ipynb)
# * How does training fit on a small machine? [05 QLoRA](05_qlora.ipynb) and [06 Modest hardware](06_modest_hardware.ipynb)
# * What can you do with several adapters? [07 Swappable adapters](07_swappable_adapters.ipynb)
# * The program, line by line: [08 PEFT in practice](08_peft_in_practice.ipynb). Which method when:
#   [09 When to use what](09_when_to_use_what.ipynb)
#
# From page 02 on, each page has exercises that check themselves, in the folder [`exercises`](../exercises). Every statement
# on these pages is measured on *your* machine, in a cell that you can read, question, and change.
