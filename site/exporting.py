"""Writes the tiny GPT and its three adapters for the browser: one step of generation as an ONNX graph.

The graph is traced from the model itself, `LoraLinear` included. Its inputs are a token, the keys and values of the
tokens before it, the strength of each adapter, and the matrices of one more adapter, which the reader trains in the
page; its outputs are the scores of the next token, and all keys and values so far. Weights are stored as float16 and
computed with as float32.

Not here: the loop over tokens, and sampling (static/model.js); a step of training (exporting_training.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.func import functional_call

from minilora import GPT, LoraConfig, LoraModel
from minilora.gpt import rotary_table

VOICES = ("legal", "support", "code")
OWN = "own"  # the name of the reader's adapter
OWN_CONFIG = LoraConfig(r=8, target_modules="all-linear")  # as on page 00


class Past:
    """The keys and values before this token, in the place of a KeyValueCache."""

    def __init__(self, store: Tensor):
        self.store, self.all = store, []

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        k, v = torch.cat([self.store[layer, 0], k], dim=2), torch.cat([self.store[layer, 1], v], dim=2)
        self.all.append(torch.stack([k, v]))
        return k, v


class Step(nn.Module):
    """One token in, the scores of the next one out."""

    def __init__(self, model: LoraModel):
        super().__init__()
        self.model = model
        config = model.base.config
        cos, sin = rotary_table(0, config.max_position_embeddings, config, model.base.lm_head.weight)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(
        self, token: Tensor, position: Tensor, past: Tensor, strengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """token (1, 1), position (1,), past (layers, 2, 1, kv_heads, tokens, head_dim), strengths (voices + 1,)."""
        self.model.active.scales = {name: strengths[i] for i, name in enumerate((*VOICES, OWN))}
        decoder, cache = self.model.base.model, Past(past)
        x = decoder.embed_tokens(token)
        cos, sin = self.cos.index_select(0, position), self.sin.index_select(0, position)
        for block in decoder.layers:
            x = block(x, cos, sin, cache)
        scores = self.model.base.lm_head(decoder.norm(x))[0, -1]  # (vocab,)
        return scores, torch.stack(cache.all)


class StepWithOwn(nn.Module):
    """The same, with the reader's adapter as an input."""

    def __init__(self, step: Step):
        super().__init__()
        self.step = step

    def forward(
        self, token: Tensor, position: Tensor, past: Tensor, strengths: Tensor, own: Tensor
    ) -> tuple[Tensor, Tensor]:
        """own: all matrices of the adapter, one after the other."""
        matrices = {
            f"model.{name}": own[begin : begin + size].view(shape)
            for name, begin, size, shape in places(self.step.model)
        }
        return functional_call(self.step, matrices, (token, position, past, strengths))


def places(model: LoraModel) -> list[tuple[str, int, int, torch.Size]]:
    """Where each matrix of the reader's adapter lies among all of its numbers: parameter, begin, size, shape.

    The order is that of the names, as in an adapter's file.
    """
    found, begin = [], 0
    for name, matrix in sorted(model.named_parameters()):
        if name.endswith((f".lora_A.{OWN}", f".lora_B.{OWN}")):
            found.append((name, begin, matrix.numel(), matrix.shape))
            begin += matrix.numel()
    return found


def load() -> LoraModel:
    """The tiny GPT with all its adapters."""
    model = LoraModel(GPT.from_pretrained("tiny-gpt"))
    for name in VOICES:
        model.load_adapter(name, adapter_name=name)
    return model.eval()


def export(folder: Path) -> None:
    """Writes model.onnx, and tokenizer.json with what the page needs to know about the model."""
    model = load()
    model.add_adapter(OWN, OWN_CONFIG)
    step = StepWithOwn(Step(model)).eval()
    own = sum(size for _, _, size, _ in places(model))
    config = model.base.config
    past = torch.zeros(config.num_hidden_layers, 2, 1, config.num_key_value_heads, 5, config.head_dim)
    example = (torch.tensor([[1]]), torch.tensor([5]), past, torch.ones(len(VOICES) + 1), torch.ones(own))
    tokens = torch.export.Dim("tokens", min=2, max=config.max_position_embeddings)
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        program = torch.onnx.export(
            step, example, dynamo=True, opset_version=18, optimize=True, verbose=False,
            input_names=["token", "position", "past", "strengths", "own"], output_names=["scores", "present"],
            dynamic_shapes=({}, {}, {4: tokens}, {}, {}),
        )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    graph = program.model_proto
    slim(graph)
    onnx.save(graph, folder / "model.onnx")
    facts = {
        "voices": VOICES,
        "own": own,  # numbers in the reader's adapter
        "past": [*past.shape[:4], 0, config.head_dim],
        "context": config.max_position_embeddings,
        "stop": list(model.base.stop_tokens()),
    }
    (folder / "tokenizer.json").write_text(model.base.tokenizer.to_str(), encoding="utf-8")
    (folder / "model.json").write_text(json.dumps(facts), encoding="utf-8")


def slim(graph: onnx.ModelProto) -> None:
    """Drops what only tells where each node came from, and stores weights as float16 with a cast back.

    The base's weights are float16 in their file, too; the adapters' are rounded.
    """
    casts = []
    for weight in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != "float32" or values.size < 500 or weight.name.endswith(("cos", "sin")):
            continue
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype("float16"), f"{name}.float16"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.float16"], [name], to=onnx.TensorProto.FLOAT))
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del graph.graph.value_info[:]
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


if __name__ == "__main__":
    export(Path(sys.argv[1]))
