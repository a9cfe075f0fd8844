# %% [markdown]
# # 07 · Swappable adapters
#
# **After this page you can** keep several adapters on one model, switch and blend them, serve them all in one batch, and
# say what that saves and what it costs. **Time:** 15 minutes, less than one of them waiting.
#
# A photographer owns one camera body and three lenses. The body is heavy and expensive, a lens is quickly changed, and
# changing it does nothing to the body. Here the body is our small language model, and the lenses are three
# [adapters](../docs/glossary.md#adapter) that come with this package.

# %%
from minilora.lesson import *

# %% [markdown]
# We load the model *once* and attach all three. Then we give one opening to all of them, and to the bare base, and let
# them write at the same moment:

# %%
model = LoraModel(GPT.from_pretrained("tiny-gpt"))
untouched, opening = base_digest(model), "The old bear opened the door and"
for style in STYLES:
    model.load_adapter(style, style)  # an adapter of the package, by its name
voices = write_together(model, opening, ["__base__", *STYLES])

# %% [markdown]
# Four voices and one model in memory. The [random seed](../docs/glossary.md#seed) is the same for all, so whatever
# differs is the adapter's doing. How do we know which words are the style's? We ask the model itself: how likely was this
# word with the adapter, and how likely would it have been without? Where the adapter raised the probability at least a
# hundredfold, the word is underlined.
#
# ## Turn the adapters up and down
#
# Each adapter adds an update to the layers, and an update can be multiplied by a *strength*. At 1 it is the adapter as
# trained.

# %%
predict("strength-zero")

# %% [markdown]
# Move the sliders. Try `legal` at 0.5 and at 1.5, then two adapters at 0.5 each. Change the opening: "The little fox and
# the hen" or "The king was very ill, and" are good ones. The last line shows a fingerprint of the base's weights, a
# checksum over every bit. It is taken again after each text.

# %%
adapter_switcher(model)

# %% [markdown]
# At 1.5 some words may have fallen apart: the adapter was trained at strength 1. And at 0? We let the model write twice,
# once with an adapter of strength 0 and once without any:

# %%
model.set_adapter("legal", scale=0)
at_zero = write(model, opening)
with model.disable_adapter():
    same = at_zero == write(model, opening)
reveal("strength-zero", "the base's text, letter for letter" if same else "something close to the base")

# %% [markdown]
# ## Blend two voices
#
# A blend is arithmetic. Adapter i changes a layer's weights by αᵢ / rᵢ · Bᵢ·Aᵢ (page 03). With strength sᵢ, the blend
# changes them by the sum of sᵢ · αᵢ / rᵢ · Bᵢ·Aᵢ. Write the line. Stuck? Run `hint("blend")` in a cell of its own.


# %%
def blend(adapters, strengths):
    change = 0
    for name, strength in strengths.items():
        A, B, alpha = (adapters[name][part] for part in ("A", "B", "alpha"))
        change = change + ...  # strength, times alpha / r, times B @ A; r is A.shape[0]
    return change


check("blend", blend)

# %% [markdown]
# Is that what the model does? We blend two adapters, and compare one layer's change with yours.

# %%
model.set_adapters(["legal", "support"], [0.5, 0.5])
name = "model.layers.4.self_attn.q_proj"
change = mine_or("blend", blend)(layer_adapters(model, name), model.adapter_scales)
difference = np.abs(change - model_change(model, name)).max()
print(f"changes of up to {np.abs(change).max():.2f}; yours and the model's differ by {difference:.0e}")
show_text({"half legal, half support": write(model, opening, seed=3)})

# %% [markdown]
# The arithmetic is exact, up to rounding. Nothing guarantees that the blend reads well: nobody ever trained these two
# together. Read it and judge.
#
# ## Do adapters get in each other's way?
#
# So far we used adapters that somebody else trained. Now we train three of our own, one after the other, on one model.

# %%
predict("three-trainings")

# %%
def read(style, split, documents):
    return encode_text(style_corpus(style, split, documents), model.tokenizer, sequence_length=64)


