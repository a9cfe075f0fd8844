# %% [markdown]
# # Exercises for page 07 · Swappable adapters
#
# First the question of the chapter, then four functions: save an adapter, swap adapters, blend them, and serve
# several of them in one batch.
#
# Read [page 07](../notebooks/07_swappable_adapters.ipynb) first. If NumPy is new to you, begin with [ten minutes of
# NumPy](00_numpy.ipynb).

# %%
import numpy as np

from minilora.exercises import check, expect, experiment, form
from minilora.exercises import hint, numbers, progress, rate, solution

# %% exercise="swappable-adapters"

# %% exercise="save-adapter"

# %% exercise="swap-adapters"

# %% exercise="blend"

# %% exercise="mixed-batch"

# %%
progress()
