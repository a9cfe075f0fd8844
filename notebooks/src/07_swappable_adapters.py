# %% [markdown]
# # 07 · Swappable adapters
#
# **After this page you can** keep several specialities on one model, change between them in the time of a blink's tiny
# part, combine two, serve them all in one batch, and say what this saves and what it costs. **Time:** 15 minutes, of which
# half a minute is waiting.
#
# Think of one actor with three masks. The actor learned to speak long ago, once. A mask is light, it is changed between
# two sentences, and the actor behind it stays who they were. Three actors who know one part each would need three
# dressing rooms.

# %%
print("Loading PyTorch (some seconds) ...")
import tempfile
import time
from pathlib import Path

import torch

from minilora import GPT, LoraConfig, LoraModel, Trainer, encode_text, evaluate, style_corpus
from minilora.memory.catalog import MODELS
from minilora.files import ASSETS
from minilora.training.datasets import STYLES
from minilora.figures.charts import storage
from minilora.figures.passage import Passage
from minilora.figures.tables import Table
from minilora.memory import gigabytes, plan_memory
from minilora.widgets import adapter_switcher
from minilora.widgets.adapters import base_digest

folder = Path(tempfile.mkdtemp())  # for what this page saves
print("Ready.")

# %% [markdown]
# ## Three masks for one actor
#
# We load the base **once** and take its fingerprint: a checksum (SHA-256) over every bit of every weight. If one weight
# moves by the smallest step that a computer knows, the fingerprint is another.

# %%
model = LoraModel(GPT.from_pretrained("tiny-gpt"))
untouched = base_digest(model)
print("the base's fingerprint:", untouched[:32], "...")

tokenizer = model.tokenizer
train = {
    style: encode_text(style_corpus(style, documents=64), tokenizer, sequence_length=64)
    for style in STYLES
}
kept_back = {
    style: encode_text(style_corpus(style, "validation", documents=6), tokenizer, sequence_length=64)
    for style in STYLES
}
rows = [[style, len(train[style]), len(kept_back[style])] for style in STYLES]
Table(["rows of 64 tokens", "to learn from", "kept back"], rows)

# %% [markdown]
# **Predict:** we train three adapters one after the other, on this one model in memory. Does the second training start
# from a base that the first has changed? And does the first adapter still know its style when the third has been trained?
# Two times yes, two times no, or one of each?

# %% tags=["claim:many-one-base", "nbval-ignore-output"]
model = LoraModel(GPT.from_pretrained("tiny-gpt"))  # fresh, so that you can run this cell again
fingerprints = [base_digest(model)]
first_loss = None
for style in STYLES:
    torch.manual_seed(0)
    model.add_adapter(f"my-{style}", LoraConfig(r=8, lora_alpha=16, target_modules="attention"))
    model.set_adapter(f"my-{style}")
    print(f"{style}: {model.trainable_parameter_count()}")
    Trainer(model, train[style], max_steps=20, batch_size=8, learning_rate=1e-2).train()
    fingerprints.append(base_digest(model))
    if first_loss is None:  # what the first adapter can do, before the others are trained
        first_loss = evaluate(model, kept_back["legal"])

model.set_adapter("my-legal")
first_loss_now = evaluate(model, kept_back["legal"])
print("\nfingerprints of the base:", ", ".join(fingerprint[:12] for fingerprint in fingerprints))
print(
    f"the first adapter on its own style: loss {first_loss:.4f} when new, {first_loss_now:.4f} "
    "after the two others"
)
assert set(fingerprints) == {untouched}
assert first_loss_now == first_loss

# %% [markdown]
# Two times no. Four fingerprints, all equal; and the first adapter does exactly what it did. The trainings cannot get
# into each other's way, since each moves numbers of its own and the base moves for nobody.
#
# ## Does each mask fit its own part?
#
# Each adapter reads text of each style that was kept back. The number is the loss, its surprise per token: lower is
# better.
#
# **Predict:** is the adapter for legal prose better or worse than the bare base on support letters, a style that it never
# saw?

# %% tags=["nbval-ignore-output"]
names = ["no adapter", *(f"my-{style}" for style in STYLES)]
losses = {}
for style in STYLES:
    with model.disable_adapter():
        losses[style] = {"no adapter": evaluate(model, kept_back[style])}
    for name in names[1:]:
        model.set_adapter(name)
        losses[style][name] = evaluate(model, kept_back[style])

for style in STYLES:
    assert min(losses[style], key=losses[style].get) == f"my-{style}"
rows = [[style, *(f"{loss:.2f}" for loss in losses[style].values())] for style in STYLES]
Table(["text of style", *names], rows)

