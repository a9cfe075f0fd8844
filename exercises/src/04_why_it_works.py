# %% [markdown]
# # Exercise for page 04 · Why it works
#
# How simple is a change of weights? Its singular values tell us.
#
# Read [page 04](../notebooks/04_why_it_works.ipynb) first. If NumPy is new to you, begin with [ten minutes of
# NumPy](00_numpy.ipynb).

# %%
import numpy as np

from minilora.exercises import check, hint, progress, solution

# %% exercise="choose-rank"

# %%
progress()
