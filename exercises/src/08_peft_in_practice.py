# %% [markdown]
# # Exercise for page 08 · PEFT in practice
#
# One exercise, and the most practical one: a fine-tuning run of your own. The check reads the folder with your
# adapter.
#
# Read [page 08](../notebooks/08_peft_in_practice.ipynb) first.

# %%
from minilora.exercises import check, expect, experiment, form
from minilora.exercises import hint, numbers, progress, rate, solution

# %% exercise="run-a-finetune"

# %%
progress()