# %% [markdown]
# In every row the style's own adapter wins, by far. A foreign adapter does not help; here it is mostly worse than none,
# as a legal mask does not make a letter to a customer any better. An adapter promises something for the kind of text that
# it was trained on, and for nothing else.
#
# ## How long does a change take?
#
# The package ships three adapters, trained longer than yours. We snap them in from their files, and then measure three
# ways to come to another speciality: changing between adapters that are in memory, fetching an adapter from the disk, and
# loading a whole model.
#
# **Predict:** how many changes of adapter fit in the time in which this very small model loads: ten, a thousand, ten
# thousand?

# %% tags=["claim:snap-in", "nbval-ignore-output"]
model = LoraModel(GPT.from_pretrained("tiny-gpt"))
for style in STYLES:
    model.load_adapter(style, style)  # an adapter of the package, by its name


def shortest(action, times):
    """Seconds of one call, the least of five rounds: other programs can only make it longer."""
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(times):
            action()
        rounds.append((time.perf_counter() - start) / times)
    return min(rounds)


def change_through_all():
    for style in STYLES:
        model.set_adapter(style)


swap = shortest(change_through_all, times=1000) / len(STYLES)
fetch = shortest(lambda: model.load_adapter("code", "code", replace=True), times=1)
load = shortest(lambda: GPT.from_pretrained("tiny-gpt"), times=1)
rows = [
    ["change of adapter, all in memory", f"{swap * 1e6:,.1f}", 1],
    ["adapter from its file", f"{fetch * 1e6:,.0f}", f"{fetch / swap:,.0f}"],
    ["whole model from its file", f"{load * 1e6:,.0f}", f"{load / swap:,.0f}"],
]
display(Table(["", "µs", "in changes of adapter"], rows))

size = 2 * MODELS["llama-3.1-8b"].parameter_count  # bytes, at two bytes for each weight
print(f"A model of {gigabytes(size)} from a disk that reads 3 GB a second: at least {size / 3e9:.1f} s")
assert swap < load / 100
assert base_digest(model) == untouched

# %% [markdown]
# A change of adapter copies nothing, whatever the size of the model: all layers look at one small note that says which
# adapter is active, and the note is rewritten. Our model is so small that even loading it is quick; the last line says what it
# would be for one of the size that people use.
#
# ## Try the masks on
#
# Below, the base writes on the left and the adapted model on the right, from the same beginning and with the same rolls
# of the dice. Choose an adapter, a pair of them, or none; turn the scale from 0 to 1.5; type a beginning of your own.
# The last line is the base's fingerprint, taken again after each text.
#
# **Predict:** what will you read at scale 0?

# %% tags=["nbval-ignore-output"]
switcher = adapter_switcher(model, list(STYLES), prompt="The little dog ran to the garden and")
switcher

# %% [markdown]
# The next cell moves the controls in your place, and keeps what was written:

# %% tags=["nbval-ignore-output"]
for adapter, scale in (
    ("legal", 0.0),
    ("legal", 1.0),
    ("code", 1.0),
    ("support", 1.0),
    ("legal + support", 1.0),
):
    switcher.adapter.value, switcher.scale.value = adapter, scale
    switcher.finish()
    display(Passage(switcher.texts["adapted"][:150], label=f"{scale:g} × {adapter}"))
    if scale == 0:
        assert switcher.texts["adapted"] == switcher.texts["base"]
assert switcher.digests == (untouched, untouched)

# %% [markdown]
# At scale 0 you read the base, letter for letter. Two active adapters add their updates, here each at half its scale; that
# is exact arithmetic, but whether the mixture is good taste nobody promises. Read it and judge.
#
# ## What it saves
#
# **Predict:** you want twenty specialities. How much longer is the shelf with twenty full copies of the model than the one
# with a single model and twenty adapters: twice, five times, twenty times?


# %% tags=["claim:cheaper-than-copies", "nbval-ignore-output"]
def bytes_of(path):
    return sum(file.stat().st_size for file in path.iterdir() if file.suffix == ".safetensors")


model_bytes = bytes_of(ASSETS / "tiny-gpt")
adapter_bytes = [bytes_of(ASSETS / "adapters" / style) for style in STYLES]
print(f"bytes of the model: {model_bytes:,}")
print("of the adapters:", ", ".join(f"{size:,}" for size in adapter_bytes))
rows = []
for count in (1, 3, 20):
    shared, copies = model_bytes + count * max(adapter_bytes), count * model_bytes
    rows.append([count, f"{shared:,}", f"{copies:,}", f"{copies / shared:.1f}"])
display(Table(["specialities", "bytes, one model with adapters", "bytes, copies", "times"], rows))
assert 20 * model_bytes > 5 * (model_bytes + 20 * max(adapter_bytes))
storage(model_bytes, max(adapter_bytes), tasks=20)

# %% [markdown]
# With a single speciality the adapter only adds; from the second on it saves, and the more specialities the more. The
# factor approaches the size of the model over the size of an adapter. For a model that people use, the planner knows
# both sizes:

