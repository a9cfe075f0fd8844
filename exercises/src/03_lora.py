# %% [markdown]
# # Exercises to 03 · LoRA
#
# First the question of the chapter, then the technique itself, piece by piece: six short functions in NumPy or PyTorch.
# Each check shows the arguments it used, what came back, and which mistake that looks like.

# %%
import numpy as np
import torch

from minilora.exercises import check, expect, experiment, form, hint, numbers, progress, rate, solution

# %% exercise="what-lora-changes"

# %% exercise="init-adapter"

# %% exercise="lora-forward"

# %% exercise="freeze"

# %% exercise="lora-gradients"

# %% exercise="merge"

# %% exercise="unmerge"

# %%
progress()
