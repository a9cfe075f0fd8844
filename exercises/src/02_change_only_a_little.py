# %% [markdown]
# # Exercises to 02 · Change only a little
#
# Write, run the check below, read what it says, and try again as often as you like. Progress is kept in a file beside
# this notebook; `progress()` shows it.

# %%
import numpy as np

from minilora.exercises import check, hint, progress, solution

# %% exercise="count-trainable"

# %%
progress()
