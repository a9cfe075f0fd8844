# %% [markdown]
# # Exercises for page 05 · QLoRA
#
# First the question of the chapter. Then you build a 4-bit quantizer in NumPy: from one scale for the whole tensor to
# blocks, packed bytes and quantized scales.
#
# Read [page 05](../notebooks/05_qlora.ipynb) first. If NumPy is new to you, begin with [ten minutes of
# NumPy](00_numpy.ipynb).

# %%
import numpy as np

from minilora.exercises import check, expect, experiment, form
from minilora.exercises import hint, numbers, progress, rate, solution

# %% exercise="quantization-and-qlora"

# %% exercise="quantize-int8"

# %% exercise="quantize-blockwise"

# %% exercise="pack-nibbles"

# %% exercise="dequantize"

# %% exercise="double-quantize"

# %%
progress()
