# %% [markdown]
# # Exercises to 06 · Modest hardware
#
# What lies in memory while a model trains, and what is left of it with LoRA: first as a function, then for a large
# model of your own.

# %%
import numpy as np

from minilora.exercises import check, expect, experiment, form, hint, numbers, progress, rate, solution

# %% exercise="training-memory"

# %% exercise="full-against-lora"

# %%
progress()
