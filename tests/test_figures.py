"""Every picture is well-formed, named and inside its frame; the colors stay apart for all readers, light and dark."""

import itertools
from xml.etree import ElementTree

import numpy as np
import pytest

from minilora.explorables.memory import CARDS
from minilora.figures import (
    anatomy,
    charts,
    dashboard,
    flow,
    gpu_ladder,
    levels,
    memory,
    methods,
    number_bits,
    one_weight,
    parameters,
    patterns,
    quantization,
    ranks,
    thin_additions,
    voices,
    walls,
)
from minilora.figures.colors import COLORS, diverging, ink, luminance, rgb
from minilora.figures.quantization import Scheme
from minilora.figures.svg import WIDTH, still
from minilora.figures.tables import Table
from minilora.memory import METHODS, gigabytes, plan_memory
from minilora.memory.catalog import MODELS


def plans(model="llama-3.1-8b", **changes):
    return {method: plan_memory(model, method, double_quant=True, **changes) for method in METHODS}


def small_matrix(rows, columns):
    return [[(i - j) / 7 for j in range(columns)] for i in range(rows)]


LOSSES = {"base": 3.6, "full": 0.6, 1: 1.7, 8: 0.9, 64: 0.8}
SPECTRA = {"the change": [8, 4, 2, 1, 1, 1, 1, 1], "a random matrix": [2.0] * 8}
MOVED = {"W": 0.0, "A": 0.2, "B": 0.3}
PICTURES = {
    "voices": voices.draw(
        "A dog & a <cat>",
        [
            voices.Voice("base", [("ran", False), ("home", False)], False),
            voices.Voice("1 × legal", [("heretofore", True), ("ran", False)], True),
        ],
        "Same opening",
        "Underlined: likelier words.",
    ),
    "a voice still growing": voices.draw(
        "A dog",
        [voices.Voice("base", [("ran", False)] * 300, False)],
        "Alone",
        "The text is not finished yet.",
        least_lines=3,
    ),
    "anatomy": anatomy.draw(
        small_matrix(10, 14),
        small_matrix(4, 14),
        small_matrix(10, 4),
        small_matrix(10, 14),
        small_matrix(10, 14),
        MOVED,
        0.5,
        3,
    ),
    "anatomy at the start": anatomy.draw(
        small_matrix(10, 14),
        small_matrix(1, 14),
        [[0.0]] * 10,
        [[0.0] * 14] * 10,
        small_matrix(10, 14),
        dict.fromkeys("WAB", 0.0),
        1.0,
        0,
    ),
    "dashboard": dashboard.draw(
        40, [3.0, 2.0, 1.5], [(2, 2.2)], 900.0, 12.0, "once upon a time " * 20, "training"
    ),
    "dashboard before": dashboard.draw(40, [], [], 0.0, 0.0, "", "ready"),
    "flow": flow.draw([0.5, -1.0] * 128, [1.0, -2.0] * 128, [0.1] * 8, [0.2, 0.3] * 128, 2.0, "“Seller”"),
    "flow of a packed layer": flow.draw([1.0] * 256, [1.0] * 64, [0.1] * 4, [0.0] * 64, 1.0, bits=4.127),
    "GPU ladder": gpu_ladder.draw({"llama-3.1-70b": {"full": 48, "lora": 6, "qlora": 2}}, 24),
    "levels": levels.draw([0.5, 0.5], {"NF4": [-1, 0, 1]}, {"NF4": [0.1, 0.9, 0.0]}),
    "number bits": number_bits.draw(-0.0586, 1, -0.696, 0.0735),
    "flow before training": flow.draw([1.0] * 256, [1.0] * 64, [0.1] * 4, [0.0] * 64, 1.0),
    "memory": memory.draw(plans(batch_size=4), 24, CARDS, "a note"),
    "memory of a small model": memory.draw(plans("tiny-gpt"), 141, CARDS),
    "memory of a large model": memory.draw(plans("gpt3-175b"), 8, CARDS),
    "methods": methods.draw(
        "qlora",
        "QLoRA, to begin with at rank 8",
        [("It fits 12 GB.", "plan_memory")] * 4,
        plans(),
        12,
        "a()\nb()",
    ),
    "methods without training": methods.draw(
        "none", "No fine-tuning yet, find examples first", [("No need.", "plan_memory")], plans(), 24
    ),
    "one weight": one_weight.draw([0.0213, -1.43e-3, -1.43e-4, 2.04e-9], [4] * 4),
    "parameters": parameters.draw("tiny-gpt", 8, [("q_proj", 256, 256, 8)], 32768, 5804288, 131072, 23086080),
    "patterns": patterns.draw(
        small_matrix(24, 24), small_matrix(24, 24), [0.1] * 24, [-1.0] * 24, 8, (256, 256), 0.4
    ),
    "no patterns": patterns.draw(small_matrix(8, 8), [[0.0] * 8] * 8, [], [], 0, (8, 8), 0.0),
    "quantization": quantization.draw(
        [32.0, -1.0],
        [32.0, -1.2],
        [-32.0, -1.2, 32.0],
        32,
        64,
        [0.1, 0.9],
        [Scheme("nf4", 0.9, 4.5, "nf4")],
        0,
    ),
    "quantization of one's own": quantization.draw(
        [0.5, -1.0],
        [0.4, -0.9],
        [],
        0,
        4096,
        [7.0],
        [Scheme("nf4", 0.1, 4.5, "nf4"), Scheme("yours", 7.0, None)],
        1,
    ),
    "quantization of zeros": quantization.draw(
        [0.0], [0.0], [0.0], 0, 16, [0.0], [Scheme("nf4", 0.0, 4.5)], 0
    ),
    "thin additions": thin_additions.draw("q_proj", 256, 256, 8),
    "thin additions to a wide layer": thin_additions.draw("up_proj", 640, 256, 1),
    "walls": walls.draw(
        {
            "a change of rank 64": {1: 0.016, 4: 0.07, 16: 0.3, "full": 1.0},
            "none": dict.fromkeys([1, 4, 16, "full"], 0.0),
        }
    ),
    "losses by task": charts.losses_by_task(
        {"legal": {"full": [1.0, 1.2], "LoRA": [1.3, 1.5], "QLoRA": [1.3, 1.6]}},
        {"legal": 3.0},
        "Close, not equal",
    ),
    "storage": charts.storage(23_000_000, 400_000, 20),
    "a family, one worse than no training, one better than full": charts.family(
        {"full": (1.0, 1.0), "LoRA, all layers": (0.01, 1.1), "norms only": (0.001, -0.2)}
    ),
    "ranks": ranks.draw(8, SPECTRA, LOSSES),
    "ranks without losses": ranks.draw(1, SPECTRA),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_well_formed_and_says_what_it_shows(name):
    picture, sentence = PICTURES[name]
    root = ElementTree.fromstring(picture)
    described = root.get("aria-label")
    assert root.get("role") == "img"
    assert sentence.split(".")[0] in described
    assert len(sentence) > 20
    first = root.find("{*}text")
    assert first.get("font-weight") == "600", "a picture begins with its title"
    assert " id=" not in picture, "many pictures share a page"


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_lies_outside_the_picture(name):
    root = ElementTree.fromstring(PICTURES[name][0])
    height = float(root.get("viewBox").split()[3])
    for node in root.iter():
        kind = node.tag.split("}")[1]
        if kind == "text":
            x, y, wide = (
                float(node.get("x")),
                float(node.get("y")),
                6.2 * len(node.text or ""),
            )  # a narrow letter
            left = x - {"start": 0, "middle": wide / 2, "end": wide}[node.get("text-anchor", "start")]
            assert left >= -1, node.text
            assert left + wide <= WIDTH + 12, node.text
            assert 0 < y <= height, node.text
        if kind == "rect":
            assert float(node.get("width")) >= 0
            assert float(node.get("x")) + float(node.get("width")) <= WIDTH + 1
            assert float(node.get("y")) + float(node.get("height")) <= height


def test_a_still_has_a_size_a_margin_and_a_background_of_its_own():
    root = ElementTree.fromstring(still(PICTURES["memory"][0]))
    left, _, wide, high = map(float, root.get("viewBox").split())
    assert left < 0
    assert (float(root.get("width")), float(root.get("height"))) == (wide, high)
    assert wide + 2 * left == WIDTH
    assert "background:#ffffff" in root.get("style")


def test_memory_picture_takes_every_number_from_the_plans():
    """Every part at its own peak, so that LoRA has gradients; the peak of the whole is in the sentence."""
    chosen = plans(batch_size=4)
    for method, plan in chosen.items():
        sizes = {name: size for name, size, *_ in memory._shares(method, plan)}
        assert sum(sizes.values()) == sum(part.largest for part in plan.parts.values()) >= plan.total
        assert sizes["gradients"] == plan.parts["gradients"].largest > 0
    _, sentence = memory.draw(chosen, 24, CARDS)
    for plan in chosen.values():
        assert gigabytes(plan.total) in sentence


@pytest.mark.parametrize("model", MODELS)
def test_parts_add_up_for_every_model(model):
    for checkpointing in (False, True):
        for method, plan in plans(model, gradient_checkpointing=checkpointing).items():
            sizes = [size for _, size, *_ in memory._shares(method, plan)]
            assert sum(sizes) == sum(part.largest for part in plan.parts.values()) >= plan.total


# -- colors -----------------------------------------------------------------------------------------------------------

# Machado, Oliveira and Fernandes (2009), severity 1.0; they act on linear RGB.
SEEN_BY = {
    "all cones": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
OKABE_ITO = [
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#f0e442",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
]  # the published palette
TO_XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]
WHITE = np.array([0.95047, 1.0, 1.08883])  # D65


def lab(color, matrix):
    """CIE L*a*b* of a color as such a reader sees it."""
    parts = np.array(rgb(color)) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(matrix @ linear, 0, 1) / WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def closest(colors, reader):
    """The smallest CIE76 distance between any two."""
    seen = [lab(color, np.array(SEEN_BY[reader])) for color in colors]
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))


