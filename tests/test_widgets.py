"""Explorables driven as a hand would, by setting what their controls hold; ipywidgets needs no kernel for that."""

import asyncio
import base64
import gc
import json
import re
import statistics
import threading
from html import escape
from xml.etree import ElementTree

import ipywidgets
import numpy as np
import pytest
import torch

from minilora import GPT, LoraConfig, LoraModel, Trainer, add_lora, quantize_4bit, widgets
from minilora.exercises import registry
from minilora.explorables import methods, three_tasks
from minilora.explorables.methods import DISTANCES, EXAMPLES, advise
from minilora.figures.svg import bytes_in_words, in_a_name
from minilora.memory import METHODS, gigabytes, plan_memory
from minilora.memory.catalog import MODELS
from minilora.widgets import parameters
from minilora.widgets.anatomy import RANKS, train
from minilora.widgets.explorer import Holding
from tests.helpers import counting_rows, randomize_adapter, small_gpt

SPECTRA = {"the change": [8.0, 4, 2, 1, 1, 1, 1, 1], "a random matrix": [2.0] * 8}


def adapter_switcher():
    model = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(), "legal")
    model.add_adapter("code", LoraConfig())
    for name in ("legal", "code"):
        randomize_adapter(model, name, scale=0.05)
    return widgets.adapter_switcher(model, max_new_tokens=4)


MAKERS = {
    "parameter_explorer": widgets.parameter_explorer,
    "memory_explorer": widgets.memory_explorer,
    "lora_anatomy": widgets.lora_anatomy,
    "pattern_builder": lambda: widgets.pattern_builder(torch.tensor([[2.0, 0, 1], [0, 1, 0], [1, 0, 5]])),
    "rank_explorer": lambda: widgets.rank_explorer(SPECTRA, {"base": 3.0, "full": 1.0, 1: 2.0, 8: 1.1}),
    "quantization_explorer": widgets.quantization_explorer,
    "adapter_switcher": adapter_switcher,
    "method_chooser": widgets.method_chooser,
}


@pytest.fixture(params=MAKERS)
def explorer(request):
    return MAKERS[request.param]()


def values_of(control):
    if isinstance(control, ipywidgets.Checkbox):
        return [True, False]
    if isinstance(control, ipywidgets.Text):
        return ["The cat", "The little dog"]
    return [value for _, value in control._options_full]


def test_every_control_changes_the_picture(explorer):
    for name, control in explorer.controls.items():
        start, before = control.value, explorer.picture.value
        other = next(value for value in values_of(control) if value != start)
        control.value = other
        assert explorer.picture.value != before, name
        ElementTree.fromstring(explorer.svg)
        assert explorer.sentence
        control.value = start
        assert explorer.picture.value == before, f"{name}: the way back leads to the same picture"


def test_every_choice_gives_a_picture(explorer):
    if isinstance(explorer, widgets.adapter_switcher):
        pytest.skip("its texts take a while; the test above moves each of its controls")
    for control in explorer.controls.values():
        start = control.value
        for value in values_of(control):
            control.value = value
            ElementTree.fromstring(explorer.svg)
        control.value = start


def test_still_and_sentence_for_viewers_without_a_kernel(explorer):
    bundle = explorer._repr_mimebundle_()
    assert explorer.sentence in bundle["text/plain"]
    image = bundle["text/html"].split("<p")[0]
    ElementTree.fromstring(base64.b64decode(image.split("base64,")[1].split('"')[0]))
    assert f'alt="{escape(explorer.sentence).split(".")[0]}' in image
    assert escape(explorer.sentence) in bundle["text/html"].split("<p")[1]
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_every_control_has_a_name(explorer):
    assert all(control.description for control in explorer.controls.values())


@pytest.mark.slow
def test_nothing_grows_over_200_moves(explorer):
    """Objects alive after a collection: as many after 200 moves as after 20, or nearly."""
    control = next(c for c in explorer.controls.values() if not isinstance(c, ipywidgets.Text))
    a, b = values_of(control)[:2]

    def move(times):
        for number in range(times):
            control.value = (a, b)[number % 2]
        gc.collect()
        return len(gc.get_objects()), len(ipywidgets.widgets.widget._instances)

    if isinstance(explorer, widgets.adapter_switcher):
        explorer.max_new_tokens = 1
    objects, alive = move(20)
    objects_after, alive_after = move(200)
    assert alive_after == alive
    assert objects_after - objects < 100, "one object kept per move would be 200"


