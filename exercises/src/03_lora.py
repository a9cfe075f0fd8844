# %% [markdown]
# # Exercises for page 03 · LoRA
#
# First the question of the chapter, then the technique itself, step by step: six short functions in NumPy or PyTorch.
# Each check shows the arguments it used, what came back, and which mistake that looks like.
#
# Read [page 03](../notebooks/03_lora.ipynb) first. If NumPy is new to you, begin with [ten minutes of
# NumPy](00_numpy.ipynb).

# %%
import numpy as np
import torch

from minilora.exercises import check, expect, experiment, form
from minilora.exercises import hint, numbers, progress, rate, solution

# %% exercise="what-lora-changes"

# %% exercise="init-adapter"

# %% exercise="lora-forward"

# %% exercise="freeze"

# %% exercise="lora-gradients"

# %% exercise="merge"

# %% exercise="unmerge"

# %%
progress()