train = {style: read(style, "train", 64) for style in STYLES}
held_out = {style: read(style, "validation", 6) for style in STYLES}

# %%
shared = LoraModel(GPT.from_pretrained("tiny-gpt"))
fingerprints, new_losses = [base_digest(shared)], []
for style in STYLES:
    shared.add_adapter(style, LoraConfig(r=8, target_modules="all-linear"))
    shared.set_adapter(style)
    Trainer(shared, train[style], max_steps=20).train()
    fingerprints.append(base_digest(shared))
    new_losses.append(evaluate(shared, held_out[style]))

# %% tags=["claim:many-one-base"]
shared.set_adapter(STYLES[0])
first_loss, first_loss_now = new_losses[0], evaluate(shared, held_out[STYLES[0]])
print("fingerprints of the base:", *(fingerprint[:12] for fingerprint in fingerprints))
print(f"the first adapter: loss {first_loss:.4f} when it was new, {first_loss_now:.4f} now")
reveal("three-trainings", "exactly as it was" if first_loss_now == first_loss else "worse than before")

# %% [markdown]
# Four equal fingerprints, and the first adapter does exactly what it did. Each training moved numbers of its own.
#
# ## Does each adapter fit its own style only?
#
# The three adapters that come with the package were trained longer than ours. Each of them now reads
# [held-out](../docs/glossary.md#held-out-text) text of every style. A low [loss](../docs/glossary.md#loss) means that the
# text surprised it little.

# %%
predict("wrong-adapter")

# %%
losses = losses_by_adapter(model, held_out)
reveal("wrong-adapter", losses["legal"]["support"] / losses["no adapter"]["support"])

# %% [markdown]
# In each column the style's own adapter wins by far, and an adapter for another style does worse than none. An adapter
# promises something for the kind of text that it was trained on, and nothing for the rest. So a service with many adapters
# has to know which one a request needs.
#
# ## How long does a switch take?

# %%
predict("switches-per-load")

# %% tags=["claim:snap-in"]
switch = fastest(lambda: [model.set_adapter(style) for style in STYLES], times=1000) / len(STYLES)
read_file = fastest(lambda: model.load_adapter("code", "code", replace=True))
load = fastest(lambda: GPT.from_pretrained("tiny-gpt"))
rows = [["switch", switch], ["adapter from its file", read_file], ["whole model from its file", load]]
show_table(["", "µs"], [[what, f"{1e6 * seconds:,.1f}"] for what, seconds in rows])
print("Is the base still the same?", base_digest(model) == untouched)
reveal("switches-per-load", load / switch)

# %% [markdown]
# A switch copies nothing. All layers look up one small note that says which adapters are active, and the switch rewrites
# that note. So it takes as long in a huge model as in a tiny one, while loading does not: 16 GB, from a disk that reads 3 GB
# per second, take more than five seconds.
#
# ## What does it save?

# %%
predict("twenty-voices")

# %% tags=["claim:cheaper-than-copies"]
model_bytes, adapter_bytes = embedded_sizes()
reveal("twenty-voices", 20 * model_bytes / (model_bytes + 20 * max(adapter_bytes.values())))

# %%
charts.storage(model_bytes, max(adapter_bytes.values()), tasks=20)

# %% [markdown]
# With one voice an adapter only adds. From the second on it saves, and with each voice the factor comes closer to the
# size of the model over that of an adapter.
#
# ## How servers do it
#
# A server gets its requests unsorted: one for a lawyer, one for support, one for the bare model. It doesn't sort them.
# The first picture of this page was such a *mixed batch*: four rows, each with an adapter of its own. The product with W,
# nearly all of the work, is computed for all rows at once; then each row adds its own thin B·A. Does a row get what its
# adapter would have written alone?

# %%
for name, text in voices.items():
    model.set_adapters([] if name == "base" else [name])
    alone = write(model, opening, seed=3)
    print(f"{name}, alone: the same text, letter for letter?", alone == opening + text)

