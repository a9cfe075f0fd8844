"""Writes a training step for the browser: the loss and the gradient of the reader's adapter as an ONNX graph.

Both are traced from the model and the loss of the course. The graph holds no weights of its own: it points into
model.onnx, which the page has already (exporting.py). With it go what an adapter's file holds besides numbers, written
by the course's own save_adapter, and a text for readers who have none at hand.

Not here: the loop, AdamW and the batches (static/training.js).
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnx
import torch
from exporting import OWN, OWN_CONFIG, places
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.fx.experimental.proxy_tensor import make_fx

from minilora import GPT, LoraModel, add_lora
from minilora.files import ASSETS
from minilora.training.datasets import IGNORE, read_text
from minilora.training.loss import cross_entropy_in_pieces

BATCH, TOKENS = 4, 64  # as on page 00
PIRATE = ASSETS / "pirate.jsonl"


class MeanLoss(nn.Module):
    """What Trainer minimizes: the mean cross entropy over all target tokens of a batch."""

    def __init__(self, model: LoraModel):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        base = self.model.base
        total = cross_entropy_in_pieces(base.model(input_ids), base.lm_head, targets)
        return total / (targets != IGNORE).sum()


def load() -> LoraModel:
    """The tiny GPT with a fresh adapter."""
    return add_lora(GPT.from_pretrained("tiny-gpt"), OWN_CONFIG, adapter_name=OWN)


class TrainingStep(nn.Module):
    """adapter (numbers,), input_ids and targets (batch, tokens) -> loss, and its gradient (numbers,)."""

    def __init__(self, model: LoraModel):
        super().__init__()
        model.requires_grad_(False)  # the adapter is an input
        loss, matrices = MeanLoss(model), places(model)

        def mean_loss(adapter: Tensor, input_ids: Tensor, targets: Tensor) -> Tensor:
            parts = adapter.split([size for _, _, size, _ in matrices])
            own = {
                f"model.{name}": part.view(shape)
                for (name, _, _, shape), part in zip(matrices, parts, strict=True)
            }
            return functional_call(loss, own, (input_ids, targets))

        rows = torch.ones(BATCH, TOKENS, dtype=torch.int64)
        adapter = torch.ones(sum(size for _, _, size, _ in matrices))
        self.example = (adapter, rows, rows + 1)  # subtle: a tensor that is passed twice counts as one input
        self.traced = make_fx(grad_and_value(mean_loss))(*self.example)

    def forward(self, adapter: Tensor, input_ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        gradient, loss = self.traced(adapter, input_ids, targets)
        return loss, gradient


def export(folder: Path, model_file: Path) -> None:
    """Writes training.onnx, whose weights are those in model_file, and training.json."""
    model = load()
    facts = about(model)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        step = TrainingStep(model)
        program = torch.onnx.export(
            step, step.example, dynamo=True, opset_version=18, optimize=True, verbose=False,
            input_names=["adapter", "input_ids", "targets"], output_names=["loss", "gradient"],
        )  # fmt: skip
    graph = program.model_proto
    share_weights(graph, model_file)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, folder / "training.onnx")
    (folder / "training.json").write_text(json.dumps(facts), encoding="utf-8")


def share_weights(graph: onnx.ModelProto, model_file: Path) -> None:
    """Points each matrix of the graph to where its numbers lie in model_file.

    Drops, too, what tells where nodes came from.
    """
    file = model_file.read_bytes()
    known = {}  # the bytes as they are, and as they would be if transposed -> where, shape, whether transposed
    for weight in onnx.load_model_from_string(file).graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT16:
            values = onnx.numpy_helper.to_array(weight)
            where = file.index(weight.raw_data)
            known[values.T.tobytes()] = where, values.shape, True
            known[values.tobytes()] = where, values.shape, False
    nodes = []
    for weight in graph.graph.initializer:
        values, name = onnx.numpy_helper.to_array(weight), weight.name
        if values.dtype != "float32" or values.size < 500 or values.astype("float16").tobytes() not in known:
            continue
        where, shape, transposed = known[values.astype("float16").tobytes()]
        weight.CopyFrom(outside(f"{name}.float16", shape, model_file.name, where))
        cast = f"{name}.cast" if transposed else name
        nodes.append(onnx.helper.make_node("Cast", [f"{name}.float16"], [cast], to=onnx.TensorProto.FLOAT))
        if transposed:
            nodes.append(onnx.helper.make_node("Transpose", [cast], [name]))
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del graph.graph.value_info[:]
    nodes += graph.graph.node
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def outside(name: str, shape: tuple[int, ...], file: str, where: int) -> onnx.TensorProto:
    """A tensor of float16 whose numbers lie in another file."""
    tensor = onnx.TensorProto(
        name=name,
        data_type=onnx.TensorProto.FLOAT16,
        dims=shape,
        data_location=onnx.TensorProto.EXTERNAL,
    )
    for key, value in (("location", file), ("offset", where), ("length", 2 * math.prod(shape))):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def about(model: LoraModel) -> dict[str, Any]:
    """What the page needs to know: sizes, how an adapter begins, what its files hold besides numbers."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_adapter(folder)
        config = (Path(folder) / "adapter_config.json").read_text(encoding="utf-8")
        weights = (Path(folder) / "adapter_model.safetensors").read_bytes()
    header = weights[8 : 8 + int.from_bytes(weights[:8], "little")].decode("utf-8").rstrip()
    found = {name: (begin, size, shape) for name, begin, size, shape in places(model)}
    gain = nn.init.calculate_gain("leaky_relu", math.sqrt(5))  # of kaiming_uniform_ in LoraLinear.add_adapter
    starts = []
    for name, _ in model.named_parameters():  # in the order in which add_lora draws them
        if ".lora_A." in name:
            begin, size, (_, width) = found[name]
            starts.append((begin, size, math.sqrt(3) * gain / math.sqrt(width)))
    return {
        "batch": BATCH,
        "tokens": TOKENS,
        "own": sum(size for _, size, _ in found.values()),
        "starts": starts,
        "config": config,
        "header": header,
        "example": "\n\n".join(json.loads(line)["completion"] for line in read_text(PIRATE).splitlines()),
    }


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]))
