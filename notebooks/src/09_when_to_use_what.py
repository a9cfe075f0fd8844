# %% [markdown]
# # 09 · When to use what
#
# **After this page you can** choose between a prompt, LoRA, QLoRA, and full fine-tuning for a task of your own, give
# reasons with numbers, and recognize the moment when LoRA is not enough. **Time:** 15 minutes, about one of them
# waiting.
#
# Nine pages have praised LoRA. So let us start with a task at which it fails.

# %%
from minilora.lesson import *

# %% [markdown]
# ## A phone book for one layer
#
# Here is a phone book of 256 entries, made of random numbers. There is no pattern to find. The only way to know an
# entry is to memorize it. One [linear layer](../docs/glossary.md#linear-layer) of 64 × 64 weights has to do that, with
# an adapter of [rank](../docs/glossary.md#rank) 1, 4, or 16, or by full fine-tuning.

# %%
ranks = (1, 4, 16, "full")
known = {"256 pairs": {r: memorize_pairs(256, r) for r in ranks}}
learned_by_rank(known)

# %% [markdown]
# Rank 16 knows every entry, rank 4 knows few. Perhaps rank 4 is only slower?

# %%
predict("four-times-as-long")

# %%
known["four times as long"] = {r: memorize_pairs(256, r, steps=800) for r in ranks}
reveal("four-times-as-long", 100 * known["four times as long"][4])

# %%
known["64 pairs"] = {r: memorize_pairs(64, r) for r in ranks}
learned_by_rank(known)

# %% [markdown]
# It is not slow, it is full: a quarter of the phone book fits. This is a **wall**. More training does not move it, and
# a higher rank does.
#
# ## Why the wall is where it is
#
# Page [04](04_why_it_works.ipynb) took a weight change apart into patterns: one row, stretched over the table by a
# column. An adapter of rank r can add r of them and no more. If that is the whole story, a task whose right answer has
# a known number of patterns should have its wall exactly there. So let us build such tasks. The layer has to learn, from
# examples, a change made of 1, 4, 16, or all 64 patterns, each as strong as the others.

# %%
predict("four-of-sixteen")

# %% tags=["claim:full-when-maximal"]
learned = {}
for patterns in (1, 4, 16, 64):
    print(f"a change of rank {patterns} ...", flush=True)
    learned[f"rank-{patterns} change"] = {r: learn_change(patterns, r) for r in ranks}
reveal("four-of-sixteen", 100 * learned["rank-16 change"][4])

# %%
learned_by_rank(learned)

# %% [markdown]
# A staircase. An adapter learns the whole change if its rank is at least the number of patterns, and otherwise only its
# share, r of them. The last row is **the largest possible change**: every direction counts, and only full fine-tuning
# gets there. Other seeds and a training four times as long give the same staircase
# ([recorded](../benchmarks/RESULTS.md)).
#
# ## Is your task like that?
#
# A real task does not tell you how many patterns it needs, and they are not equally strong. The first few often do most
# of the work. So we measure: legal writing, with LoRA and with full fine-tuning. The `Trainer` picks a
# [learning rate](../docs/glossary.md#learning-rate) for each: 5e-3 for LoRA, and a tenth of that for full fine-tuning.
# Giving both the same rate would handicap one of them.

# %%
base, full = GPT.from_pretrained("tiny-gpt"), GPT.from_pretrained("tiny-gpt")
texts = {"legal": style_corpus("legal", "validation", documents=8), "a story": held_out_story()}
held_out = {name: encode_text(text, base.tokenizer, 64) for name, text in texts.items()}
train_data = encode_text(style_corpus("legal", documents=160), base.tokenizer, sequence_length=64)
torch.manual_seed(0)
lora = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules="all-linear"))
Trainer(lora, train_data, max_steps=40).train()
Trainer(full, train_data, max_steps=40).train()

# %%
models = {"base": base, "LoRA": lora, "full": full}
legal = {name: evaluate(model, held_out["legal"]) for name, model in models.items()}
show_table(["", "loss on legal text"], [[name, f"{loss:.2f}"] for name, loss in legal.items()])

# %% [markdown]
# LoRA is close behind, although it trains less than a twentieth as many weights. But this was one style, one seed, and a short
# training. The same comparison with three styles, three seeds, and more steps takes half an hour
# (`python benchmarks/three_tasks.py`), so it was recorded.

# %%
predict("three-styles")

# %% tags=["claim:close-to-full"]
recorded = three_tasks()
print(recorded.about)
rows = [[s, *(f"{recorded.share(m, s):.0%}" for m in ("LoRA", "QLoRA"))] for s in recorded.before]
show_table(["share of full fine-tuning's gain", "LoRA", "QLoRA"], rows)
reveal("three-styles", 100 * recorded.share("LoRA"))

