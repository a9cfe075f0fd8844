# %% [markdown]
# # Exercise to 09 · When to use what
#
# The last question of the chapter, in scenarios.

# %%
from minilora.exercises import check, expect, experiment, form, hint, numbers, progress, rate, solution

# %% exercise="full-or-lora"

# %%
progress()
