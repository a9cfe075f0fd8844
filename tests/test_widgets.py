"""Explorables driven as a hand would, by setting what their controls hold; ipywidgets needs no kernel for that."""

import base64
import gc
import json
from html import escape
from xml.etree import ElementTree

import ipywidgets
import pytest
import torch

from minilora import GPT, LoraConfig, Trainer, add_lora, widgets
from minilora.figures.svg import bytes_in_words
from minilora.memory import METHODS, gigabytes, plan_memory
from minilora.memory.catalog import MODELS
from minilora.widgets import methods, parameters
from minilora.widgets.anatomy import RANKS, train
from minilora.widgets.methods import DISTANCES, EXAMPLES, advise
from minilora.widgets.ranks import RECORDED
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
    for method in METHODS:
        plan = plan_memory(
            "llama-3.1-8b",
            method,
            r=64,
            batch_size=2,
            sequence_length=512,
            gradient_checkpointing=True,
            double_quant=True,
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


def test_a_function_of_ones_own_is_drawn():
    explorer = widgets.quantization_explorer(quantize=lambda x: x.round())
    assert "yours" in explorer.sentence
    assert explorer.sentence != widgets.quantization_explorer().sentence


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
    explorer.adapter.value = "legal + code"
    assert explorer.scales() == {"legal": 0.5, "code": 0.5}
    assert explorer.adapted_model.adapter_scales == before
    assert "unchanged" in explorer.sentence


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
        ({"model": "smollm2-1.7b", "card": 80, "distance": "far", "examples": 1000}, "lora"),
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
    losses = json.loads(RECORDED.read_text(encoding="utf-8"))["losses"]
    share = (losses["base"] - losses["8"]) / (losses["base"] - losses["full"])
    words = " ".join(reason for reason, _ in advise("llama-3.1-8b", 24).reasons)
    assert f"{share:.1%}" in words
    for rank in methods.RANKS.values():
        assert 0.5 < methods.recorded_gain(rank) <= 1.1, "a rank that diverged is no advice"


def test_unknown_distance_lists_those_that_exist():
    with pytest.raises(ValueError, match="prompt, style, skill, far"):
        advise("tiny-gpt", 24, distance="near")


def test_nf4_error_is_that_of_the_published_code():
    assert methods.nf4_error() == pytest.approx(0.092, abs=0.001)