# %%
title = "Close, but full fine-tuning leads in all three"
charts.losses_by_task(recorded.after, recorded.before, title=title)

# %% [markdown]
# **Here our measurement says less than the textbooks do.** They say *close to full fine-tuning for most tasks*. LoRA
# does get most of the gain, and QLoRA as much as LoRA. But full fine-tuning leads in all three styles, by far more than
# two seeds of one method differ. Our model is tiny, so a modern style is a *large* change for it. The better a model
# already is at what you want, the smaller the change, and the closer LoRA comes. A higher rank also wins back a part
# (page 04).
#
# ## What is forgotten
#
# What happens to what the model knew before? Here is a children's story that it has never read, since it was written for
# this course. We measure the loss on it, before and after.

# %%
predict("forgets-more")

# %%
story = {name: evaluate(model, held_out["a story"]) for name, model in models.items()}
with lora.disable_adapter():
    story["LoRA, adapter off"] = evaluate(lora, held_out["a story"])
show_table(["", "loss on a story"], [[name, f"{loss:.2f}"] for name, loss in story.items()])
reveal("forgets-more", "full fine-tuning" if story["full"] > story["LoRA"] else "LoRA, adapter on")

# %% [markdown]
# With the adapter on, LoRA forgets too: the model now writes about everything like a lawyer. But look at the last line.
# Switch the adapter off, and the old loss is back, to the last digit. Full fine-tuning has no such switch; to get the
# old model back, you need a copy of it.
#
# ## Choose
#
# The method chooser below turns such measurements into advice. For a Llama of 8 billion weights, a GPU of 24 GB, a
# style, and 1,000 examples, it says LoRA. What would have to change?

# %%
predict("until-full")

# %%
now = {"card": 24, "distance": "style", "examples": 1_000}
changes = {
    "a larger GPU is enough": {"card": 141},
    "a larger change is enough": {"distance": "far"},
    "more examples are enough": {"examples": 1_000_000},
    "all three together": {"card": 141, "distance": "far", "examples": 1_000_000},
}
advice = {words: advise("llama-3.1-8b", **now | change) for words, change in changes.items()}
show_table(["", "advice"], [[words, each.heading] for words, each in advice.items()], names=2)
reveal("until-full", next(words for words, each in advice.items() if each.method == "full"))

# %% [markdown]
# A thousand examples do not teach a language, and a large GPU is no reason to train every weight. Now describe a task of
# your own. Below the advice you find its reasons, and the source of each number.

# %%
method_chooser()

# %% [markdown]
# ## In short
#
# | your situation | start with |
# |---|---|
# | the model can do it if asked well | a good prompt, and no training |
# | a style, a tone, a format, a narrow subject | LoRA, rank 8 or 16, all linear layers |
# | the same, but the base does not fit into memory | QLoRA |
# | many such tasks side by side | LoRA on one base, an adapter for each |
# | facts to look up | retrieval: put them into the prompt |
# | a wall: the held-out loss stops falling, and a doubled rank lowers it | a higher rank, for as long as that helps |
# | something very new (a language, a field of its own), much text, and GPUs to spare | full fine-tuning, compared with LoRA first |
#
# The last row needs three things at once, which is why it is rare for one person alone.
#
# **How to recognize a wall.** The loss on [held-out text](../docs/glossary.md#held-out-text) stops falling, training
# longer does not help, and doubling the rank does. If doubling the rank changes nothing, rank is not what you lack:
# look at the data or the learning rate.
#
# **What we saw.** An adapter of rank r learns r patterns, however long it trains. Styles lean on few patterns, so LoRA
# and QLoRA get most of the gain; full fine-tuning still led. What LoRA forgets comes back when it is switched off.
#
# **Where this stops being true.** Real tasks have no staircase: their patterns are not equally strong, so the wall is a
# slope. A larger base makes the same style a smaller change. With little text, full fine-tuning memorizes it and gets
# worse on held-out text. And with an unfair learning rate, any of the three can be made to lose.
#
# ## Your turn
#
# * Which is the lowest rank that knows all 256 pairs? Try ranks between 4 and 16. Then double the pairs.
# * Give full fine-tuning LoRA's rate, `learning_rate=5e-3`. What happens to both of its losses?
# * Replace `"legal"` in the training text with `"code"`. Does the story suffer more, or less?
# * Hand in `full-or-lora` (25 minutes) in
#   [`exercises/09_when_to_use_what.ipynb`](../exercises/09_when_to_use_what.ipynb): when would *you* choose full fine-tuning, and why is that rare?
#
# This was the last page. Now take a text of your own to a real model: [your own
# adapter](../docs/take_your_adapter.md).