# -- one by one --------------------------------------------------------------------------------------------------------


def test_memory_explorer_shows_what_plan_memory_says():
    explorer = widgets.memory_explorer()
    explorer.rank.value, explorer.batch_size.value, explorer.gradient_checkpointing.value = 64, 2, True
    explorer.optimizer.value, explorer.target_modules.value = "8-bit AdamW", "mlp"
    for method in METHODS:
        plan = plan_memory(
            "llama-3.1-8b",
            method,
            r=64,
            batch_size=2,
            sequence_length=512,
            gradient_checkpointing=True,
            double_quant=True,
            optimizer="adamw-8bit",
            target_modules="mlp",
        )
        assert gigabytes(plan.total) in explorer.sentence
        assert explorer.plans()[method] == plan


@pytest.mark.parametrize("name", parameters.MODELS)
def test_parameter_explorer_counts_what_the_planner_counts(name):
    """The model itself on one side, its shape in the catalog on the other; the sizes of the files are the planner's."""
    for targets, words in parameters.TARGETS.items():
        _, trainable, total, adapter_bytes, model_bytes = parameters.count(name, targets, 4)
        plan = plan_memory(parameters.MODELS[name], "lora", 4, list(words))
        assert (trainable, adapter_bytes) == (plan.trained, plan.file_bytes)
        assert total == trainable + plan.shape.parameter_count
        assert model_bytes == 4 * plan.shape.parameter_count, "float32"


def test_parameter_explorer_s_file_is_that_large(tmp_path):
    model = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(r=4, target_modules=["attention"]))
    model.save_adapter(tmp_path / "adapter")
    *_, adapter_bytes, _ = parameters.count("tiny-gpt", "attention", 4)
    names_and_shapes = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size - adapter_bytes
    assert 0 < names_and_shapes < 200 * 64, "safetensors writes a line about each of the 64 matrices"


def test_memory_explorer_says_why_a_choice_cannot_be():
    explorer = widgets.memory_explorer("tiny-gpt")
    explorer.sequence_length.value = 2048
    assert "1024 tokens" in explorer.sentence
    explorer.sequence_length.value = 512
    assert "takes" in explorer.sentence
    with pytest.raises(ValueError, match="choose one of tiny-gpt"):
        widgets.memory_explorer("gpt-9")


@pytest.mark.parametrize(
    ("quantize", "words"),
    [
        (lambda x: 1 / 0, "your function raised ZeroDivisionError: division by zero"),
        (lambda x: x[:7], r"expected rounded values of shape (4096,)"),
        (lambda x: None, "your function raised"),
        (lambda x: "nf4", "your function raised"),
        (lambda: 3, "your function raised TypeError"),
        (lambda x, quant_type: [0.0] * 9, "Did you forget a return"),
    ],
)
def test_a_function_that_fails_is_a_sentence_not_a_traceback(quantize, words):
    explorer = widgets.quantization_explorer(quantize=quantize)
    assert words in explorer.sentence
    ElementTree.fromstring(explorer.svg)
    explorer.outlier.value = 8  # and stays alive
    assert words in explorer.sentence


def single_block(x, levels=7):
    """int4 with a single block, in PyTorch: `.abs()` and `.max()` of a method chain, which NumPy does not have."""
    absmax = x.abs().max()
    return (x / absmax * levels).round() / levels * absmax


def in_blocks_of_64(x):
    blocks = x.reshape(-1, 64)
    absmax = np.abs(blocks).max(axis=1, keepdims=True)
    return (np.round(blocks / absmax * 7) / 7 * absmax).reshape(x.shape)


