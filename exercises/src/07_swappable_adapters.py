# %% [markdown]
# # Exercises to 07 · Swappable adapters
#
# First the question of the chapter, then four functions: save what is small, swap it, blend it, and serve several
# adapters in one batch.

# %%
import numpy as np

from minilora.exercises import check, expect, experiment, form, hint, numbers, progress, rate, solution

# %% exercise="swappable-adapters"

# %% exercise="save-adapter"

# %% exercise="swap-adapters"

# %% exercise="blend"

# %% exercise="mixed-batch"

# %%
progress()
