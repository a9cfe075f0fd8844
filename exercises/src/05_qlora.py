# %% [markdown]
# # Exercises to 05 · QLoRA
#
# First the question of the chapter. Then a 4-bit quantizer in NumPy, from one scale for everything to packed bytes and
# quantized scales; the last function reads bytes that were written by others.

# %%
import numpy as np

from minilora.exercises import check, expect, experiment, form, hint, numbers, progress, rate, solution

# %% exercise="quantization-and-qlora"

# %% exercise="quantize-int8"

# %% exercise="quantize-blockwise"

# %% exercise="pack-nibbles"

# %% exercise="dequantize"

# %% exercise="double-quantize"

# %%
progress()