@pytest.mark.parametrize(
    ("quantize", "error", "bits"),
    [
        (registry.get("quantize-blockwise").solution, "nf4, blocks of 64", "4.5 bits"),
        (registry.get("dequantize").solution, "nf4, blocks of 64", None),
        (lambda x: quantize_4bit(x, "fp4", 64), "fp4, blocks of 64", "4.5 bits"),  # an object, of torch alone
        (in_blocks_of_64, "int4, blocks of 64", None),
    ],
)
def test_functions_of_the_exercises_and_of_torch_err_as_ours_do(quantize, error, bits):
    explorer = widgets.quantization_explorer(quantize=quantize)
    texts = [
        node.text for node in ElementTree.fromstring(explorer.svg).iter("{http://www.w3.org/2000/svg}text")
    ]
    shown = {name: texts[texts.index(name) + 1] for name in (error, "yours")}
    assert shown["yours"].split(" · ")[0] == shown[error].split(" · ")[0]
    assert (" · " in shown["yours"]) == (bits is not None)
    assert bits is None or bits in shown["yours"]


def test_int8_of_the_exercise_errs_little_and_one_block_in_torch_much():
    explorer = widgets.quantization_explorer(quantize=registry.get("quantize-int8").solution)
    x = explorer.values
    evenly_spread = float(
        x.abs().max() / 127 / 12**0.5 / x.std()
    )  # of errors between minus and plus half a step
    shown = float(explorer.sentence.split("errs by ")[1].split("%")[0])
    assert shown == pytest.approx(100 * evenly_spread, rel=0.05)
    assert "8.01 bits" in explorer.sentence
    alone, ours = widgets.quantization_explorer(quantize=single_block), widgets.quantization_explorer()
    ours.block_size.value, ours.quant_type.value = 4096, "int4"
    assert (
        alone.sentence.removeprefix("yours")[:24] == ours.sentence.removeprefix("int4, blocks of 4,096")[:24]
    )


def test_quantization_explorer_lights_the_block_with_the_outlier():
    explorer = widgets.quantization_explorer()
    assert explorer.source.startswith("4,096 weights")
    explorer.outlier.value = 32
    assert "2 levels" in explorer.svg or "3 levels" in explorer.svg
    small = float(explorer.sentence.split("together by ")[1].split("%")[0])
    explorer.block_size.value = 4096
    assert float(explorer.sentence.split("together by ")[1].split("%")[0]) > 4 * small
    assert "all of them" in explorer.svg


def test_a_part_of_the_picture_sets_its_control():
    explorer = widgets.quantization_explorer()
    root = ElementTree.fromstring(explorer.svg)
    parts = [node.get("data-set") for node in root.iter() if node.get("data-set")]
    for part in parts:  # whatever can be taken hold of is a choice of a control
        name, value = part.split("=")
        explorer.take_hold(name, value)
        assert str(explorer.controls[name].value) == value
    assert {part.split("=")[0] for part in parts} == {"outlier", "quant_type"}
    (holding,) = (child for child in explorer.children if isinstance(child, Holding))
    holding._msg_callbacks(holding, {"name": "outlier", "value": "16"}, [])  # as the browser sends it
    assert explorer.outlier.value == 16
    before = explorer.svg
    explorer.take_hold("outlier", "7")  # no such stop
    explorer.take_hold("nothing", "7")
    assert explorer.svg == before


def test_dashboard_follows_a_run_and_stops_it():
    trainer = Trainer(small_gpt(), counting_rows(), max_steps=6, batch_size=4, progress=False)
    dashboard = widgets.training_dashboard(trainer)
    assert "Ready" in dashboard.sentence
    trainer.train()
    assert dashboard.sentence.startswith("Done: step 6 of 6")
    trainer = Trainer(small_gpt(), counting_rows(), max_steps=50, batch_size=4, progress=False)
    dashboard = widgets.training_dashboard(trainer)
    trainer.on_step = lambda t, follow=trainer.on_step: (
        follow(t),
        dashboard.stop.click() if t.step == 2 else None,
    )
    trainer.train()
    assert trainer.step < 50


def test_adapter_switcher_leaves_the_model_as_it_was():
    explorer = adapter_switcher()
    before = explorer.adapted_model.adapter_scales
    explorer.strength_legal.value = explorer.strength_code.value = 0.5
    assert explorer.strengths() == {"legal": 0.5, "code": 0.5}
    assert explorer.adapted_model.adapter_scales == before
    assert "unchanged" in explorer.sentence
    next(iter(explorer.adapted_model.base.parameters())).data[0, 0] += 1
    explorer.finish()
    assert "CHANGED" in explorer.sentence


