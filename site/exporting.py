"""Writes the tiny GPT and its three adapters for the browser: one step of generation as an ONNX graph.

The graph is traced from the model itself, `LoraLinear` included. Its inputs are a token, the keys and values of the
tokens before it, and the strength of each adapter; its outputs are the scores of the next token, and all keys and
values so far. Weights are stored as float16 and computed with as float32.

Not here: the loop over tokens, and sampling (static/model.js).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from minilora import GPT, LoraModel
from minilora.gpt import rotary_table

VOICES = ("legal", "support", "code")


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
        """token (1, 1), position (1,), past (layers, 2, 1, kv_heads, tokens, head_dim), strengths (voices,)."""
        self.model.active.scales = {name: strengths[i] for i, name in enumerate(VOICES)}
        decoder, cache = self.model.base.model, Past(past)
        x = decoder.embed_tokens(token)
        cos, sin = self.cos.index_select(0, position), self.sin.index_select(0, position)
        for block in decoder.layers:
            x = block(x, cos, sin, cache)
        scores = self.model.base.lm_head(decoder.norm(x))[0, -1]  # (vocab,)
        return scores, torch.stack(cache.all)


def load() -> LoraModel:
    """The tiny GPT with all its adapters."""
    model = LoraModel(GPT.from_pretrained("tiny-gpt"))
    for name in VOICES:
        model.load_adapter(name, adapter_name=name)
    return model.eval()


def export(folder: Path) -> None:
    """Writes model.onnx, and tokenizer.json with what the page needs to know about the model."""
    model = load()
    step = Step(model).eval()
    config = model.base.config
    past = torch.zeros(config.num_hidden_layers, 2, 1, config.num_key_value_heads, 5, config.head_dim)
    example = (torch.tensor([[1]]), torch.tensor([5]), past, torch.ones(len(VOICES)))
    tokens = torch.export.Dim("tokens", min=2, max=config.max_position_embeddings)
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        program = torch.onnx.export(
            step, example, dynamo=True, opset_version=18, optimize=True, verbose=False,
            input_names=["token", "position", "past", "strengths"], output_names=["scores", "present"],
            dynamic_shapes=({}, {}, {4: tokens}, {}),
        )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    graph = program.model_proto
    slim(graph)
    onnx.save(graph, folder / "model.onnx")
    facts = {
        "voices": VOICES,
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
        if values.dtype != "float32" or values.size < 500 or weight.name in ("cos", "sin"):
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