def test_lab_of_known_colors():
    assert lab("#ffffff", np.eye(3)) == pytest.approx([100, 0, 0], abs=0.02)
    assert lab("#ff0000", np.eye(3)) == pytest.approx([53.24, 80.09, 67.20], abs=0.02)


@pytest.mark.parametrize("reader", SEEN_BY)
def test_colors_stay_apart_for_every_reader(reader):
    """As far as the closest two of a palette made for this, Okabe and Ito's, whoever looks at it."""
    assert closest(COLORS.values(), reader) >= min(closest(OKABE_ITO, other) for other in SEEN_BY)


@pytest.mark.parametrize("name", COLORS)
def test_contrast_on_light_and_dark_pages(name):
    """3 : 1, what the Web Content Accessibility Guidelines ask of graphics (1.4.11); words on them 4.5 : 1."""

    def contrast(a, b):
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for page in ("#ffffff", "#111111"):  # JupyterLab's light and dark
        assert contrast(COLORS[name], page) >= 3
    assert contrast(COLORS[name], ink(COLORS[name])) >= 4.5


def test_diverging_ends_at_the_language_s_colors():
    assert [diverging(v) for v in (-2, 0, 2)] == [COLORS["frozen"], "#ffffff", COLORS["trainable"]]


def test_a_table_is_text_and_html_that_is_safe_and_refuses_a_ragged_row():
    table = Table(["", "share"], [["a < b", "1%"], ["c", "10%"]])
    assert repr(table).splitlines() == ["        share", "a < b      1%", "c         10%"]
    html = table._repr_html_()
    assert "a &lt; b" in html
    assert html.count("<tr>") == 3
    assert html.count("text-align: left") == html.count("text-align: right") == 3
    with pytest.raises(ValueError, match="the head has 2 cells, but this row 1"):
        Table(["", "share"], [["c"]])
