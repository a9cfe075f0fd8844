# %% [markdown]
# # 05 · QLoRA: LoRA on a diet
#
# **After this page you can** say what is still heavy in a LoRA training, store a number in four bits and say what that costs,
# compare schemes fairly, and train adapters on a compressed model. **Time:** 20 minutes, of which one is waiting.
#
# LoRA made the *trained* part small. This page makes the *frozen* part small, too.

# %%
print("Loading PyTorch (some seconds) ...")
import time

import torch

from minilora import GPT, Linear4bit, LoraConfig, Trainer, add_lora, encode_text, evaluate, quantize_4bit
from minilora import quantize_model, style_corpus
from minilora.memory.catalog import MODELS
from minilora.figures.charts import loss_curves, quantization_errors
from minilora.figures.passage import Passage
from minilora.figures.tables import Table
from minilora.memory import gigabytes, measure_memory, plan_memory
from minilora.reference.quantization import round_affine
from minilora.widgets import memory_explorer, quantization_explorer

base = GPT.from_pretrained("tiny-gpt")
train_data = encode_text(style_corpus("legal", documents=240), base.tokenizer, sequence_length=64)
validation_data = encode_text(
    style_corpus("legal", "validation", documents=12), base.tokenizer, sequence_length=64
)
print("to learn from:", train_data)
print("kept back:    ", validation_data)

# %% [markdown]
# ## What is still heavy
#
# **Predict:** in a LoRA training of a model with 8 billion weights, what takes the most memory: the adapters and all that
# belongs to them, the notes that the forward pass leaves behind, or the frozen model? And by how much?

# %% tags=["claim:lora-floor", "nbval-ignore-output"]
print("counting in one real step of the tiny model: one row of 64 tokens ...")
adapted = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=8, target_modules="all-linear"))
here = measure_memory(adapted, batch_size=1, sequence_length=64)
learning = ("adapters", "gradients", "optimizer", "safety copy")
tiny = {
    "frozen weights": here.parts["weights"],
    "all that learns": sum(here.parts[part] for part in learning),
    "notes of forward pass": here.kept_by_forward,
}
plan = plan_memory("llama-3.1-8b", "lora", r=8, target_modules="all-linear")
large = {
    "frozen weights": plan.parts["weights"].bytes,
    "all that learns": sum(plan.parts[part].largest for part in learning),
    "notes of forward pass": plan.kept_by_forward,
}
rows = [[part, gigabytes(tiny[part]), gigabytes(large[part])] for part in tiny]
display(Table(["", "tiny-gpt, measured", "Llama-3.1-8B, planned"], rows))
frozen_share = large["frozen weights"] / plan.total
print(
    f"Of Llama's peak of {gigabytes(plan.total)}, {frozen_share:.0%} are weights that no step "
    "ever changes."
)
assert tiny["frozen weights"] > tiny["all that learns"] + tiny["notes of forward pass"]
assert large["frozen weights"] > large["all that learns"] + large["notes of forward pass"]

# %% [markdown]
# The frozen weights are the floor that LoRA cannot go below. (With long texts or many rows the notes outgrow it; they are the
# subject of page 06.) The floor is only *read*, though, never written. Must it be stored so finely?
#
# ## Sixteen levels instead of four billion
#
# Computers usually keep a weight in 16 or 32 bits. Four bits can tell just sixteen things apart, so each weight must become one
# of sixteen levels. It is like noting temperatures in words: "icy, cold, cool, mild ...". The trick lies in the choice of the
# scale. Weights are cut into **blocks** of, say, 64. Each block notes its largest size, the *absmax*, and every weight becomes
# a place on a scale that reaches exactly so far.
#
# By hand, with one block of six numbers and fifteen equal steps (the scheme called `int4`: one level stays unused):

# %%
block = torch.tensor([0.31, -0.70, 0.05, 0.12, -0.33, 0.02])
absmax = block.abs().max()
places = (block / absmax * 7).round()  # whole numbers from -7 to 7: four bits are enough
again = places / 7 * absmax
print("weights      ", [round(x, 2) for x in block.tolist()], "  absmax:", round(absmax.item(), 2))
print("places       ", [int(x) for x in places.tolist()])
print("weights again", [round(x, 2) for x in again.tolist()])
assert torch.allclose(again, quantize_4bit(block, quant_type="int4").dequantize(), atol=1e-6)