def test_adapter_switcher_at_strength_zero_writes_the_base_s_text():
    model = LoraModel.from_pretrained(GPT.from_pretrained("tiny-gpt"), "legal", "legal")
    explorer = widgets.adapter_switcher(model, max_new_tokens=8)
    assert explorer.texts["adapted"] != explorer.texts["base"]
    explorer.strength_legal.value = 0
    assert explorer.texts["adapted"] == explorer.texts["base"]


def test_adapter_switcher_uses_the_model_in_one_thread_only(monkeypatch):
    """JupyterLab delivers some moves in a second thread; then two streams wrote into one text."""
    threads = []
    write = widgets.adapter_switcher._write
    monkeypatch.setattr(
        widgets.adapter_switcher,
        "_write",
        lambda *args: (threads.append(threading.current_thread()), (yield from write(*args))),
    )
    model = LoraModel.from_pretrained(GPT.from_pretrained("tiny-gpt"), "legal", "legal")
    expected = widgets.adapter_switcher(model, max_new_tokens=8)
    expected.strength_legal.value = 0.5

    async def move():
        explorer = widgets.adapter_switcher(model, max_new_tokens=8)
        explorer.strength_legal.value = 0.75
        await asyncio.sleep(0.05)
        await asyncio.to_thread(setattr, explorer.strength_legal, "value", 0.5)
        while explorer.streams:
            await asyncio.sleep(0.01)
        return explorer.texts

    assert asyncio.run(move()) == expected.texts
    assert set(threads) == {threading.main_thread()}


def test_adapter_switcher_never_lets_the_model_speak_an_error():
    explorer = adapter_switcher()
    for opening, words in (("  ", "empty"), ("the cat " * 21, "42 words"), ("The", "unchanged")):
        explorer.opening.value = opening
        assert words in explorer.sentence
        assert not any(words in text for text in explorer.texts.values())
    explorer.adapted_model.delete_adapter("code")
    explorer.strength_code.value = 1
    assert "no adapter 'code'" in explorer.sentence
    assert not any("no adapter" in text for text in explorer.texts.values())
    explorer.strength_code.value = 0
    assert "unchanged" in explorer.sentence, "and it recovers"


def test_pattern_builder_ends_at_the_whole_change():
    change = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
    explorer = widgets.pattern_builder(change)
    assert "Move the slider" in explorer.sentence, "it opens in a state that tells nothing"
    explorer.rank.value = values_of(explorer.rank)[-1]
    assert "100.0% of the change" in explorer.sentence
    shown = explorer.change[explorer.rows][:, explorer.columns]
    assert shown.square().sum() > change.square().sum() * (24 * 24) / (40 * 30), "those that changed most"


def test_anatomy_opens_untold_and_only_b_moves_first():
    explorer = widgets.lora_anatomy()
    assert "moved" not in explorer.sentence.split(".")[0].replace("move the step slider", "")
    explorer.step.value = 1
    assert "B moved, W and A did not" in explorer.sentence


def test_anatomy_needs_the_rank_of_its_update():
    missing = {rank: train(rank)[100]["missing"] for rank in RANKS}
    assert missing[1] > missing[2] > 0.05 > missing[3], "the update was made with rank 3"


