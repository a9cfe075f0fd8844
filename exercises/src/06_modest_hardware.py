# %% [markdown]
# # Exercises for page 06 · Modest hardware
#
# What is in memory while a model trains, and how much of it is left with LoRA? First as a function, then for a large
# model of your own.
#
# Read [page 06](../notebooks/06_modest_hardware.ipynb) first. If NumPy is new to you, begin with [ten minutes of
# NumPy](00_numpy.ipynb).

# %%
import numpy as np

from minilora.exercises import check, expect, experiment, form
from minilora.exercises import hint, numbers, progress, rate, solution

# %% exercise="training-memory"

# %% exercise="full-against-lora"

# %%
progress()