# %% [markdown]
# No weight is off by more than half a step. The absmax itself came back unharmed; 0.02 became 0.
#
# **Predict:** four bits for each weight, and 32 bits for the absmax of each block of 64. How many bits is that per weight?
# (The last row below uses *double quantization*: the absmax values are quantized as well, to 8 bits.)

# %% tags=["claim:fewer-bits"]
weight = base.get_parameter("model.layers.0.mlp.gate_proj.weight").detach()
stored = {
    "float32": 8 * weight.nbytes / weight.numel(),
    "float16": 8 * weight.half().nbytes / weight.numel(),
    "nf4": quantize_4bit(weight).bits_per_weight,
    "nf4, double quantization": quantize_4bit(weight, double_quant=True).bits_per_weight,
}
rows = [[name, f"{bits:.3f}", f"{bits * weight.numel() / 8:,.0f}"] for name, bits in stored.items()]
display(Table([f"{weight.numel():,} weights", "bits per weight", "bytes"], rows))
packed = quantize_4bit(weight)
print(f"nf4 in memory: {packed.packed.nbytes:,} bytes of codes, two to a byte,")
print(f"and {packed.absmax.nbytes:,} of absmax")
assert packed.nbytes == packed.packed.nbytes + packed.absmax.nbytes
assert [round(bits, 3) for bits in stored.values()] == [32, 16, 4.5, 4.127]

# %% [markdown]
# These sizes are measured on the stored tensors, not worked out on paper. A seventh of float32, more than three times smaller
# than float16.
#
# ## What does the rounding cost?
#
# `nf4` puts its sixteen levels where weights are: close together around zero, far apart at the ends, because weights are
# distributed like a bell. `fp4` is a tiny floating-point number. `int4` has equal steps around zero.
#
# **Predict:** one single weight becomes 32 times as large as is usual. What happens to the *other* weights of its block? And is it
# better then to have large blocks or small ones? Then drag the outlier.

# %%
explorer = quantization_explorer()
explorer

# %%
for outlier, block_size in ((0, 64), (32, 64), (32, 4096)):
    explorer.outlier.value, explorer.block_size.value = outlier, block_size  # as if moved by hand
    display(Passage(explorer.sentence))

# %% [markdown]
# One outlier stretches the scale of its whole block, and all others fall on the few levels in the middle. In small blocks
# it has few neighbours to spoil; in one large block it spoils them all. That is why *naive* quantization, one scale for a
# whole matrix, fails, and blocks are the heart of the matter.
#
# (The bars always compare at about the same number of bits. That is only fair: a scheme that stores more constants should be
# better.)
#
# ## The whole model in four bits
#
# **Predict:** we round all linear layers of the tiny model, over five million weights. How much worse does it predict the text
# that was kept back? With one scale for each matrix? With `nf4` in blocks of 64?

# %% tags=["claim:small-loss", "nbval-ignore-output"]
original = dict(base.named_parameters())


def rounded_to(quant_type, block_size):
    """(loss, relative error of the weights, bits per weight) of the whole model in one scheme."""
    model, report = quantize_model(GPT.from_pretrained("tiny-gpt"), quant_type, block_size)
    lost = size = 0.0
    for path, layer in model.named_modules():
        if isinstance(layer, Linear4bit):
            exact = original[path + ".weight"].detach()
            lost += (layer.quantized.dequantize() - exact).square().sum().item()
            size += exact.square().sum().item()
    return evaluate(model, validation_data), (lost / size) ** 0.5, report.bits_per_weight