# %% [markdown]
# Servers such as [vLLM](https://docs.vllm.ai/en/latest/features/lora.html) work this way. They load the base once, and
# each request names its adapter as if it were a model:
#
# ```sh
# vllm serve meta-llama/Llama-3.1-8B-Instruct --enable-lora --max-loras 8 \
#     --lora-modules legal=./legal support=./support
# curl localhost:8000/v1/completions -H "Content-Type: application/json" \
#     -d '{"model": "legal", "prompt": "The old bear opened the door and"}'
# ```
#
# How many voices can one GPU hold? The arithmetic, for adapters of rank 16 on all linear layers and two bytes per number:

# %%
predict("adapters-on-a-gpu")

# %%
plan = plan_memory("llama-3.1-8b", "lora", r=16, target_modules="all-linear")
weights, added = plan.shape.parameter_count, plan.trained
print(f"one base {gigabytes(2 * weights)}, one adapter {gigabytes(2 * added)}")
rows = [[n, gigabytes(2 * (weights + n * added)), gigabytes(2 * n * weights)] for n in (1, 20, 300)]
show_table(["voices", "one base and adapters", "full copies"], rows)
print(f"additional arithmetic for each token: {added / weights:.1%}")
reveal("adapters-on-a-gpu", (80e9 - 2 * weights) / (2 * added))

# %% [markdown]
# A real server fills part of that room with the requests themselves (their keys and values, the *KV cache*), keeps most
# adapters in the computer's main memory, and fetches those that are needed.
# [S-LoRA](https://arxiv.org/abs/2311.03285) serves thousands from one GPU this way.
#
# ## What does it cost?
#
# A separate adapter has to be computed at each layer, for each token.

# %%
predict("price-of-an-adapter")

# %%
model.set_adapter("legal")
seconds = reading_times(model, held_out["legal"].input_ids[:4])
show_table(["", "ms"], [[name, f"{1e3 * value:.1f}"] for name, value in seconds.items()])
reveal("price-of-an-adapter", max(0.1, 100 * (seconds["separate adapter"] / seconds["base"] - 1)))

# %% [markdown]
# By the arithmetic above it should be a few percent. On most computers it is much more, because many small products keep a
# processor less busy than one large one. (On a busy computer the measurement is rough; run the cell again.) On a GPU the
# gap is wider still, and servers have special routines that compute the thin products of all rows together.
#
# **Merging** removes the price: W + α/r · B·A is computed once, for each layer, and used in W's place.

# %%
ids = held_out["legal"].input_ids[:1]
with torch.no_grad():
    separate = model(ids)
    model.merge_adapter()
    print(f"merged: scores differ by at most {(model(ids) - separate).abs().max():.0e}")
model.unmerge_adapter()

# %% [markdown]
# The scores are the same, up to rounding. But merged weights have one voice: no switch, no mixed batch, and a copy of the
# whole model for each further voice. (Ours keeps the base beside them, so that unmerging is exact.) Merge if you need one
# voice for good; keep adapters separate if you need several.
#
# **What we saw.** Many adapters live on one base, which never changes. A switch takes microseconds, another voice costs an
# adapter's bytes, and one batch can hold all voices. The price is some time for each token.
#
# **Where this stops being true.** An adapter belongs to the base on which it was trained: a newer base needs new adapters,
# and ours refuses the wrong one. A high rank on all layers makes thick adapters, and the saving shrinks. And a blend is
# only arithmetic.
#
# ## Your turn
#
# * Add a fourth adapter to `shared`, with another rank, and train it. Do the others notice?
# * `model.add_weighted_adapter(["legal", "support"], [0.7, 0.5], "mix", "cat")` makes one adapter out of two; then
#   `model.save_adapter("mix", "mix")` saves it.
#
# ## Exercises
#
# In [`exercises/07_swappable_adapters.ipynb`](../exercises/07_swappable_adapters.ipynb): `swappable-adapters` (the
# question of the chapter, 20 minutes), `save-adapter` (15), `swap-adapters` (20), `blend` (done, if you did it above), and
# `mixed-batch` (30).