# -- the advice --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "method"),
    [
        ({"model": "llama-3.1-8b", "card": 24}, "lora"),
        ({"model": "llama-3.1-8b", "card": 12}, "qlora"),
        ({"model": "llama-3.1-8b", "card": 4}, "none"),
        ({"model": "llama-3.1-70b", "card": 80}, "qlora"),
        ({"model": "smollm2-1.7b", "card": 80}, "lora"),  # full would fit, but nothing asks for it
        ({"model": "smollm2-1.7b", "card": 80, "distance": "far", "examples": 10**6}, "full"),
        ({"model": "smollm2-1.7b", "card": 80, "distance": "far", "examples": 1000}, "none"),
        ({"model": "smollm2-1.7b", "card": 80, "distance": "skill", "examples": 10**6}, "lora"),
        ({"model": "llama-3.1-8b", "card": 24, "distance": "far", "examples": 10**6}, "lora"),  # full does not fit
        (
            {"model": "smollm2-1.7b", "card": 80, "distance": "far", "examples": 10**6, "tasks": 10,
             "serve_together": True},
            "lora",
        ),
        ({"model": "smollm2-1.7b", "card": 80, "distance": "prompt"}, "none"),
        ({"model": "smollm2-1.7b", "card": 80, "examples": 0}, "none"),
        ({"model": "smollm2-1.7b", "card": 80, "examples": 10}, "none"),
        ({"model": "smollm2-1.7b", "card": 80, "examples": 100}, "lora"),
    ],
)  # fmt: skip
def test_advice(situation, method):
    assert advise(**situation).method == method


@pytest.mark.parametrize("model", MODELS)
def test_advice_always_fits_and_every_reason_has_a_number_and_a_source(model):
    for card in (8, 24, 80):
        for distance in DISTANCES:
            for examples in (EXAMPLES[0], EXAMPLES[1], EXAMPLES[-1]):
                advice = advise(model, card, 10, distance, examples, True)
                assert advice.reasons
                for words, source in advice.reasons:
                    assert any(letter.isdigit() for letter in words), words
                    assert source
                if advice.method != "none":
                    assert advice.plans[advice.method].headroom(card) >= 1


def test_reasons_hold_the_planners_numbers():
    advice = advise("llama-3.1-8b", 8, tasks=10)
    words = " ".join(reason for reason, _ in advice.reasons)
    again = plan_memory(
        "llama-3.1-8b", "qlora", 8, "all-linear", gradient_checkpointing=True, double_quant=True
    )
    plain = plan_memory("llama-3.1-8b", "lora", 8, "all-linear")
    assert gigabytes(again.total) in words
    assert gigabytes(plain.total) in words
    assert bytes_in_words(10 * plain.file_bytes) in words


def test_advice_quotes_the_recorded_run():
    """One figure for LoRA's share, that of the record which page 09 shows; and none where nothing was measured."""
    losses = json.loads(three_tasks.FILE.read_text(encoding="utf-8"))["losses"]
    shares = []
    for runs in losses.values():
        start, full, lora = (
            runs["full"][0][0],
            *(statistics.mean([r[-1] for r in runs[m]]) for m in ("full", "LoRA")),
        )
        shares.append((start - lora) / (start - full))
    for distance, quoted in {"style": True, "skill": True, "far": False}.items():
        words = " ".join(reason for reason, _ in advise("llama-3.1-8b", 24, 1, distance, 10_000).reasons)
        assert (f"{statistics.mean(shares):.0%} of full" in words) == quoted


def test_a_thousand_examples_teach_no_language():
    assert advise("llama-3.1-8b", 141, distance="far", examples=1_000).method == "none"
    assert advise("llama-3.1-8b", 141, distance="far", examples=10_000).method == "lora"
    assert advise("llama-3.1-8b", 141, distance="far", examples=100_000).method == "full"
    assert advise("llama-3.1-8b", 141, distance="skill", examples=1_000).method == "lora"


def test_unknown_distance_lists_those_that_exist():
    with pytest.raises(ValueError, match="prompt, style, skill, far"):
        advise("tiny-gpt", 24, distance="near")


def test_nf4_error_is_that_of_the_published_code():
    assert methods.nf4_error() == pytest.approx(0.092, abs=0.001)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (widgets.rank_explorer, "rank"),
        (widgets.memory_explorer, "card"),
        (widgets.quantization_explorer, "quant_type"),
    ],
)
def test_each_part_that_can_be_clicked_sets_its_control(make, name):
    explorer = make()
    parts = set(re.findall(f'data-set="({name})=([^"]+)"', explorer.svg))
    assert len(parts) > 1
    for part in parts:
        before = explorer.chosen()
        explorer.take_hold(*part)
        assert in_a_name(explorer.controls[name].value) == part[1]
        assert {**before, name: None} == {**explorer.chosen(), name: None}, "and no other"
    explorer.take_hold(name, "nothing of the kind")
    explorer.take_hold("no such control", "1")