exact_loss = evaluate(base, validation_data)
schemes, rows = {}, [["float32", "32.00", "0.0%", f"{exact_loss:.3f}", ""]]
for quant_type, size in (
    ("int4", None), ("int4", 64), ("fp4", 64), ("nf4", 64), ("nf4", 256), ("nf4", 1024), ("nf4", 32),
):  # fmt: skip
    name = f"{quant_type}, {f'blocks of {size}' if size else 'one block a matrix'}"
    loss, error, bits = schemes[name] = rounded_to(quant_type, size)
    rows.append([name, f"{bits:.2f}", f"{error:.1%}", f"{loss:.3f}", f"{loss - exact_loss:+.3f}"])
    print(quant_type, end="; ", flush=True)
display(Table(["scheme", "bits", "weight error", "loss", "more"], rows))
naive, good = schemes["int4, one block a matrix"], schemes["nf4, blocks of 64"]
outliers = {}  # how wrong nf4 is about the other numbers, when one in 4,096 is 32 times as large as usual
numbers = torch.randn(4096, generator=torch.Generator().manual_seed(0))
for size in (64, 4096):
    calm, spoiled = (torch.cat([first, numbers[1:]]) for first in (numbers[:1], torch.tensor([32.0])))
    wrong = [
        ((quantize_4bit(x, "nf4", size).dequantize() - x)[1:].norm() / x[1:].norm()).item()
        for x in (calm, spoiled)
    ]
    outliers[size] = wrong
    print(
        f"one outlier, blocks of {size:4}: the others are off by {wrong[0]:.1%} without it, "
        f"{wrong[1]:.1%} with it"
    )
print(
    f"\nnf4 in blocks of 64 raises the loss by {good[0] / exact_loss - 1:.1%}, naive rounding by "
    f"{naive[0] / exact_loss - 1:.1%}"
)
assert outliers[64][1] < 2 * outliers[64][0]
assert outliers[4096][1] > 3 * outliers[4096][0]
assert good[1] < naive[1] / 2
assert good[0] - exact_loss < (naive[0] - exact_loss) / 3
assert good[0] - exact_loss < 0.05 * exact_loss

# %% tags=["nbval-ignore-output"]
equal_bits = {name: (bits, error) for name, (_, error, bits) in schemes.items() if abs(bits - 4.5) < 0.01}
chart = quantization_errors(equal_bits, title="At equal bits, nf4 errs least here")
assert min(equal_bits, key=lambda name: equal_bits[name][1]) == "nf4, blocks of 64"
chart

# %% [markdown]
# **What we saw.** A model whose every weight is rounded to one of sixteen levels works nearly as before, if the levels fit
# and the blocks are small. That matters more than the number of bits: naive `int4` has almost as many, and is bad.
#
# **Where we differ from the textbook.** You can see it in the table.
#
# * *The loss does not follow the error step by step.* Larger blocks round more coarsely, and yet a row with larger blocks may
#   have a *lower* loss here. Among the good schemes the differences are as small as the luck of these few pages of text. Do
#   not choose between two good schemes by so small a difference.
#
# **When it would be otherwise:** `nf4`'s levels were made for bells. Give it numbers of another shape.
#
# A fourth scheme enters here: `int4-affine` has equal steps from the smallest to the largest number of its block. It stores two
# constants per block, so at equal bits its blocks are twice as large.
#
# **Predict:** numbers spread evenly between -1 and 1, at equal bits: does `nf4` still win? And if all lie above zero?

# %% tags=["nbval-ignore-output"]
generator = torch.Generator().manual_seed(0)
shapes = {
    "a bell, as most weights": torch.randn(65536, generator=generator),
    "spread evenly": torch.rand(65536, generator=generator) * 2 - 1,
    "spread evenly, all above zero": torch.rand(65536, generator=generator),
}
# block sizes that make 4.5 bits a weight for each
contest = {"nf4": 64, "int4": 64, "fp4": 64, "int4-affine": 128}
winners, rows = {}, []
for name, numbers in shapes.items():
    errors = {}
    for scheme, size in contest.items():
        if scheme == "int4-affine":
            rounded = torch.from_numpy(round_affine(numbers.numpy(), size))
        else:
            rounded = quantize_4bit(numbers, scheme, size).dequantize()
        errors[scheme] = ((rounded - numbers).norm() / numbers.norm()).item()
    winners[name] = min(errors, key=errors.get)
    rows.append([name, *(f"{error:.1%}" for error in errors.values()), winners[name]])
