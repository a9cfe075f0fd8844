# %% [markdown]
# # All explorables
#
# The pictures of the course that move, on one page: to show in front of a class, or to play with. Each stands on the
# page that its heading names, with the question that it answers.

# %% tags=["remove-input"]
from minilora.lesson import *

# %% [markdown]
# ## How few weights LoRA trains
#
# From [page 02](../notebooks/02_change_only_a_little.ipynb).

# %% tags=["remove-input"]
parameter_explorer()

# %% [markdown]
# ## One LoRA layer while it learns
#
# From [page 03](../notebooks/03_lora.ipynb). The update to learn has rank 3.

# %% tags=["remove-input"]
lora_anatomy()

# %% [markdown]
# ## How many directions a change of weights has
#
# From [page 04](../notebooks/04_why_it_works.ipynb).

# %% tags=["remove-input"]
rank_explorer()

# %% [markdown]
# ## What four bits do to numbers
#
# From [page 05](../notebooks/05_qlora.ipynb).

# %% tags=["remove-input"]
quantization_explorer()

# %% [markdown]
# ## What training takes in memory
#
# From pages [01](../notebooks/01_the_problem.ipynb) and [06](../notebooks/06_modest_hardware.ipynb). It runs the course's
# own Python in your browser, which takes a few seconds to start.

# %% tags=["remove-input"]
memory_explorer()

# %% [markdown]
# ## Which method when
#
# From [page 09](../notebooks/09_when_to_use_what.ipynb). This one runs Python, too.

# %% tags=["remove-input"]
method_chooser()
