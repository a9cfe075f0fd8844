# %% [markdown]
# # Exercise to 08 · PEFT in practice
#
# One exercise, and the most practical: a fine-tuning run of your own, checked from the folder that it leaves behind.

# %%
from minilora.exercises import check, expect, experiment, form, hint, numbers, progress, rate, solution

# %% exercise="run-a-finetune"

# %%
progress()