assert winners["a bell, as most weights"] == "nf4"
assert winners["spread evenly"] != "nf4"
Table(["error of numbers that are", *contest, "least"], rows)

# %% [markdown]
# ## Adapters on a compressed model
#
# Now the two halves come together: **QLoRA** is a frozen base in four bits, and LoRA adapters in full precision beside it. In each
# product the layer decodes its weights for a moment, multiplies, and forgets them. Gradients flow *through* the packed layer
# into the adapters; the packed numbers themselves never move.
#
# **Predict:** the compressed base starts a little worse. After the same training, will its adapter end worse, equal, or
# better? And an adapter on the *naively* rounded base, which starts much worse?

# %% tags=["claim:qlora-trains", "nbval-ignore-output"]
histories, memory, models = {}, {}, {}
for name in ("LoRA", "QLoRA, nf4", "QLoRA, naive int4"):
    model = GPT.from_pretrained("tiny-gpt")
    if "nf4" in name:
        model, report = quantize_model(model, "nf4", double_quant=True)
        print(report)
    if "int4" in name:
        model, _ = quantize_model(model, "int4", block_size=None)
    torch.manual_seed(0)  # the same beginning for all
    model = add_lora(model, LoraConfig(r=8, lora_alpha=8, target_modules="all-linear"))
    trainer = Trainer(
        model, train_data, max_steps=32, batch_size=8, learning_rate=1e-2, validation_data=validation_data
    )
    histories[name], models[name] = trainer.train(), model
    memory[name] = measure_memory(model, batch_size=1, sequence_length=64)

ends, rows = {}, []
for name, history in histories.items():
    start, ends[name] = history.validation_losses[0], history.validation_losses[-1]
    frozen = memory[name].parts["weights"] + memory[name].parts["quantization constants"]
    losses = (f"{start:.3f}", f"{ends[name]:.3f}")
    rows.append([name, *losses, gigabytes(frozen), gigabytes(memory[name].peak)])
display(Table(["", "loss before", "after", "frozen model", "peak of a step"], rows))
gain = exact_loss - ends["LoRA"]
behind = (ends["QLoRA, nf4"] - ends["LoRA"]) / gain
print(f"All that LoRA gained is {gain:.2f}; QLoRA's end differs from LoRA's by {behind:+.1%} of that.")
assert abs(behind) < 0.1
assert memory["QLoRA, nf4"].peak < 0.7 * memory["LoRA"].peak

# %% tags=["nbval-ignore-output"]
loss_curves(
    {name: history.losses for name, history in histories.items() if "naive" not in name},
    base=exact_loss,
    title="QLoRA learns almost as LoRA does, step by step",
)

# %% [markdown]
# **What we saw.** QLoRA's training ends where LoRA's ends, within a few percent of what was gained, on a frozen model of a fifth of
# the size. The adapter learns around the rounding. On the naive base it makes good for much, but not for all.
#
# **When it would be otherwise.** Four bits cost *time*: each step decodes every layer, twice. On a model that fits anyway, QLoRA
# saves what you did not need. How much time is it here? (On a model so small it may drown in the noise of the machine.)

# %% tags=["nbval-ignore-output"]
seconds = {"LoRA": [], "QLoRA, nf4": []}
for _ in range(5):  # in turn, so that whatever else this machine does disturbs both alike
    for name, times in seconds.items():
        trainer = Trainer(
            models[name], train_data, max_steps=1, batch_size=8, learning_rate=1e-9, progress=False
        )
        # time that this process works; what other programs take does not count
        start = time.process_time()
        trainer.train()
        times.append(time.process_time() - start)
best = {name: min(times) for name, times in seconds.items()}
print(
    "processor time, "
    + ", ".join(f"{name}: {1000 * least:.0f} ms a step" for name, least in best.items()),
    end="",
)
print(f"; QLoRA takes {best['QLoRA, nf4'] / best['LoRA']:.2f} times as much")

