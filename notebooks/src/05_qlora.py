# %% [markdown]
# # 05 · QLoRA: LoRA on a diet
#
# **After this page you can** store a weight in four bits, say what that costs and why one outlier can ruin it, and train
# adapters on a compressed model. **Time:** 20 minutes, a few of them waiting.
#
# Here are three texts. One was written by the model that you know. For another, every weight was rounded to one of sixteen
# values. For the third as well, but carelessly.

# %%
from minilora.lesson import *

texts = three_versions("tiny-gpt", "Once upon a time, a little fox")

# %%
predict("spot-the-original")

# %%
reveal("spot-the-original", texts.original)

# %% [markdown]
# <details><summary><b>And the other two?</b></summary>
#
# **C** is the carefully rounded one, **A** the careless one.
# </details>
#
# If you hesitated between two of them, you have seen the point of this page: a weight needs far fewer bits than it usually
# gets, *if* they are used well.
#
# ## What is still heavy
#
# Why would anyone want to round? LoRA made the *trained* part small. Let us see what is left, in one step of our model and
# in the plan for a large one.

# %%
predict("heaviest-part")

# %% tags=["claim:lora-floor"]
adapted = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules="all-linear"))
tiny = heavy_parts(measure_memory(adapted, batch_size=1, sequence_length=64))
large = heavy_parts(plan_memory("llama-3.1-8b", "lora", r=8, target_modules="all-linear"))
show_bytes({"tiny-gpt, measured": tiny, "Llama-3.1-8B, planned": large})
reveal("heaviest-part", max(large, key=large.get))

# %% [markdown]
# The frozen weights are the floor that LoRA cannot go below. (With longer texts or larger
# [batches](../docs/glossary.md#batch), the [activations](../docs/glossary.md#activations) outgrow them; page 06 deals with
# those.) But frozen weights are only read, never updated. Do they have to be stored so precisely?
#
# ## One weight in 32, 16 and 4 bits
#
# A [bit](../docs/glossary.md#bit) is a 0 or a 1. Here is the first weight of one layer:

# %%
base = GPT.from_pretrained("tiny-gpt")
weight = base.model.layers[4].mlp.gate_proj.weight.detach()
number_in_bits(weight)

# %% [markdown]
# With 32 bits, a weight can have four billion different values; with 16, still 65,536. Four bits leave sixteen. So we need a
# ruler with sixteen marks, its *levels*, and each weight moves to the nearest one. That is
# [quantization](../docs/glossary.md#quantization).
#
# How long is the ruler? Weights are cut into **blocks**, of 64 for example. Each block stores its largest absolute value,
# the [absmax](../docs/glossary.md#absmax), and its ruler reaches from -absmax to +absmax. By hand, for a block of six and
# the evenly spaced levels of `int4` (fifteen of them; the sixteenth would spoil the symmetry):

# %%
block = np.array([0.31, -0.70, 0.05, 0.12, -0.33, 0.02])
indices = np.round(block / 0.70 * 7)  # 0.70 is the absmax; whole numbers from -7 to 7
print(indices, "decode to", (indices / 7 * 0.70).round(2))

# %% [markdown]
# No weight is off by more than half the distance between two levels. The absmax came back exactly; 0.02 was rounded to 0.
#
# ## Where should the levels be?

# %%
predict("half-of-the-weights")

# %% [markdown]
# The histogram shows all weights of the layer, each divided by the absmax of its block. Below it are two rulers. The bars
# that hang from the levels show how many weights each one gets.

# %%
display(levels_and_weights(weight))
reveal("half-of-the-weights", levels_for_half(level_shares(weight, "int4")))

# %% [markdown]
# Weights follow a bell curve, and `int4` wastes levels on its thin ends. NF4 (*4-bit NormalFloat*) cuts a bell curve into
# parts of equal probability, at its *quantiles*, and places a level in each. So the levels are dense where most weights are,
# and their shares are more nearly equal.
#
# ## What it saves

# %%
predict("bits-per-weight")

# %% tags=["claim:fewer-bits"]
packed, double = quantize_4bit(weight), quantize_4bit(weight, double_quant=True)
stored = {"float32": weight, "bfloat16": weight.bfloat16(), "nf4": packed, "nf4, twice": double}
bits = {name: 8 * each.nbytes / weight.numel() for name, each in stored.items()}
show_table(["", "bits per weight"], [[name, f"{each:.3f}"] for name, each in bits.items()])
reveal("bits-per-weight", bits["nf4"])

# %% [markdown]
# These figures are measured on the stored tensors. The last row quantizes the absmax values as well, to 8 bits each; that is
# called *double quantization*. (`bfloat16` is the usual 16-bit format.)
#
# ## One outlier
#
# The **error** of a scheme is the size of all its rounding errors together, relative to the size of the weights. Suppose
# that a single weight, an [outlier](../docs/glossary.md#outlier), is 32 times larger than usual.

# %%
predict("one-outlier")

# %% [markdown]
# **Drag the red dot to the right**, and watch the ruler below it stretch. Then change the block size. (You can also click on
# another scheme at the bottom.)

# %%
quantization_explorer()

# %%
outliers = {size: errors_of_others(weight[:16], size, times=32) for size in (64, 4096)}
print(f"error of the others in blocks of 64: {outliers[64][1]:.1%}")
reveal("one-outlier", 100 * outliers[4096][1])

