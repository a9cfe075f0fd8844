# %% [markdown]
# # NumPy for these exercises
#
# *10 minutes*
#
# Everything from NumPy that the exercises use, in nine small steps. Run each cell, change a number, and run it again.
# The exercises take no other functions for granted.

# %%
import numpy as np

# %% [markdown]
# ## 1. An array has a shape and a type
#
# `shape` lists how many rows and columns there are. `dtype` is the type of the numbers: `float64` unless you say
# otherwise. `float32` takes half the memory, and `int8` and `uint8` take one byte per number. `np.zeros` and
# `np.linspace` make arrays of zeros and of evenly spaced numbers.

# %%
W = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
W.shape, W.dtype, W.astype(np.float32).dtype, W.size, np.zeros((2, 2)), np.linspace(-1, 1, 5)

# %% [markdown]
# ## 2. Arithmetic works entry by entry
#
# `+ - * /` and functions such as `np.abs`, `np.sqrt` and `np.round` act on every entry. A smaller array is repeated to
# match the larger one (*broadcasting*): here the row `[10, 20, 30]` is added to both rows of `W`.

# %%
W * 2 + np.array([10, 20, 30])

# %% [markdown]
# ## 3. `@` multiplies matrices, `.T` transposes them
#
# In `x @ M` the last dimension of `x` must equal the first of `M`: (2, 3) @ (3, 4) gives (2, 4). If the shapes do not
# match, NumPy raises an error that names both. With three dimensions, `x @ M` multiplies each matrix in `x`. Note that
# `*` is not matrix multiplication, and that `.T` reverses *all* dimensions.

# %%
x = np.ones((4, 3))  # four inputs with three numbers each
y = x @ W.T
y.shape, W.T.shape

# %% [markdown]
# ## 4. Indexing and slicing
#
# Indices start at 0, and `-1` is the last. `start:stop:step` selects a part, without `stop` itself. An array of indices
# looks up many values at once.

# %%
v = np.array([10, 20, 30, 40, 50])
v[0], v[-1], v[1:3], v[0::2], v[np.array([3, 3, 0])]

# %% [markdown]
# ## 5. Sums along an axis
#
# `sum`, `mean`, `max`, `min` and `np.prod` (the product) take all entries, or run along one axis: `axis=0` goes down the
# columns, `axis=1` along the rows. `np.cumsum` gives all partial sums.

# %%
W.sum(), W.sum(axis=0), np.abs(W).max(axis=1), np.cumsum(v)

# %% [markdown]
# ## 6. Changing the shape
#
# `reshape(-1)` flattens an array, row by row; `-1` stands for "whatever fits". `np.concatenate` and `np.append` join
# arrays, `np.stack` puts them side by side along a new axis, and `repeat` repeats each entry.

# %%
flat = W.reshape(-1)
pairs = np.stack([v, -v], axis=1)
flat, flat.reshape(3, 2), np.append(v, 60), pairs.shape, np.repeat([1, 2], 3)

# %% [markdown]
# ## 7. Comparing and searching
#
# A comparison gives an array of `True` and `False`. `argmax` returns the index of the largest entry (with `True` and
# `False`: of the first `True`), `argmin` that of the smallest. `np.searchsorted` returns where values belong in a sorted
# array.

# %%
v >= 30, np.argmax(v >= 30), np.argmin(np.abs(v - 38)), np.searchsorted(v, [5, 20, 25])

# %% [markdown]
# ## 8. Rounding, integers and bits
#
# `astype(np.int8)` drops the decimals, so round first. A `uint8` has eight bits: `<< 4` shifts them four places to the
# left, `>> 4` back to the right, `&` keeps the bits that both numbers have, `|` those that either has. `0b1111` is 15 in
# binary.

# %%
shifted = np.uint8(9) << 4 | 5
numbers = np.array([1.7, -1.7])
cut, rounded = numbers.astype(np.int8), np.round(numbers).astype(np.int8)
cut, rounded, f"{shifted:08b}", shifted >> 4, shifted & 15

# %% [markdown]
# ## 9. A new array, or the same one changed?
#
# `a + b` makes a new array. `a += b` and `a[0] = …` change `a` itself, and so does a function that does this to an
# argument: its caller sees the change. The exercises ask for new arrays.
#
# Random numbers come from a generator with a seed, so that everyone gets the same ones.

# %%
a = np.zeros(2)
b = a  # the same array under a second name
b += 1
rng = np.random.default_rng(seed=0)
a, rng.uniform(-1, 1, (2, 3))

# %% [markdown]
# That is all. The first exercises are [those for page 02](02_change_only_a_little.ipynb).
