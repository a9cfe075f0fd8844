"""What the site's page needs to train: the layout of the adapter, its start, and weights shared between graphs.

Not here: the run itself, in a browser (tests/browser/test_training_in_page.py).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]

onnx = pytest.importorskip("onnx", reason="needs the packages of the extra `site`")


@pytest.fixture(autouse=True)
def site_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "site"))


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "site"))
        import exporting_training

        torch.manual_seed(0)
        return exporting_training.load()


def test_the_adapter_lies_in_the_page_as_in_its_file(model):
    from exporting import places
    from exporting_training import about

    facts = about(model)
    header = json.loads(facts["header"])
    assert json.loads(header.pop("__metadata__")["minilora_settings"])["r"] == 8
    in_file = sorted((*entry["data_offsets"], entry["shape"]) for entry in header.values())
    in_page = [(4 * begin, 4 * (begin + size), list(shape)) for _, begin, size, shape in places(model)]
    assert in_file == in_page
    names = [name.replace("base_model.model.", "base.").replace(".weight", ".own") for name in sorted(header)]
    assert names == [name for name, *_ in places(model)]
    assert facts["own"] == in_page[-1][1] // 4
    front_page = (ROOT / "site" / "index.md").read_text(encoding="utf-8")
    assert f"{round(facts['own'], -3):,} numbers" in front_page


def test_the_start_is_that_of_add_lora(model):
    from exporting import places
    from exporting_training import about

    facts = about(model)
    torch.manual_seed(0)
    adapter = torch.zeros(facts["own"])
    for begin, size, bound in facts["starts"]:
        adapter[begin : begin + size].uniform_(-bound, bound)
    parameters = dict(model.named_parameters())
    wanted = torch.cat([parameters[name].detach().flatten() for name, *_ in places(model)])
    assert torch.equal(adapter, wanted)


def test_a_graph_without_weights_computes_the_same(tmp_path):
    """Weights are found in the other file as they are, or transposed; what is not there stays in the graph."""
    from exporting_training import share_weights
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    drawn = np.random.default_rng(0)
    straight, turned, new = (drawn.normal(size=(30, 30)).astype("float16") for _ in range(3))

    def graph(nodes, weights):
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 30]) for name in "xy")
        tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
        made = helper.make_graph(nodes, "g", [x], [y], tensors)
        return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)])

    file = tmp_path / "model.onnx"
    onnx.save(graph([], {"other": straight, "another": turned}), file)
    nodes = [
        helper.make_node("MatMul", [a, b], [c])
        for a, b, c in (("x", "a", "p"), ("p", "b", "q"), ("q", "c", "y"))
    ]
    weights = {"a": straight, "b": turned.T.copy(), "c": new}
    made = graph(nodes, {name: value.astype("float32") for name, value in weights.items()})
    x = drawn.normal(size=(1, 30)).astype("float32")
    (before,) = ReferenceEvaluator(made).run(None, {"x": x})
    share_weights(made, file)
    outside = {w.name for w in made.graph.initializer if w.data_location == TensorProto.EXTERNAL}
    assert outside == {"a.float16", "b.float16"}
    path = tmp_path / "training.onnx"
    onnx.save(made, path)
    (after,) = ReferenceEvaluator(onnx.load(path)).run(None, {"x": x})
    assert np.allclose(
        before, after, rtol=1e-5, atol=1e-3
    )  # sums of 30 in another order, three times; up to 200