# %% [markdown]
# The more text a step reads, the less the decoding weighs, for it is done once for all of it.
#
# One more thing: an adapter that was trained on a rounded base belongs to *that* base. Merged into it and rounded again, a small
# update can be lost in the new rounding error. Keep such adapters separate.
#
# (Word embeddings stay in full precision, as QLoRA leaves them in any model. That is why the whole model shrinks less than its
# linear layers.)
#
# ## What fits on one card?
#
# A card of 24 GB is one that a good gaming computer may have.
#
# **Predict:** the largest model of our catalogue that fits on 24 GB: with full fine-tuning? With LoRA? With QLoRA?
#
# Move the model and the number of rows, and watch the verdicts.

# %%
cards = memory_explorer("llama-3.1-8b")
cards.card.value = 24
cards

# %%
for rows in (1, 16):
    cards.batch_size.value = rows  # as if moved by hand
    display(Passage(cards.sentence))
assert cards.plans()["full"].total > cards.plans()["lora"].total > cards.plans()["qlora"].total

# %% tags=["claim:single-gpu"]
settings = {
    "target_modules": "all-linear",
    "gradient_checkpointing": True,
    "double_quant": True,
}  # one row of 512 tokens
by_size = sorted(MODELS.values(), key=lambda shape: shape.parameter_count)
largest, rows = {}, []
for method in ("full", "lora", "qlora"):
    # those that leave a gigabyte of room
    fitting = [shape for shape in by_size if plan_memory(shape, method, **settings).headroom(24) > 1]
    largest[method] = fitting[-1]
    peak = plan_memory(fitting[-1], method, **settings).total
    rows.append([method, fitting[-1].name, f"{fitting[-1].parameter_count:,}", gigabytes(peak)])
display(Table(["", "largest that fits in 24 GB", "weights", "memory"], rows))
assert (
    largest["qlora"].parameter_count > largest["lora"].parameter_count > largest["full"].parameter_count
)

# Peaks that the makers of torchtune published for their memory-saving recipes on a 24 GB card, in GiB
published, rows = {"lora": 16.2 * 2**30, "qlora": 7.4 * 2**30}, []
for method, measured in published.items():
    planned = plan_memory("llama-3.1-8b", method, **settings).total
    rows.append([f"{method}, by others", gigabytes(planned), gigabytes(measured)])
    assert abs(planned / measured - 1) < 0.25
    assert planned < 24e9

# And a run of our own: rank 16, two rows of 1,024 tokens, on a card that was held to 24 GB
planned = plan_memory("llama-3.1-8b", "qlora", r=16, batch_size=2, sequence_length=1024, **settings).total
measured = 7_500_282_880  # bytes at the peak; benchmarks/seven_billion.py is the program
rows.append(["qlora, by us", gigabytes(planned), gigabytes(measured)])
display(Table(["Llama-3.1-8B", "planned here", "measured"], rows))
assert abs(planned / measured - 1) < 0.02

alone = plan_memory("llama-3.1-8b", "full", **settings).cards(24)
print(f"full fine-tuning of Llama-3.1-8B: {alone} such cards")
assert alone > 1

# %% [markdown]
# **What we saw.** With QLoRA, one such card trains models that need several for full fine-tuning. The plan and the runs of
# others agree as well as can be hoped: their batches, lengths and programs differ in detail from ours, and no plan knows them all.
# **When it would be otherwise:** put the rows up to 16 in the explorable. What is kept by the forward pass has no 4-bit form;
# now LoRA and QLoRA differ little, and *computing again* is what helps. That is [page 06](06_modest_hardware.ipynb).
#
# ## Your turn
#
# In [`exercises/05_qlora.ipynb`](../exercises/05_qlora.ipynb) you build the quantizer of this page, from rounding to packing:
#
# * `quantize-int8` (10 minutes), `quantize-blockwise` (20), `pack-nibbles` (10), `dequantize` (15), `double-quantize` (15);
# * `quantization-and-qlora`: say what it does and what it costs, in your own words.
#
# The explorable takes a function of your own, as `quantize=my_quantize`, and shows its error beside the others.
