# %% [markdown]
# # Exercise for page 09 · When to use what
#
# The last question of the chapter, in scenarios.
#
# Read [page 09](../notebooks/09_when_to_use_what.ipynb) first.

# %%
from minilora.exercises import check, expect, experiment, form
from minilora.exercises import hint, numbers, progress, rate, solution

# %% exercise="full-or-lora"

# %%
progress()
