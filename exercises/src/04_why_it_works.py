# %% [markdown]
# # Exercises to 04 · Why it works
#
# How simple is a change? Its singular values tell.

# %%
import numpy as np

from minilora.exercises import check, hint, progress, solution

# %% exercise="choose-rank"

# %%
progress()
