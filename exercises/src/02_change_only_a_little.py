# %% [markdown]
# # Exercises for page 02 · Change only a little
#
# Write the function, run the check below it, read what it says, and try again as often as you like. Your progress is
# saved; `progress()` shows it.
#
# Read [page 02](../notebooks/02_change_only_a_little.ipynb) first. If NumPy is new to you, begin with [ten minutes of
# NumPy](00_numpy.ipynb).

# %%
import numpy as np

from minilora.exercises import check, hint, progress, solution

# %% exercise="count-trainable"

# %%
progress()