# %%
rows = []
for name in ("tiny-gpt", "smollm2-135m", "llama-3.1-8b", "llama-3.1-70b"):
    plan = plan_memory(name, "lora", r=8, target_modules="attention")
    whole = 2 * MODELS[name].parameter_count  # two bytes for each weight
    shared = whole + 20 * plan.file_bytes
    rows.append([name, gigabytes(whole), gigabytes(plan.file_bytes), f"{20 * whole / shared:.1f}"])
Table(["", "model", "adapter", "20 copies / one model with 20 adapters"], rows)

# %% [markdown]
# ## All masks at once
#
# A server does not get its requests sorted by style. Since adapters are so thin, each row of a batch can have its own,
# and the heavy work of the base is done for all rows together.
#
# **Predict:** will the row of "legal" in a mixed batch get the same scores as when it is computed alone with that adapter?

# %% tags=["nbval-ignore-output"]
who = ["legal", "code", "support", "__base__"]  # the last: no adapter
prompt = tokenizer.encode("Dear Sir, I want you to").ids
ids = torch.tensor([prompt] * len(who))  # (4 rows, tokens)

with torch.no_grad():
    for _ in range(20):
        mixed = model(ids, adapter_names=who)  # (4, tokens, vocabulary)
        # each row goes on with its likeliest token
        ids = torch.cat([ids, mixed[:, -1:].argmax(-1)], dim=1)
    mixed = model(ids, adapter_names=who)

rows = []
for row, name in enumerate(who):
    model.set_adapters([] if name == "__base__" else [name])
    with torch.no_grad():
        alone = model(ids[row : row + 1])[0]  # (tokens, vocabulary)
    difference = (mixed[row] - alone).abs().max().item()
    rows.append([name, tokenizer.decode(ids[row].tolist()), f"{difference:.0e}"])
    assert difference < 1e-3
Table(["row", "its text", "scores differ from alone by"], rows, names=2)

# %% [markdown]
# The same, up to the rounding of the last digits (a sum in another order rounds a little differently).
#
# ## What it costs
#
# Books on this subject praise the saving and rarely name the price: an adapter that stays separate must be computed too,
# at each layer, for each token. **Merging** adds it into the weights and is free afterwards, but then this copy of the
# weights serves one speciality only. How much is the price here?

# %% tags=["nbval-ignore-output"]
print("reading the same text again and again, in three ways ...")
row = kept_back["legal"].input_ids[:4]
model.set_adapter("legal")


def read():
    with torch.no_grad():
        model(row)


def read_without():
    with model.disable_adapter():
        read()


seconds = {"base alone": [], "with an adapter": [], "with the adapter merged": []}
for _ in range(4):  # in turn, so that a busy moment of the machine hits all three
    seconds["base alone"].append(shortest(read_without, times=1))
    seconds["with an adapter"].append(shortest(read, times=1))
    model.merge_adapter()
    seconds["with the adapter merged"].append(shortest(read, times=1))
    model.unmerge_adapter()
least = {name: min(times) for name, times in seconds.items()}
rows = [[name, f"{1e3 * s:.1f}", f"{s / least['base alone']:.2f}"] for name, s in least.items()]
assert base_digest(model) == untouched  # merging and unmerging left it alone, too
Table([f"{row.numel()} tokens", "ms", "times the base"], rows)

# %% [markdown]
# **What we saw.** Many adapters live on one base that never changes; a change costs microseconds; each further speciality
# costs an adapter's bytes and not a model's; the price is a little time for each token, which merging takes away together
# with the freedom to change.
#
# **When it would be otherwise.**
#
# * An adapter belongs to the base on which it was trained. A newer base needs new adapters: ours refuses the wrong one
#   instead of writing nonsense.
# * If you need one speciality for ever, merge it and forget that there was an adapter.
# * On a graphics card the small products of an adapter cost more than their arithmetic, because each is a task of its own
#   to start. Servers for many adapters group those tasks.
# * A high rank on all layers makes thick adapters. The saving shrinks with them: compute it, as above, before you promise it.
#
# ## Your turn
#
# * Train `my-legal` further, or with another rank, and look whether the other adapters notice.
# * Combine unequally: `model.set_adapters(["legal", "support"], [0.7, 0.5])`, then `model.generate(...)`.
#   `model.add_weighted_adapter(...)` makes one adapter of them, which you can save.
#
# In [`exercises/07_swappable_adapters.ipynb`](../exercises/07_swappable_adapters.ipynb):
#
# * `swappable-adapters`, the question of the chapter: name three adapters that you would train on one base, and say why
#   three copies would be worse (15 minutes);
# * `save-adapter` (10 minutes), `swap-adapters` (10), `blend` (10), `mixed-batch` (15).