# %% [markdown]
# The outlier stretches the ruler of its whole block, and hardly any levels are left for the others. In small blocks it has
# few neighbors to spoil. In a single block it spoils everything. That is why careless rounding, with one scale for a whole
# matrix, fails.
#
# ## The whole model in four bits

# %%
predict("loss-in-four-bits")

# %% tags=["claim:small-loss"]
held_out = encode_text(style_corpus("legal", "validation", documents=12), base.tokenizer, 64)
rounded = compare_schemes("tiny-gpt", held_out, [("int4", None), ("nf4", 64), ("int4", 64), ("fp4", 64)])
exact, naive, good, *_ = rounded.values()
reveal("loss-in-four-bits", 100 * (good.loss / exact.loss - 1))

# %% [markdown]
# Blocks matter more than the number of bits: the careless scheme in the second row has nearly as many. (`fp4` is a tiny
# floating-point number, with two bits of exponent.)
#
# **Where we differ from the textbook.** A smaller error of the weights does not always mean a lower
# [loss](../docs/glossary.md#loss). Among the good schemes the differences are about as large as the luck of these few pages
# of text, so do not choose between them by the last column. And NF4 was designed for bell curves: in the explorable,
# `min-max` spaces its levels evenly between the smallest and the largest weight of a block, and comes close.
#
# ## Adapters on a compressed model
#
# **QLoRA** puts both halves together: a frozen model in 4 bits, and LoRA adapters in full precision beside it.

# %%
predict("qlora-ends")

# %%
train_data = encode_text(style_corpus("legal", documents=160), base.tokenizer, sequence_length=64)
models, histories = {}, {}
for name, scheme in {"LoRA": None, "QLoRA": ("nf4", 64, True), "careless": ("int4", None)}.items():
    model = GPT.from_pretrained("tiny-gpt")
    if scheme:
        quantize_model(model, *scheme)  # in place; True is for double quantization
    torch.manual_seed(0)  # the same start for all
    models[name] = add_lora(model, LoraConfig(r=8, target_modules="all-linear"))
    histories[name] = Trainer(models[name], train_data, max_steps=40, validation_data=held_out).train()

# %% tags=["claim:qlora-trains"]
memory = {name: measure_memory(model, batch_size=1, sequence_length=64) for name, model in models.items()}
starts, ends = ({n: h.validation_losses[i] for n, h in histories.items()} for i in (0, -1))
rows = [[n, f"{starts[n]:.2f}", f"{ends[n]:.2f}", gigabytes(memory[n].peak)] for n in models]
show_table(["", "loss before", "after", "memory"], rows)
reached = (starts["LoRA"] - ends["QLoRA"]) / (starts["LoRA"] - ends["LoRA"])
reveal("qlora-ends", 100 * reached)

# %% [markdown]
# The adapter learns around the rounding. Even on the careless base it recovers much of the loss, but not all of it.
#
# ## Inside a QLoRA layer

# %%
layer = look_into(models["QLoRA"], "model.layers.4.self_attn.q_proj", "The Buyer shall pay")
layer_flow(layer)

# %% [markdown]
# The layer decodes W, multiplies, and drops the decoded W at once. In the backward pass it decodes W again. Gradients flow
# *through* W to the adapters of earlier layers; the packed codes never change.
#
# Write the decoding: look up each level, and multiply it by the absmax of its block. Stuck? Run `hint("dequantize")`.


# %%
def dequantize(packed, absmax, code, block_size, shape):
    n = np.prod(shape)
    indices = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)[:n]  # two in each byte
    factors = absmax.repeat(block_size)[:n]  # the absmax for each weight
    return ...  # code[...] gives the levels; the result has the given shape


check("dequantize", dequantize)

# %% [markdown]
# With it, a whole QLoRA layer takes three lines:

# %%
decode = mine_or("dequantize", dequantize)


def qlora_forward(x, layer):
    W = decode(layer.packed, layer.absmax, NF4, 64, layer.W.shape)
    update = layer.alpha / len(layer.A) * (x @ layer.A.T) @ layer.B.T
    return x @ W.T + update


print("largest difference from PyTorch:", np.abs(qlora_forward(layer.x, layer) - layer.y).max())

# %% [markdown]
# **What we saw.** Sixteen levels per weight are enough, if the levels fit the weights and the blocks are small. On such a
# base, adapters learn about as well as on the original, at a fraction of the memory.
#
# **Where this stops being true.** Four bits cost *time*: each step decodes every layer twice. If the model fits anyway,
# QLoRA saves memory that you did not need to save. And an adapter trained on a rounded base belongs to *that* base. If you
# merge it into W and round again, the new rounding error can be larger than the adapter's whole update, so keep such
# adapters separate.
#
# Embeddings, norms and the output layer stay in full precision, in ours and in most programs. So a small model shrinks less
# than its linear layers do.
#
# Which models fit on one GPU now? That is [page 06](06_modest_hardware.ipynb).
#
# ## Exercises
#
# In [`exercises/05_qlora.ipynb`](../exercises/05_qlora.ipynb) you build the whole quantizer: `quantize-int8` (20 minutes),
# `quantize-blockwise` (40), `pack-nibbles` (20), `dequantize` (done, if you did it above), `double-quantize` (30), and
# `quantization-and-qlora` (in your own words, 30).
#
# The explorable takes a function of yours, in NumPy or PyTorch, and shows its error beside the others:
# `quantization_explorer(quantize=quantize_blockwise)`.
